-- smux: window grants while streams are not read, and the fate of a stream that blocks others.
local smux = require "spec_smux"
local ends = require "smux_ends"

local SYN, FIN, PSH = ends.SYN, ends.FIN, ends.PSH
local frame = ends.frame

local BUFFER, STREAM, INITIAL = 4 << 20, 2 << 20, 256 << 10
local pool

before_each(function() pool = smux.pool(4096) end)
after_each(function() collectgarbage() end)

--- A receiver and a peer that sends everything it was ever granted, because it always sends before it hears of a smaller window; except for
--- the window that comes with the SYN. `far[id]` is how far windows reached, `sent[id]` what it sent, `last[id]` the last window.
local Peer = {}
Peer.__index = Peer

local function peer(e) return setmetatable({ e = e, far = {}, sent = {}, last = {} }, Peer) end

function Peer:listen()
  for _, words in ipairs(self.e:said()) do
    local id, consumed, window = words:match "^UPD (%d+) (%d+)/(%d+)$"
    if id then
      id, window = tonumber(id), tonumber(window)
      self.last[id] = window
      local far = self.far[id] or self.sent[id] and INITIAL or 0
      self.far[id] = math.max(far, tonumber(consumed) + window)
    end
  end
  return self
end

--- Sends n bytes of the stream, or as many as its windows allow; returns the number sent.
function Peer:send(id, n)
  local room = (self.far[id] or INITIAL) - (self.sent[id] or 0)
  n = math.min(n or room, room)
  if n <= 0 then return 0 end
  local bytes, left = {}, n
  while left > 0 do
    local len = math.min(left, 60000)
    bytes[#bytes + 1] = frame(2, PSH, id, ("x"):rep(len))
    left = left - len
  end
  self.e:hear(table.concat(bytes))
  self.sent[id] = (self.sent[id] or 0) + n
  return n
end

--- A client with n streams open, each of which has been read before.
local function reading(n)
  local e = ends.client(pool)
  local p, streams = peer(e), {}
  for i = 1, n do streams[i] = e:open() end
  p:listen()
  for _ = 1, 3 do
    for _, s in ipairs(streams) do
      p:send(s:id(), 100000)
      s:read()
      p:listen()
    end
  end
  return e, p, streams
end

describe("smux windows", function()
  it("are full-sized for one stream that is read, and for two", function()
    for _, n in ipairs { 1, 2 } do
      local _, p, streams = reading(n)
      for _, s in ipairs(streams) do assert.equal(STREAM, p.last[s:id()]) end
    end
  end)

  for _, n in ipairs { 3, 30, 300 } do
    it(("leave room for another stream when %d peers send everything they were granted and no one reads it"):format(n), function()
      local e, p, streams = reading(n)
      for _ = 1, 4 do
        for _, s in ipairs(streams) do p:send(s:id()) end
        p:listen()
      end
      assert.is_true(e.m:buffered() < 2 * BUFFER)

      local s = e:open()
      p:listen()
      for _ = 1, 20 do
        assert.is_true(p:send(s:id(), 1000) > 0)
        assert.is_true(#s:read() > 0)
        p:listen()
      end
    end)
  end

  it("of streams that stop one after the other leave the next at least a seventh of the buffer", function()
    local e, p, streams = reading(20)
    for _, s in ipairs(streams) do
      p:send(s:id(), 50000)
      p:listen()
      if e.m:has_shrunk() then
        e.m:believe()
        e.m:believe()
      end
    end
    local s = e:open()
    p:listen()
    p:send(s:id(), 10)
    s:read()
    p:listen()
    assert.is_true(p.last[s:id()] > BUFFER // 7)
  end)

  it("shrink for a stream with unread bytes, without a read, and grow again when it is read", function()
    local e, p, streams = reading(3)
    for _ = 1, 10 do
      for _, s in ipairs(streams) do p:send(s:id(), 90000) end
      p:listen()
    end
    for _, s in ipairs(streams) do assert.is_true(p.last[s:id()] < STREAM * 3 // 4) end
    assert.is_true(e.m:has_shrunk())
    for _, s in ipairs(streams) do s:read() end
    p:listen()
    for _, s in ipairs(streams) do assert.is_true(p.last[s:id()] >= BUFFER // 4) end
  end)

  it("that were taken back are granted to others only once the peer must have heard of it", function()
    local e, p, streams = reading(3)
    for _, s in ipairs(streams) do p:send(s:id(), 900000) end
    p:listen()
    local function granted()
      local s = e:open()
      p:listen()
      p:send(s:id(), 1)
      s:read()
      p:listen()
      return p.last[s:id()], s:close()
    end
    local before = granted()
    e.m:believe()
    assert.is_true(granted() <= before)
    e.m:believe()
    assert.is_true(granted() > before)
  end)

  it("of streams at rest are taken back when a busy one gets less than half of what it could", function()
    local e, p = reading(20)
    local busy = e:open()
    p:listen()
    assert.is_true(p.last[busy:id()] < INITIAL)
    for _ = 1, 200 do
      p:send(busy:id(), 50000)
      busy:read()
      p:listen()
      e.m:believe()
    end
    assert.is_true(p.last[busy:id()] > STREAM // 2)
  end)

  it("start smaller, right behind the SYN, where the buffer is below every peer's assumption", function()
    local e, p, streams = reading(30)
    for _, s in ipairs(streams) do p:send(s:id()) end
    p:listen()
    e:open()
    local said = e:said()
    assert.equal("SYN 63", said[1])
    local consumed, window = said[2]:match "^UPD 63 (%d+)/(%d+)$"
    assert.equal("0", consumed)
    assert.is_true(tonumber(window) < INITIAL)
  end)

  it("are not closed to a stream of the peer's either", function()
    local e = ends.new(pool, { session_buffer = 65536, stream_buffer = 65536 })
    e:hear(frame(2, SYN, 3))
    assert.same({ "UPD 3 0/61440" }, e:said())
  end)
end)

describe("a smux stream whose peer sends beyond every window", function()
  it("is cut, and the others are unaffected", function()
    local e = ends.new(pool, {})
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5))
    e:heard()
    for _ = 1, 4 do e:hear(frame(2, PSH, 3, ("x"):rep(65535))) end
    e:heard()
    e:hear(frame(2, PSH, 3, ("x"):rep(5)), frame(2, PSH, 5, "hello"))
    assert.same({ "cut 3 262140 protocol", "closed 3 protocol", "readable 5" }, e:heard())
    assert.equal("hello", e.accepted[2]:read())
    assert.equal(0, e.m:buffered())
    e.accepted[1]:reset()
    assert.same({ "UPD 5 5/2097152", "FIN 3" }, e:said())
  end)

  it("is not cut for bytes that were in flight when its window shrank", function()
    local _, p, streams = reading(3)
    for _, s in ipairs(streams) do p:send(s:id(), 900000) end
    p:listen()
    for _, s in ipairs(streams) do
      assert.is_true(p:send(s:id()) > 0)
      assert.is_true(#s:read() > 900000)
    end
  end)
end)

describe("smux 1, where nothing holds a single stream back", function()
  local function full()
    local e = ends.new(pool, { version = 1, session_buffer = 1000 })
    e:hear(frame(1, SYN, 3), frame(1, SYN, 5), frame(1, PSH, 3, ("x"):rep(600)), frame(1, PSH, 5, ("y"):rep(300)))
    e:heard()
    local waits = frame(1, PSH, 5, ("z"):rep(200))
    return e, waits:sub(e.m:input(waits) + 1)
  end

  it("cuts the streams that were not read while the buffer was full, and continues", function()
    local e, waits = full()
    e.m:watch()
    e.accepted[2]:read(1)
    e.m:input(waits:sub(1, 1))
    e.m:cut_unread()
    e.m:dispatch()
    assert.same({ "cut 3 600 limit", "readable 5", "closed 3 limit" }, e:heard())
    assert.is_false(e.accepted[1]:eof())
    assert.equal(#waits - 1, e.m:input(waits:sub(2)))
    assert.equal(499, #e.accepted[2]:read())
  end)

  it("cuts the stream with the most unread bytes if each was read a little", function()
    local e, waits = full()
    e.m:watch()
    e.accepted[1]:read(1)
    e.accepted[2]:read(1)
    e.m:input(waits:sub(1, 2))
    e.m:cut_unread()
    e.m:dispatch()
    assert.same({ "cut 3 599 limit", "readable 5", "closed 3 limit" }, e:heard())
  end)

  it("tells the reader of a cut stream, even after the peer's FIN, that it is incomplete", function()
    local e = ends.new(pool, { version = 1, session_buffer = 1000 })
    e:hear(frame(1, SYN, 3), frame(1, PSH, 3, ("x"):rep(1000)), frame(1, FIN, 3), frame(1, SYN, 5))
    e:heard()
    e.m:input(frame(1, PSH, 5, "hello"))
    e.m:watch()
    e.m:cut_unread()
    assert.is_false(e.accepted[1]:eof())
    e.m:dispatch()
    assert.same({ "cut 3 1000 limit", "closed 3 limit" }, e:heard())
  end)

  it("cuts nothing while there is room", function()
    local e = ends.new(pool, { version = 1, session_buffer = 1000 })
    e:hear(frame(1, SYN, 3), frame(1, PSH, 3, ("x"):rep(999)))
    e:heard()
    e.m:watch()
    e.m:cut_unread()
    assert.same({}, e:heard())
  end)
end)
