-- Parity of kt's own wire (docs/wire.md, 6.4): how much there is, when it leaves, and what is rebuilt from it.
local frame = require "spec_native_frame"
local parity = require "spec_native_parity"

local MS = 1000
local RTT = 100 * MS

describe("the parity that a group needs", function()
  it("grows with the loss, and less than the group does", function()
    local counts = {}
    for i, loss in ipairs { 0, 0.005, 0.01, 0.02, 0.05, 0.1 } do
      counts[i] = { (parity.need(1, loss, 0, 16)), (parity.need(10, loss, 0, 16)), (parity.need(62, loss, 0, 16)) }
    end
    assert.same({ { 0, 0, 0 }, { 1, 1, 3 }, { 1, 2, 4 }, { 1, 2, 5 }, { 2, 4, 10 }, { 2, 5, 16 } }, counts)
  end)

  it("leaves fewer than 1 in 400 groups with a packet missing", function()
    local random, failed, lost = 1, 0, 0
    local function chance()
      random = (random * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
      return (random >> 10) / (1 << 53)
    end
    local n = parity.need(20, 0.05, 0, 16)
    for _ = 1, 20000 do
      local gone = 0
      for _ = 1, 20 + n do gone = gone + (chance() < 0.05 and 1 or 0) end
      failed, lost = failed + (gone > n and 1 or 0), lost + gone
    end
    assert.is_true(failed <= 60, failed)
    assert.is_true(failed > 5, failed) -- and wastes nothing
    assert.is_true(lost > 20000, lost)
  end)

  it("is more where packets are lost in a row, and none where half as much again could not help", function()
    local random = parity.need(30, 0.02, 0, 16)
    local rows, enough = parity.need(30, 0.02, 2, 16)
    assert.is_true(enough and rows > random, rows)
    assert.same({ 0, false }, { parity.need(10, 0.05, 20, 5) })
    assert.same({ 5, false }, { parity.need(10, 0.15, 0, 5) })
    assert.same({ 0, false }, { parity.need(10, 0.7, 0, 16) })
  end)
end)

-- A path that loses 5 %.
local function lossy()
  local o = parity.out()
  assert.is_true(o:stats(950, 50, 0, 48))
  return o
end

describe("a path", function()
  it("has no parity, and no memory for it, until it loses packets for certain", function()
    local o = parity.out()
    for _, stats in ipairs { { 100, 0, 0, 0 }, { 200, 2, 0, 2 }, { 5000, 10, 0, 10 }, { 5100, 40, 33, 40 } } do
      assert.is_false((o:stats(table.unpack(stats))), stats[2])
    end
    assert.is_false(o:held())
  end)

  it("begins at 0.4 % of loss and ends below 0.15 %, when its memory is freed", function()
    local o = parity.out()
    assert.is_true((o:stats(1000, 5, 0, 5)))
    assert.is_true((o:stats(1600, 5, 0, 5)))
    assert.is_true(o:held())
    assert.is_false((o:stats(4600, 5, 0, 5)))
    assert.is_false(o:held())
    assert.is_false((o:stats(5600, 7, 0, 7)))
  end)

  it("closes a group when it spans 62 numbers or a quarter of the round trip, or half of it for flows alone", function()
    local o = lossy()
    assert.is_nil(o:due(10))
    o:add(10, "\1", true, RTT, 0)
    assert.equal(RTT // 2, o:due(11))
    o:add(11, "\1", false, RTT, MS)
    assert.equal(MS + RTT // 4, o:due(12))
    assert.equal(MS + RTT // 4, o:due(71))
    assert.equal(0, o:due(72))
    assert.matches("^PARITY first=10 members=3 index=0", (frame.read(o:write(1400, 30 * MS))))
    o:reset()
    o:add(80, "\1", true, 4 * RTT, 0)
    assert.equal(50 * MS, o:due(81))
  end)

  it("sends all parity of a group before another begins", function()
    local o = lossy()
    for i = 0, 9 do o:add(i, "\1\1\1", true, RTT, 0) end
    local n, indexes = 0, {}
    while o:due(10 + n) == 50 * MS or o:due(10 + n) == 0 do
      indexes[n] = tonumber((frame.read(o:write(1400, 50 * MS))):match "index=(%d+)")
      n = n + 1
      if n == 1 then assert.is_false((o:stats(950, 50, 0, 48))) end
    end
    assert.equal((parity.need(10, 0.05, 50 / 48, 10)), n)
    for i = 0, n - 1 do assert.equal(i, indexes[i]) end
    assert.is_true((o:stats(950, 50, 0, 48)))
  end)

  it("gives up parity that is a round trip late, does not fit, or is of a former address", function()
    local o = lossy()
    o:add(0, "\1", true, RTT, 0)
    assert.equal("", o:write(1400, 151 * MS))
    o:add(1, ("\1"):rep(100), true, RTT, 0)
    assert.equal("", o:write(50, 50 * MS))
    o:add(2, "\1", true, RTT, 0)
    o:reset()
    assert.is_nil(o:due(3))
  end)
end)

-- Packets 0..n-1 of different lengths, and the parity of those that `member` names; each PARITY frame is a packet.
local function group(n, member)
  local o, packets = lossy(), {}
  for i = 0, n - 1 do
    packets[i] = string.char(1):rep(1 + i * 37 % 1300) .. ("%d"):format(i)
    if member(i) then o:add(i, packets[i], true, RTT, 0) end
  end
  local at = n
  while o:due(at) do
    packets[at] = o:write(1471, 50 * MS)
    at = at + 1
  end
  return packets, n, at - n
end

--- Feeds all packets but those lost, in order; returns what was rebuilt, by number.
local function feed(i, packets, lost, from, to)
  local out = {}
  for number = from, to do
    if not lost[number] then
      for _, r in ipairs(assert(i:packet(number, packets[number], 0))) do
        assert.is_nil(out[r[1]])
        out[r[1]] = r[2]
      end
    end
  end
  return out
end

describe("a lost packet", function()
  it("is rebuilt from as much parity as packets are lost, whichever they are", function()
    local packets, n, m = group(30, function(i) return i % 7 ~= 3 end)
    assert.is_true(m >= 4 and m < 16, m)
    for shift = 0, 5 do
      local i, lost, wanted = parity.into(), {}, {}
      i:packet(n, packets[n], 0) -- the first PARITY, early: from now on packets are kept
      for k = 0, m - 2 do
        local number = (shift + k * 4) % n
        if number % 7 ~= 3 then lost[number], wanted[number] = true, packets[number] end
      end
      lost[n] = true -- has arrived
      lost[3] = true -- is in no group
      assert.same(wanted, feed(i, packets, lost, 0, n + m - 1))
    end
  end)

  it("is not rebuilt from less", function()
    local packets, n, m = group(20, function() return true end)
    local i, lost = parity.into(), {}
    i:packet(n, packets[n], 0)
    for k = 0, m do lost[k] = true end
    assert.same({}, feed(i, packets, lost, 0, n - 1))
    assert.same({}, feed(i, packets, {}, n + 1, n + m - 1))
    assert.same({ frames = m, rebuilt = 0, short_groups = 0, errors = 0, held = true }, i:facts())
    local out = assert(i:packet(2, packets[2], 0)) -- it was only late: now there is enough
    assert.equal(m, #out)
  end)

  it("is rebuilt once, and not if it has arrived", function()
    local packets, n, m = group(10, function() return true end)
    local i = parity.into()
    assert.same({}, feed(i, packets, {}, 0, n + m - 1))
    i = parity.into()
    i:packet(n, packets[n], 0)
    assert.same({ [4] = packets[4] }, feed(i, packets, { [4] = true, [n] = true }, 0, n + m - 1))
    assert.same({}, i:packet(4, packets[4], 0))
    assert.equal(1, i:facts().rebuilt)
  end)

  it("that arrived before packets were kept is not handed over again", function()
    local packets, n, m = group(10, function() return true end)
    local i = parity.into()
    local out = feed(i, packets, { [9] = true }, 0, n + m - 1)
    assert.same({}, out)
  end)
end)

describe("a receiver of parity", function()
  it("keeps nothing until the first PARITY, and is idle 10 s after the last", function()
    local i = parity.into()
    i:packet(0, "\1", 0)
    assert.is_false(i:facts().held)
    local packets, n = group(1, function() return true end)
    i = parity.into()
    i:packet(n, packets[n], 5 * MS)
    assert.is_true(i:facts().held)
    assert.is_false(i:idle(10004 * MS))
    assert.is_true(i:idle(10005 * MS))
    i:free()
    assert.is_false(i:facts().held)
  end)

  it("refuses parity of packets that were not sent before it", function()
    local packets, n = group(10, function() return true end)
    local i = parity.into()
    assert.same({ nil, "frame PARITY (0x20): about packets that were not sent before it" }, { i:packet(9, packets[n], 0) })
  end)

  it("ignores parity of long ago", function()
    local packets, n = group(10, function() return true end)
    local i = parity.into()
    i:packet(200, "\1", 0)
    assert.same({}, i:packet(n, packets[n], 0))
    assert.same({}, i:packet(0, packets[0], 0))
    assert.equal(0, i:facts().short_groups)
  end)
end)
