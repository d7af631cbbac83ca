-- Flows of kt's own wire (runtime/link/native/flows.h): datagrams by address, over a channel that is written out here.
local flows = require("spec_native_flows").flows
local frame = require "spec_native_frame"

local S = 1000000
local c, s

local function v(n) return frame.varint(n) end

--- Carries packets from one end to the other until there are none; all arrive and are acknowledged. Returns how many.
local function carry(from, to)
  local n = 0
  while from:pending() do
    local packet, contents = from:write()
    assert.is_true(#packet > 0, "stuck")
    assert.is_true(to:feed(packet))
    from:acked(contents)
    n = n + 1
  end
  return n
end

before_each(function()
  c = flows { client = true, idle = 60 * S }
  s = flows { idle = 60 * S }
end)
after_each(function() collectgarbage() end)

describe("a flow", function()
  it("opens with its first datagram, and carries answers back", function()
    local id = c:open("dns:53", "10.0.0.1:999")
    c:send(id, "query")
    assert.equal(1, carry(c, s))
    assert.same({ "flow 1 dns:53 10.0.0.1:999", "datagram 1 query" }, s:events())
    s:send(1, "answer")
    carry(s, c)
    assert.same({ "datagram 1 answer" }, c:events())
    assert.equal(1, c:flow(id).received)
    assert.equal(5, c:flow(id).bytes_out)
  end)

  it("may be opened by either end", function()
    local id = s:open("back", nil)
    s:send(id, "x")
    carry(s, c)
    assert.same({ "flow 2 back -", "datagram 2 x" }, c:events())
  end)

  it("says who it is in every packet until the peer is known to have heard it", function()
    local id = c:open("t", "c")
    c:send(id, "one")
    local _, first = c:write()
    c:send(id, "two")
    c:send(id, "three")
    local packet, second = c:write()
    c:lost(first)
    assert.is_true(s:feed(packet))
    assert.same({ "flow 1 t c", "datagram 1 two", "datagram 1 three" }, s:events())
    c:acked(second)
    c:send(id, "four")
    assert.equal("\x1b" .. v(1) .. v(3) .. v(4) .. "four", (c:write()))
  end)

  it("says so in a packet ahead if both do not fit into one", function()
    local id = c:open(("t"):rep(200), "c")
    assert.is_true(c:send(id, ("x"):rep(1190)))
    local ahead, contents = c:write()
    assert.matches("^FLOW id=1", (frame.read(ahead)))
    local packet = c:write()
    assert.matches("^DATAGRAM id=1 sequence=0", (frame.read(packet)))
    s:feed(ahead)
    s:feed(packet)
    assert.equal(2, #s:events())
    c:acked(contents)
  end)

  it("takes datagrams of every length that the path carries, and counts larger ones", function()
    local id = c:open("t")
    c:send(id, "")
    carry(c, s)
    s:events()
    for room = 20, 90 do
      c:path(room)
      local most = 0
      while c:send(id, ("x"):rep(most)) do
        local packet = c:write(room)
        assert.is_true(#packet > 0 and #packet <= room)
        assert.is_true(s:feed(packet))
        assert.same({ "datagram 1 " .. ("x"):rep(most) }, s:events())
        most = most + 1
      end
      assert.is_true(most >= room - 4)
      assert.same({ nil, "limit" }, { c:send(id, ("x"):rep(most)) })
    end
    assert.equal(2 * 71, c:flow(id).too_large)
  end)

  it("drops copies, and takes datagrams in any order", function()
    local id = c:open("t")
    local packets = {}
    for i = 0, 9 do
      c:send(id, tostring(i))
      packets[i] = c:write()
    end
    for _, i in ipairs { 3, 1, 3, 9, 0, 1, 2, 9, 5 } do s:feed(packets[i]) end
    local got = s:events()
    table.remove(got, 1)
    assert.same({ "datagram 1 3", "datagram 1 1", "datagram 1 9", "datagram 1 0", "datagram 1 2", "datagram 1 5" }, got)
    assert.equal(3, s:facts().duplicates)
  end)

  it("drops what is too late to be told from a copy", function()
    local id = c:open("t")
    c:send(id, "old")
    local old = c:write()
    for _ = 1, 256 do
      c:send(id, "new")
      s:feed((c:write()))
    end
    s:feed(old)
    assert.equal(256, s:flow(1).received)
    assert.equal(1, s:flow(1).duplicates)
    c:send(id, "jump")
    s:feed((c:write()))
    assert.equal(257, s:flow(1).received)
  end)

  it("ends for both ends when one closes it, also if the first word of that is lost", function()
    local id = c:open("t")
    c:send(id, "x")
    carry(c, s)
    c:close(id, "refused")
    local _, contents = c:write()
    assert.is_false(c:pending())
    c:lost(contents)
    carry(c, s)
    assert.same({ "flow 1 t -", "datagram 1 x", "ended 1 refused" }, s:events())
    assert.equal(0, s:facts().flows)
  end)

  it("that the peer does not know yet leaves no trace when it is closed", function()
    local id = c:open("t")
    c:close(id)
    assert.is_false(c:pending())
  end)

  it("is refused by an end that takes none", function()
    s = flows { deaf = true }
    local id = c:open("t")
    c:send(id, "x")
    carry(c, s)
    carry(s, c)
    assert.same({ "ended 1 refused" }, c:events())
    assert.equal(1, s:facts().strays)
    assert.same({ nil, "unsupported" }, { flows({ client = true, peers = 0 }):open("t") })
  end)

  it("ends with the association", function()
    c:open("t")
    c:open("u")
    assert.same({ "ended 1 dead", "ended 3 dead" }, c:free("dead"))
  end)
end)

describe("idle flows", function()
  it("end after their time, each by its own last datagram, and cost nothing before", function()
    c:clock(0)
    s:clock(0)
    local a, b = c:open("a"), c:open("b")
    c:send(a, "x")
    c:send(b, "x")
    carry(c, s)
    s:events()
    c:clock(50 * S)
    c:send(a, "y")
    assert.equal(60 * S, c:due())
    c:clock(60 * S)
    c:timer()
    assert.same({ "ended 3 idle" }, c:events())
    assert.equal(110 * S, c:due())
    carry(c, s)
    assert.same({ "ended 3 idle", "datagram 1 y" }, s:events())
  end)

  it("end at the peer too, however many do at once", function()
    c, s = flows { client = true, peers = 2000, idle = 60 * S }, flows { ours = 2000, idle = 600 * S }
    for _ = 1, 1500 do
      c:send(c:open("t"), "x")
      carry(c, s)
    end
    c:clock(60 * S)
    c:timer()
    carry(c, s)
    assert.equal(0, s:facts().flows)
  end)

  it("that a peer opens without end are reported back to it within a bound of memory, the others when it sends to them again", function()
    s = flows { ours = 10 }
    for i = 1, 2000 do assert.is_true(s:feed("\x18" .. v(2 * i + 1) .. "\x00\x00")) end
    local ends = 0
    while s:pending() do
      local packet = s:write()
      while #packet > 0 do
        local text, n = frame.read(packet)
        assert.matches("^FLOW_END", text)
        ends, packet = ends + 1, packet:sub(n + 1)
      end
    end
    assert.equal(256 + 10, ends)
    for _ = 1, 3 do assert.is_true(s:feed("\x1a" .. v(1001) .. v(0) .. "x")) end
    assert.equal("FLOW_END id=1001 code=6", (frame.read((s:write()))))
    assert.is_false(s:pending())
  end)

  it("make room for a new one: of the own flows and of the peer's, the one idle longest", function()
    c = flows { client = true, peers = 3 }
    s = flows { ours = 2 } -- the peer thinks that it takes 3
    local function say(id)
      c:send(id, "x")
      carry(c, s)
    end
    local a, b = c:open("a"), c:open("b")
    say(a)
    say(b)
    say(a)
    local d = c:open("d")
    say(d)
    carry(s, c)
    assert.same({ "ended 3 limit" }, c:events())
    assert.same({ "flow 1 a -", "datagram 1 x", "flow 3 b -", "datagram 3 x", "datagram 1 x", "ended 3 limit", "flow 5 d -",
      "datagram 5 x" }, s:events())
    c:open("e")
    c:open("f")
    assert.same({ "ended 1 limit" }, c:events())
    assert.equal(1, c:facts().evicted)
  end)
end)

describe("a queue of datagrams", function()
  it("is bounded for each flow: the oldest make room, and are counted", function()
    local id = c:open("t")
    for i = 1, 100 do c:send(id, tostring(i)) end
    assert.equal(64, c:facts().queued)
    carry(c, s)
    assert.equal(36, c:flow(id).dropped)
    assert.equal("datagram 1 37", s:events()[2])
  end)

  it("is bounded for all flows together", function()
    c = flows { client = true, peers = 1000 }
    local ids = {}
    for i = 1, 40 do ids[i] = c:open("t" .. i) end
    for _ = 1, 40 do
      for _, id in ipairs(ids) do assert.is_true(c:send(id, "x")) end
    end
    assert.equal(1024, c:facts().queued)
    assert.equal(40 * 40 - 1024, c:facts().dropped)
    carry(c, s)
  end)

  it("gives each flow its turn, a datagram at a time", function()
    local a, b = c:open("a"), c:open("b")
    for i = 1, 5 do c:send(a, ("a"):rep(500) .. i) end
    c:send(b, "b")
    s:feed((c:write()))
    local got = s:events()
    assert.equal("flow 1 a -", got[1])
    assert.equal("datagram 3 b", got[4])
  end)

  it("keeps those that may soon fit: sends them once they do, or counts them once they will not", function()
    local id = c:open("t")
    c:path(500, 1000)
    assert.is_true(c:send(id, ("x"):rep(700)))
    assert.is_true(c:send(id, "small"))
    carry(c, s)
    assert.equal("datagram 1 small", s:events()[2])
    c:path(800, 1000)
    carry(c, s)
    assert.same({ "datagram 1 " .. ("x"):rep(700) }, s:events())
    for _ = 1, 70 do c:send(id, ("x"):rep(900)) end
    assert.is_false(c:pending())
    assert.equal(6, c:flow(id).dropped)
    c:path(800)
    assert.is_false(c:pending())
    assert.equal(64, c:flow(id).too_large)
  end)

  it("shrinks with the path", function()
    local id = c:open("t")
    c:send(id, ("x"):rep(1000))
    c:send(id, "small")
    c:path(500)
    carry(c, s)
    assert.equal("datagram 1 small", s:events()[2])
    assert.equal(1, c:flow(id).too_large)
  end)
end)

describe("copies of datagrams", function()
  it("go as often as asked, spaced, and are taken once", function()
    c:clock(0, 25000)
    local id = c:open("t")
    c:copies(id, 2)
    c:send(id, "precious")
    c:write() -- lost
    assert.is_false(c:pending())
    assert.equal(25000, c:due())
    c:clock(25000, 25000)
    c:timer()
    carry(c, s)
    c:clock(50000, 25000)
    c:timer()
    carry(c, s)
    c:clock(75000, 25000)
    c:timer()
    assert.is_false(c:pending())
    assert.same({ "flow 1 t -", "datagram 1 precious" }, s:events())
    assert.equal(1, s:facts().duplicates)
    assert.equal(1, c:flow(id).sent)
  end)

  it("give way when memory is short, and go with their flow", function()
    c:clock(0, 25000)
    local id, other = c:open("t"), c:open("u")
    c:copies(id, 3)
    for i = 1, 1024 do
      c:send(id, tostring(i))
      c:write()
    end
    for i = 1, 60 do assert.is_true(c:send(other, tostring(i))) end
    assert.equal(0, c:facts().dropped)
    c:close(id)
    c:clock(1 * S, 25000)
    c:timer()
    carry(c, s)
    assert.equal(60, s:flow(3).received)
  end)
end)

describe("frames of flows", function()
  it("that break a rule are named", function()
    assert.same({ nil, "frame FLOW (0x18): flow 2 has an id of the other end" }, { s:feed("\x18" .. v(2) .. "\x00\x00") })
    assert.same({ nil, "frame DATAGRAM (0x1a): flow 2 was not opened" }, { s:feed("\x1a" .. v(2) .. v(0) .. "x") })
    assert.same({ nil, "frame FLOW_END (0x19): flow 2 was not opened" }, { s:feed("\x19" .. v(2) .. v(0)) })
    assert.is_true(s:feed("\x1a" .. v(7) .. v(0) .. "x"))
    assert.is_true(s:feed("\x19" .. v(7) .. v(0)))
    assert.equal(1, s:facts().strays)
  end)

  it("of a hostile peer, by the hundred thousand, find bounded memory", function()
    s = flows { ours = 50, idle = 10 * S }
    math.randomseed(4)
    local r = math.random
    local heard = 0
    for i = 1, os.getenv("KT_SPEC_LIGHT") == "1" and 10000 or 100000 do
      local what, id = r(10), 2 * r(0, 500) + 1
      s:clock(i * 1000, 1000)
      if what <= 4 then
        assert.is_true(s:feed("\x18" .. v(id) .. "\x03abc\x00"))
      elseif what <= 8 then
        assert.is_true(s:feed("\x1a" .. v(id) .. v(r(0, 1 << r(0, 61))) .. ("x"):rep(r(0, 100))))
      elseif what == 9 then
        assert.is_true(s:feed("\x19" .. v(id) .. v(r(0, 40))))
      else
        s:timer()
      end
      heard = heard + #s:events()
      assert.is_true(s:facts().flows <= 50)
      if r(50) == 1 then s:write() end
    end
    assert.is_true(heard > 1000)
  end)
end)
