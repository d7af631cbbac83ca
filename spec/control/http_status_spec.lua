-- kt run --http, kt client --http, kt server --http: real processes, and Debian's prometheus as the client. What is served:
-- spec/script/lua_http_status_spec.lua.
package.path = "./lua/?.lua;" .. package.path
local decode = require "json_value"
local h = require "harness"
local openmetrics = require "openmetrics"
local process = require "harness.process"
local scripts = require "harness.scripts"
local loop, sockets = h.loop, h.sockets

local KEY = h.key

describe("kt --http", function()
  local s = scripts.each(before_each, after_each)

  --- GET; returns status and body. nil if nobody listens there. where: a port or the path of a unix socket.
  local function get(where, path, fields)
    local conn = sockets.connect(where)
    if not conn then return nil end
    conn:send(("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s\r\n"):format(path, fields or ""))
    local head, body = conn:recv_all():match "^(.-\r\n)\r\n(.*)$"
    return tonumber(head:match "^HTTP/1.1 (%d+) "), body
  end

  local function run(program, config)
    return process.start { name = program, cmd = { program, table.unpack(config) }, cwd = s.dir }
  end

  --- A script that carries conns to a port nobody listens at, until `far` does.
  local function script(far, listen)
    return s.write("s.lua", scripts.HEAD .. ([[
local far = kt.link { remote = "127.0.0.1:%d", key = kt.secret_file "k", stay = true }
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local stream = far:open()
  if stream then kt.splice(conn, stream) end
end)]]):format(far, listen))
  end

  it("serves kt run, and keeps its address over a reload", function()
    h.run(function()
      local port, listen = sockets.free_port(), sockets.free_port()
      s.write("k", KEY)
      assert(os.execute("chmod 600 " .. s.dir .. "/k"))
      local p = s.kt("run", "--http", "127.0.0.1:" .. port, script(sockets.free_port "udp", listen))
      p:wait_tcp(port)
      local status, body = get(port, "/status.json?max=0")
      assert.equal(200, status)
      local is = decode(body)
      assert.same({ "s", p.pid, "info", false }, { is.name, is.pid, is.log_level, is.ending })
      local lines = {}
      for i, listener in ipairs(is.script.listeners) do lines[i] = listener.what .. " " .. listener.line end
      table.sort(lines)
      assert.matches("^%-%-http %-%-http kt%.listen s%.lua:%d+$", table.concat(lines, " "))
      assert.equal(503, (get(port, "/readyz")))
      p:mark()
      p:signal_with "sighup"
      p:expect "reloaded"
      assert.equal(200, (get(port, "/healthz")))
      assert.equal(0, p:stop())
      assert.is_nil((get(port, "/healthz")))
    end)
  end)

  it("serves kt client and kt server, behind a token where others may reach them", function()
    h.run(function()
      local near, far, udp = sockets.free_port(), s.dir .. "/far.sock", sockets.free_port "udp"
      s.write("token", "0123456789abcdef\n")
      assert(os.execute("chmod 600 " .. s.dir .. "/token"))
      local server = s.kt("server", "--http", "unix:" .. far, "-l", "127.0.0.1:" .. udp, "-t", "127.0.0.1:9")
      server:wait_unix(far)
      assert.equal("ready\n", (select(2, get(far, "/readyz"))))
      local client = s.kt("client", "--http", ":" .. near, "--httptoken", "token", "-r", "127.0.0.1:" .. udp, "-l", s.dir .. "/in.sock")
      client:wait_tcp(near)
      assert.equal(401, (get(near, "/metrics")))
      local status, body = get(near, "/metrics", "Authorization: Bearer 0123456789abcdef\r\n")
      assert.equal(200, status)
      local _, value = openmetrics.read(body)
      assert.equal(0, value("kt_link_up", { link = "127.0.0.1:" .. udp }))
    end)
  end)

  it("says what is wrong with an address or a token, and does not start", function()
    h.run(function()
      s.write("short", "secret")
      assert(os.execute("chmod 600 " .. s.dir .. "/short"))
      s.write("s.lua", scripts.HEAD .. "kt.spawn(function() kt.sleep '1h' end)")
      local cases = {
        { "kt: --http-token: missing; other machines can reach :9100; give a token, a loopback address, or unix:/path\n", "run", "--http", ":9100", "s.lua" },
        { 'kt: --http: "x:y": expected', "run", "--http", "x:y", "s.lua" },
        { "kt: --http-token: kt.secret_file: none: no such file\n", "run", "--http", ":9100", "--http-token", "none", "s.lua" },
        { "kt: --http-token: only with --http\n", "run", "--http-token", "short", "s.lua" },
        { "kt server: --httptoken: only with --http\n", "server", "--httptoken", "short" },
        { "kt client: --httptoken: missing; other", "client", "--http", "0.0.0.0:9100" },
        { "kt server: --httptoken: expected 16 to 256", "server", "--http", ":9100", "--httptoken", "short" },
      }
      local started = {}
      for i, case in ipairs(cases) do started[i] = s.kt(table.unpack(case, 2)) end
      for i, p in ipairs(started) do
        assert.equal(1, p:wait_exit(20))
        assert.truthy(p.stderr:find(cases[i][1], 1, true), p.stderr)
      end
    end)
  end)

  it("is scraped by prometheus, and its text format passes promtool", function()
    h.run(function()
      local port, listen, web = sockets.free_port(), sockets.free_port(), sockets.free_port()
      s.write("k", KEY)
      assert(os.execute("chmod 600 " .. s.dir .. "/k"))
      local p = s.kt("run", "--http", "127.0.0.1:" .. port, script(sockets.free_port "udp", listen))
      p:wait_tcp(port)
      s.write("metrics", (select(2, get(port, "/metrics", "Accept: text/plain\r\n"))))
      local tool = run("sh", { "-c", "promtool check metrics < metrics" })
      assert.equal(0, tool:wait_exit(30), tool.stderr)
      assert.equal("", tool.stdout .. tool.stderr)
      if h.light then return end -- prometheus takes 5 s to begin
      s.write("p.yml", ("scrape_configs: [{ job_name: kt, scrape_interval: 1s, static_configs: [{ targets: ['127.0.0.1:%d'] }] }]"):format(port))
      local prometheus = run("prometheus", { "--config.file=p.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:" .. web })
      prometheus:wait_tcp(web)
      local function query(what)
        local status, body = get(web, "/api/v1/query?query=" .. what)
        local result = status == 200 and decode(body).data.result -- 503 while it starts
        return result and result[1] and result[1].value[2]
      end
      loop.eventually("a scrape", 30, function() return query "kt_link_up" == "0" end)
      assert.equal("1", query "up")
      assert.equal("0", query 'kt_link_open_duration_seconds_bucket{le="%2BInf"}')
      prometheus:kill()
    end)
  end)
end)
