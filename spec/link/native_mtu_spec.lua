-- The search for a path's packet size on kt's own wire, and its black holes (docs/wire.md, 5.7).
local path = require "spec_native_path"
local recovery = require "spec_native_recovery"

local MS, S = 1000, 1000000
local RTT = 100 * MS

-- Searches on a path that carries `carries` bytes and loses each probe with this chance. Returns the size found and
-- how many probes that took.
local function search(m, carries, loss, at)
  local now, probes = at or 0, 0
  while m:probe(now) > 0 do
    local size = m:probe(now)
    m:sent()
    assert.equal(0, m:probe(now)) -- one at a time
    probes = probes + 1
    now = now + RTT
    if size <= carries and math.random() >= (loss or 0) then m:acked(size) else m:lost(size, now) end
  end
  return m:size(), probes, now
end

describe("the search for the packet size", function()
  it("ends at the largest size that the path carries", function()
    for _, case in ipairs {
      { 9000, 1472, 4 }, { 1471, 1440, 6 }, { 1440, 1440, 6 }, { 1420, 1400, 5 }, { 1360, 1350, 4 }, { 1349, 1200, 3 },
    } do
      local size, probes = search(path.mtu(1472), case[1])
      assert.same({ case[2], case[3] }, { size, probes })
    end
  end)

  it("never goes above what the interface and the family allow", function()
    assert.equal(1452, (search(path.mtu(1452), 9000)))
    assert.equal(1380, (search(path.mtu(1380), 9000)))
    assert.equal(0, path.mtu(1200):probe(0))
  end)

  it("begins again a minute after it failed, from where it stood", function()
    local m = path.mtu(1472)
    local size, _, now = search(m, 1420)
    assert.equal(0, m:probe(now + 60 * S - 1))
    assert.equal(1440, m:probe(now + 60 * S))
    assert.equal(1400, size)
    assert.equal(1472, (search(m, 9000, 0, now + 60 * S)))
  end)

  it("reaches the top in spite of losses", function()
    math.randomseed(3)
    local reached = 0
    for _ = 1, 1000 do
      if search(path.mtu(1472), 9000, 0.1) == 1472 then reached = reached + 1 end
    end
    assert.is_true(reached > 985) -- four sizes, each fails once in 1,000 times
  end)
end)

describe("a black hole", function()
  local function found(m, events)
    local at, hole = 0, false
    for _, e in ipairs(events) do
      at = at + MS
      if e == "small" then m:packet_acked(100)
      elseif e == "large" then m:packet_acked(1400)
      elseif e == "lost small" then hole = m:packet_lost(100, at) or hole
      else hole = m:packet_lost(1400, at) or hole end
    end
    return hole
  end

  local function searched()
    local m = path.mtu(1472)
    search(m, 9000)
    return m
  end

  local function suspected()
    local m = searched()
    assert.is_true(found(m, { "lost", "small", "lost", "small", "lost" }))
    assert.equal(1200, m:size())
    assert.equal(1472, m:probe(0))
    return m
  end

  it("is suspected after three losses of large packets in a row while small ones pass, and proven by three probes", function()
    local m = suspected()
    for i = 1, 3 do
      m:sent()
      assert.equal(i == 3, m:lost(1472, 0))
    end
    assert.equal(1200, m:size())
    assert.equal(0, m:probe(59 * S))
    assert.equal(1350, m:probe(61 * S))
  end)

  it("was none if a probe of the size before passes, or a packet that was on its way", function()
    local m = suspected()
    m:sent()
    assert.is_false(m:lost(1472, 0))
    m:sent()
    m:acked(1472)
    assert.equal(1472, m:size())
    m = suspected()
    assert.is_true(m:packet_acked(1472))
    assert.equal(1472, m:size())
    assert.equal(0, m:probe(0))
  end)

  it("is not suspected while nothing passes, while large packets pass, or for small losses", function()
    assert.is_false(found(searched(), { "small", "lost", "lost", "lost", "lost" }))
    assert.is_false(found(searched(), { "lost", "small", "lost", "large", "lost", "small", "lost" }))
    assert.is_false(found(searched(), { "lost small", "small", "lost small", "lost small", "small", "lost small" }))
  end)

  it("is not suspected for many losses found at one time", function()
    local m = searched()
    m:packet_lost(1400, MS)
    m:packet_acked(100)
    for _ = 1, 100 do assert.is_false(m:packet_lost(1400, MS)) end
  end)

  it("is not found at the smallest size", function()
    assert.is_false(found(path.mtu(1472), { "lost", "small", "lost", "small", "lost", "small", "lost" }))
  end)

  it("that opens in a transfer is found within about three probe timeouts", function()
    local m = searched()
    local r = recovery.new { rtt = RTT, ack_delay = 5 * MS, window = 100 }
    local now, inflight = 0, {}
    local seen = { packets_lost = 0, packets_acked = 0 }
    local hole_at
    while not hole_at and now < 10 * S do
      -- each turn: what is due happens; probes are small, everything else is large, and only small packets arrive
      while r:open() > 0 do
        local size = r:probes() > 0 and 1200 or m:size()
        inflight[#inflight + 1] = { r:sent(now, size, { 1 }), now + RTT, size }
      end
      local due = r:due()
      for _, p in ipairs(inflight) do
        if p[3] <= 1200 and not p.done and p[2] < due then due = p[2] end
      end
      now = due
      for _, p in ipairs(inflight) do
        if p[3] <= 1200 and not p.done and p[2] <= now then
          p.done = true
          m:packet_acked(p[3])
          r:ack(now, 0, { { p[1], p[1] } })
        end
      end
      r:timer(now)
      local f = r:facts()
      if f.packets_lost > seen.packets_lost and m:packet_lost(1400, now) then hole_at = now end
      seen = f
    end
    assert.is_true(hole_at and hole_at < 2 * S, ("%s ms"):format(hole_at and hole_at // MS))
    r:close()
  end)
end)
