-- tuncrypt: a pipe around a pipe. The inner pipes are fakes; the spec carries the sealed bytes between them.
local link = require "spec_link"

local PASS = ("k"):rep(32)

describe("tuncrypt", function()
  local w, inner_a, inner_b, a, b

  before_each(function()
    w = link.new()
    inner_a, inner_b = w:fake(), w:fake()
    a = w:tuncrypt(inner_a, PASS, true)
    b = w:tuncrypt(inner_b, PASS, false)
  end)
  after_each(function() w:free() end)

  local function await(fn) assert.is_true(w:run(2000, fn), "it did not come") end
  --- Some turns of the loop.
  local function settle()
    local turns = 0
    await(function()
      turns = turns + 1
      return turns > 3
    end)
  end

  --- Carries what a has sealed to b, in pieces of n bytes.
  local function carry(n)
    local wire = inner_a:take()
    for at = 1, #wire, n or #wire + 1 do inner_b:feed(wire:sub(at, at + (n or #wire) - 1)) end
    return wire
  end

  it("delivers what was written, for any pieces on the way", function()
    for _, n in ipairs { 1, 2, 17, 24, 41, 1000 } do
      assert.equal(11, a:write("hello there"))
      assert.equal(300, a:write(("z"):rep(300)))
      carry(n)
      assert.equal("hello there" .. ("z"):rep(300), b:read())
    end
  end)

  it("does so in both directions", function()
    b:write("from the server")
    inner_a:feed(inner_b:take())
    assert.equal("from the server", a:read())
  end)

  it("takes more than a message holds", function()
    local text = ("0123456789abcdef"):rep(10000)
    assert.equal(#text, a:write(text))
    carry(5000)
    assert.equal(text, b:read())
  end)

  it("can be read a few bytes at a time", function()
    a:write("abcdef")
    a:write("ghi")
    carry()
    assert.same({ "ab", "cdefg", "hi", "" }, { b:read(2), b:read(5), b:read(5), b:read(5) })
  end)

  it("shows nothing of the text on the wire", function()
    a:write("attack at dawn")
    local wire = carry()
    assert.is_nil(wire:find("attack", 1, true))
  end)

  it("tells its user when data has arrived", function()
    a:write("x")
    local before = b:heard()
    carry()
    assert.equal(before + 1, (b:heard()))
  end)

  it("accepts no more than one message ahead of a full inner pipe, and continues when there is room", function()
    inner_a = w:fake(100)
    a = w:tuncrypt(inner_a, PASS, true)
    local text = ("0123456789abcdef"):rep(4096)
    local taken = a:write(text)
    assert.is_true(taken >= 16384 and taken < 2 * 16384, tostring(taken))
    assert.equal(0, a:write("more"))
    local got, told = {}, 0
    while taken < #text or (select(2, inner_a:waiting())) > 0 do
      inner_b:feed(inner_a:take())
      got[#got + 1] = b:read()
      local now = select(2, a:heard())
      if now > told then
        told = now
        taken = taken + a:write(text:sub(taken + 1))
      end
    end
    assert.equal(text, table.concat(got))
    assert.is_true(told > 0)
  end)

  it("does not read ahead of its user by more than a message", function()
    for _ = 1, 4 do a:write(("x"):rep(16384)) end
    carry()
    assert.equal(10, #b:read(10))
    assert.is_true(inner_b:waiting() >= 3 * 16384)
  end)

  it("carries the end of a direction, and keeps the other open", function()
    a:write("request")
    a:shutdown()
    assert.is_true(inner_a:shut())
    carry()
    assert.is_false(b:eof())
    assert.equal("request", b:read())
    assert.is_true(b:eof())
    assert.equal(6, b:write("answer"))
    inner_a:feed(inner_b:take())
    assert.equal("answer", a:read())
    assert.equal(0, a:write("more"))
  end)

  it("carries the end after what waits, when the inner pipe is full", function()
    inner_a = w:fake(100)
    a = w:tuncrypt(inner_a, PASS, true)
    assert.equal(1000, a:write(("x"):rep(1000)))
    a:shutdown()
    assert.is_false(inner_a:shut())
    while not inner_a:shut() do inner_b:feed(inner_a:take()) end
    carry()
    assert.equal(("x"):rep(1000), b:read())
    assert.is_true(b:eof())
  end)

  it("knows whether its inner pipe can half-close, and when that is gone", function()
    assert.is_true(a:half_close())
    inner_a:half_close(false)
    assert.is_false(a:half_close())
    assert.is_false(a:gone())
    inner_a:finish(true)
    assert.is_true(a:gone())
  end)

  describe("breaks with an error", function()
    local function broken(code)
      await(function() return b:closed() end)
      assert.equal(code, b:closed())
      assert.is_false(b:eof())
      assert.equal(0, b:write("x"))
    end

    it("when the inner stream ends without a final message", function()
      a:write("half of")
      carry()
      assert.equal("half of", b:read())
      inner_b:finish()
      assert.equal("", b:read())
      broken "auth"
    end)

    it("when it ends before anything came", function()
      inner_b:finish()
      assert.equal("", b:read())
      broken "auth"
    end)

    it("when it ends within a message", function()
      a:write("a long message")
      a:shutdown()
      local wire = inner_a:take()
      inner_b:feed(wire:sub(1, -2))
      inner_b:finish()
      assert.equal("a long message", b:read())
      assert.equal("", b:read())
      broken "auth"
    end)

    it("when any byte was changed on the way", function()
      a:write("some text")
      a:shutdown()
      local wire = inner_a:take()
      for at = 1, #wire do
        inner_b = w:fake()
        b = w:tuncrypt(inner_b, PASS, false)
        inner_b:feed(wire:sub(1, at - 1) .. string.char(wire:byte(at) ~ 1) .. wire:sub(at + 1))
        inner_b:finish()
        local text = b:read()
        assert.is_true(text == "" or text == "some text" and at > 24 + 2 + 9 + 17)
        broken "auth"
      end
    end)

    it("when the key differs", function()
      inner_b = w:fake()
      b = w:tuncrypt(inner_b, ("l"):rep(32), false)
      a:write("x")
      carry()
      assert.equal("", b:read())
      broken "auth"
    end)

    it("when its own bytes come back", function()
      b:write("x")
      inner_b:feed(inner_b:take())
      assert.equal("", b:read())
      broken "auth"
    end)

    it("when bytes follow the final message", function()
      a:shutdown()
      carry()
      inner_b:feed("more")
      b:read()
      broken "auth"
    end)

    it("when the inner pipe does, with its code", function()
      inner_b:break_off "dead"
      broken "dead"
    end)

    it("but delivers what had come before that", function()
      for _ = 1, 4 do a:write(("x"):rep(16384)) end
      carry()
      inner_b:break_off "dead"
      broken "dead"
      assert.equal(4 * 16384, #b:read())
    end)
  end)

  it("wakes a writer that waits when the inner pipe is gone", function()
    inner_a = w:fake(100)
    a = w:tuncrypt(inner_a, PASS, true)
    a:write(("x"):rep(16384 * 2))
    inner_a:finish(true)
    assert.equal(1, (select(2, a:heard())))
    assert.equal(0, a:write("x"))
  end)

  describe("closed by its user", function()
    it("delivers all, with the end, then closes the inner pipe", function()
      inner_a = w:fake(100)
      a = w:tuncrypt(inner_a, PASS, true)
      a:write(("x"):rep(1000))
      a:close()
      assert.is_nil(inner_a:ended())
      while not inner_a:ended() do inner_b:feed(inner_a:take()) end
      carry()
      assert.equal("closed", inner_a:ended())
      assert.equal(("x"):rep(1000), b:read())
      assert.is_true(b:eof())
    end)

    it("closes the inner pipe at once when nothing waits", function()
      a:close()
      assert.equal("closed", inner_a:ended())
    end)

    it("drops what still comes while it waits", function()
      inner_a = w:fake(100)
      a = w:tuncrypt(inner_a, PASS, true)
      inner_a:feed("unread")
      a:write(("x"):rep(1000))
      a:close()
      assert.equal(0, (inner_a:waiting()))
      inner_a:feed(("y"):rep(5000))
      assert.equal(0, (inner_a:waiting()))
      assert.is_nil(inner_a:ended())
      while not inner_a:ended() do inner_a:take() end
    end)

    it("does not wait for a peer that is gone", function()
      for _, when in ipairs { "before", "after" } do
        inner_a = w:fake(100)
        a = w:tuncrypt(inner_a, PASS, true)
        a:write(("x"):rep(1000))
        if when == "before" then inner_a:finish(true) end
        a:close()
        if when == "after" then
          assert.is_nil(inner_a:ended())
          inner_a:finish(true)
        end
        assert.equal("closed", inner_a:ended())
      end
    end)

    it("does not wait for an inner pipe that breaks", function()
      inner_a = w:fake(100)
      a = w:tuncrypt(inner_a, PASS, true)
      a:write(("x"):rep(1000))
      a:close()
      inner_a:break_off "dead"
      assert.equal("closed", inner_a:ended())
    end)

    it("makes no more callbacks", function()
      local before = { a:heard() }
      a:close()
      settle()
      assert.same(before, { a:heard() })
      assert.is_nil(a:closed())
    end)
  end)

  it("resets the inner pipe at once, with the reason", function()
    inner_a = w:fake(100)
    a = w:tuncrypt(inner_a, PASS, true)
    a:write(("x"):rep(1000))
    a:reset()
    assert.equal("reset canceled", inner_a:ended())
    settle()
  end)

  it("cut by its user delivers all, and lets the peer know that something is missing", function()
    inner_a = w:fake(100)
    a = w:tuncrypt(inner_a, PASS, true)
    a:write(("x"):rep(1000))
    a:cut()
    while not inner_a:ended() do inner_b:feed(inner_a:take()) end
    carry()
    inner_b:finish()
    assert.equal("cut reset", inner_a:ended())
    assert.equal(("x"):rep(1000), b:read())
    assert.equal("", b:read())
    await(function() return b:closed() end)
    assert.equal("auth", b:closed())
  end)

  it("passes the reason of a cut on, after the last of its text", function()
    inner_a = w:fake(100)
    a = w:tuncrypt(inner_a, PASS, true)
    a:write(("x"):rep(1000))
    a:cut "the disk is full"
    while not inner_a:ended() do
      assert.is_nil((inner_a:ended()))
      inner_b:feed(inner_a:take())
    end
    inner_b:feed(inner_a:take())
    assert.same({ "cut reset", "the disk is full" }, { inner_a:ended() })
    assert.equal(("x"):rep(1000), b:read())
  end)

  it("that was shut down before it is cut still sends its final message", function()
    a:write "all of it"
    a:shutdown()
    a:cut()
    carry()
    assert.equal("cut reset", inner_a:ended())
    assert.equal("all of it", b:read())
    assert.is_true(b:eof())
  end)
end)
