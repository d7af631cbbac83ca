-- Credit on kt's own wire (docs/wire.md, 6.1): who may send how much, what a stalled reader costs the others, and what the end
-- of each stream gives back.
local ends = require "native_ends"
local frame = require "spec_native_frame"

local MS, S, KIB, MIB = 1000, 1000000, 1024, 1024 * 1024
local pair = ends.pair
local w

local function v(n) return frame.varint(n) end

local function world(settings)
  w = ends.world(settings)
  return w
end

after_each(ends.close)

local function all_zero(e)
  local f = w:facts(e)
  assert.same({ 0, 0, 0, 0, 0 }, { f.streams, f.queued, f.unread, f.charged_in, f.charged_out })
end

describe("a reader that stalls", function()
  it("gets its window and no more, and what it takes later lets the rest follow", function()
    world()
    local s, t = pair()
    s:source(1 * MIB)
    w:run(5 * S)
    assert.equal(256 * KIB, w:facts("server").unread)
    t:sink()
    w:run(5 * S)
    assert.equal(1 * MIB, t:moved())
    assert.is_true(t:eof())
  end)

  it("holds up nobody else, even when stalled streams hold all credit of the association", function()
    world { server = { max_data = 512 * KIB, memory = 512 * KIB } }
    for _ = 1, 40 do
      local s = pair()
      s:source(-1)
    end
    w:run(2 * S)
    local f = w:facts("server")
    assert.is_true(f.charged_in > 0.99 * 512 * KIB)
    assert.is_true(f.unread <= 512 * KIB + 40 * 16 * KIB)
    local s, t = pair() -- its OPEN, a request, and an answer of any length
    t:sink()
    s:source(1 * MIB)
    w:run(20 * S)
    assert.equal(1 * MIB, t:moved())
    local u, x = pair()
    x:source(1 * MIB)
    u:sink()
    w:run(10 * S)
    assert.equal(1 * MIB, u:moved())
  end)

  it("may stall anywhere: no small step of it is forgotten", function()
    for _, step in ipairs { 1, 1000, 5000, 16 * KIB, 40000 } do
      world { server = { max_data = 64 * KIB, memory = 64 * KIB }, loss = 0.02, rtt = 10 * MS }
      local hog = pair()
      hog:source(-1)
      w:run(1 * S)
      local s, t = pair()
      s:source(100000)
      local got, idle = 0, 0
      while not t:eof() do
        w:run(20 * MS)
        local most = step > 1 and step or 500 -- by single bytes, then
        for _ = 1, step > 1 and 1 or most do
          local n = #t:read(step)
          got = got + n
          if n == 0 then break end
          idle = 0
        end
        idle = idle + 1
        assert.is_true(idle < 100, ("stuck at %d in steps of %d"):format(got, step))
      end
      assert.equal(100000, got)
      w:close()
      w = nil
    end
  end)
end)

describe("credit", function()
  it("is announced in quarters of a window", function()
    world { rate = 1250, server = { max_window = 256 * KIB } }
    local s, t = pair()
    t:sink()
    s:source(4 * MIB)
    w:run(10 * S)
    assert.equal(4 * MIB, t:moved())
    local packets = w:sent("server")
    assert.is_true(packets >= 4 * 16 - 4 and packets <= 4 * 16 + 4, packets .. " packets")
  end)

  -- The stream's own limit held it up, and the association's does now: the reader has to hear that it waits again.
  it("is announced in small steps for as long as the peer waits, for whatever reason", function()
    world { server = { min_stream_data = 4 * KIB, max_stream_data = 32 * KIB, max_window = 32 * KIB, max_data = 100 * KIB,
      memory = 100 * KIB } }
    local s, t = pair { priority = 7 }
    s:source(-1)
    w:run(1 * S)
    for _ = 1, 4 do pair({ priority = 0 }):source(-1) end -- these take what is left, and what is given back
    w:run(1 * S)
    assert.equal(26 * KIB, #t:read(26 * KIB))
    w:run(1 * S)
    assert.equal(6 * KIB, #t:read())
    for _ = 1, 10 do
      w:run(1 * S)
      assert.is_true(#t:read() > 0, "nothing more came")
    end
  end)

  it("is announced again, however many announcements and copies of them are lost", function()
    for seed = 1, 300 do
      world { seed = seed, rtt = 20 * MS, probes = 0.5, rate = 12500, server = { max_data = 64 * KIB, memory = 64 * KIB } }
      local s, t = pair()
      w:set_loss(0.3)
      t:sink()
      s:source(256 * KIB)
      w:run(60 * S)
      assert.equal(256 * KIB, t:moved(), "seed " .. seed)
      ends.close()
    end
  end)

  it("of a closed stream may be used before the receiver knows that its STOP arrived", function()
    world { ack_delay = 40 * MS, server = { max_data = 64 * KIB, memory = 64 * KIB } }
    local s, t = pair()
    s:source(-1)
    w:run(1 * S)
    local u, x = pair()
    u:source(-1)
    w:run(1 * S)
    t:close()
    w:run(110 * MS)
    assert.is_true(w:facts("server").charged_in > 60 * KIB)
    assert.is_nil(w:error())
    assert.is_true(#x:read() > 75 * KIB)
  end)
end)

describe("a window", function()
  it("doubles while its reader uses it up within two round trips, up to its limit", function()
    world { server = { max_window = 4 * MIB, memory = 32 * MIB } }
    local s, t = pair()
    t:sink()
    s:source(-1)
    local before = t:window()
    assert.equal(256 * KIB, before)
    w:run(3 * S)
    assert.equal(4 * MIB, t:window())
    local moved = t:moved()
    w:run(1 * S)
    -- 4 MiB in a round trip of 100 ms, less what its updates take
    assert.is_true(t:moved() - moved > 25 * MIB)
  end)

  it("grows where loss makes a window's worth take longer than two round trips", function()
    world { loss = 0.1, server = { max_window = 4 * MIB } }
    local s, t = pair()
    t:sink()
    s:source(-1)
    w:run(6 * S)
    assert.equal(4 * MIB, t:window())
  end)

  it("stays as it is while its reader is slow", function()
    world()
    local s, t = pair()
    s:source(-1)
    for _ = 1, 200 do
      w:run(50 * MS)
      t:read(20 * KIB)
    end
    assert.equal(256 * KIB, t:window())
  end)

  it("stays below half of the memory that stalled streams leave", function()
    world { server = { memory = 4 * MIB, max_data = 4 * MIB } }
    for _ = 1, 12 do pair():source(-1) end
    w:run(2 * S)
    local stalled = w:facts("server").charged_in
    assert.is_true(stalled > 2.5 * MIB)
    local s, t = pair()
    t:sink()
    s:source(-1)
    w:run(5 * S)
    assert.is_true(t:window() <= (4 * MIB - stalled) / 2 + 16 * KIB)
    assert.is_true(t:moved() > 5 * MIB)
  end)

  it("that the peer announces never shrinks", function()
    world()
    local s, t = pair()
    s:write(("x"):rep(1000))
    w:run(60 * MS)
    assert.is_true(w:frame("client", "\x11" .. v(1) .. v(0) .. v(10)))
    s:source(100 * KIB)
    w:run(200 * MS)
    assert.equal(1000 + 100 * KIB, #t:read())
  end)
end)

describe("max_data", function()
  it("grows with use to the memory cap and no further", function()
    world { server = { max_data = 256 * KIB, memory = 2 * MIB } }
    for _ = 1, 30 do pair():source(-1) end
    w:run(5 * S)
    local f = w:facts("server")
    assert.equal(2 * MIB, f.max_data_in)
    assert.is_true(f.charged_in <= 2 * MIB)
    assert.is_true(f.unread <= 2 * MIB + 30 * 16 * KIB)
    assert.equal(f.charged_in, w:facts("client").charged_out)
  end)

  it("does not grow without use", function()
    world { server = { max_data = 256 * KIB } }
    local s, t = pair()
    t:sink()
    for _ = 1, 100 do
      s:source(10000, true)
      w:run(100 * MS)
    end
    assert.equal(256 * KIB, w:facts("server").max_data_in)
  end)
end)

describe("the credit that a stream used", function()
  local ways = {
    ["is read to its end"] = function(s, t)
      s:source(200 * KIB)
      w:run(1 * S)
      t:sink()
      t:shutdown()
      s:close()
      w:run(1 * S)
      t:close()
    end,
    ["is closed unread"] = function(s, t)
      s:source(-1)
      w:run(1 * S)
      t:close()
      s:close()
    end,
    ["is closed unread after its end"] = function(s, t)
      s:source(100 * KIB)
      s:close()
      w:run(1 * S)
      t:close()
    end,
    ["is reset by its sender, and read"] = function(s, t)
      s:source(-1)
      w:run(1 * S)
      s:reset()
      w:run(1 * S)
      assert.equal(256 * KIB, w:facts("server").unread)
      t:sink()
      w:run(1 * S)
      t:close()
    end,
    ["is reset by its sender, and left"] = function(s, t)
      s:source(-1)
      w:run(1 * S)
      s:reset()
      w:run(1 * S)
      t:close()
    end,
    ["is reset by its reader"] = function(s, t)
      s:source(-1)
      w:run(1 * S)
      t:reset()
      s:close()
    end,
    ["is cut, and read"] = function(s, t)
      s:source(-1)
      s:cut()
      w:run(1 * S)
      t:sink()
      w:run(2 * S)
      t:close()
    end,
    ["is cut, and closed unread"] = function(s, t)
      s:source(-1)
      w:run(1 * S)
      s:cut()
      w:run(1 * S)
      t:close()
    end,
    ["is cut, and reset unread"] = function(s, t)
      s:source(-1)
      w:run(1 * S)
      s:cut()
      w:run(1 * S)
      t:reset()
    end,
  }
  for how, run in pairs(ways) do
    it("comes back, and the stream is forgotten, when it " .. how, function()
      for _, loss in ipairs { 0, 0.2 } do
        world { loss = loss }
        local s = w:open("client")
        w:run(loss > 0 and 2 * S or 60 * MS)
        run(s, w:accepted("server"))
        w:run(20 * S)
        all_zero("client")
        all_zero("server")
        assert.equal(0, w:blocks())
        w:close()
        w = nil
      end
    end)
  end
end)

describe("a peer that takes more than it was given", function()
  local function text(s) return v(#s) .. s end
  local function open(id) return "\x04" .. v(id) .. "\x03" .. v(16) .. "\x00\x00\x00\x00" end
  local function data(id, offset, bytes, last) return (last and "\x0b" or "\x0a") .. v(id) .. v(offset) .. text(bytes) end

  local function refused(frames, words)
    local ok, err, code = w:frame("server", frames)
    assert.is_nil(ok)
    assert.equal("protocol", code)
    assert.equal(words, err)
  end

  it("of a stream's credit is named", function()
    world { server = { max_stream_data = 1000, min_stream_data = 1000 } }
    assert.is_true(w:frame("server", open(1) .. data(1, 900, ("x"):rep(100))))
    refused(data(1, 1000, "x"), "frame DATA (0x0a): stream 1 has bytes up to 1001, and credit for 1000")
  end)

  it("of the association's credit is named", function()
    world { server = { max_stream_data = 10000, min_stream_data = 1000, max_data = 5000 } }
    assert.is_true(w:frame("server", open(1) .. data(1, 5999, "x")))
    assert.is_true(w:frame("server", data(3, 0, ("x"):rep(1000))))
    refused(data(3, 1000, "x"), "frame DATA (0x0a): streams have 5001 bytes beyond min_stream_data, and credit for 5000")
  end)

  it("of streams is named", function()
    world { server = { max_streams = 10 } }
    assert.is_true(w:frame("server", open(19)))
    assert.equal(10, w:facts("server").streams)
    refused(open(21), "frame OPEN (0x04): stream 21 is beyond the limit of 10 streams")
  end)

  local cases = {
    { open(2), "frame OPEN (0x04): stream 2 has an id of the other end" },
    { data(2, 0, "x"), "frame DATA (0x0a): stream 2 was not opened" },
    { "\x0d" .. v(4) .. v(0), "frame STOP (0x0d): stream 4 was not opened" },
    { "\x11" .. v(1) .. v(1) .. v(100), "frame MAX_STREAM_DATA (0x11): stream 1 has 1 bytes taken of 0 sent" },
    { data(1, 0, "abc", true) .. data(1, 3, "d"), "frame DATA (0x0a): stream 1 has bytes up to 4 of a stream that ends at 3" },
    { data(1, 0, "abc", true) .. data(1, 0, "ab", true), "frame DATA (0x0b): stream 1 has ends at 2, and at 3 before" },
    { data(1, 0, "abc") .. data(1, 0, "ab", true), "frame DATA (0x0b): stream 1 has ends at 2 after bytes up to 3" },
    { data(1, 0, "abc", true) .. "\x0c" .. v(1) .. v(4) .. v(0) .. v(0), "frame RESET (0x0c): stream 1 ends at 3, before 4" },
  }
  for _, case in ipairs(cases) do
    it("is closed with: " .. case[2], function()
      world()
      refused(case[1], case[2])
    end)
  end

  it("of anything, by a hundred thousand frames at random, finds bounded memory and errors", function()
    local LIMIT = 800 * KIB + 16 * 4 * KIB -- max_data and min_stream_data of 16 streams
    local rounds = os.getenv("KT_SPEC_LIGHT") == "1" and 10000 or 100000
    local errors = 0
    math.randomseed(10)
    local function r(n) return math.random(0, n) end
    local function id()
      return r(1000) == 0 and r(200) + 1 or r(3) == 0 and 2 * r(3) + 2 or 2 * r(15) + 1
    end
    local function odd() return 2 * r(15) + 1 end
    local function offset() return r(3) == 0 and r(100) or r(60000) end
    local kinds = {
      function() return open(r(200) == 0 and id() or odd()) end,
      function() return data(id(), 64000, "end", true) end,
      function() return data(id(), offset(), ("x"):rep(r(300) + 1), r(200) == 0) end,
      function() return data(id(), offset(), ("x"):rep(r(300) + 1)) end,
      function() return data(id(), r(10) * 1000, ("x"):rep(1000)) end,
      function() return "\x0c" .. v(id()) .. v(offset()) .. v(r(30)) .. text "why" end,
      function() return "\x0d" .. v(id()) .. v(r(30)) end,
      function() return "\x10" .. v(r(1 << 30)) end,
      function() return "\x11" .. v(id()) .. v(r(100) == 0 and 9000 or 0) .. v(r(1 << 20)) end,
      function() return "\x12" .. v(r(100)) end,
      function() return "\x13" .. v(id()) .. v(offset()) end,
    }
    local function fresh()
      if w then w:close() end
      world { server = { max_streams = 16, max_data = 400 * KIB, memory = 800 * KIB, max_stream_data = 64 * KIB,
        min_stream_data = 4 * KIB } }
      for _ = 1, 4 do w:open("server"):source(5000, true) end
      w:run(1)
      w:freeze("server", true)
    end
    fresh()
    local taken = {}
    for i = 1, rounds do
      if not w:frame("server", kinds[math.random(#kinds)]()) then
        errors = errors + 1
        fresh()
        taken = {}
      end
      local t = w:accepted("server")
      if t then taken[#taken + 1] = t end
      if #taken > 0 and r(20) == 0 then
        t = table.remove(taken, math.random(#taken))
        local what = r(4)
        if what == 0 then t:close() elseif what == 1 then t:reset() else
          t:read(r(10000))
          taken[#taken + 1] = t
        end
      end
      if i % 100 == 0 then
        w:freeze("server", false)
        w:run(1)
        w:freeze("server", true)
        assert.is_true(w:facts("server").streams <= 20)
        -- each span of offsets that was touched has a block, each stream has one more at either end
        assert.is_true(w:blocks() <= LIMIT / (4 * KIB) + 3 * 20)
      end
    end
    assert.is_true(errors > rounds / 1000 and errors < rounds / 10)
  end)
end)
