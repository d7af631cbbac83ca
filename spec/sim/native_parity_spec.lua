-- Parity of kt's own wire (docs/wire.md, 6.4) between two scripts, in virtual time: what it brings, and when there is none.
local parity_world = require "parity_world"
local percentile = parity_world.percentile

local print_loss = [[
kt.spawn(function()
  while true do
    kt.sleep "1s"
    local s = far:stats()
    print(("lost %.4f"):format(s.segs_retrans / s.segs_out))
  end
end)]]

--- A tunnel over a line with a delay of 50 ms and, if it has no rate, 50 Mbit/s. opts: those of parity_world.tunnel.
local function tunnel(line, opts)
  opts = opts or {}
  opts.seed = 1
  line.delay, line.rate = "50ms", line.rate or "50Mbit"
  return parity_world.tunnel(line, opts)
end

--- Writes `size` bytes every `every` seconds, all of which arrive; returns how long those of the last two thirds took, in ms.
local function drip(t, size, every, seconds)
  local took, missing = parity_world.writes(t, size, every, seconds, seconds / 3)
  assert.equal(0, missing)
  return took
end

--- Sends a datagram every `every` seconds; returns the share of the last two thirds that is missing, and how long the others took, in ms.
local function datagrams(t, size, every, seconds)
  local took, missing = parity_world.datagrams(t, size, every, seconds, seconds / 3)
  return missing, took
end

describe("parity of a stream", function()
  it("brings what an application writes now and then through 5 % of loss without waiting for it to be sent again", function()
    local without = tunnel({ loss = "5%" }, { parity = false })
    local with = tunnel({ loss = "5%" }, { near = print_loss })
    local before, after = drip(without, 6000, 0.01, 6), drip(with, 6000, 0.01, 6)
    assert.is_true(percentile(before, 0.5) > 120, percentile(before, 0.5))
    assert.is_true(percentile(after, 0.5) < 65, percentile(after, 0.5))
    assert.is_true(percentile(before, 0.99) > 220, percentile(before, 0.99))
    assert.is_true(percentile(after, 0.99) < 90, percentile(after, 0.99))
    assert.equal(0, without.sent()) -- the far end does not say that it knows parity
    assert.is_true(with.rebuilt() > 40, with.rebuilt())
    assert.is_true(with.sent() < 0.4 * 6 * 480, with.sent())
    local lost = tonumber(with.near:output():match ".*lost ([%d.]+)") -- what is rebuilt still counts as lost where it was sent
    assert.is_true(lost > 0.035 and lost < 0.065, lost)
  end)

  it("costs the receiver no memory once none has come for 10 s, although the peer is silent", function()
    local t = tunnel { loss = "5%" }
    drip(t, 6000, 0.01, 6)
    t.w:link("near", "far"):cut()
    local before = t.far:stats().counters.BytesHeld
    t.w:run_for "11s"
    local freed = before - t.far:stats().counters.BytesHeld
    assert.is_true(freed >= 256 * 1024, freed)
  end)

  it("helps where two or three packets are lost in a row", function()
    local burst = { enter = 0.01, leave = 0.4 }
    local without, with = tunnel({ burst = burst }, { link = "parity = false" }), tunnel { burst = burst }
    local before, after = drip(without, 6000, 0.01, 6), drip(with, 6000, 0.01, 6)
    assert.is_true(percentile(after, 0.9) < percentile(before, 0.9) - 50, percentile(after, 0.9))
    assert.equal(0, without.sent())
  end)

  it("is none on a clean path, also one that reorders", function()
    for _, line in ipairs { {}, { jitter = "5ms", reorder = "5%" } } do
      local t = tunnel(line)
      drip(t, 6000, 0.01, 3)
      assert.equal(0, t.sent())
    end
  end)

  it("is next to none where the stream fills the line, or the rate that the script allows", function()
    local cases = { { { loss = "10%", rate = "10Mbit" } }, { { loss = "10%" }, { link = 'rate = "8Mbit"' } } }
    for _, case in ipairs(cases) do
      local t = tunnel(table.unpack(case))
      t.w:host("far"):serve { on = "127.0.0.1:9", kind = "sink" }
      local up = t.w:transfer { from = "near", to = "127.0.0.1:1", kind = "up", bytes = "4MB" }
      up:wait()
      assert.is_true(t.sent() < 100, t.sent())
    end
  end)
end)

describe("a flow with fec", function()
  it("loses next to nothing at 5 % of loss, for a fraction of its bytes", function()
    local t = tunnel({ loss = "5%" }, { flow = "fec = true" })
    local missing, took = datagrams(t, 1000, 0.005, 6)
    assert.is_true(missing <= 0.005, missing)
    assert.is_true(percentile(took, 0.99) < 110, percentile(took, 0.99))
    assert.is_true(t.sent() < 0.5 * 6 / 0.005, t.sent())
    missing = datagrams(tunnel { loss = "5%" }, 1000, 0.005, 6)
    assert.is_true(missing > 0.03, missing)
  end)

  it("is protected beside a stream that fills the line, which is not", function()
    local t = tunnel({ loss = "5%", rate = "8Mbit" }, { flow = "fec = true" })
    t.w:host("far"):serve { on = "127.0.0.1:9", kind = "sink" }
    t.w:transfer { from = "near", to = "127.0.0.1:1", kind = "up", bytes = "12MB" }
    local missing = datagrams(t, 100, 0.02, 8)
    assert.is_true(missing <= 0.01, missing)
    assert.is_true(t.sent() < 2 * 8 / 0.02 + 100, t.sent())
  end)

  it("loses what it lost with a peer that does not know parity", function()
    local t = tunnel({ loss = "5%" }, { flow = "fec = true", parity = false })
    assert.is_true(datagrams(t, 1000, 0.01, 6) > 0.02)
    assert.equal(0, t.sent())
  end)
end)
