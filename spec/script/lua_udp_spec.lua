-- UDP sockets as scripts use them: the real kt, real datagrams.
local uv = require "luv"
local h = require "harness"
local scripts = require "harness.scripts"

describe("a script's UDP socket", function()
  local s = scripts.each(before_each, after_each)

  --- A peer in the spec: a socket on a port of 127.0.0.1 that collects datagrams.
  local function peer()
    local handle = uv.new_udp()
    assert(handle:bind("127.0.0.1", 0))
    local self = { got = {}, from = {}, at = handle:getsockname().port }
    handle:recv_start(function(_, data, from)
      if not from then return end
      self.got[#self.got + 1] = data or ""
      self.from[#self.from + 1] = from.port
    end)
    function self.send(data, port) assert(handle:try_send(data, "127.0.0.1", port)) end
    function self.wait(n)
      h.loop.eventually(n .. " datagrams", 10, function() return #self.got >= n end)
      return self.got[n], self.from[n]
    end
    return self
  end

  it("that was declared answers any sender", function()
    h.run(function()
      local port = h.sockets.free_port("udp")
      local p = s.start([[
local sock = kt.udp { on = "127.0.0.1:%d" }
kt.spawn(function()
  print(sock.local_addr, sock.peer)
  while true do
    local data, from = sock:receive { timeout = "20s" }
    if not data then return end
    assert(sock:send("you said " .. data, from))
  end
end)]], port)
      p:wait_udp(port)
      local a, b = peer(), peer()
      a.send("one", port)
      assert.equal("you said one", (a.wait(1)))
      b.send("two", port)
      assert.same({ "you said two", port }, { b.wait(1) })
      a.send("", port)
      assert.equal("you said ", (a.wait(2)))
      p:expect(("127.0.0.1:%d\tnil\n"):format(port))
      p:expect(("udp socket on 127.0.0.1:%d\n"):format(port))
      assert.equal(0, p:stop())
    end)
  end)

  it("that was made in a task talks to one peer, found by its name", function()
    h.run(function()
      local port = h.sockets.free_port("udp")
      local p = s.start([[
local sock = kt.udp { on = "127.0.0.1:%d" }
kt.spawn(function()
  local data, from = sock:receive()
  sock:send(data:upper(), from)
end)
kt.spawn(function()
  local out = assert(kt.udp { to = "localhost:%d", on = "127.0.0.1:0" })
  print(out.peer, out.local_addr:match "^127.0.0.1:%%d+$" ~= nil)
  print(out:send "ping", out:receive())
end)]], port, port)
      assert.equal(0, p:wait_exit(20))
      assert.equal(("127.0.0.1:%d\ttrue\ntrue\tPING\t127.0.0.1:%d\n"):format(port, port), p.stdout)
    end)
  end)

  it("receives only from its peer", function()
    h.run(function()
      local a, b = peer(), peer()
      local p = s.start([[
kt.spawn(function()
  local sock = assert(kt.udp { to = "127.0.0.1:%d" })
  sock:send "hello"
  print(sock:receive())
end)]], a.at)
      local _, port = a.wait(1)
      b.send("not for you", port)
      a.send("for you", port)
      assert.equal(0, p:wait_exit(20))
      assert.equal(("for you\t127.0.0.1:%d\n"):format(a.at), p.stdout)
    end)
  end)

  it("sends to a name", function()
    h.run(function()
      local a = peer()
      assert.equal("true\n", s.task('print(kt.udp { on = ":0" }:send("hi", "localhost:%d"))', a.at))
      assert.equal("hi", (a.wait(1)))
    end)
  end)

  it("speaks IPv6, and IPv4 too on the wildcard", function()
    h.run(function()
      local a = peer()
      assert.equal("to six\t[::1]:4242\ntrue\nnil\tunreachable\n", s.task([[
        local six = assert(kt.udp { on = "[::1]:0" })
        local any = assert(kt.udp { on = ":0" })
        local from = assert(kt.udp { on = "[::1]:0" })
        from:send("to six", six.local_addr)
        local data, sender = six:receive()
        print(data, (sender == from.local_addr) and "[::1]:4242" or sender)
        print(any:send("to four", "127.0.0.1:%d"))
        local ok, err = six:send("to four", "127.0.0.1:%d")
        print(ok, err.code)]], a.at, a.at))
      assert.equal("to four", (a.wait(1)))
    end)
  end)

  it("reports a timeout", function()
    h.run(function()
      assert.equal("nil\ttimeout\tsocket:receive: no datagram within 0.05 s\n", s.task([[
        local sock = kt.udp { on = "127.0.0.1:0" }
        local data, err = sock:receive { timeout = "50ms" }
        print(data, err.code, err)]]))
    end)
  end)

  it("reports a refused datagram, and stays usable", function()
    h.run(function()
      local port = h.sockets.free_port("udp")
      local out = s.task([[
        local sock = kt.udp { to = "127.0.0.1:%d" }
        sock:send "anyone?"
        local data, err = sock:receive { timeout = "10s" }
        print(data, err.code, err)
        print(select(2, sock:receive { timeout = "10ms" }).code)]], port)
      assert.equal(("nil\trefused\tsocket:receive: 127.0.0.1:%d: connection refused\ntimeout\n"):format(port), out)
    end)
  end)

  it("queues datagrams while no task receives, up to a limit, and counts those it drops", function()
    h.run(function()
      local out = s.task([[
        local sock = kt.udp { on = "127.0.0.1:0", queue = "8KiB" }
        local from = kt.udp { to = sock.local_addr }
        for i = 1, 50 do from:send(("%%02d"):format(i) .. ("x"):rep(998)) end
        repeat kt.sleep "5ms" until sock:stats().received == 50
        local st = sock:stats()
        print(st.queued, st.dropped, st.received_bytes, from:stats().sent)
        for i = 1, st.queued do assert(tonumber(sock:receive():sub(1, 2)) == i) end
        from:send "and on"
        print(sock:receive())]])
      assert.matches("^7\t43\t50000\t50\nand on\t127.0.0.1:%d+\n$", out)
    end)
  end)

  it("keeps order and boundaries over many datagrams of all sizes", function()
    h.run(function()
      assert.equal("3000\n", s.task([[
        local sock = kt.udp { on = "127.0.0.1:0", queue = "5kB" }
        local from = kt.udp { to = sock.local_addr }
        local good = 0
        for i = 1, 1500 do
          from:send(("a"):rep(i %% 2000))
          from:send(("b"):rep(i * 7 %% 900))
          if sock:receive { timeout = "5s" } == ("a"):rep(i %% 2000) then good = good + 1 end
          if sock:receive { timeout = "5s" } == ("b"):rep(i * 7 %% 900) then good = good + 1 end
        end
        print(good)]]))
    end)
  end)

  it("waits to send more than the system accepts at once", function()
    h.run(function()
      assert.equal("2000\n", s.task([[
        local sock = kt.udp { on = "127.0.0.1:0" }
        for i = 1, 2000 do assert(sock:send(("x"):rep(1000), sock.local_addr)) end
        local st
        repeat kt.sleep "5ms" st = sock:stats() until st.sent + st.unsent == 2000
        print(st.sent + st.unsent)]]))
    end)
  end)

  it("refuses a datagram that is too long", function()
    h.run(function()
      assert.equal("true\nnil\tlimit\tsocket:send: 2049 bytes; a datagram holds at most 2048\n", s.task([[
        local sock = kt.udp { on = "127.0.0.1:0" }
        print(sock:send(("x"):rep(2048), sock.local_addr))
        local ok, err = sock:send(("x"):rep(2049), sock.local_addr)
        print(ok, err.code, err)]]))
    end)
  end)

  it("ends the receiving of another task when it is closed", function()
    h.run(function()
      assert.equal("nil\tclosed\tsocket:receive: closed during the call\n", s.task([[
        local sock = kt.udp { on = "127.0.0.1:0" }
        kt.spawn(function()
          local data, err = sock:receive()
          print(data, err.code, err)
        end)
        kt.sleep "5ms"
        sock:close()
        sock:close()
        kt.sleep "5ms"]]))
    end)
  end)

  it("is closed when its task ends, unless it was handed on", function()
    h.run(function()
      assert.equal("false\ntrue\n", s.task([[
        local closed, kept
        kt.spawn(function() closed = kt.udp { on = "127.0.0.1:0" } end)
        kt.spawn(function()
          local sock = kt.udp { on = "127.0.0.1:0" }
          kt.spawn(function(sock) kept = sock kt.sleep "50ms" end, sock)
        end)
        kt.sleep "20ms"
        print(closed.local_addr ~= nil)
        print(kept.local_addr ~= nil)]]))
    end)
  end)

  it("logs when it is forgotten", function()
    h.run(function()
      local code, _, err = s.run([[
kt.spawn(function()
  kt.udp { on = "127.0.0.1:0" }
  collectgarbage()
end)]])
      assert.equal(0, code)
      assert.matches("warn  s: a socket was dropped without :close%(%), in the task spawned at s.lua:2; closed it", err)
    end)
  end)

  it("closes with its variable", function()
    h.run(function()
      assert.equal("nil\n", s.task([[
        local out
        do
          local sock <close> = kt.udp { on = "127.0.0.1:0" }
          out = sock
        end
        print(out.local_addr)]]))
    end)
  end)

  describe("refuses misuse:", function()
    local function refused(expected, text, ...)
      assert.equal("false\t" .. expected .. "\n", s.task(text, ...))
    end

    it("two tasks that receive at once", function()
      h.run(function()
        refused("s.lua:6: socket:receive: another task (spawned at s.lua:4) is already receiving; only one task may at a time", [[
          local sock = kt.udp { on = "127.0.0.1:0" }
          kt.spawn(function() sock:receive() end) kt.sleep(0)
          kt.sleep "1ms"
          print(pcall(function() sock:receive() end))]])
      end)
    end)

    it("a closed one", function()
      h.run(function()
        refused("s.lua:5: socket:send: this socket was closed", [[local sock = kt.udp { on = "127.0.0.1:0" }
          sock:close()
          print(pcall(function() sock:send("x", "127.0.0.1:9") end))]])
      end)
    end)

    it("a datagram without an address, and one with two", function()
      h.run(function()
        refused("s.lua:3: socket:send: argument 2: missing address; the socket was created without `to`", [[
          print(pcall(function() kt.udp { on = "127.0.0.1:0" }:send "x" end))]])
        refused("s.lua:3: socket:send: argument 2: not allowed; the socket is connected to 127.0.0.1:9", [[
          print(pcall(function() kt.udp { to = "127.0.0.1:9" }:send("x", "127.0.0.1:8") end))]])
      end)
    end)

    it("neither on nor to", function()
      h.run(function()
        refused('s.lua:3: udp.on: missing; expected on = ":5353", or to = "host:port"', [[
          print(pcall(kt.udp, {}))]])
      end)
    end)

    it("waiting in the main chunk", function()
      h.run(function()
        local code, _, err = s.run('kt.udp { on = "127.0.0.1:0" }:receive()')
        assert.equal(1, code)
        assert.matches("^kt: s.lua:2: socket:receive: not allowed in the main chunk", err)
      end)
    end)

    it("a name in the main chunk", function()
      h.run(function()
        local code, _, err = s.run('kt.udp { to = "vps.example:53" }')
        assert.equal(1, code)
        assert.equal('kt: s.lua:2: udp.to: "vps.example:53": names are not resolved in the main chunk; use an IP address, or call kt.udp in a task\n'
          .. "  run kt check to list all mistakes\n", err)
      end)
    end)
  end)

  it("whose peer's name is not found reports it", function()
    h.run(function()
      assert.equal("nil\tname\n", s.task([[
        local sock, err = kt.udp { to = "nowhere.invalid:53" }
        print(sock, err.code)]]))
    end)
  end)

  it("that cannot have its port stops the start, and in a task is an err", function()
    h.run(function()
      local holder = peer()
      local code, _, err = s.run('kt.udp { on = "127.0.0.1:%d" }\nkt.spawn(function() end)', holder.at)
      assert.equal(1, code)
      assert.matches("^kt: s.lua:2: kt.udp: [^\n]*in use", err)
      assert.equal("nil\tin_use\n", s.task([[
        local sock, why = kt.udp { on = "127.0.0.1:%d" }
        print(sock, why.code)]], holder.at))
    end)
  end)
end)
