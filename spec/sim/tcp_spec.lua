-- TCP between simulated hosts, with faults of hosts and lines; names and files of a world.
local bytes = require "bytes"
local spec_io = require "spec_io"
local spec_sim = require "spec_sim"

local MS, S = 1000, 1000000
local MIB = 1 << 20

local w, near, far, a, b, light_a, light_b

local function set_up()
  w = spec_sim.new { seed = 5 }
  near, far = w:host "near", w:host "far"
  light_a, light_b = w:process(near, "client"), w:process(far, "server")
  a, b = spec_io.new(light_a, w), spec_io.new(light_b, w)
end

local function tear_down()
  a:free()
  b:free()
  w:free()
end

-- A conn from near to far: the connecting end and the accepted one.
local function pair()
  local mine, theirs
  local listener = assert(b:listen(":80", function(conn) theirs = conn end))
  assert(a:connect(w:addr(far) .. ":80", function(conn, _, text) mine = assert(conn, text) end))
  assert.equal("done", w:run(w:now() + 10 * S, function() return mine and theirs end))
  listener:close()
  return mine, theirs
end

-- Writes data as there is room, then finishes.
local function feed(conn, data)
  local at = 1
  local function go()
    while at <= #data do
      local n = conn:write(data:sub(at, at + 65535))
      if n == 0 then return end
      at = at + n
    end
    conn:shutdown()
  end
  conn:listen { writable = go }
  go()
end

-- Collects all data; result.text at the end, result.closed when it breaks.
local function collect(conn)
  local got, result = {}, { n = 0 }
  conn:listen {
    readable = function()
      local piece = conn:peek()
      got[#got + 1] = piece
      result.n = result.n + #piece
      conn:consume(#piece)
      if conn:eof() then
        result.text = table.concat(got)
        result.at = w:now()
      end
    end,
    closed = function(name)
      result.closed = name
      result.at = w:now()
    end,
  }
  return result
end

-- The result of a connect from near, and its time.
local function outcome(to)
  local result
  assert(a:connect(to, function(...) result = table.pack(w:now(), ...) end))
  w:run(w:now() + 400 * S, function() return result end)
  return table.unpack(result, 1, result.n)
end

describe("tcp across hosts", function()
  before_each(set_up)
  after_each(tear_down)

  it("takes a round trip to connect, and half of one for the first byte", function()
    assert(w:link(near, far, { delay_us = 50 * MS }))
    local x, y = pair()
    assert.equal(100 * MS, w:now())
    assert.equal(w:addr(near), (x:addr():gsub(":%d+$", "")))
    assert.equal(x:addr(), y:peer())
    assert.equal(w:addr(far) .. ":80", x:peer())
    local got = collect(y)
    x:write "hello"
    x:shutdown()
    w:run(1 * S)
    assert.equal("hello", got.text)
    assert.equal(150 * MS, got.at)
  end)

  it("goes as fast as the line and its window let it", function()
    assert(w:link(near, far, { delay_us = 10 * MS, rate_bps = 80e6 }))
    local x, y = pair()
    local got, data, from = collect(y), bytes.noise(5 * MIB, 1), w:now()
    feed(x, data)
    w:run(100 * S, function() return got.text end)
    assert.is_true(got.text == data)
    local rate = #data * 8 / (got.at - from) -- Mbit/s
    assert.is_true(rate > 70 and rate < 80, rate)
    assert(w:set(near, far, { delay_us = 100 * MS })) -- 256 KiB a round trip of 110 ms
    local p, q = pair()
    got, from = collect(q), w:now()
    feed(p, data)
    w:run(w:now() + 100 * S, function() return got.text end)
    rate = #data / (got.at - from)
    assert.is_true(rate > 1.9 and rate < 2.7, rate)
  end)

  it("is not affected by a line's losses or reordering", function()
    assert(w:link(near, far, { delay_us = 5 * MS, jitter_us = 4 * MS, loss = 0.5, duplicate = 0.5, reorder = 0.5, corrupt = 0.5, mtu = 600 }))
    local x, y = pair()
    local got, data = collect(y), bytes.noise(MIB, 2)
    feed(x, data)
    w:run(100 * S, function() return got.text end)
    assert.is_true(got.text == data)
  end)

  it("is refused after a round trip without a listener", function()
    assert(w:link(near, far, { delay_us = 30 * MS }))
    local at, conn, name = outcome(w:addr(far) .. ":81")
    assert.is_nil(conn)
    assert.equal("refused", name)
    assert.equal(60 * MS, at)
  end)

  it("cannot reach a host without a link", function()
    local _, conn, name = outcome(w:addr(far) .. ":80")
    assert.is_nil(conn)
    assert.equal("unreachable", name)
  end)

  it("times out on a host that is down, as Linux does", function()
    assert(w:link(near, far, { delay_us = 30 * MS }))
    w:crash(far)
    local at, _, name = outcome(w:addr(far) .. ":80")
    assert.equal("timeout", name)
    assert.equal(127 * S, at)
  end)

  it("connects at last to a host that comes up meanwhile", function()
    assert(w:link(near, far, { delay_us = 30 * MS }))
    w:crash(far)
    local again
    w:at(5 * S, function()
      w:restart(far)
      again = spec_io.new(w:process(far), w)
      assert(again:listen(":80", function() end))
    end)
    local at, conn = outcome(w:addr(far) .. ":80")
    assert.is_truthy(conn)
    assert.is_true(at > 5 * S and at < 10 * S, at)
    again:free()
  end)

  it("waits while the line is cut, and continues when it heals", function()
    assert(w:link(near, far, { delay_us = 10 * MS, rate_bps = 8e6 }))
    local x, y = pair()
    local got, data = collect(y), bytes.noise(MIB, 3)
    feed(x, data)
    w:at(300 * MS, function() w:cut(near, far) end)
    w:run(60 * S)
    local before = got.n
    assert.is_true(before > 100000 and before < #data)
    w:heal(near, far)
    w:run(100 * S, function() return got.text end)
    assert.is_true(got.text == data)
  end)

  it("gives up on a line that stays cut when the user timeout has passed", function()
    assert(w:link(near, far, { delay_us = 10 * MS }))
    local x, y = pair()
    local mine = collect(x)
    x:user_timeout(7 * S)
    w:cut(near, far)
    x:write "lost"
    w:run(8 * S)
    assert.equal("timeout", mine.closed)
    assert.is_true(mine.at > 7 * S and mine.at < 7.1 * S)
    w:heal(near, far)
    y:close()
    x = pair()
    local other = collect(x)
    w:cut(near, far)
    local cut = w:now()
    x:write "lost"
    w:run(cut + 70 * S)
    assert.equal("timeout", other.closed)
    assert.is_true(other.at > cut + 60 * S and other.at < cut + 61 * S)
  end)

  it("gives up on a line that stays cut after a quarter of an hour without a user timeout", function()
    assert(w:link(near, far, { delay_us = 10 * MS }))
    local x, y = pair()
    local mine, theirs = collect(x), collect(y)
    x:user_timeout(0)
    w:cut(near, far)
    x:write "lost"
    w:run(2000 * S)
    assert.equal("timeout", mine.closed)
    assert.is_true(mine.at > 920 * S and mine.at < 930 * S)
    assert.equal("timeout", theirs.closed) -- it had nothing to say, and learns it by its keepalive
  end)

  it("gets nothing from a peer whose host crashed, and a reset once the host is up again", function()
    assert(w:link(near, far, { delay_us = 10 * MS }))
    local x, y = pair()
    local mine, theirs = collect(x), collect(y)
    w:crash(far)
    x:write "is anyone there?"
    w:run(w:now() + 20 * S)
    assert.is_nil(mine.closed)
    w:restart(far)
    w:run(w:now() + 60 * S)
    assert.equal("reset", mine.closed)
    assert.is_nil(theirs.closed)
    assert.equal(0, y:write "x") -- a husk, which can only be closed
  end)

  it("ends with its process: by FIN, or by RST with unread data", function()
    assert(w:link(near, far, { delay_us = 10 * MS }))
    local x1, _ = pair()
    local x2, y2 = pair()
    local first, second = collect(x1), collect(x2)
    y2:listen {}
    x2:write "unread"
    w:run(w:now() + 1 * S)
    w:kill(light_b)
    w:run(w:now() + 1 * S)
    assert.equal("", first.text)
    assert.is_nil(first.closed)
    assert.equal("reset", second.closed)
  end)

  it("breaks when a NAT between forgets it", function()
    assert(w:nat(near, "203.0.113.7"))
    assert(w:link(near, far, { delay_us = 10 * MS }))
    local x, y = pair()
    assert.matches("^203%.0%.113%.7:%d+$", y:peer())
    local mine = collect(x)
    x:write "one"
    w:run(w:now() + 1 * S)
    assert.equal("one", y:peek())
    w:rebind(near)
    x:write "two"
    w:run(w:now() + 1 * S)
    assert.equal("reset", mine.closed)
  end)

  it("leaves nothing behind when both ends have closed", function()
    assert(w:link(near, far, { delay_us = 10 * MS }))
    for _ = 1, 20 do
      local x, y = pair()
      feed(x, bytes.noise(100000, 4))
      local got = collect(y)
      w:run(w:now() + 2 * S)
      assert.equal(100000, #got.text)
      x:close()
      y:close()
    end
    assert.equal("quiet", w:run(w:now() + 100 * S))
    assert.equal(0, w:open(near))
    assert.equal(0, w:open(far))
  end)

  it("does not wait forever for a peer that does not read", function()
    assert(w:link(near, far, { delay_us = 10 * MS }))
    local x, y = pair()
    y:listen {}
    for _ = 1, 3 do -- until nothing moves any more
      while x:write(("x"):rep(65536)) == 65536 do end
      w:run(w:now() + 1 * S)
    end
    x:close()
    w:run(w:now() + 20 * S)
    assert.equal(1, w:open(near))
    w:run(w:now() + 20 * S)
    assert.equal(0, w:open(near))
  end)
end)

describe("a process", function()
  before_each(set_up)
  after_each(tear_down)

  -- Everything a process can be called for, each of which calls hit() first.
  local function busy(io, hit)
    local function go(conn)
      conn:listen { readable = hit, writable = hit, closed = hit }
      conn:write(("x"):rep(200000))
    end
    assert(io:listen("127.0.0.1:80", function(conn)
      hit "accepted"
      go(conn)
    end))
    io:connect("127.0.0.1:80", function(conn)
      hit "connected"
      go(conn)
    end)
    local s = assert(io:udp({ bind = "127.0.0.1:53" }, { batch = function() hit "batch" end }))
    for _ = 1, 100 do s:send("x", "127.0.0.1:53") end
    io:timer(io:now() + 1, function() hit "timer" end)
    io:turn(function() hit "hook" end)
    io:resolve("127.0.0.1", 1, function() hit "resolved" end)
    io:resolve("far", 1, function() hit "resolved" end)
    io:signal(15, function() hit "signal" end)
  end

  it("may be ended by any of its own callbacks, and is called no more", function()
    for _, how in ipairs { "crash", "kill" } do
      local total = math.huge
      local n = 0
      while n < total do
        n = n + 1
        local world = spec_sim.new { seed = 1 }
        local h = world:host "h"
        world:host "far"
        local light = world:process(h)
        local io = spec_io.new(light, world)
        local calls = 0
        busy(io, function()
          calls = calls + 1
          assert(calls <= n, "it was called after its end")
          if calls == n then world[how](world, how == "crash" and h or light) end
        end)
        world:signal(light, 15)
        world:run(100 * S)
        io:check()
        if calls < n then
          total = 0 -- it has no more callbacks than that
        else
          assert.equal(0, world:open(h))
        end
        io:free()
        world:free()
      end
      assert.is_true(n > 10, n .. " callbacks")
    end
  end)
end)

describe("a simulated host's conns", function()
  before_each(set_up)
  after_each(tear_down)

  it("are read at the rate of a slow reader, which slows the writer", function()
    assert(w:link(near, far, { delay_us = 1 * MS }))
    w:slow(far, 100000)
    local x, y = pair()
    local got, data, from = collect(y), bytes.noise(MIB, 6), w:now()
    feed(x, data)
    w:run(1 * S)
    assert.is_true(math.abs(got.n - 100000) < 5000, got.n)
    w:run(100 * S, function() return got.text end)
    assert.is_true(got.text == data)
    local rate = #data / (got.at - from) * S
    assert.is_true(rate > 95000 and rate < 101000, rate)
  end)

  it("carry every byte with short reads and writes", function()
    assert(w:link(near, far, { delay_us = 1 * MS }))
    w:short(near, 700)
    w:short(far, 300)
    local x, y = pair()
    local there = collect(y)
    local data = bytes.noise(200000, 7)
    local taken = x:write(data)
    assert.is_true(taken >= 1 and taken <= 700, taken)
    feed(x, data:sub(taken + 1))
    w:run(100 * S, function() return there.text end)
    assert.is_true(there.text == data)
  end)

  it("keep reading, a little at a time, although nothing is consumed", function()
    for _, fault in ipairs { "short", "slow" } do
      w[fault](w, near, fault == "short" and 50 or 5000)
      local mine, theirs
      local listener = assert(a:listen("127.0.0.1:0", function(conn) theirs = conn end))
      a:connect(listener:addr(), function(conn) mine = conn end)
      w:run(w:now() + 1 * MS)
      local data = bytes.noise(2000, 9)
      feed(mine, data)
      w:run(w:now() + 1 * S)
      assert.is_true(theirs:peek() == data, #theirs:peek())
      w[fault](w, near, 0)
    end
  end)

  it("repeat exactly with short reads and writes", function()
    local function run()
      local world = spec_sim.new { seed = 8 }
      local h = world:host "h"
      world:short(h, 50)
      world:trace()
      local io = spec_io.new(world:process(h), world)
      local sizes = {}
      local listener = assert(io:listen("127.0.0.1:0", function(conn)
        conn:listen { readable = function()
          sizes[#sizes + 1] = #conn:peek()
          conn:consume(#conn:peek())
        end }
      end))
      io:connect(listener:addr(), function(conn) feed(conn, ("x"):rep(3000)) end)
      world:run(1 * S)
      io:free()
      local text = world:traced()
      world:free()
      return table.concat(sizes, " "), text
    end
    local sizes, text = run()
    local sizes2, text2 = run()
    assert.is_true(#sizes > 100)
    assert.equal(sizes, sizes2)
    assert.is_true(text == text2)
  end)
end)

describe("names of a world", function()
  before_each(set_up)
  after_each(tear_down)

  local function lookup(name)
    local result
    assert(a:resolve(name, 443, function(...) result = table.pack(w:now(), ...) end))
    w:run(w:now() + 100 * S, function() return result end)
    return table.unpack(result, 1, result.n)
  end

  it("lead to hosts, by host names or a table", function()
    local _, addrs = lookup "far"
    assert.same({ w:addr(far) .. ":443", "[" .. w:addr(far, 2):gsub("[%[%]]", "") .. "]:443" }, addrs)
    w:name("vps.example", { "10.2.3.4", "2001:db8::1" })
    assert.same({ "10.2.3.4:443", "[2001:db8::1]:443" }, select(2, lookup "VPS.example"))
  end)

  it("may be slow, fail, change and vanish", function()
    w:name("vps.example", { "10.2.3.4" }, 3 * S)
    local at, addrs = lookup "vps.example"
    assert.equal(3 * S, at)
    assert.same({ "10.2.3.4:443" }, addrs)
    w:name("vps.example", { "10.2.3.5" }, 1)
    assert.same({ "10.2.3.5:443" }, select(2, lookup "vps.example"))
    w:name("vps.example", false, 10 * S)
    local from = w:now()
    local then_at, none, name, text = lookup "vps.example"
    assert.equal(from + 10 * S, then_at)
    assert.is_nil(none)
    assert.equal("name", name)
    assert.equal("vps.example: the name server does not answer", text)
    w:name("vps.example", {})
    assert.equal("vps.example: no such host name", (select(4, lookup "vps.example")))
  end)

  -- Type A 1, SRV 33, AAAA 28, as on the wire.
  local function records(name, type)
    local result
    assert(a:query(name, type, {}, function(...) result = table.pack(...) end))
    w:run(w:now() + 100 * S, function() return result end)
    return table.unpack(result, 1, 3)
  end

  it("have records: addresses by family, services by priority, with their time to live", function()
    w:name("vps.example", { "10.2.3.4", "2001:db8::1" })
    assert.same({ "10.2.3.4 60" }, (records("vps.example.", 1)))
    assert.same({ "2001:db8::1 60" }, (records("vps.example", 28)))
    w:srv("_kt._udp.example", { { target = "b.example", port = 2, priority = 9, weight = 1 },
      { target = "a.example", port = 1, priority = 3, weight = 7 } }, 5)
    assert.same({ "a.example:1 3 7 5", "b.example:2 9 1 5" }, (records("_kt._udp.example", 33)))
  end)

  it("have no record of another kind, and none at all while their server does not answer", function()
    w:name("vps.example", { "10.2.3.4" })
    assert.same({ nil, "name", "vps.example: no AAAA record" }, { records("vps.example", 28) })
    w:name("vps.example", false, 10 * S)
    assert.same({ nil, "io", "vps.example: the name server does not answer" }, { records("vps.example", 1) })
    w:srv("vps.example", { { target = "a.example", port = 1, priority = 3, weight = 7 } }, 5)
    assert.same({ "a.example:1 3 7 5" }, (records("vps.example", 33)))
    w:srv("vps.example", {}, 5)
    assert.equal("vps.example: no SRV record", (select(3, records("vps.example", 33))))
  end)

  it("are not reported to a killed process", function()
    assert(a:query("far", 1, {}, error))
    assert(a:resolve("far", 1, error))
    assert(a:connect("far:80", error))
    w:kill(light_a)
    w:run(1 * S)
  end)
end)

describe("files of a simulated host", function()
  before_each(set_up)
  after_each(tear_down)

  it("are its own, and outlive a crash", function()
    assert.is_true(w:put(near, "psk.key", "secret"))
    assert(a:append_file("out.log", "line\n"))
    assert.equal("secret", a:read_file("psk.key", 100))
    assert.is_nil((b:read_file("psk.key", 100)))
    w:crash(near)
    w:restart(near)
    local again = spec_io.new(w:process(near), w)
    assert.equal("line\n", again:read_file("out.log", 100))
    again:free()
  end)

  it("may be this machine's, read-only, if the host is configured so", function()
    local h = w:host("real", nil, true)
    local io = spec_io.new(w:process(h), w)
    local path = os.tmpname()
    local f = assert(_G.io.open(path, "w"))
    f:write "real"
    f:close()
    assert.equal("real", io:read_file(path, 100))
    assert(io:append_file(path, " and more"))
    assert.equal("real and more", io:read_file(path, 100))
    f = assert(_G.io.open(path))
    assert.equal("real", f:read "a")
    f:close()
    os.remove(path)
    assert.is_nil((a:read_file("/etc/passwd", 1 << 20)))
    io:free()
  end)
end)
