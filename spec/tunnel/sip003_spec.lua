-- kt as a plugin of shadowsocks (SIP003): Debian's shadowsocks-libev at both ends, then what its environment may hold.
local uv = require "luv"
local h = require "harness"

--- Starts kt as shadowsocks does: without a verb, with everything in the environment.
local function plugin(env, graceful)
  for _, name in ipairs { "SS_REMOTE_HOST", "SS_LOCAL_HOST" } do
    if env[name] == nil then env[name] = "127.0.0.1" end
  end
  env.KCPTUN_KEY = false
  return h.start { name = "kt", cmd = { h.peer.kt }, env = env, graceful = graceful }
end

describe("kt as a plugin of shadowsocks", function()
  after_each(h.cleanup)

  it("carries its connections at both ends, with options escaped as SIP003 says, and ends with it", function()
    h.run(function()
      local web = h.sockets.serve(function(conn)
        conn:recv()
        conn:send "HTTP/1.0 200 OK\r\n\r\nfrom the web\n"
      end)
      local port, socks = h.sockets.free_port "udp", h.sockets.free_port()
      local function shadowsocks(program, options, ...)
        local p = h.start { name = program, cmd = { program, "-s", "127.0.0.1", "-p", ("%d"):format(port), "-k", "pw", "-m", "aes-256-gcm", "--plugin",
          h.peer.kt, "--plugin-opts", options, ... } }
        p:expect "sip003: listening on"
        return p
      end
      local server = shadowsocks("ss-server", [[server;key=a\;b\=c\\d]])
      local client = shadowsocks("ss-local", [[key=a\;b\=c\\d;mtu=1200;nocomp]], "-b", "127.0.0.1", "-l", ("%d"):format(socks))
      client:expect "on kt's wire: [^\n]*mtu 1200"
      local curl = h.start { name = "curl", cmd = { "curl", "-sS", "--max-time", "20", "--socks5-hostname", "127.0.0.1:" .. socks,
        ("http://127.0.0.1:%d/"):format(web.at) } }
      assert.equal(0, curl:wait_exit(30))
      assert.equal("from the web\n", curl.stdout)

      local children = {}
      for _, p in ipairs { server, client } do
        local list = h.read_file(("/proc/%d/task/%d/children"):format(p.pid, p.pid))
        children[#children + 1] = tonumber(list:match "%d+")
      end
      assert.equal(2, #children)
      server:kill() -- SIGKILL: shadowsocks has no chance to end its plugin
      client:stop()
      h.loop.eventually("the end of both plugins", 10, function() return uv.kill(children[1], 0) ~= 0 and uv.kill(children[2], 0) ~= 0 end)
    end)
  end)

  it("takes several hosts, and datagrams if asked", function()
    h.run(function()
      local wire, near = h.sockets.free_port "udp", h.sockets.free_port()
      local echo = h.sockets.serve(function(conn) conn:send(assert(conn:recv())) end)
      local datagrams = uv.new_udp()
      assert(datagrams:bind("127.0.0.1", echo.at))
      datagrams:recv_start(function(_, data, from)
        if from then datagrams:try_send("answer to " .. data, from.ip, from.port) end
      end)
      local function env(hosts, port, options)
        return { SS_REMOTE_HOST = hosts, SS_REMOTE_PORT = ("%d"):format(wire), SS_LOCAL_PORT = ("%d"):format(port), SS_PLUGIN_OPTIONS = options }
      end
      local server = plugin(env("127.0.0.3|127.0.0.2", echo.at, "server;key=k;udp"), true)
      server:expect("listening on 127.0.0.2:" .. wire)
      local client = plugin(env("127.0.0.1|127.0.0.2", near, "key=k;udp"), true) -- nothing listens at the first
      client:wait_tcp(near)
      local app = assert(h.sockets.connect(near))
      app:send "hello"
      assert.equal("hello", app:recv_exactly(5, 20))
      local socket, got = uv.new_udp(), nil
      assert(socket:bind("127.0.0.1", 0))
      socket:recv_start(function(_, data) got = got or data end)
      h.loop.eventually("an answer", 20, function()
        if not got then socket:try_send("question", "127.0.0.1", near) end
        return got
      end)
      assert.equal("answer to question", got)
    end)
  end)

  it("says what is wrong with its environment", function()
    h.run(function()
      for _, case in ipairs {
        { { SS_PLUGIN_OPTIONS = "key=a;mod=fast" }, "SS_PLUGIN_OPTIONS: mod: unknown option; did you mean mode%?" },
        { { SS_PLUGIN_OPTIONS = "key=a;mode=fast9" }, 'SS_PLUGIN_OPTIONS: mode: unknown value "fast9"' },
        { { SS_PLUGIN_OPTIONS = "server;key=a;conn=2" }, "SS_PLUGIN_OPTIONS: conn: unknown option.*kt server %-h" },
        { { SS_PLUGIN_OPTIONS = "key=a;mode" }, "SS_PLUGIN_OPTIONS: mode: expected mode=VALUE" },
        { { SS_PLUGIN_OPTIONS = "key=a;r=b" }, "SS_PLUGIN_OPTIONS: r: shadowsocks sets the addresses" },
        { { SS_PLUGIN_OPTIONS = "key=a\\" }, "SS_PLUGIN_OPTIONS: ends with a backslash" },
        { { SS_REMOTE_PORT = "99999" }, 'SS_REMOTE_PORT: expected a port from 1 to 65535, got "99999"' },
        { { SS_REMOTE_HOST = "" }, "SS_REMOTE_HOST is not set; shadowsocks sets it" },
      } do
        local env = { SS_REMOTE_PORT = "1", SS_LOCAL_PORT = "2", SS_PLUGIN_OPTIONS = "key=a" }
        for name, value in pairs(case[1]) do env[name] = value end
        local p = plugin(env)
        assert.equal(1, p:wait_exit(10))
        assert.matches("^kt sip003: " .. case[2], p.stderr)
      end
    end)
  end)
end)
