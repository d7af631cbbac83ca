-- smux: young streams, which can be moved to another session until the peer is known to have seen them.
local smux = require "spec_smux"
local ends = require "smux_ends"

local frame = ends.frame

local pool

local function client(settings) return ends.client(pool, settings) end

before_each(function() pool = smux.pool(1024) end)
after_each(function() collectgarbage() end)

describe("a young smux stream", function()
  it("keeps what it sent until the peer is known to hold its SYN", function()
    local c = client()
    local s = c:open()
    s:write "hello"
    c:pump()
    assert.equal(1, pool:in_use())
    assert.is_true(c.m:has_young())
    c.m:settled(0)
    assert.equal(1, pool:in_use())
    c.m:settled(c.m:mark())
    assert.equal(0, pool:in_use())
    assert.is_false(c.m:has_young())
  end)

  it("settles only by a mark beyond its own SYN", function()
    local c = client()
    c:open()
    c:pump()
    local mark = c.m:mark()
    c:open()
    c:pump()
    c.m:settled(mark)
    assert.equal(1, c.m:move_young(client().m))
  end)

  it("does not settle before its SYN has left", function()
    local c = client()
    c:open()
    c.m:settled(1000)
    assert.is_true(c.m:has_young())
  end)

  for name, bytes in pairs {
    data = frame(2, ends.PSH, 3, "x"),
    ["a window update"] = ends.upd(3, 0, 1000),
    ["a half-close mark"] = frame(2, ends.PSH, 3),
    FIN = frame(2, ends.FIN, 3),
  } do
    it("is settled by " .. name .. " for it", function()
      local c = client()
      c:open():write "hello"
      c:pump()
      c:hear(bytes)
      assert.is_false(c.m:has_young())
      assert.equal(0, c.m:move_young(client().m))
    end)
  end

  it("that the peer opened does not exist", function()
    local e = ends.new(pool, {})
    e:hear(frame(2, ends.SYN, 3))
    assert.is_false(e.m:has_young())
  end)

  it("takes no more than its buffer, and more once it has settled", function()
    local c = client()
    local s = c:open()
    assert.equal(131072, s:write(("x"):rep(131073)))
    c:pump()
    assert.same({}, c:heard())
    assert.equal(0, s:write "x")
    c.m:settled(c.m:mark())
    c:pump()
    assert.same({ "writable 3" }, c:heard())
    assert.equal(1, s:write "x")
  end)

  it("asks for a pump when settling makes room", function()
    local c = client()
    c:open():write(("x"):rep(131073))
    c:pump()
    local before = c.wakes
    c.m:settled(c.m:mark())
    assert.equal(before + 1, c.wakes)
  end)

  it("stays until it settles when it was closed, and then is forgotten", function()
    local c = client()
    local s = c:open()
    s:write "hello"
    s:close()
    assert.same({ "SYN 3", "PSH 3 hello", "FIN 3" }, c:said())
    assert.equal(1, c.m:streams())
    c.m:settled(c.m:mark())
    assert.equal(0, c.m:streams())
    c:pump()
    assert.equal(0, c.count)
    assert.equal(0, pool:in_use())
  end)

  it("that was closed is forgotten when the peer answers with FIN", function()
    local c = client()
    c:open():close()
    c:pump()
    c:hear(frame(2, ends.FIN, 3))
    assert.equal(0, c.m:streams())
    assert.same({}, c:said())
  end)
end)

describe("moving young smux streams", function()
  --- Opens a stream, writes, pumps, moves it; what the second session framed.
  local function moved(act, settings)
    local from, to = client(settings), client(settings)
    local s = from:open()
    act(s, from)
    assert.equal(1, from.m:move_young(to.m))
    assert.equal(0, from.m:streams())
    from.m:free()
    return to, s
  end

  it("replays the same bytes under a new id", function()
    local before
    local to, s = moved(function(s, from)
      from:open():reset() -- 5 is used up here, not there
      s:write "hello"
      before = from:said()
      s:write " world"
    end)
    to:open()
    assert.same({ "SYN 3", "PSH 3 hello" }, before)
    assert.equal(3, s:id())
    assert.same({ "SYN 3", "SYN 5", "PSH 3 hello world" }, to:said())
    s:write "!"
    assert.same({ "PSH 3 !" }, to:said())
  end)

  it("replays under QPP what the peer can read", function()
    local qpp = smux.qpp("key", 7)
    local to, s = moved(function(s, from)
      s:write "hello"
      from:pump()
      s:write " world"
    end, { qpp = qpp })
    local e = ends.new(pool, { qpp = qpp })
    s:write "!"
    ends.exchange(to, e)
    assert.equal("hello world!", e.accepted[1]:read())
  end)

  it("moves a SYN that had not left yet", function()
    local to = moved(function(s) s:write "x" end)
    assert.same({ "SYN 3", "PSH 3 x" }, to:said())
  end)

  it("keeps the order of opening, behind the streams that were there", function()
    local from, to = client(), client()
    to:open():write "a"
    from:open():write "b"
    from:pump()
    from:open():write "c"
    assert.equal(2, from.m:move_young(to.m))
    assert.same({ "SYN 3", "SYN 5", "SYN 7", "PSH 3 a", "PSH 5 b", "PSH 7 c" }, to:said())
    to.m:settled(to.m:mark() - 3)
    assert.is_false(to.m:has_young())
  end)

  it("moves one that was closed, with its FIN", function()
    local to = moved(function(s, from)
      s:write "bye"
      s:close()
      from:pump()
    end)
    assert.same({ "SYN 3", "PSH 3 bye", "FIN 3" }, to:said())
    to.m:settled(to.m:mark())
    assert.equal(0, to.m:streams())
    assert.equal(0, pool:in_use())
  end)

  it("moves one that was shut down, with its half-close", function()
    local to = moved(function(s, from)
      from:hear(frame(2, ends.NOP, ends.HELLO | 1))
      s:write "ask"
      s:shutdown()
      assert.same({ "HELLO 1", "SYN 3", "PSH 3 ask", "PSH 3 " }, from:said())
    end, { features = 1 })
    assert.same({ "HELLO 1", "SYN 3", "PSH 3 ask" }, to:said())
    to:hear(frame(2, ends.NOP, ends.HELLO | 1))
    assert.same({ "PSH 3 " }, to:said())
  end)

  it("leaves what has settled", function()
    local from, to = client(), client()
    local s = from:open()
    from:pump()
    from.m:settled(from.m:mark())
    assert.equal(0, from.m:move_young(to.m))
    assert.equal(3, s:id())
    assert.equal(1, from.m:streams())
  end)

  it("keeps events that were due", function()
    local from, to = client(), client()
    local s = from:open()
    pool:fail_after(0)
    assert.equal(0, s:write "x")
    pool:fail_after()
    from.m:move_young(to.m)
    from.m:free()
    to:pump()
    assert.same({ "writable 3" }, from:heard())
  end)

  it("can be done from a callback of the stream that moves", function()
    local from, to = client(), client()
    local s = assert(from.m:open())
    local calls = 0
    s:listen {
      writable = function()
        calls = calls + 1
        assert.equal(1, from.m:move_young(to.m))
        from.m:free()
      end,
      closed = function() calls = calls + 100 end,
    }
    pool:fail_after(0)
    s:write "x"
    pool:fail_after()
    from.m:pump()
    assert.equal(1, calls)
    s:write "y"
    assert.same({ "SYN 3", "PSH 3 y" }, to:said())
  end)
end)
