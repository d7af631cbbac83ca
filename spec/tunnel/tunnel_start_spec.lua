-- kt client and kt server from a user's view: settings and their sources, signals, and errors when the
-- start fails.
local h = require "harness"

local function exchange(client)
  h.transfer.exchange(client.at, 11, 100000, 100000)
end

local function partner() return h.transfer.partner(100000, 100000) end

describe("kt's settings", function()
  after_each(h.cleanup)

  it("come from a JSON file, which overrides flags", function()
    h.run(function()
      local target = partner()
      local config = h.temporary_path()
      h.write_file(config, [[{"crypt": "salsa20", "key": "from the file", "nocomp": true, "smuxver": 1, "datashard": 0}]])
      local client = h.peer.tunnel(target.at, { c = config, smuxver = false }, { client = { crypt = "aes", key = "from a flag" } })
      exchange(client)
    end)
  end)

  it("take the key from $KCPTUN_KEY", function()
    h.run(function()
      local target = partner()
      local client = h.peer.tunnel(target.at, {}, {
        client = { env = { KCPTUN_KEY = "quite secret" } },
        server = { key = "quite secret" },
      })
      exchange(client)
    end)
  end)

  for _, wires in ipairs { { "kt", "kt" }, { "auto", "auto" }, { "auto", "kcptun" }, { "kt", "auto" }, { "kcptun", "auto" } } do
    it(("choose the wire: %s at the client, %s at the server"):format(wires[1], wires[2]), function()
      h.run(function()
        local target = partner()
        local client = h.peer.tunnel(target.at, { key = "a phrase" }, { client = { wire = wires[1] }, server = { wire = wires[2] } })
        exchange(client)
        local speaks = { kt = "kt wire", kcptun = "kcptun wire", auto = "kt wire or kcptun wire" }
        client:expect("kt client [%d.]+, " .. speaks[wires[1]] .. "\n")
        local fell_back = "does not answer on wire kt; using wire kcptun"
        if wires[1] == "auto" and wires[2] == "kcptun" then
          client:expect(fell_back, 10) -- 5 s after the first answer
        else
          assert.is_nil(client:logged():find(fell_back, 1, true))
        end
      end)
    end)
  end

  it("take long flags with one dash, and with =", function()
    h.run(function()
      local target = partner()
      local port = h.sockets.free_port("udp")
      local near = h.sockets.free_port("tcp")
      h.start { name = "server", cmd = { h.peer.kt, "server", "-listen", "127.0.0.1:" .. port, "-target=127.0.0.1:" .. target.at,
        "-crypt", "xor", "-ds", "0" } }:wait_udp(port)
      h.start { name = "client", cmd = { h.peer.kt, "client", "-l", "127.0.0.1:" .. near, "-r", "127.0.0.1:" .. port,
        "--crypt=xor", "-ds=0" } }:wait_tcp(near)
      exchange({ at = near })
    end)
  end)

  it("with different keys carry nothing, and the server's counter says why", function()
    h.run(function()
      local target = partner()
      local client, server = h.peer.tunnel(target.at, {}, { client = { key = "one" }, server = { key = "another" } })
      local conn = assert(h.sockets.connect(client.at))
      conn:send("hello?")
      h.loop.eventually("the datagrams to be counted", 10, function() return server:counters().InCsumErrors > 0 end)
      assert.equal(0, target.accepted)
    end)
  end)

  it("with tuncrypt on one end only end the connection, and the log says why", function()
    h.run(function()
      for _, one in ipairs { "client", "server" } do
        local target = h.transfer.echo()
        local client, server = h.peer.tunnel(target.at, { wire = "kcptun" }, { [one] = { tuncrypt = true } })
        local conn = h.sockets.connect(client.at) -- if the two ends know by now, it is reset as soon as it is made
        if conn then conn:send("hello?") end
        local chunk = conn and conn:recv(20)
        assert.is_nil(chunk, "noise came through: " .. tostring(chunk))
        h.loop.eventually("a word about tuncrypt", 5, function()
          return (client.stderr .. server.stderr):find("tuncrypt is %a+ here but %a+ at [^\n]*; set it the same on both ends")
        end)
      end
    end)
  end)

  it("are shown at start, without the key", function()
    h.run(function()
      local client, server = h.peer.tunnel(h.sockets.refusing(), { key = "Tr0ub4dor&3", crypt = "twofish" })
      for _, p in ipairs { client, server } do
        p:expect("twofish")
        p:expect("listening on") -- the last line
        assert.is_nil(p.stderr:find("Tr0ub4dor&3", 1, true))
        assert.is_nil(p.stdout:find("Tr0ub4dor&3", 1, true))
        local _, lines = p.stderr:gsub("\n", "")
        assert.is_true(lines <= 24, "more than a screen")
      end
    end)
  end)

  it("are followed by the listening address", function()
    h.run(function()
      local client, server = h.peer.tunnel(h.sockets.refusing())
      client:expect("listening on 127.0.0.1:" .. client.at .. "\n")
      server:expect("listening on 127.0.0.1:" .. server.port .. " %(UDP%)\n")
    end)
  end)

  it("warn of the default key", function()
    h.run(function()
      local client = h.peer.tunnel(h.sockets.refusing(), { env = { KCPTUN_KEY = false } })
      client:expect("[Ww][Aa][Rr][Nn][^\n]*key")
    end)
  end)
end)

describe("kt on signals", function()
  after_each(h.cleanup)

  it("writes its counters on SIGUSR1", function()
    h.run(function()
      local target = partner()
      local client, server = h.peer.tunnel(target.at, { wire = "kt" })
      exchange(client)
      local c, s = client:counters(), server:counters()
      assert.equal(1, c.ActiveOpens)
      assert.equal(1, s.PassiveOpens)
      assert.is_true(c.BytesSent > 100000 and s.BytesReceived > 100000)
      assert.is_true(c.InPkts > 0 and c.OutPkts > 0 and c.OutSegs > 0)
    end)
  end)

  it("exits at once with 0 on SIGTERM and on SIGINT when idle", function()
    h.run(function()
      for _, name in ipairs { "sigterm", "sigint" } do
        local client, server = h.peer.tunnel(h.sockets.refusing())
        for _, p in ipairs { client, server } do
          p:signal_with(name)
          local code, signal = p:wait_exit(3)
          assert.equal(0, code)
          assert.equal(0, signal)
        end
      end
    end)
  end)

  it("finishes a transfer after SIGTERM, accepts no new connection, and exits with 0", function()
    h.run(function()
      local release = false
      local target = h.sockets.serve(function(conn)
        conn:send("first")
        h.loop.eventually("the signal", 10, function() return release end)
        h.transfer.push(conn, 12, 400000)
      end)
      local client = h.peer.tunnel(target.at)
      local conn = assert(h.sockets.connect(client.at))
      assert.equal("first", conn:recv_exactly(5))
      client:signal_with("sigterm")
      h.loop.eventually("the listener to close", 5, function() return not h.proc.tcp_listening(client.at) end)
      release = true
      h.transfer.pull(conn, 12, 400000)
      conn:close()
      assert.equal(0, (client:wait_exit(8)))
    end)
  end)
end)

describe("kt's files", function()
  after_each(h.cleanup)

  it("hold the counters as CSV with a header line: snmplog", function()
    h.run(function()
      local path = h.temporary_path()
      local client = h.peer.tunnel(partner().at, {}, { client = { snmplog = path, snmpperiod = 1 } })
      exchange(client)
      local head, line
      h.loop.eventually("a line in the snmplog", 5, function()
        local file = io.open(path)
        if not file then return false end
        head, line = file:read("l", "l")
        file:close()
        return line
      end)
      assert.equal("Unix,BytesSent,BytesReceived", head:match("^%a+,%a+,%a+"))
      assert.equal(select(2, head:gsub(",", "")), select(2, line:gsub(",", "")))
      assert.is_true(math.abs(tonumber(line:match("^%d+")) - os.time()) < 60)
    end)
  end)

  it("hold the log instead of stderr: log", function()
    h.run(function()
      local path = h.temporary_path()
      local client = h.peer.tunnel(partner().at, {}, { client = { log = path } })
      exchange(client)
      h.loop.eventually("a line in the log", 5, function() return h.read_file(path):find("open") end)
      client:stop()
      assert.is_nil(client.stderr:find("open 127"))
    end)
  end)
end)

describe("kt that cannot start", function()
  after_each(h.cleanup)

  -- title, arguments, expected output (patterns)
  local cases = {
    { "a value that is not a number", { "client", "--mtu", "banana" }, { "%-%-mtu", "banana" } },
    { "a heartbeat out of range", { "client", "--keepalive", "31" }, { "%-%-keepalive", "31", "1 to 30" } },
    { "no session at all", { "client", "--conn", "0" }, { "%-%-conn", "1 to 1024" } },
    { "too many FEC packets in a group", { "server", "--ds", "200", "--ps", "100" }, { "255" } },
    { "an unknown cipher", { "client", "--crypt", "rot13" }, { "rot13", "salsa20", "aes%-128%-gcm", "none" } },
    { "an unknown mode", { "server", "--mode", "slow" }, { "slow", "fast3" } },
    { "an unknown flag", { "client", "--sndwind", "5" }, { "sndwind" } },
    { "--tcp", { "client", "--tcp" }, { "%-%-tcp", "UDP" } },
    { "--pprof", { "server", "--pprof" }, { "%-%-pprof", "SIGUSR1" } },
    { "a configuration that is not there", { "client", "-c", "/no/such/file.json" }, { "/no/such/file%.json" } },
    { "an address that is none", { "server", "--listen", "127.0.0.1:99999" }, { "99999" } },
    { "a name to listen on that does not exist", { "server", "--listen", "no-such-host.invalid:29900" }, { "no%-such%-host%.invalid" } },
    { "a target that is not an address", { "server", "--listen", "127.0.0.1:0", "--target", "127.0.0.1:99999" }, { "99999" } },
    { "an unknown verb", { "cleint" }, { "cleint", "client", "server", "run" } },
  }
  for _, case in ipairs(cases) do
    it("says so: " .. case[1], function()
      h.run(function()
        local said, code = h.peer.say(table.unpack(case[2]))
        assert.is_true(code > 0, "exit code " .. code)
        for _, pattern in ipairs(case[3]) do assert.matches(pattern, said) end
        assert.is_nil(said:find("traceback", 1, true), said)
      end)
    end)
  end

  it("says so: invalid JSON", function()
    h.run(function()
      local path = h.temporary_path()
      h.write_file(path, [[{"crypt": "aes",]])
      local said, code = h.peer.say("client", "-c", path)
      assert.equal(1, code)
      assert.matches(path, said, 1, true)
    end)
  end)

  it("says so: a TCP port in use", function()
    h.run(function()
      local taken = h.transfer.echo().at
      local said, code = h.peer.say("client", "-l", "127.0.0.1:" .. taken, "-r", "127.0.0.1:9")
      assert.equal(1, code)
      assert.matches(tostring(taken), said)
      assert.matches("in use", said)
    end)
  end)

  it("says so: a UDP port in use", function()
    h.run(function()
      local server = h.peer.server(h.sockets.refusing())
      local said, code = h.peer.say("server", "-l", "127.0.0.1:" .. server.port, "-t", "127.0.0.1:9")
      assert.equal(1, code)
      assert.matches(tostring(server.port), said)
      assert.matches("in use", said)
    end)
  end)

  it("names a remote host that does not resolve, once somebody connects", function()
    h.run(function()
      local client = h.peer.client(nil, { remoteaddr = "no-such-host.invalid:29900" })
      local conn = assert(h.sockets.connect(client.at))
      conn:send("x")
      client:expect("no%-such%-host%.invalid", 15)
    end)
  end)
end)

describe("kt's help", function()
  after_each(h.cleanup)

  local both = {
    "key", "crypt", "mode", "QPP", "QPPCount", "mtu", "ratelimit", "sndwnd", "rcvwnd", "datashard", "ds", "parityshard", "ps",
    "dscp", "nocomp", "acknodelay", "nodelay", "interval", "resend", "nc", "sockbuf", "smuxver", "smuxbuf", "framesize",
    "streambuf", "keepalive", "maxstreams", "maxbuffered", "closewait", "usertimeout", "snmplog", "snmpperiod", "log", "quiet", "tuncrypt",
  }
  local own = {
    client = { "localaddr", "remoteaddr", "conn", "autoexpire", "scavengettl" },
    server = { "listen", "target", "maxsessions" },
  }
  for _, side in ipairs { "client", "server" } do
    local flags = own[side]
    it("lists every flag of kt " .. side, function()
      h.run(function()
        local said, code = h.peer.say(side, "-h")
        assert.equal(0, code)
        for _, list in ipairs { both, flags } do
          for _, flag in ipairs(list) do assert.matches("%-%-" .. flag .. "%f[^%w]", said) end
        end
      end)
    end)
  end

  it("prints the version", function()
    h.run(function()
      local said, code = h.peer.say("--version")
      assert.equal(0, code)
      assert.matches("%d+%.%d+", said)
    end)
  end)
end)
