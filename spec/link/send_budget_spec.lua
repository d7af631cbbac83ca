-- How much smux may hand to KCP (link/kcptun/send_budget.h). Segments of 1000 bytes, frames with 8 bytes of header.
local room = require "spec_link".room

describe("the send budget", function()
  it("is what the windows allow, plus 10 ms worth of data", function()
    -- 128 segments in 64 ms: 20 in 10 ms
    assert.equal(29992, room({ open = 10, srtt = 64000 }, 40000))
    assert.equal(8192, room({ open = 10, queued = 20, srtt = 64000 }, 8192))
    assert.equal(0, room({ open = 10, queued = 29, srtt = 64000 }, 8192))
  end)

  it("is three segments at least", function()
    assert.equal(2992, room({ open = 0, window = 1, srtt = 1000000 }, 8192))
    assert.equal(2992, room({ open = 0, path = 0, rate = 1 }, 8192))
  end)

  it("is what the rate allows, if that is less", function()
    assert.equal(8192, room({ open = 100, path = 500, rate = 1 << 20 }, 8192))
    assert.equal(0, room({ open = 100, path = 500, rate = 1 << 20, queued = 9 }, 8192))
    assert.equal(0, room({ open = 100, path = 0, rate = 50000, queued = 2 }, 8192))
  end)

  it("never exceeds what KCP accepts", function()
    assert.equal(1, room({ open = 100, space = 8 }, 0))
    assert.equal(0, room({ open = 100, space = 7 }, 0))
    assert.equal(0, room({ open = 100, space = 8 }, 1))
    assert.equal(1992, room({ open = 100, space = 2000, sndwnd = 4 }, 8192))
  end)

  it("gives no small pieces of a frame while more room is expected", function()
    assert.equal(0, room({ open = 100, space = 5000 }, 8192))
    assert.equal(4992, room({ open = 100, space = 5000, unacked = false }, 8192))
  end)

  it("is shut only while more is queued than can leave, and one segment over", function()
    math.randomseed(11)
    for _ = 1, 20000 do
      local h = {
        mss = math.random(60, 1400), open = math.random(0, 300), queued = math.random(0, 300), window = math.random(1, 1000),
        srtt = math.random(0, 1) * math.random(1, 500000), rate = math.random(0, 1) * math.random(1, 1 << math.random(4, 30)),
        overhead = math.random(8, 30),
      }
      h.path = h.rate > 0 and math.random(0, 100000) or nil
      local leaves = math.min(h.open, h.path and h.path // h.mss + 1 or math.huge)
      if room(h, math.random(1, 65535)) == 0 then assert.is_true(h.queued > leaves, ("%d queued, %d leave"):format(h.queued, leaves)) end
    end
  end)
end)
