-- smux: streams beyond max_streams.
local smux = require "spec_smux"
local ends = require "smux_ends"

local SYN, FIN, PSH, NOP = ends.SYN, ends.FIN, ends.PSH, ends.NOP
local frame = ends.frame

local pool

before_each(function() pool = smux.pool(1024) end)
after_each(function() collectgarbage() end)

local function syns(from, n)
  local list = {}
  for i = 1, n do list[i] = frame(2, SYN, from + 2 * (i - 1)) end
  return table.concat(list)
end

describe("smux streams beyond max_streams", function()
  it("are refused with FIN, and open ones are unaffected", function()
    local e = ends.new(pool, { max_streams = 2 })
    e:hear(syns(3, 3), frame(2, PSH, 7, "lost"), frame(2, PSH, 3, "hello"))
    assert.equal(2, #e.accepted)
    assert.same({ "FIN 7", "UPD 3 5/2097152" }, (function()
      assert.equal("hello", e.accepted[1]:read())
      return e:said()
    end)())
  end)

  it("are refused with RST where the peer knows it", function()
    local e = ends.new(pool, { max_streams = 1, features = 8 })
    e:hear(frame(2, NOP, ends.HELLO | 8), syns(3, 2))
    local words = e:said()
    assert.matches("^RST 5", words[2])
  end)

  it("are accepted again once there is room", function()
    local e = ends.new(pool, { max_streams = 1 })
    e:hear(syns(3, 2))
    e.accepted[1]:close()
    e:pump()
    e:hear(frame(2, SYN, 7))
    assert.equal(2, #e.accepted)
  end)

  it("cost no more than a few kilobytes for a peer that ignores refusals", function()
    local e = ends.new(pool, { max_streams = 1, room = function() return 0 end })
    for i = 0, 99 do e:hear(syns(3 + 2000 * i, 1000)) end
    assert.equal(1, e.m:streams())
    e = ends.new(pool, { max_streams = 1 })
    for i = 0, 9 do e:hear(syns(3 + 2000 * i, 1000)) end
    assert.equal(4096, #e:said())
    e:hear(frame(2, FIN, 3))
    e.accepted[1]:close()
    e:pump()
    assert.equal(0, e.m:streams())
  end)

  it("cannot be opened from here either", function()
    local c = ends.client(pool, { max_streams = 1 })
    c:open()
    local s, code = c.m:open()
    assert.is_nil(s)
    assert.equal("limit", code)
  end)

  it("can be refused by the owner for reasons of its own", function()
    local asked, refused = 0, {}
    local e = ends.new(pool, { max_streams = 1, admit = function()
      asked = asked + 1
      return asked > 1
    end, refused = function(full) refused[#refused + 1] = full end })
    e:hear(syns(3, 3))
    assert.equal(1, #e.accepted)
    assert.same({ "FIN 3", "FIN 7" }, e:said())
    assert.same({ false, true }, refused)
  end)
end)
