-- smux: many streams at once, with random sizes, speeds and ends. A failure names its seed.
local smux = require "spec_smux"
local ends = require "smux_ends"

local LIGHT = os.getenv("KT_SPEC_LIGHT") == "1"
local STREAMS = LIGHT and 60 or 200
local random = math.random

--- Stream content: a long period of noise, begun elsewhere for each stream and direction.
local NOISE
do
  local t = {}
  math.randomseed(1)
  for i = 1, 65521 do t[i] = string.char(random(0, 255)) end
  NOISE = table.concat(t)
end

local function content(offset, from, n)
  local out = {}
  local at = (offset + from) % #NOISE
  while n > 0 do
    local piece = NOISE:sub(at + 1, at + n)
    out[#out + 1] = piece
    n = n - #piece
    at = 0
  end
  return table.concat(out)
end

-- One side of a stream. mode: "stay" reads to the end before it closes, "close" closes when it has written all,
-- "reset" resets somewhere on the way.
local Side = {}
Side.__index = Side

local function new_side(mode, offset)
  local total = random() < 0.2 and 0 or random(1, random() < 0.05 and 200000 or 20000)
  return setmetatable({ mode = mode, offset = offset, total = total, chunk = random(1, 20000), slow = random(),
    stop = mode == "reset" and random(0, total) or total, wrote = 0, got = 0, room = true }, Side)
end

function Side:attach(stream, other)
  self.stream, self.other = stream, other
  stream:listen {
    writable = function() self.room = true end,
    closed = function(code) self.code = code end,
  }
end

function Side:finish(how)
  self.stream[how](self.stream)
  self.stream, self.how = nil, how
end

function Side:write()
  while self.room and self.wrote < self.stop do
    local n = math.min(random(1, self.chunk), self.stop - self.wrote)
    local took = self.stream:write(content(self.offset, self.wrote, n))
    self.wrote = self.wrote + took
    self.room = took == n
  end
end

function Side:read()
  local data = self.stream:read(random(1, 3 * self.chunk))
  assert(data == content(self.other.offset, self.got, #data), "stream content differs")
  self.got = self.got + #data
end

--- A step; returns false when this side is over.
function Side:step()
  if not self.stream then return false end
  if random() > self.slow then self:read() end
  if not (self.stream:gone() or self.code) then self:write() end
  local all = self.wrote == self.stop
  if self.mode == "reset" and all then
    self:finish "reset"
  elseif self.mode == "close" and (all or self.stream:gone()) then
    self:finish "close"
  elseif self.stream:eof() and (all or self.stream:gone()) then
    self.eof = true
    self:finish "close"
  elseif self.code then
    self:finish "close"
  elseif self.mode == "stay" and all and not self.shut and self.stream:half_close() then
    self.shut = true
    self.stream:shutdown()
  end
  return true
end

--- Whether the bytes that arrived are the expected ones; true if any are certain to arrive.
function Side:check()
  local other = self.other
  if self.mode ~= "stay" or other.mode == "reset" then return false end
  assert(self.eof or self.code == "reset", "no end of data, but " .. tostring(self.code))
  assert(self.got == other.wrote, ("%d bytes of %d"):format(self.got, other.wrote))
  return true
end

local function modes(half_close)
  local all = { "stay", "close", "reset" }
  local a, b = all[random(3)], all[random(3)]
  -- without half-close, two ends that both wait for the other's end would wait forever
  if a == "stay" and b == "stay" and not half_close then b = "close" end
  return a, b
end

--- A transport that takes a random number of frames, and parts of them, a round.
local function narrow()
  local credit = { n = 0 }
  return credit, function(want)
    if credit.n <= 0 then return 0 end
    local room = want > 0 and random(1, 2) == 1 and random(1, want) or math.max(want, 1)
    if want == 8 then room = 8 end -- an update is sent whole
    credit.n = credit.n - room
    return room
  end
end

--- Feeds a random piece of what waits on the wire.
local function carry(from, to)
  from.wire = (from.wire or "") .. (from:pump())
  local n = random() < 0.5 and #from.wire or random(0, #from.wire)
  if n == 0 then return end
  local took = assert(to.m:input(from.wire:sub(1, n)))
  from.wire = from.wire:sub(took + 1)
  to.m:dispatch()
end

local function run(seed, settings)
  math.randomseed(seed)
  local pool = smux.pool(settings.block or 2048)
  local credit_a, room_a = narrow()
  local credit_b, room_b = narrow()
  local function config(client, room)
    return { client = client, room = room, version = settings.version, features = settings.features,
      frame_size = random(1, 9000), session_buffer = random(5000, 50000), stream_buffer = random(2, 40000),
      hash_seed = seed }
  end
  local a, b = ends.new(pool, config(true, room_a)), ends.new(pool, config(false, room_b))
  local sides, active, waiting, opened = {}, {}, { [a] = {}, [b] = {} }, 0

  -- streams come out of accept in the order in which they were opened
  for _, e in ipairs { a, b } do
    e.on_accept = function(s)
      local side = table.remove(waiting[e], 1)
      side:attach(s, side.other)
      active[#active + 1] = side
    end
  end
  local function open(from, to)
    opened = opened + 1
    local mode, other_mode = modes(settings.features == 1)
    local x, y = new_side(mode, random(0, 65000)), new_side(other_mode, random(0, 65000))
    y.other = x
    x:attach(assert(from.m:open()), y)
    table.insert(waiting[to], y)
    active[#active + 1] = x
    sides[#sides + 1], sides[#sides + 2] = x, y
    -- resets before the SYN leaves would go unseen: let it leave
    if mode == "reset" then
      credit_a.n, credit_b.n = 60000, 60000 -- window updates may come first
      from.wire = (from.wire or "") .. (from:pump())
    end
  end

  local rounds = 0
  repeat
    rounds = rounds + 1
    assert(rounds < 100000, "it does not come to an end")
    if rounds % 50 == 0 then
      a.m:believe()
      b.m:believe()
    end
    for _ = 1, random(0, 3) do
      if opened < STREAMS then
        if random() < 0.8 then open(a, b) else open(b, a) end
      end
    end
    for i = #active, 1, -1 do
      if not active[i]:step() then table.remove(active, i) end
    end
    credit_a.n, credit_b.n = random(0, 60000), random(0, 60000)
    carry(a, b)
    carry(b, a)
    for _, e in ipairs { a, b } do
      if e.wire == "" and random() < 0.3 then e.m:settled(e.m:mark()) end
    end
  until opened == STREAMS and #active == 0 and #a.wire + #b.wire + a.m:streams() + b.m:streams() == 0
  local musts = 0
  for _, side in ipairs(sides) do musts = musts + (side:check() and 1 or 0) end
  assert.is_true(musts > STREAMS / 4)
  assert.is_true(a.m:idle())
  assert.is_true(b.m:idle())
  assert.equal(0, a.m:buffered())
  assert.equal(0, b.m:buffered())
  assert.equal(0, pool:in_use())
  a.m:free()
  b.m:free()
end

describe("smux with many streams", function()
  for _, version in ipairs { 1, 2 } do
    for _, features in ipairs { 0, 1 } do
      for seed = 1, LIGHT and 1 or 2 do
        it(("delivers exactly what was written: version %d, features %d, seed %d"):format(version, features, seed),
          function() run(seed, { version = version, features = features }) end)
      end
    end
  end

  it("delivers with tiny blocks as well", function() run(11, { version = 2, features = 1, block = 64 }) end)

  it("delivers exactly once what is moved from a dead session to the next", function()
    math.randomseed(5)
    local pool = smux.pool(2048)
    local from, to = ends.new(pool, { client = true }), ends.new(pool, { client = true })
    local dead, live = ends.new(pool, {}), ends.new(pool, {})
    local want, streams = {}, {}
    for i = 1, 100 do
      local s = assert(from.m:open())
      local data = content(random(0, 65000), 0, random(0, 60000))
      s:write(data)
      want[i], streams[i] = data, s
      if random() < 0.3 then from:pump() end -- lost
    end
    for i = 1, 100, 3 do streams[i]:close() end
    assert.equal(100, from.m:move_young(to.m))
    from.m:free()
    local got = {}
    live.on_accept = function(s)
      local i = #got + 1
      got[i] = ""
      local function read() got[i] = got[i] .. s:read() end
      s:listen { readable = read }
      live.accepted[i] = s
    end
    ends.exchange(to, live)
    to.m:settled(to.m:mark())
    for i = 1, 100 do
      assert.is_true(want[i] == got[i], "stream " .. i)
      assert.equal(i % 3 == 1, live.accepted[i]:eof())
      live.accepted[i]:close()
      if i % 3 ~= 1 then streams[i]:close() end
    end
    ends.exchange(to, live)
    assert.equal(0, to.m:streams())
    assert.equal(0, live.m:streams())
    assert.equal(0, pool:in_use())
    dead.m:free()
  end)
end)
