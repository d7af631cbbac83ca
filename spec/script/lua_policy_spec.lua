-- Settings and figures of conns and streams: priority, weight, rates, time limits. The real kt, real sockets.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local h = require "harness"
local scripts = require "harness.scripts"
local api = require "kt.api"

local s = scripts.each(before_each, after_each)

--- A far end that echoes a stream that begins with "e", swallows one that begins with "b", and pours "x" into one that
--- begins with "p" until it breaks.
local FAR = scripts.HEAD .. [[
kt.accept { on = "127.0.0.1:%d", key = KEY, mode = "fast3", fec = false, compress = false %s }:serve(function(stream)
  local what = stream:read(1)
  local block = ("x"):rep(65536)
  if what == "p" then repeat local n = stream:write(block) until not n end
  while true do
    local data = stream:read(65536, { timeout = "1m" })
    if not data then return end
    if what == "e" then stream:write(data) end
  end
end)]]

--- Runs `near` as a task with `far`, a link to FAR; returns its output.
local function near(text, extra)
  local port = h.sockets.free_port("udp")
  s.write("far.lua", FAR:format(port, ""))
  s.write("near.lua", (scripts.HEAD .. [[
local far = kt.link { remote = "127.0.0.1:%d", key = KEY, mode = "fast3", fec = false, compress = false %s }
kt.spawn(function()
%s
end)]]):format(port, extra or "", text))
  local server = s.kt("run", "far.lua")
  server:wait_udp(port)
  local client = s.kt("run", "near.lua")
  local code = client:wait_exit(40)
  assert.equal(0, code, client.stderr)
  return client.stdout, client.stderr
end

describe("a stream's priority", function()
  it("lets a keystroke overtake bulk transfers on a link that is full", function()
    h.run(function()
      local out = near([[
        for _ = 1, 16 do
          kt.spawn(function()
            local bulk = assert(far:open())
            bulk:write "b"
            while bulk:write(("x"):rep(32768), { timeout = "1m" }) do end
          end)
        end
        local function key(options)
          local stream = assert(far:open(options))
          stream:write "e"
          return stream
        end
        local streams = { first = key { priority = 0 }, default = key() }
        local took = { first = {}, default = {} }
        kt.sleep "1s"
        for _ = 1, 9 do
          for name, stream in pairs(streams) do
            local from = kt.now()
            stream:write "k"
            assert(stream:read_exactly(1))
            table.insert(took[name], kt.now() - from)
          end
        end
        for _, list in pairs(took) do table.sort(list) end
        print(took.default[5] / took.first[5], took.default[5], took.first[5])
        far:close()]], ', rate = "4Mbit", wire = "kcptun"') -- on kt's wire, whoever sends little waits for nobody
      local ratio = tonumber(out:match "^%S+")
      assert.is_true(ratio > 2.5, out)
    end, 60)
  end)

  it("is set by stream:set and shown by stats", function()
    h.run(function()
      assert.equal("3 16\n1 200\n1 7\n0 7\n", (near [[
        local stream = far:open()
        local function show() local f = stream:stats() print(f.priority .. " " .. f.weight) end
        show()
        local other = far:open { priority = 1, weight = 200 }
        stream, other = other, stream
        show()
        print((stream:set { weight = 7 } and stream:stats().priority) .. " " .. stream:stats().weight)
        stream:set { priority = 0 }
        show()
        far:close()]]))
    end)
  end)
end)

describe("a stream's weight", function()
  it("gives it its share of a link that is full", function()
    h.run(function()
      local out = near([[
        local function bulk(weight)
          local stream = assert(far:open { weight = weight })
          stream:write "b"
          kt.spawn(function(own) while own:write(("x"):rep(32768), { timeout = "1m" }) do end end, stream)
          return stream
        end
        local light, heavy = bulk(8), bulk(64)
        kt.sleep "700ms"
        local function sent(stream) local f = stream:stats() return f.bytes_out - f.queued end
        local a, b = sent(light), sent(heavy)
        kt.sleep "2s"
        print((sent(heavy) - b) / (sent(light) - a))
        far:close()]], ', rate = "8Mbit"')
      local ratio = tonumber(out)
      assert.is_true(ratio > 5 and ratio < 12, out)
    end, 60)
  end)
end)

describe("a stream's rate", function()
  it("limits writes", function()
    h.run(function()
      local out = near [[
        local stream = far:open()
        stream:set { rate_out = "200kB" }
        stream:write "b"
        local from, n = kt.now(), 0
        while kt.now() - from < 1.5 do n = n + assert(stream:write(("x"):rep(5000))) end
        print(n / (kt.now() - from))
        print(stream:stats().rate_out)
        far:close()]]
      local rate, measured = out:match "(%S+)\n(%S+)"
      assert.is_true(tonumber(rate) > 140e3 and tonumber(rate) < 250e3, out)
      assert.is_true(tonumber(measured) > 140e3 and tonumber(measured) < 260e3, out)
    end)
  end)

  it("limits reads, and changes while a splice uses it", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        conn:send("p")
        while conn:recv(20) do end
      end)
      local out = near(([[
        local conn = assert(kt.connect { to = "127.0.0.1:%d" })
        local stream = assert(far:open())
        stream:set { rate_in = "200kB" }
        kt.spawn(function(a, b) print(kt.splice(a, b).reason) end, conn, stream)
        local function measure()
          local n, from = stream:stats().bytes_in, kt.now()
          kt.sleep "1s"
          return (stream:stats().bytes_in - n) / (kt.now() - from)
        end
        kt.sleep "300ms"
        print(measure())
        print(stream:set { rate_in = 0 })
        print(measure())
        print(conn:set { rate_out = "100kB" })
        kt.sleep "500ms"
        print(measure())
        print(conn:stats().bytes_out <= stream:stats().bytes_in, stream:stats().bytes_out)
        print(conn:set { total = "1ms" })
        kt.sleep "100ms"
        print(select(2, conn:set { total = 0 }).code)]]):format(target.at))
      local slow, fast, other = out:match "^(%S+)\ntrue\n(%S+)\ntrue\n(%S+)\ntrue\t1\ntrue\ntotal\nclosed\n$"
      assert.is_truthy(other, out)
      assert.is_true(tonumber(slow) > 120e3 and tonumber(slow) < 260e3, out)
      assert.is_true(tonumber(fast) > 5 * tonumber(slow), out)
      assert.is_true(tonumber(other) > 60e3 and tonumber(other) < 140e3, out)
    end)
  end)
end)

describe("a splice's", function()
  --- Splices two streams that are echoed, with `options` and `more` to be done meanwhile; returns what that printed.
  local function spliced(options, more)
    return (near(([[
      local a, b = far:open(), far:open()
      a:write "e"
      b:write "e"
      kt.spawn(function() %s end)
      local sum, err = kt.splice(a, b, %s)
      print(sum and sum.reason or err)
      far:close()]]):format(more or "", options)))
  end

  it("total ends it, with that reason", function()
    h.run(function() assert.equal("total\n", spliced '{ total = "150ms", idle = "10s" }') end)
  end)

  it("idle limit ends it, with that reason; so does the idle limit of either side, if shorter", function()
    h.run(function()
      assert.equal("idle\n", spliced '{ idle = "100ms" }')
      assert.equal("true\nidle\n", spliced('{ idle = "1h" }', 'kt.sleep "10ms" print(a:set { idle = "100ms" })'))
    end)
  end)

  it("rate limits each direction", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        conn:send("p")
        while conn:recv(20) do end
      end)
      for _, rate in ipairs { '"100kB"', '{ b_to_a = "100kB" }' } do
        local out = near(([[
          local conn, stream = assert(kt.connect { to = "127.0.0.1:%d" }), assert(far:open())
          local sum = kt.splice(conn, stream, { rate = %s, total = "1500ms" })
          print(sum.b_to_a / sum.duration)]]):format(target.at, rate))
        assert.is_true(tonumber(out) > 60e3 and tonumber(out) < 150e3, out)
      end
    end)
  end)
end)

describe("a conn's time limits", function()
  --- A task with `conn`, whose other end says nothing.
  local function with_conn(text)
    local target = h.sockets.serve(function(conn) conn:recv_all(20) end)
    return s.task(('local conn = assert(kt.connect { to = "127.0.0.1:%d" })\n'):format(target.at) .. text)
  end

  it("end a waiting call", function()
    h.run(function()
      assert.equal("idle\tconn:read: idle for too long\nidle\nidle\n", with_conn [[
        conn:set { idle = "50ms" }
        local data, err = conn:read()
        print(err.code, err)
        print(select(2, conn:read()).code)
        print(select(2, conn:write "x").code)]])
    end)
  end)

  it("break it while no call waits, and keep its peer's name", function()
    h.run(function()
      assert.equal("true\ttrue\tnil\ntotal\ttotal\n", with_conn [[
        local peer = conn.peer
        conn:set { total = "20ms" }
        kt.sleep "100ms"
        print(peer ~= nil, conn.peer == peer, conn.local_addr)
        print(select(2, conn:read { timeout = 0 }).code, select(2, conn:write "x").code)
        conn:close()]])
    end)
  end)

  it("do not run while bytes move", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        for _ = 1, 10 do
          h.loop.sleep(0.05)
          conn:send("x")
        end
        conn:recv_all(20)
      end)
      local out = s.task([[
        local conn = assert(kt.connect { to = "127.0.0.1:%d" })
        conn:set { idle = "300ms" }
        print(conn:read_exactly(10))
        print(select(2, conn:read()).code)]], target.at)
      assert.equal("xxxxxxxxxx\nidle\n", out)
    end)
  end)
end)

describe("the figures", function()
  local function names(record)
    local out = {}
    for i, field in ipairs(api.records[record].fields) do out[i] = field.name end
    table.sort(out)
    return table.concat(out, " ")
  end

  it("of conns and streams match their description, even after the end", function()
    h.run(function()
      local target = h.sockets.serve(function(conn) conn:recv_all(20) end)
      local out = near(([[
        local function keys(t)
          local list = {}
          for name, value in pairs(t) do
            assert(math.type(value), name)
            list[#list + 1] = name
          end
          table.sort(list)
          print(table.concat(list, " "))
        end
        local conn, stream = assert(kt.connect { to = "127.0.0.1:%d" }), assert(far:open())
        keys(conn:stats())
        keys(stream:stats())
        stream:write "e12345"
        assert(stream:read_exactly(5))
        local f = stream:stats()
        print(f.bytes_in, f.bytes_out, f.srtt > 0, f.since > 0 and f.since < 20, f.loss, f.queued)
        stream:close()
        f = stream:stats()
        print(f.bytes_in, f.bytes_out, f.srtt)
        conn:close()
        keys(conn:stats())
        far:close()]]):format(target.at))
      assert.equal(table.concat({ names "connstats", names "streamstats", "5\t6\ttrue\ttrue\t0\t0", "5\t6\t0",
        names "connstats", "" }, "\n"), out)
    end)
  end)
end)

describe("an invalid setting is an error", function()
  --- The error that the statement raises, with `conn` and `stream` at hand.
  local function mistakes(list)
    local target = h.sockets.serve(function(conn) conn:recv_all(20) end)
    local lines = {}
    for i, call in ipairs(list) do lines[i] = ("print(select(2, pcall(function() %s end)))"):format(call) end
    local out = near(([[
      local conn, stream = assert(kt.connect { to = "127.0.0.1:%d" }), assert(far:open())
      %s
      far:close()]]):format(target.at, table.concat(lines, "\n")))
    return out
  end

  local cases = {
    { 'stream:set { mode = "fast3" }', "stream:set.mode: all streams of a kcptun session share this setting; "
      .. "use link:set { mode = ... }" },
    { "stream:set { kcp = { sndwnd = 1 } }", "stream:set.kcp: all streams of a kcptun session share this setting; "
      .. "use link:set { kcp = ... }" },
    { "stream:set { fec = false }", "link:set { fec = ... }" },
    { "stream:set { rate = 5 }", "stream:set.rate: the direction is missing; give rate_in, rate_out, or both" },
    { "stream:set { priority = 8 }", "stream:set.priority: expected 0 to 7, got 8" },
    { "stream:set { weight = 0 }", "stream:set.weight: expected 1 to 256, got 0" },
    { "stream:set { weight = 1.5 }", "stream:set.weight: expected an integer (1 to 256), got 1.5" },
    { "stream:set { prioritty = 1 }", "stream:set.prioritty: unknown key; did you mean priority?" },
    { "stream:set { rate_in = true }",
      'stream:set.rate_in: expected a rate such as "20Mbit" (bits per second), "2MiB" (bytes per second), or a number of bytes per second, got true' },
    { "stream:set()", "stream:set: expected a table, got no value" },
    { "stream.set { idle = 1 }", "conn:set, stream:set: expected self of type conn or stream; call it with a colon" },
    { "conn:set { priority = 1 }", "conn:set.priority: this is a setting of streams; use stream:set { priority = ... }" },
    { "conn:set { mode = 'fast' }", "conn:set.mode: this is a setting of the link; use link:set { mode = ... }" },
    { "conn:set { idle = '5 apples' }", 'conn:set.idle: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "5 apples"' },
    { "far:open { priority = -1 }", "link:open.priority: expected 0 to 7, got -1" },
    { "far:open { weight = 'much' }", 'link:open.weight: expected an integer (1 to 256), got "much"' },
    { "kt.splice(conn, stream, { rate = 'fast' })",
      'splice.rate: expected a rate such as "20Mbit" (bits per second), "2MiB" (bytes per second), or a number of bytes per second, got "fast"' },
    { "kt.splice(conn, stream, { rate = { a_to_c = 1 } })", "splice.rate.a_to_c: unknown key; did you mean a_to_b?" },
    { "kt.splice(conn, stream, { total = -1 })",
      "splice.total: expected a duration such as \"5s\", \"800ms\", \"10m\", \"1h30m\", or a number of seconds, got -1" },
  }
  it("naming the key and the fix", function()
    h.run(function()
      local list = {}
      for i, case in ipairs(cases) do list[i] = case[1] end
      local i = 0
      for line in mistakes(list):gmatch "[^\n]+" do
        i = i + 1
        assert.truthy(line:find(cases[i][2], 1, true), ("%s\nsaid: %s"):format(cases[i][1], line))
        assert.matches("near.lua:%d+: ", line)
      end
      assert.equal(#cases, i)
    end)
  end)

  it("and `kt check` finds it in tasks that it does not run", function()
    h.run(function()
      s.write("s.lua", [[
local kt = require "kt"
local far = kt.link { remote = "127.0.0.1:9", key = "k" }
kt.listen { on = "127.0.0.1:1" }:serve(function(conn)
  conn:set { priority = 1 }
  local stream = far:open { priority = 9 }
  kt.splice(conn, stream, { rate = { a_to_c = 5 } })
end)]])
      local p = s.kt("check", "s.lua")
      assert.not_equal(0, p:wait_exit(20))
      local said = (p.stdout .. p.stderr):gsub("(%.lua:%d+):%d+:", "%1:") -- without columns
      assert.matches("s.lua:4: conn:set.priority: this is a setting of streams", said, nil, true)
      assert.matches("s.lua:5: link:open.priority: expected 0 to 7, got 9", said, nil, true)
      assert.matches("s.lua:6: kt.splice.rate.a_to_c: unknown key", said, nil, true)
    end)
  end)
end)
