-- Lines between simulated hosts, by UDP: each fault alone, rates and queues, outages, NAT, and faults of hosts.
local spec_io = require "spec_io"
local spec_sim = require "spec_sim"

local MS, S = 1000, 1000000

describe("a line", function()
  local w, near, far, a, b, at_b, socket, here

  before_each(function()
    w = spec_sim.new { seed = 11 }
    near, far = w:host "near", w:host "far"
    a, b = spec_io.new(w:process(near), w), spec_io.new(w:process(far), w)
    at_b = {}
  end)
  after_each(function()
    a:free()
    b:free()
    w:free()
  end)

  -- Links the hosts and opens a socket at each end; what comes to far is in at_b as { data, from, at }.
  local function connect(opts, back)
    assert(w:link(near, far, opts, back))
    here = assert(b:udp({ bind = "0.0.0.0:9", rcvbuf = 1 << 30 }, {
      batch = function(list)
        for _, d in ipairs(list) do at_b[#at_b + 1] = { d[1], d[2], w:now() } end
      end,
    }))
    socket = assert(a:udp({ bind = "0.0.0.0:7" }, {}))
  end

  -- Sends n datagrams of `size` bytes, `every` µs apart, and lets them arrive.
  local function send(n, size, every)
    local to = w:addr(far) .. ":9"
    for i = 1, n do
      assert.is_true(socket:send(("%06d"):format(i):rep(size // 6 + 1):sub(1, size), to))
      if every and every > 0 then w:run(w:now() + every) end
    end
    w:run(w:now() + 100 * S)
  end

  local function stats() return w:stats(near, far) end

  it("delays, and counts IP packets", function()
    connect { delay_us = 40 * MS }
    send(1, 100)
    assert.equal(40 * MS, at_b[1][3])
    assert.equal(w:addr(near) .. ":7", at_b[1][2])
    local s = stats()
    assert.equal(1, s.sent_pkts)
    assert.equal(128, s.sent_bytes)
    assert.equal(128, s.delivered_bytes)
    assert.equal(0, s.lost_pkts)
  end)

  it("spreads delays by jitter, without overtaking", function()
    connect { delay_us = 20 * MS, jitter_us = 5 * MS }
    send(500, 20, 10 * MS)
    local least, most = math.huge, 0
    for i, d in ipairs(at_b) do
      assert.equal(("%06d"):format(i), d[1]:sub(1, 6))
      local took = d[3] - (i - 1) * 10 * MS
      least, most = math.min(least, took), math.max(most, took)
    end
    assert.equal(500, #at_b)
    assert.is_true(least >= 15 * MS and least < 16 * MS, least)
    assert.is_true(most <= 25 * MS and most > 24 * MS, most)
  end)

  it("loses its share", function()
    connect { loss = 0.1 }
    send(5000, 20, 10)
    local s = stats()
    assert.equal(5000 - #at_b, s.lost_pkts)
    assert.equal(s.lost_pkts, s.lost.loss)
    assert.is_true(s.lost_pkts > 420 and s.lost_pkts < 580, s.lost_pkts)
  end)

  it("loses everything or nothing at the ends of the range", function()
    connect { loss = 1 }
    send(50, 20, 10)
    assert.equal(0, #at_b)
    assert(w:set(near, far, { loss = 0 }))
    send(50, 20, 10)
    assert.equal(50, #at_b)
  end)

  it("loses in bursts of the given mean length", function()
    connect { burst_enter = 0.01, burst_leave = 0.2 }
    send(20000, 20, 10)
    local s = stats()
    -- In the bad state 0.01 / (0.01 + 0.2) of the time, for 1 / 0.2 packets at a time.
    local bursts, last = 0, 0
    for _, d in ipairs(at_b) do
      local i = tonumber(d[1]:sub(1, 6))
      if i ~= last + 1 then bursts = bursts + 1 end
      last = i
    end
    assert.is_true(s.lost.burst > 700 and s.lost.burst < 1200, s.lost.burst)
    local length = s.lost.burst / bursts
    assert.is_true(length > 4 and length < 6, length)
  end)

  it("duplicates, corrupts and reorders its share, and nothing else", function()
    connect { delay_us = 1 * MS, duplicate = 0.1 }
    send(1000, 60, 100)
    local s = stats()
    assert.equal(1000 + s.duplicated, #at_b)
    assert.is_true(s.duplicated > 60 and s.duplicated < 140)
    assert(w:set(near, far, { delay_us = 1 * MS, corrupt = 0.1 }))
    at_b = {}
    send(1000, 60, 100)
    local damaged = 0
    for i, d in ipairs(at_b) do
      if d[1] ~= ("%06d"):format(i):rep(10) then damaged = damaged + 1 end
    end
    s = stats()
    assert.equal(1000, #at_b)
    assert.is_true(damaged > 60 and damaged <= s.corrupted and s.corrupted < 140)
    assert(w:set(near, far, { delay_us = 1 * MS, reorder = 0.1, reorder_us = 5 * MS }))
    at_b = {}
    send(1000, 60, 100)
    local late = 0
    for i = 2, #at_b do
      if at_b[i][1] < at_b[i - 1][1] then late = late + 1 end
    end
    assert.equal(1000, #at_b)
    assert.is_true(late > 30 and late < 140, late)
    assert.is_true(stats().reordered >= late)
  end)

  it("carries no more than its rate", function()
    connect { rate_bps = 8e6, delay_us = 10 * MS, queue_packets = 1000 }
    for _ = 1, 5 do -- 500 packets of 1000 bytes at a megabyte a second: half a second
      for i = 1, 100 do socket:send(("%06d"):format(i):rep(162), w:addr(far) .. ":9") end
      w:run(w:now() + 1)
    end
    w:run(10 * S)
    assert.equal(500, #at_b)
    assert.is_true(math.abs(at_b[500][3] - 510 * MS) < 2 * MS, at_b[500][3])
    for i = 2, 500 do assert.is_true(at_b[i][3] - at_b[i - 1][3] >= 999) end
    assert.is_true(stats().queue_peak_pkts > 490 and stats().queue_peak_pkts <= 500)
  end)

  it("receives a burst at the sending rate of its host", function()
    connect { delay_us = 10 * MS }
    for _ = 1, 101 do socket:send(("x"):rep(972), w:addr(far) .. ":9") end -- 2 us each, of 1000 bytes at 4 Gbit/s
    w:run(1 * S)
    assert.equal(101, #at_b)
    assert.equal(10 * MS, at_b[1][3])
    assert.equal(10 * MS + 200, at_b[101][3])
  end)

  it("drops at the tail of its queue, by packets, bytes or time", function()
    for _, case in ipairs { { queue_packets = 20 }, { queue_bytes = 20000 }, { queue_us = 19500 } } do
      local world = spec_sim.new { seed = 1 }
      local x, y = world:host "x", world:host "y"
      case.rate_bps = 8e6
      assert(world:link(x, y, case))
      local ios = { spec_io.new(world:process(x), world), spec_io.new(world:process(y), world) }
      local n = 0
      assert(ios[2]:udp({ bind = "0.0.0.0:9" }, { batch = function(list) n = n + #list end }))
      local s = assert(ios[1]:udp({ bind = "0.0.0.0:7" }, {}))
      for i = 1, 100 do s:send(("%06d"):format(i):rep(162), world:addr(y) .. ":9") end
      world:run(1 * S)
      assert.equal(20, n)
      assert.equal(80, world:stats(x, y).lost.queue)
      for _, io in ipairs(ios) do io:free() end
      world:free()
    end
  end)

  it("that polices passes a burst at once, drops the rest, and carries no more than its rate", function()
    connect { delay_us = 10 * MS, rate_bps = 8e6, police_bytes = 20000 } -- a packet of 1000 bytes of IP each ms
    send(100, 972, 0)
    assert.equal(20, #at_b)
    assert.is_true(at_b[20][3] - at_b[1][3] < 1 * MS) -- it leaves the host at 4 Gbit/s
    assert.equal(80, stats().lost.police)
    at_b = {}
    send(1000, 972, 500)
    assert.is_true(math.abs(#at_b - 520) <= 1, #at_b .. " of 1000 arrived")
    for _, d in ipairs(at_b) do assert.equal(0, (d[3] - at_b[1][3]) % 500) end -- none waits
  end)

  it("drops what is larger than its MTU", function()
    connect { mtu = 1400 }
    send(1, 1372)
    send(1, 1373)
    assert.equal(1, #at_b)
    assert.equal(1, stats().lost.mtu)
  end)

  it("that is cut loses packets in flight and new ones, until it heals", function()
    connect { delay_us = 50 * MS }
    send(1, 20)
    local to = w:addr(far) .. ":9"
    socket:send("on the line", to)
    w:run(w:now() + 10 * MS)
    w:cut(near, far)
    w:run(w:now() + 10 * MS)
    socket:send("while cut", to)
    w:run(w:now() + 1 * MS)
    w:heal(near, far) -- before the first would have arrived
    w:run(w:now() + 1 * S)
    assert.equal(1, #at_b)
    assert.equal(2, stats().lost.cut)
    send(1, 20)
    assert.equal(2, #at_b)
  end)

  it("that is held delivers everything, in order, when it heals", function()
    connect { delay_us = 5 * MS }
    w:hold(near, far)
    for i = 1, 5 do
      socket:send("held " .. i, w:addr(far) .. ":9")
      w:run(w:now() + 100 * MS)
    end
    assert.equal(0, #at_b)
    w:heal(near, far)
    w:run(w:now() + 1)
    assert.equal(5, #at_b)
    for i = 1, 5 do assert.equal("held " .. i, at_b[i][1]) end
  end)

  it("follows a packet rule", function()
    connect { delay_us = 1 * MS }
    w:rule(function(data, from)
      assert.equal("near", from)
      if data == "two" then return "drop" end
      if data == "three" then return 2 end
    end)
    local to = w:addr(far) .. ":9"
    w:at(1, function() for _, d in ipairs { "one", "two", "three" } do socket:send(d, to) end end)
    w:run(1 * S)
    local got = {}
    for i, d in ipairs(at_b) do got[i] = d[1] end
    assert.same({ "one", "three", "three", "three" }, got)
    assert.equal(1, stats().lost.rule)
  end)

  it("refuses packets of a connected sender to a closed port, and drops them if the host is down", function()
    connect { delay_us = 10 * MS }
    local errors = {}
    local s = assert(a:udp({ remote = w:addr(far) .. ":10" }, { error = function(name) errors[#errors + 1] = name .. " " .. w:now() // MS end }))
    s:send "anyone?"
    w:run(1 * S)
    assert.same({ "refused 20" }, errors)
    w:crash(far)
    s:send "anyone?"
    w:run(2 * S)
    assert.equal(1, #errors)
    assert.equal(1, stats().lost.down)
    assert.equal(1, stats().lost["no port"])
  end)

  it("reaches only linked hosts", function()
    local lonely = w:host "lonely"
    connect {}
    socket:send("x", w:addr(lonely) .. ":9")
    w:run(1 * S)
    assert.equal(1, socket:stats().out_dropped)
  end)

  it("of a host behind a NAT shows its public address, and lets answers in only", function()
    assert(w:nat(near, "203.0.113.7", 30 * S))
    connect { delay_us = 1 * MS }
    local at_a = {}
    socket:close()
    socket = assert(a:udp({ bind = "0.0.0.0:7" }, { batch = function(list) at_a[#at_a + 1] = list[1][1] end }))
    here:send("unasked", w:addr(near) .. ":7")
    here:send("unasked", "203.0.113.7:7")
    w:run(100 * MS)
    assert.same({}, at_a)
    assert.equal(1, w:stats(far, near).lost.nat)
    send(1, 20)
    local outside = at_b[1][2]
    assert.matches("^203%.0%.113%.7:%d+$", outside)
    here:send("late", outside) -- 100 s after: the mapping has timed out
    w:run(w:now() + 1 * S)
    assert.same({}, at_a)
    socket:send("again", w:addr(far) .. ":9")
    w:run(w:now() + 1 * S)
    assert.not_equal(outside, at_b[2][2])
    here:send("in time", at_b[2][2])
    local stranger = assert(b:udp({ bind = "0.0.0.0:0" }, {}))
    stranger:send("not asked for", at_b[2][2])
    w:run(w:now() + 1 * S)
    assert.same({ "in time" }, at_a)
    w:rebind(near)
    socket:send("from another port", w:addr(far) .. ":9")
    w:run(w:now() + 1 * S)
    assert.not_equal(at_b[2][2], at_b[3][2])
    here:send("to the old port", at_b[2][2])
    w:run(w:now() + 1 * S)
    assert.equal(1, #at_a)
  end)
end)

describe("a simulated host's udp", function()
  local w, host, io

  before_each(function()
    w = spec_sim.new { seed = 2 }
    host = w:host "here"
    io = spec_io.new(w:process(host), w)
  end)
  after_each(function()
    io:free()
    w:free()
  end)

  it("gives no buffers while the system accepts none, then signals that it is writable", function()
    local when
    local s = assert(io:udp({ bind = "127.0.0.1:0" }, { writable = function() when = w:now() end }))
    w:full(host, 300 * MS)
    assert.equal(0, s:hold(1))
    w:run(200 * MS)
    assert.is_nil(when)
    assert.equal(0, s:hold(1))
    w:run(1 * S)
    assert.equal(300 * MS, when)
    assert.is_true(s:hold(1) == 1)
  end)

  it("drops datagrams when its receive buffer is full", function()
    local n = 0
    local b = assert(io:udp({ bind = "127.0.0.1:0", rcvbuf = 20000 }, { batch = function(list) n = n + #list end }))
    local s = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
    for _ = 1, 100 do s:send(("x"):rep(744), b:addr()) end -- and 256 of overhead
    w:run(1 * S)
    assert.equal(20, n)
  end)

  it("closes with its process, and frees its port", function()
    local light = w:process(host, "other")
    local other = spec_io.new(light, w)
    local s = assert(other:udp({ bind = "127.0.0.1:4000" }, { batch = error, writable = error, error = error }))
    assert.is_nil((io:udp({ bind = "127.0.0.1:4000" }, {})))
    w:kill(light)
    assert(io:udp({ bind = "127.0.0.1:4000" }, {}))
    assert.is_false(s:send("x", "127.0.0.1:4000"))
    assert.is_nil((other:udp({ bind = "127.0.0.1:0" }, {})))
    w:run(1 * S)
    s:close()
    other:free()
  end)
end)
