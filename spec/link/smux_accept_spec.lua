-- smux: streams of the peer's that wait to be accepted.
local smux = require "spec_smux"
local ends = require "smux_ends"

local SYN, FIN, PSH, NOP = ends.SYN, ends.FIN, ends.PSH, ends.NOP
local frame = ends.frame

local pool

before_each(function() pool = smux.pool(1024) end)
after_each(function() collectgarbage() end)

--- A server that accepts n streams for now.
local function slow(n, settings)
  local e = ends.new(pool, settings or {})
  e.m:budget(1000)
  e.m:accept_most(n)
  return e
end

describe("smux streams beyond what may be accepted for now", function()
  it("wait in order, while frames of other streams are handled", function()
    local e = slow(1)
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5), frame(2, SYN, 7), frame(2, PSH, 3, "hello"))
    assert.same({ "accept 3", "readable 3" }, e:heard())
    assert.is_true(e.m:waiting())
    e:hear(frame(2, PSH, 3, "more"))
    assert.same({ "readable 3" }, e:heard())
    e.m:accept_most(2)
    e.m:dispatch()
    assert.same({ "accept 5", "accept 7" }, e:heard())
    assert.is_false(e.m:waiting())
  end)

  it("keep what arrives before they are accepted, and their end", function()
    local e = slow(0, { features = ends.ABORT })
    e:hear(frame(2, NOP, ends.HELLO | ends.ABORT), frame(2, SYN, 3), frame(2, PSH, 3, "hel"), frame(2, SYN, 5), frame(2, FIN, 5),
      frame(2, SYN, 7), frame(2, PSH, 7, "part"), ends.rst(7, 8, "why"))
    e:hear(frame(2, PSH, 3, "lo"), frame(2, FIN, 3))
    e:heard()
    e.m:accept_most(3)
    e.m:dispatch()
    local whole, empty, aborted = table.unpack(e.accepted)
    assert.same({ "accept 3", "readable 3", "accept 5", "readable 5", "accept 7", "readable 7", "closed 7 reset" }, e:heard())
    assert.equal("hello", whole:read())
    assert.is_true(whole:eof())
    assert.is_true(empty:eof())
    assert.equal("part", aborted:read())
    assert.is_false(aborted:eof())
  end)

  it("are freed with the session, and never accepted", function()
    local e = slow(1)
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5), frame(2, PSH, 5, "hello"), frame(2, SYN, 7), frame(2, FIN, 7))
    e:heard()
    e.m:free()
    assert.same({ "closed 3 dead" }, e:heard())
    e.accepted[1]:close()
    assert.equal(0, pool:in_use())
  end)

  it("hold back a SYN beyond max_streams, which is accepted if they make room", function()
    local e = slow(0, { max_streams = 2 })
    local bytes = frame(2, SYN, 3) .. frame(2, SYN, 5) .. frame(2, PSH, 5, "hello") .. frame(2, SYN, 7) .. frame(2, PSH, 7, "x")
    local took = e.m:input(bytes)
    assert.is_true(took < #bytes - 9)
    assert.is_true(e.m:spent())
    e.m:dispatch()
    e.m:budget(1000)
    assert.equal(0, e.m:input(bytes:sub(took + 1, took + 1)))
    assert.is_true(e.m:spent())

    e.m:accept_most(1)
    e.m:dispatch()
    e.accepted[1]:close()
    e:pump()
    e.m:budget(1000)
    assert.equal(#bytes - took, e.m:input(bytes:sub(took + 1)))
    e.m:accept_most(2)
    e.m:dispatch()
    assert.equal("hello", e.accepted[2]:read())
    assert.equal("x", e.accepted[3]:read())
    assert.equal(0, e.resumes)
  end)

  it("hold back a SYN that the owner has no room for", function()
    local room = true
    local e = slow(0, { admit = function() return room end })
    e:hear(frame(2, SYN, 3))
    room = false
    local took = e.m:input(frame(2, SYN, 5))
    assert.equal(7, took)
    room = true
    e.m:budget(1000)
    assert.equal(1, e.m:input(frame(2, SYN, 5):sub(8)))
    e.m:accept_most(2)
    e.m:dispatch()
    assert.equal(2, #e.accepted)
  end)

  it("do not keep a SYN beyond max_streams from being refused once they are accepted", function()
    local e = slow(1, { max_streams = 1 })
    e:hear(frame(2, SYN, 3))
    e:hear(frame(2, SYN, 5))
    assert.same({ "FIN 5" }, e:said())
  end)
end)
