-- Loss recovery of kt's own wire over paths that lose, reorder, repeat and delay. native_channel.lua checks that each
-- content has one fate for each time it was sent, that all of them arrive, and that the controller's count is right.
local channel = require "native_channel"

local MS, S = 1000, 1000000
local RTT = 100 * MS

local LIGHT = os.getenv "KT_SPEC_LIGHT" == "1"

local function share(part, whole) return part / whole end

describe("over a path", function()
  for _, loss in ipairs { 0, 0.01, 0.1, 0.3, 0.5 } do
    it(("that loses %d %% both ways, everything arrives, and little is sent twice"):format(loss * 100), function()
      for seed = 1, LIGHT and 1 or 5 do
        local r = channel.run { seed = seed, count = 2000, per = 1 + seed % 3, loss = loss }
        -- Of those declared lost, all are: spurious ones come from ACKs that were lost.
        assert.is_true(r.again <= (loss / (1 - loss) * 1.3 + 0.02) * 2000, ("%d sent again"):format(r.again))
        assert.equal(0, r.facts.spurious)
      end
    end)
  end

  it("that does everything at once, everything arrives", function()
    for seed = 1, LIGHT and 2 or 10 do
      channel.run { seed = seed, count = 3000, per = 3, loss = 0.1, dup = 0.05, jitter = 30 * MS, reorder = 0.2,
        reorder_by = 80 * MS, window = 50 * seed, rtt = seed * 20 * MS, every = 1 + seed }
    end
  end)

  it("that loses 10 % at random, half of the losses are found within a round trip, nearly all within 1.3", function()
    local r = channel.run { count = 10000, loss = 0.1, window = 200 }
    assert.is_true(channel.percentile(r.detect, 0.5) <= 1.05 * RTT)
    assert.is_true(channel.percentile(r.detect, 0.99) <= 1.3 * RTT)
  end)

  it("that reorders 20 % by up to 40 ms, packets are sent again in the first round trips only", function()
    local first = channel.run { count = 2000, reorder = 0.2, reorder_by = 40 * MS, window = 500 }
    local all = channel.run { count = 40000, reorder = 0.2, reorder_by = 40 * MS, window = 500 }
    assert.is_true(share(all.facts.spurious - first.facts.spurious, 38000) < 0.0005)
    assert.is_true(share(all.facts.spurious, 40000) < 0.005)
  end)

  it("that reorders and loses, losses are found within a round trip and what reordering takes", function()
    local r = channel.run { count = 20000, reorder = 0.2, reorder_by = 40 * MS, loss = 0.02, window = 500 }
    assert.is_true(channel.percentile(r.detect, 0.99) <= RTT + 60 * MS)
    assert.is_true(share(r.facts.spurious, 20000) < 0.01)
  end)

  it("that loses ACKs only, nothing is sent again but in probes", function()
    local r = channel.run { count = 10000, ack_loss = 0.3, window = 200 }
    assert.is_true(r.again <= 2 * r.probes)
    assert.is_true(r.probes <= 3)
  end)

  it("the loss of the last packets is found within a probe timeout, and all of it by the probes' ACK", function()
    local down = { 480 * MS, 500 * MS } -- the last four of 100 packets, one every 5 ms
    local r = channel.run { count = 100, gap = 5 * MS, down = function(now) return now >= down[1] and now < down[2] end }
    assert.equal(1, r.probes)
    assert.is_true(r.last_probe <= 495 * MS + 1.1 * RTT)
    assert.equal(4, #r.detect)
    for i, took in ipairs(r.detect) do assert.is_true(took <= (i <= 2 and 1.3 or 2.3) * RTT) end
  end)

  it("that is silent for 10 minutes, one packet a second leaves, and all continues a second after its return", function()
    local back = 600 * S
    local r = channel.run { count = 1000, window = 100, limit = 700 * S,
      down = function(now) return now > 50 * MS and now < back end }
    assert.is_true(r.packets < 1000 + 100 + 600 + 10, ("%d packets"):format(r.packets))
    assert.is_true(r.time < back + S + 12 * RTT, ("after %.1f s"):format((r.time - back) / S))
  end)

  it("memory grows with the window, not with what is sent", function()
    local small = channel.run { count = 2000, loss = 0.05, window = 64 }
    local long = channel.run { count = 40000, loss = 0.05, window = 64 }
    assert.is_true(long.peak <= small.peak)
    assert.is_true(long.peak <= 32768)
  end)
end)
