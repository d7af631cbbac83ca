-- Scheduling of streams (runtime/link/common/stream_schedule.h), seen through smux. All shares are counted in bytes.
local smux = require "spec_smux"
local ends = require "smux_ends"

local PSH = ends.PSH
local pool

before_each(function() pool = smux.pool(4112) end)
after_each(function() collectgarbage() end)

--- A client whose transport accepts exactly the bytes it was granted, headers included; grant returns the PSH frames.
local function client()
  local c, left, seen
  c = ends.client(pool, {
    version = 1, -- no windows: only the turns decide
    room = function(want)
      while seen < #c.frames do
        seen = seen + 1
        left = left - #c.frames[seen]
      end
      return left > 8 and math.max(math.min(want, left - 8), 1) or 0
    end,
  })
  function c.grant(bytes)
    left, seen = bytes, 0
    local order, _, frames = {}, c:pump()
    for _, f in ipairs(frames) do
      local _, cmd, len, id = string.unpack("<BBI2I4", f)
      if cmd == PSH then order[#order + 1] = { id = id, n = len } end
    end
    return order
  end
  return c
end

local function add(order, sums)
  for _, f in ipairs(order) do sums[f.id] = (sums[f.id] or 0) + f.n end
  return sums
end

local function fill(s) while s:write(("x"):rep(65536)) > 0 do end end

--- Grants `bytes` in steps of `step`, all streams full at each; returns the bytes sent, by stream.
local function share(c, streams, bytes, step)
  local sums = {}
  for _, s in ipairs(streams) do fill(s) end
  c.grant(0)
  for _ = 1, bytes // step do
    for _, s in ipairs(streams) do fill(s) end
    add(c.grant(step), sums)
  end
  return sums
end

local function opened(c, n)
  local streams = {}
  for i = 1, n do streams[i] = c:open() end
  c.grant(math.huge) -- the SYNs
  c.m:settled(c.m:mark())
  return streams
end

describe("smux weights", function()
  for _, pair in ipairs { { 16, 16 }, { 16, 32 }, { 1, 2 }, { 16, 256 }, { 1, 256 }, { 5, 7 } } do
    it(("give streams of %d and %d their shares of the bytes"):format(pair[1], pair[2]), function()
      local c = client()
      local s = opened(c, 2)
      s[1]:set(3, pair[1])
      s[2]:set(3, pair[2])
      local sums = share(c, s, 8 << 20, 30000)
      local want = pair[1] / (pair[1] + pair[2])
      local got = (sums[s[1]:id()] or 0) / ((sums[s[1]:id()] or 0) + sums[s[2]:id()])
      assert.is_true(math.abs(got - want) < 0.06 * want + 0.002, ("expected %f, got %f"):format(want, got))
    end)
  end

  it("do not matter to a stream that is alone: its frames are as long as without", function()
    local c = client()
    local s = opened(c, 1)
    s[1]:set(3, 1)
    s[1]:write(("x"):rep(30000))
    local lens = {}
    for i, f in ipairs(c.grant(math.huge)) do lens[i] = f.n end
    assert.same({ 8192, 8192, 8192, 5424 }, lens) -- two blocks of the pool each
  end)

  it("count from when they are set", function()
    local c = client()
    local s = opened(c, 2)
    local sums = share(c, s, 1 << 20, 30000)
    assert.is_true(math.abs(sums[s[1]:id()] / sums[s[2]:id()] - 1) < 0.1)
    s[1]:set(3, 48)
    sums = share(c, s, 4 << 20, 30000)
    assert.is_true(math.abs(sums[s[1]:id()] / sums[s[2]:id()] - 3) < 0.3)
  end)
end)

describe("smux priorities", function()
  it("let priority 0 overtake a full queue of priority 7", function()
    local c = client()
    local s = opened(c, 2)
    s[1]:set(7)
    s[2]:set(0)
    fill(s[1])
    c.grant(0)
    s[2]:write "key"
    local order = c.grant(20000)
    assert.same({ id = s[2]:id(), n = 3 }, order[1])
    assert.equal(s[1]:id(), order[2].id)
  end)

  it("serve all of a priority before the next, in the order 0 to 7", function()
    local c = client()
    local s = opened(c, 8)
    for i = 1, 8 do
      s[i]:set(8 - i)
      s[i]:write "data"
    end
    local ids, want = {}, {}
    for i, f in ipairs(c.grant(math.huge)) do ids[i] = f.id end
    for i = 1, 8 do want[i] = s[9 - i]:id() end
    assert.same(want, ids)
  end)

  it("apply to a stream that waits already", function()
    local c = client()
    local s = opened(c, 2)
    fill(s[1])
    fill(s[2])
    c.grant(0)
    s[2]:set(1)
    local order = c.grant(30000)
    for _, f in ipairs(order) do assert.equal(s[2]:id(), f.id) end
    assert.is_true(#order > 1)
  end)

  it("leave those behind one byte in 32, which they share", function()
    local c = client()
    local s = opened(c, 3)
    s[1]:set(0)
    s[2]:set(5)
    s[3]:set(7)
    local sums = share(c, s, 8 << 20, 30000)
    local all = 0
    for _, n in pairs(sums) do all = all + n end
    for i = 2, 3 do
      local got = sums[s[i]:id()] / all
      assert.is_true(got > 1 / 64 * 0.7 and got < 1 / 64 * 1.3, got)
    end
  end)

  it("follow a young stream to another session", function()
    local a, b = client(), client()
    local first = b:open()
    fill(first)
    local s = a:open()
    s:set(1, 7)
    s:write "young"
    a.grant(math.huge)
    assert.equal(1, a.m:move_young(b.m))
    assert.same({ 1, 7 }, { (s:facts()), (select(2, s:facts())) })
    assert.same({ id = s:id(), n = 5 }, b.grant(10000)[1])
  end)

  it("default to 3, with weight 16; values out of range are refused", function()
    local c = client()
    local s = c:open()
    assert.same({ 3, 16 }, { (s:facts()), (select(2, s:facts())) })
    assert.equal("ok", s:set(0, 256))
    for _, bad in ipairs { { 8, 16 }, { 3, 0 }, { 3, 257 } } do
      assert.equal("invalid", s:set(bad[1], bad[2]))
      assert.same({ 0, 256 }, { (s:facts()), (select(2, s:facts())) })
    end
  end)
end)

describe("smux turns", function()
  it("are kept when the transport is full in the middle of one", function()
    local c = client()
    local s = opened(c, 2)
    s[1]:set(3, 64)
    s[2]:set(3, 64)
    local sums = share(c, s, 2 << 20, 8300) -- a frame at a time, four to a turn
    assert.is_true(math.abs(sums[s[1]:id()] / sums[s[2]:id()] - 1) < 0.1)
  end)

  it("cost no more with 1000 idle streams", function()
    local function seconds(idle)
      local c = client()
      local s = opened(c, idle + 2)
      local from = os.clock()
      share(c, { s[1], s[2] }, 1 << 19, 10000)
      local took = os.clock() - from
      for _, stream in ipairs(s) do stream:reset() end
      return took
    end
    seconds(0)
    local without, with = math.huge, math.huge
    for _ = 1, 2 do -- the machine may be busy: the better of two
      without = math.min(without, seconds(0))
      with = math.min(with, seconds(1000))
    end
    assert.is_true(with < 3 * without, ("%f s, %f s without"):format(with, without))
  end)
end)

describe("smux streams that are opened endlessly", function()
  it("leave one frame in sixteen to the data of others", function()
    local c = client()
    local s = opened(c, 1)[1]
    s:write(("x"):rep(3000))
    local sent = 0
    for _ = 1, 40 do
      c:open()
      c:open()
      for _, f in ipairs(c.grant(24)) do sent = sent + f.n end -- room for one or two frames
    end
    assert.is_true(sent > 0)
  end)
end)

describe("a smux stream's facts", function()
  it("show its buffers and what the transport knows", function()
    local c = client()
    local s = opened(c, 1)[1]
    s:write(("x"):rep(5000))
    local _, _, queued, srtt = s:facts()
    assert.same({ 5000, 12345 }, { queued, srtt })
    c.grant(math.huge)
    assert.equal(0, (select(3, s:facts())))
  end)

  it("remain available when the session has ended", function()
    local c = client()
    local s = opened(c, 1)[1]
    s:set(2, 9)
    c.m:free()
    local priority, weight, queued, srtt = s:facts()
    assert.same({ 2, 9, 0, 0 }, { priority, weight, queued, srtt })
    s:set(1, 9)
    s:close()
  end)
end)
