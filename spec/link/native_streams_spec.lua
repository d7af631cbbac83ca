-- Streams of kt's own wire (runtime/link/native/streams.h): opening, ends, order and shares, between two ends and in virtual
-- time.
local ends = require "native_ends"
local streams = require "spec_native_streams"

local LIGHT = os.getenv("KT_SPEC_LIGHT") == "1"
local MS, S = 1000, 1000000
local pair = ends.pair
local w

local function world(settings)
  w = ends.world(settings)
  return w
end

after_each(ends.close)

describe("opening a stream", function()
  it("takes no round trip: OPEN and the first bytes arrive together", function()
    world()
    local s = w:open("client", { target = "db:5432", client = "10.0.0.1:9", name = "n", priority = 1, weight = 200 })
    s:write("hello")
    w:run(50 * MS)
    local t = w:accepted("server")
    assert.same({ target = "db:5432", client = "10.0.0.1:9", name = "n", priority = 1, weight = 200 }, t:opened())
    assert.equal("hello", t:read())
    assert.equal(1, (w:sent("client")))
  end)

  it("has it young until the peer is known to have heard of it", function()
    world()
    local s = w:open("client")
    w:run(90 * MS)
    assert.is_true(s:young())
    w:run(20 * MS)
    assert.is_false(s:young())
    assert.is_false(w:accepted("server"):young())
  end)

  it("keeps bytes that overtake OPEN for later", function()
    world()
    w:open("client"):write(("x"):rep(3000))
    w:lose("client", 1)
    w:run(60 * MS)
    assert.is_nil(w:accepted("server"))
    w:run(200 * MS)
    assert.equal(3000, #w:accepted("server"):read())
  end)

  it("numbers streams in the order in which they leave; one that was reset before leaves no trace", function()
    world()
    local a, b, c = w:open("client"), w:open("client"), w:open("client")
    local d = w:open("server")
    b:reset()
    w:run(60 * MS)
    assert.same({ 1, 3, 2 }, { a:id(), c:id(), d:id() })
    assert.equal(1, w:accepted("server"):id())
    assert.equal(3, w:accepted("server"):id())
    assert.is_nil(w:accepted("server"))
    assert.equal(2, w:accepted("client"):id())
  end)

  it("waits while as many are open as the peer allows", function()
    world { server = { max_streams = 2 } }
    local a, b, c = w:open("client"), w:open("client"), w:open("client")
    c:write("at last")
    w:run(1 * S)
    assert.equal(0, c:id())
    w:accepted("server"):close()
    a:close()
    w:run(1 * S)
    assert.equal(5, c:id())
    w:accepted("server")
    assert.equal("at last", w:accepted("server"):read())
    assert.equal(3, b:id())
  end)

  it("waits while as many are open as the peer has room for, and comes when there is more", function()
    world { server = { max_streams = 4, most_streams = 20 } }
    w:allow("server", 10)
    local opened = {}
    for i = 1, 30 do
      opened[i] = w:open("client")
      opened[i]:write("x")
    end
    local function allows(n)
      w:allow("server", n)
      w:run(1 * S) -- it looks once a second whether there is room
      w:run(1 * S)
      return w:facts("server").streams
    end
    assert.same({ 10, 10, 12, 20 }, { allows(10), allows(3), allows(12), allows(100) })
    for i = 1, 5 do
      opened[i]:close()
      w:accepted("server"):close()
    end
    assert.same({ 20, 20 }, { allows(100), w:facts("server").streams })
    assert.is_true(opened[25]:id() > 0)
    assert.equal(0, opened[26]:id())
  end)

  it("waits, with its bytes and its end, while the other end has accepted as many as it may in a turn", function()
    world { server = { max_streams = 5 } }
    local opened = {}
    w:accept_most("server", 0)
    for i = 1, 6 do
      opened[i] = w:open("client")
      opened[i]:write(tostring(i))
      if i > 1 then opened[i]:close() end
    end
    w:run(1 * S)
    assert.is_nil(w:accepted("server"))
    opened[1]:reset()
    w:run(1 * S) -- one that the peer has reset is not accepted any more
    assert.is_true(w:accept_most("server", 3))
    local got = {}
    local function take()
      w:run(1 * S)
      for s in function() return w:accepted("server") end do
        got[#got + 1] = s:read()
        assert.is_true(s:eof())
        s:close()
      end
      return table.concat(got)
    end
    assert.equal("234", take())
    assert.is_true(w:accept_most("server", 3))
    assert.equal("23456", take())
    assert.is_false(w:accept_most("server", 3))
    w:run(1 * S)
    assert.same({ 0, 0 }, { w:facts("client").streams, w:facts("server").streams })
  end)

  it("is refused by an end that takes no streams", function()
    world { server = { deaf = true } }
    local s = w:open("client")
    w:run(110 * MS)
    assert.equal("closed:reset", s:events())
    assert.equal("refused", (s:why()))
    s:close()
    w:run(500 * MS)
    assert.equal(0, w:facts("client").streams)
    assert.equal(0, w:facts("server").streams)
  end)

  it("refuses texts that no frame can carry", function()
    world()
    assert.same({ nil, "invalid" }, { w:open("client", { target = ("x"):rep(256) }) })
  end)

  it("starts over in another association if the peer of the first has not heard of it", function()
    world()
    local old = pair()
    local s = w:open("client", { target = "t" })
    s:write("once")
    s:shutdown()
    w:lose("client", 100)
    w:run(50 * MS)
    w:restart("server")
    assert.equal(1, w:move("client"))
    w:lose("client", 0)
    w:run(60 * MS)
    local t = w:accepted("server")
    assert.equal("t", t:opened().target)
    assert.equal("once", t:read())
    assert.is_true(t:eof())
    assert.equal("closed:dead", old:events())
  end)
end)

describe("the end of a stream", function()
  it("is one direction's own", function()
    world()
    local s, t = pair()
    s:write("question")
    s:shutdown()
    w:run(60 * MS)
    assert.equal("question", t:read())
    assert.is_true(t:eof())
    assert.is_false(t:gone())
    for _ = 1, 10 do
      t:write("answer ")
      w:run(60 * MS)
    end
    t:shutdown()
    w:run(60 * MS)
    assert.equal(("answer "):rep(10), s:read())
    assert.is_true(s:eof())
    s:close()
    t:close()
    w:run(500 * MS)
    assert.equal(0, w:facts("client").streams)
    assert.equal(0, w:facts("server").streams)
  end)

  it("by close delivers what was written, also if the opener is gone before anything left", function()
    world()
    local s = w:open("client")
    s:write(("x"):rep(100000))
    s:close()
    w:run(1 * S)
    local t = w:accepted("server")
    assert.equal(100000, #t:read())
    assert.is_true(t:eof())
    assert.is_true(t:gone())
    assert.equal(0, t:write("nobody"))
    assert.equal("readable ", t:events())
  end)

  it("by close tells a peer whose bytes were dropped, after all it was sent", function()
    world()
    local s, t = pair()
    t:source(-1)
    s:write("last words")
    s:close()
    w:run(300 * MS)
    assert.equal(0, t:write("more"))
    assert.is_nil(t:events():match("closed"))
    assert.equal("last words", t:read())
    w:run(1 * MS)
    assert.equal("closed:reset", t:events():match("closed.*"))
    assert.equal(0, w:facts("server").charged_out)
  end)

  it("by reset takes one way, and brings code and text", function()
    world()
    local s, t = pair()
    s:write("before")
    w:run(60 * MS)
    s:write("unsent")
    s:reset("unreachable", "db:5432: no route")
    w:run(60 * MS)
    assert.equal("readable closed:reset", t:events())
    assert.same({ "unreachable", "db:5432: no route" }, { t:why() })
    assert.equal("before", t:read())
    assert.is_false(t:eof())
    assert.equal(0, t:write("x"))
    t:close()
    w:run(1 * S)
    assert.equal(0, w:facts("client").streams)
    assert.equal(0, w:facts("server").streams)
  end)

  it("by cut brings what was written, and then the reason, whatever was lost", function()
    world()
    local s, t = pair()
    s:write(("x"):rep(20000))
    s:cut("timeout", "gave up")
    w:lose("client", 5)
    w:run(60 * MS)
    assert.is_nil(t:events():match("closed"))
    w:run(300 * MS)
    assert.equal(20000, #t:read())
    assert.equal("readable closed:reset", t:events())
    assert.same({ "timeout", "gave up" }, { t:why() })
    t:close()
    w:run(1 * S)
    assert.equal(0, w:facts("client").streams)
    assert.equal(0, w:facts("server").streams)
  end)

  it("by cut brings what could be sent, and then the reason, to an end that has read nothing for 10 s", function()
    world()
    local s, t = pair()
    while s:write(("x"):rep(20000)) > 0 do w:run(100 * MS) end
    w:run(6 * S)
    s:cut("timeout", "gave up")
    w:run(2 * S)
    assert.is_nil(t:events():match("closed"))
    w:run(2 * S)
    w:run(1 * S)
    assert.matches("closed:reset", t:events())
    assert.same({ "timeout", "gave up" }, { t:why() })
    assert.is_true(#t:read() >= 20000)
    t:close()
    w:run(1 * S)
    assert.equal(0, w:facts("client").streams)
    assert.equal(0, w:facts("server").streams)
    assert.equal(0, w:facts("client").queued)
  end)

  it("by both ends' resets at once leaves nothing", function()
    world()
    local s, t = pair()
    s:write(("x"):rep(50000))
    t:write(("x"):rep(50000))
    w:run(70 * MS)
    s:reset()
    t:reset()
    w:run(1 * S)
    for _, e in ipairs { "client", "server" } do
      local f = w:facts(e)
      assert.same({ 0, 0, 0, 0, 0 }, { f.streams, f.queued, f.unread, f.charged_in, f.charged_out })
    end
  end)

  it("comes with the association's code if that ends first; what arrived stays readable", function()
    world()
    local s, t = pair()
    s:write("here")
    w:run(60 * MS)
    w:free("server", "dead")
    assert.equal("readable closed:dead", t:events())
    assert.equal("here", t:read())
    assert.equal(0, t:write("x"))
    t:close()
  end)
end)

describe("a loss", function()
  --- 200 messages of 64 bytes, 10 ms apart; returns the latency of each in ms.
  local function talk(s, t, between)
    local begun = w:now()
    t:times(64)
    t:sink()
    for i = 1, 200 do
      s:source(64, true)
      if between then between(i) end
      w:run(10 * MS)
    end
    w:run(2 * S)
    local times = t:times()
    assert.equal(200, #times)
    for i, at in ipairs(times) do times[i] = (at - begun) / MS - (i - 1) * 10 end
    return times
  end

  it("on one stream leaves its neighbour's latency at the path's own", function()
    world { rtt = 100 * MS }
    local a, a2 = pair { priority = 0 }
    local b, b2 = pair { priority = 1 }
    b2:sink()
    local lost = 0
    -- a's message goes first, alone in its packet; what b sends after it is lost every second time
    local times = talk(a, a2, function(i)
      w:run(0)
      b:write(("b"):rep(1000))
      if i % 2 == 0 then
        w:lose("client", 1)
        lost = lost + 1
      end
      w:run(0)
      w:lose("client", 0)
    end)
    assert.equal(100, lost)
    for _, ms in ipairs(times) do assert.is_true(ms <= 51, "took " .. ms .. " ms") end
    assert.equal(0, w:facts("client").queued)
    assert.is_true(w:facts("client").resent >= 100 * 1000)
  end)

  it("costs only the lost bytes again", function()
    world { loss = 0.05, seed = 3 }
    local s, t = pair()
    t:sink()
    s:source(2000000)
    w:run(20 * S)
    assert.equal(2000000, t:moved())
    assert.is_true(t:eof())
    -- 5 % lost, and as much again whose acknowledgement was lost
    assert.is_true(w:facts("client").resent < 0.13 * 2000000)
  end)
end)

describe("streams that share a path", function()
  --- Bytes that each of several streams moved in the given time over a slow line.
  local function shares(policies, time)
    world { rate = 1250, rtt = 20 * MS, window = 64 } -- 10 Mbit/s
    local from, to = {}, {}
    for i, policy in ipairs(policies) do from[i], to[i] = pair(policy) end
    for i, s in ipairs(from) do
      to[i]:sink()
      s:source(-1)
    end
    w:run(1 * S)
    local before = {}
    for i, t in ipairs(to) do before[i] = t:moved() end
    w:run(time)
    for i, t in ipairs(to) do before[i] = t:moved() - before[i] end
    return before
  end

  it("get shares by weight", function()
    local a, b, c = table.unpack(shares({ { weight = 10 }, { weight = 20 }, { weight = 70 } }, 4 * S))
    local sum = a + b + c
    assert.is_true(sum > 4 * 1250000 * 0.9)
    assert.near(0.1, a / sum, 0.01)
    assert.near(0.2, b / sum, 0.01)
    assert.near(0.7, c / sum, 0.01)
  end)

  it("leave a later priority its spare share only", function()
    local a, b = table.unpack(shares({ { priority = 2 }, { priority = 5 } }, 4 * S))
    assert.near(1 / 32, b / (a + b), 0.01)
  end)

  it("change places when the policy changes", function()
    world { rate = 1250, rtt = 20 * MS, window = 64 }
    local s, t = pair { priority = 2 }
    local u, v = pair { priority = 2 }
    t:sink()
    v:sink()
    s:source(-1)
    u:source(-1)
    w:run(1 * S)
    s:set(6, 16)
    w:run(1 * S)
    local a, b = t:moved(), v:moved()
    w:run(2 * S)
    assert.is_true(t:moved() - a < 0.06 * (v:moved() - b))
  end)
end)

describe("ten thousand idle streams", function()
  it("take under 1 KiB each, and send nothing", function()
    world { client = { max_streams = 20000 }, server = { max_streams = 20000 } }
    local n = LIGHT and 2000 or 10000
    local heap, lua = streams.heap(), collectgarbage("count")
    for i = 1, n do
      w:open("client", { target = "host.example.com:" .. i, client = "192.0.2.1:" .. i }):write("hello")
    end
    w:run(2 * S)
    for _ = 1, n do assert.equal("hello", w:accepted("server"):read()) end
    w:run(2 * S)
    assert.equal(n, w:facts("server").streams)
    assert.equal(0, w:blocks())
    if not LIGHT then -- both ends, without what this spec holds of them
      heap, lua = streams.heap() - heap, collectgarbage("count") - lua
      assert.is_true(heap - lua * 1024 < n * 2 * 1024)
    end
    local packets = w:sent("client")
    w:run(600 * S)
    assert.equal(packets, (w:sent("client")))
    assert.is_false(w:pending("client"))
  end)
end)
