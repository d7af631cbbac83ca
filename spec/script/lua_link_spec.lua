-- A link from a script: its settings, probes, events and figures while it lives. Two real kts.
local h = require "harness"
local scripts = require "harness.scripts"

local SERVER = [[
kt.accept { on = "127.0.0.1:%d", key = KEY, mode = "fast3" }:serve(function(stream)
  while true do
    local data = stream:read()
    if not data then return end
    stream:write(data)
  end
end)
]]

-- Ahead of a client's task: the link, and an echo of some bytes through it.
local CLIENT = [[
local far = kt.link { remote = "127.0.0.1:%d", key = KEY, wire = "kcptun", mode = "fast3", dead_after = "1s" }
local noise = {} -- which compression makes no shorter
for i = 1, 10000 do noise[i] = string.char(math.random(0, 255)) end
noise = table.concat(noise)
local function echo(n)
  local stream = assert(far:open())
  local data = noise:rep(n // #noise + 1):sub(1, n)
  kt.spawn(function() assert(stream:write(data)) end)
  local got = assert(stream:read_exactly(n))
  assert(got == data)
  stream:close()
end
]]

describe("a link of a script", function()
  local s = scripts.each(before_each, after_each)

  --- Runs `body` as a client's task against an echoing server; returns what it printed.
  local function client(body, port)
    local out
    h.run(function()
      local server
      if not port then
        port = h.sockets.free_port "udp"
        h.write_file(s.dir .. "/server.lua", scripts.HEAD .. SERVER:format(port))
        server = s.kt("run", "server.lua"):wait_udp(port)
      end
      local p = s.kt("run", s.write("client.lua", scripts.HEAD .. CLIENT:format(port) .. body))
      local code = p:wait_exit(30)
      out = p.stdout
      assert.equal(0, code, p.stderr .. (server and server.stderr or ""))
    end)
    return out
  end

  local function wrong(call)
    local _, out = h.run(function()
      return s.run('local far = kt.link { remote = "127.0.0.1:9", key = "k", wire = "kcptun", mode = "fast" }\n'
        .. "kt.spawn(function() print(pcall(function() " .. call .. " end)) end)")
    end)
    return out
  end
  h.run = (function(run)
    return function(body)
      local result
      run(function() result = table.pack(body()) end)
      return table.unpack(result, 1, result.n)
    end
  end)(h.run)

  describe("that changes its settings", function()
    it("keeps working, and each change takes effect", function()
      local out = client [[
kt.spawn(function()
  local stream = assert(far:open())
  local total, n = 0, 3000000
  kt.spawn(function()
    for _ = 1, n // 10000 do assert(stream:write(("y"):rep(10000))) end
  end)
  local round = 0
  local settings = {
    { mode = "fast" }, { kcp = { sndwnd = 16 } }, { fec = false }, { mode = "manual", kcp = { interval = 10, nodelay = true } },
    { kcp = { rcvwnd = 16, interval = 20 } }, { fec = { parity = 1 } }, { kcp = { sndwnd = 2048, rcvwnd = 2048 } },
    { mode = "default" }, { mode = "fast3", fec = { data = 10, parity = 3 } }, { dead_after = "2s", rate = "1GiB" }, { rate = 0 },
  }
  while total < n do
    total = total + #assert(stream:read(50000))
    round = round + 1
    assert(far:set(settings[round % #settings + 1]))
  end
  print(total, round > 20, far:stats().sessions)
end)]]
      assert.equal("3000000\ttrue\t1\n", out)
    end)

    it("applies a rate, and its removal, at once", function()
      local out = client [[
kt.spawn(function()
  echo(1000)
  far:set { rate = "100KiB" }
  local from = kt.now()
  echo(300000)
  local slow = kt.now() - from
  far:set { rate = 0 }
  from = kt.now()
  echo(300000)
  print(slow > 1, kt.now() - from < slow / 2)
end)]]
      assert.equal("true\ttrue\n", out)
    end)

    it("gives new streams a new session where FEC needs one, and leaves the others alone", function()
      local out = client [[
kt.spawn(function()
  local old = assert(far:open())
  old:write "a"
  assert(old:read() == "a")
  assert(far:set { fec = { data = 20, parity = 5 } })
  echo(100000)
  print(far:stats().sessions)
  old:write "b"
  print(old:read())
  assert(far:set { fec = { data = 10, parity = 3 } })
  far:set { fec = { data = 10, parity = 4 } }
end)]]
      assert.equal("2\nb\n", out)
    end)

    it("may be changed before it was opened", function()
      assert.equal("true\n", client [[
far:set { mode = "fast2", fec = false }
kt.spawn(function() echo(10000) print(far:stats().sessions == 1) end)]])
    end)

    it("refuses fixed settings, unknown ones, and those that a mode sets", function()
      assert.matches("link:set.crypt: cannot be changed later; expected one of mode, kcp, fec, suspect_after, ",
        wrong 'far:set { crypt = "aes" }')
      assert.matches("link:set.kcp.mtu: cannot be changed later; expected one of sndwnd", wrong "far:set { kcp = { mtu = 1200 } }")
      assert.matches("link:set.mod: unknown key; did you mean mode%?", wrong 'far:set { mod = "fast" }')
      assert.matches('link:set.kcp.interval: mode = "fast" sets it; give mode = "manual"', wrong "far:set { kcp = { interval = 10 } }")
      assert.matches('link:set.kcp.interval: mode = "fast2" sets it', wrong 'far:set { mode = "fast2", kcp = { interval = 10 } }')
      assert.matches("link:set.kcp.sndwnd: expected 1 to 65535, got 0", wrong "far:set { kcp = { sndwnd = 0 } }")
      assert.matches("link:set.fec.parity: expected data %+ parity of at most 255, got 300", wrong "far:set { fec = { data = 200, parity = 100 } }")
      assert.matches("link:set: fec.parity: expected data %+ parity of at most 255, got 260", wrong "far:set { fec = { parity = 250 } }")
      assert.matches("link:set.keepalive: this link's wire, kcptun, has no such setting", wrong 'far:set { keepalive = "9s" }')
      assert.matches("link:set: expected a table, got no value", wrong "far:set()")
      assert.matches("nil\tclosed", wrong "far:close() local ok, err = far:set { rate = 0 } print(ok, err.code)")
    end)
  end)

  describe("that is probed", function()
    it("returns the round-trip time, and dials if necessary", function()
      assert.equal("0\ttrue\t1\n", client [[
kt.spawn(function()
  local before = far:stats().sessions
  local rtt = assert(far:probe { timeout = "5s" })
  print(before, rtt > 0 and rtt < 1, far:stats().sessions)
end)]])
    end)

    it("works with kcptun as well, with or without an open stream", function()
      h.run(function()
        local echo = h.transfer.echo()
        local server = h.peer.server(echo.at, { impl = "kcptun", key = h.key, smuxver = 2 })
        local p = s.kt("run", s.write("client.lua", scripts.HEAD .. CLIENT:format(server.port) .. [[
kt.spawn(function()
  print(assert(far:probe { timeout = "5s" }) < 1)
  local stream = assert(far:open())
  stream:write "x"
  print(stream:read(), assert(far:probe { timeout = "5s" }) < 1)
end)]]))
        assert.equal(0, p:wait_exit(20), p.stderr)
        assert.equal("true\nx\ttrue\n", p.stdout)
      end)
    end)

    it("answers several at once, also while data fills it", function()
      assert.equal("20\n", client [[
local n = 0
for _ = 1, 20 do
  kt.spawn(function()
    if assert(far:probe { timeout = "5s" }) then n = n + 1 end
    if n == 20 then print(n) end
  end)
end
kt.spawn(function() echo(1000000) end)]])
    end)

    it("fails without an answer: by its timeout, or with the session", function()
      assert.equal("timeout\tlink:probe: no answer within 0.1 s\ndead\n", client([[
kt.spawn(function()
  local rtt, err = far:probe { timeout = "100ms" }
  print(err.code, err)
  rtt, err = far:probe { timeout = "20s" }
  print(err.code)
end)]], h.sockets.free_port "udp"))
    end)

    it("ends the wait when the link is closed", function()
      assert.equal("closed\nclosed\n", client([[
kt.spawn(function() print(select(2, far:probe { timeout = "20s" }).code) end)
kt.spawn(function() kt.sleep "50ms" far:close() print(select(2, far:probe()).code) end)]], h.sockets.free_port "udp"))
    end)

    it("needs a duration", function()
      assert.matches("link:probe.timeout: expected a duration such as \"5s\", \"800ms\", \"10m\", \"1h30m\", or a number of seconds, got \"soon\"",
        wrong 'far:probe { timeout = "soon" }')
    end)
  end)

  describe("with event handlers", function()
    it("reports up and down, with figures and reason", function()
      h.run(function()
        local port = h.sockets.free_port "udp"
        h.write_file(s.dir .. "/server.lua", scripts.HEAD .. SERVER:format(port))
        local server = s.kt("run", "server.lua"):wait_udp(port)
        local p = s.kt("run", s.write("client.lua", scripts.HEAD .. CLIENT:format(port) .. [[
far:on("up", function(stats, err) print("up", stats.up, stats.sessions, err) end)
far:on("up", function() error "a handler that fails" end)
  :on("down", function(stats, err) print("down", stats.up, err.code, err) kt.sleep "10ms" print "later" end)
kt.spawn(function()
  while true do
    if pcall(echo, 1000) then print "carried" end
    kt.sleep "100ms"
  end
end)]]))
        p:expect "up\ttrue\t1\tnil\n"
        p:expect "carried"
        p:expect "task failed: client.lua:%d+: a handler that fails .*spawned at client.lua:%d+"
        p:mark()
        server:kill()
        p:expect("down\tfalse\tdead\tno answer for .*later\n", 20)
        p:mark()
        s.kt("run", "server.lua"):wait_udp(port)
        p:expect("up\ttrue.*carried", 20)
        p.graceful = true
      end)
    end)

    it("reports its figures periodically, until it is closed", function()
      assert.equal("3\n", client [[
local n = 0
far:on("stats", function(stats)
  assert(stats.srtt)
  n = n + 1
  if n == 3 then far:close() end
end, { every = "100ms" })
kt.spawn(function()
  kt.sleep "1s"
  print(n)
  far:close() -- held until here: a link that only its own handlers know is forgotten
end)]])
    end)

    it("reports a degraded peer once for each episode", function()
      h.run(function()
        local port = h.sockets.free_port "udp"
        h.write_file(s.dir .. "/server.lua", scripts.HEAD .. SERVER:format(port))
        s.kt("run", "server.lua"):wait_udp(port)
        local relay = h.relay.start(port, {}, 3)
        local p = s.kt("run", s.write("client.lua", scripts.HEAD .. CLIENT:format(relay.port) .. [[
far:set { dead_after = "20s" }
far:on("degraded", function(stats, err) print("degraded", err.code, err, stats.up) end, { silence = "500ms" })
far:on("degraded", function(stats) print "never" end, { srtt = "10s" })
kt.spawn(function()
  while true do
    echo(1000)
    print "carried"
    kt.sleep "50ms"
  end
end)]]))
        for _ = 1, 2 do
          p:expect "carried"
          relay.faults.cut = true
          p:mark()
          p:expect("degraded\tlimit\tthe peer has not answered for %d.%d s\ttrue\n", 10)
          p:mark()
          h.loop.sleep(1)
          assert.falsy(p.fresh:find "degraded")
          relay.faults.cut = false
          p:expect "carried"
          h.loop.sleep(0.6) -- an episode ends at the next look
        end
        assert.falsy(p.stdout:find "never")
      end)
    end)

    it("refuses unknown events and options", function()
      assert.matches('link:on: unknown event "ups"; expected one of "up", "down", "degraded", "stats"', wrong 'far:on("ups", print)')
      assert.matches("link:on: expected a function, got no value", wrong 'far:on("up")')
      assert.matches('link:on%("up"%): every applies only to "stats"', wrong 'far:on("up", print, { every = "1s" })')
      assert.matches('link:on%("stats"%): loss, srtt and silence apply only to "degraded"', wrong 'far:on("stats", print, { loss = "1%%" })')
      assert.matches("link:on.every: expected at least 100ms, got 0.01", wrong 'far:on("stats", print, { every = 0.01 })')
      assert.matches('on.loss: expected a share such as "5%%", or a number from 0 to 1, got "5"', wrong 'far:on("degraded", print, { loss = "5" })')
      assert.matches("link:on: the link was closed", wrong 'far:close() far:on("up", print)')
    end)
  end)

  it("knows its loss and rates of the last seconds, and since when it is up", function()
    h.run(function()
      local port = h.sockets.free_port "udp"
      h.write_file(s.dir .. "/server.lua", scripts.HEAD .. SERVER:format(port))
      s.kt("run", "server.lua"):wait_udp(port)
      local relay = h.relay.start(port, { loss = 0.1 }, 5)
      local p = s.kt("run", s.write("client.lua", scripts.HEAD .. CLIENT:format(relay.port) .. [[
far:set { fec = false }
kt.spawn(function()
  local s = far:stats()
  print(s.up, s.since, s.loss, s.rate_in, s.rate_out)
  local from = kt.now()
  repeat echo(100000) until kt.now() - from > 1
  s = far:stats()
  print(s.up, s.since > 0.9, s.loss > 0.03 and s.loss < 0.3, s.rate_in > 10000, s.rate_out > 10000)
  print(s.segs_retrans > 0, s.segs_recovered >= 0)
  kt.sleep "5s"
  s = far:stats()
  print(s.up, s.since > 5.9, s.loss, s.rate_in < 100, s.rate_out < 100)
end)]]))
      p:wait_exit(30)
      assert.equal("false\t0\t0\t0\t0\ntrue\ttrue\ttrue\ttrue\ttrue\ntrue\ttrue\ntrue\ttrue\t0\ttrue\ttrue\n", p.stdout, p.stderr)
    end)
  end)
end)

describe("a handle made by a task", function()
  local s = scripts.each(before_each, after_each)

  it("is open at once: a listener, an acceptor and a link, which carry bytes, and end when they are closed", function()
    local out
    h.run(function()
      local code, err
      code, out, err = s.run([[
kt.spawn(function()
  local at = "127.0.0.1:%d"
  local acceptor = assert(kt.accept { on = at, key = KEY })
  acceptor:serve(function(stream) stream:write(stream:read()) end)
  local listener = assert(kt.listen { on = "127.0.0.1:0" }):serve(function(conn) conn:write "hello" end)
  local far = assert(kt.link { remote = at, key = KEY })
  local stream = assert(far:open())
  stream:write "ping"
  print(stream:read())
  print(assert(kt.connect { to = listener.local_addr }):read())
  far:close()
  acceptor:close()
  listener:close()
end)]], h.sockets.free_port "udp")
      assert.equal(0, code, err)
    end)
    assert.equal("ping\nhello\n", out)
  end)

  it("reports why it cannot be opened", function()
    local out
    h.run(function()
      local code, err
      code, out, err = s.run [[
kt.spawn(function()
  local first = assert(kt.listen { on = "127.0.0.1:0" })
  local second, err = kt.listen { on = first.local_addr }
  print(second, err.code)
  print(pcall(kt.link, { remote = "127.0.0.1:9" }))
  first:close()
end)]]
      assert.equal(0, code, err)
    end)
    assert.matches("^nil\tin_use\nfalse\t.*link.key: missing", out)
  end)

  it("is closed when it is forgotten", function()
    h.run(function()
      local p = s.start [[
kt.spawn(function()
  do
    local far = kt.link { remote = "127.0.0.1:9", key = KEY }
    far:on("down", function() print(far) end)
  end
  for _ = 1, 3 do collectgarbage() kt.sleep(0) end
  print "done"
end)]]
      assert.equal(0, p:wait_exit(20))
      assert.matches("kt.link to 127.0.0.1:9, declared at s.lua:4, was dropped without :close%(%); closed it", p.stderr)
    end)
  end)
end)
