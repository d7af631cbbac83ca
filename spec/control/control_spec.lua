-- The control socket of a running kt, and the verbs that use it: real processes and real sockets.
local h = require "harness"
local process = require "harness.process"
local scripts = require "harness.scripts"
local loop, sockets = h.loop, h.sockets

-- A listener whose conns are joined with a target; each conn is logged.
local FORWARD = [[
local kt = require "kt"
count = 0
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  count = count + 1
  kt.log.info("conn")
  local to = kt.connect { to = "127.0.0.1:%d" }
  if to then
    local _, err = kt.splice(conn, to)
    if err then kt.log.info("ended: %%s", err) end
  end
end)
]]

describe("the control socket", function()
  local s = scripts.each(before_each, after_each)

  local function start(...)
    return process.start { name = "kt", cmd = { scripts.kt, ... }, cwd = s.dir, env = { KT_RUNTIME_DIR = s.dir .. "/kt" } }
  end

  local function path(name) return ("%s/kt/%s.sock"):format(s.dir, name or "s") end

  --- Starts a script with a control socket, and waits for that.
  local function run(text, ...)
    s.write("s.lua", text)
    local p = start("run", "--log-level", "debug", ...)
    p:expect "control socket at "
    return p
  end

  --- A script that forwards, its process, and the port it listens at.
  local function forward(...)
    local target = sockets.serve(function(conn)
      for chunk in function() return conn:recv(60) end do conn:send(chunk) end
      conn:shutdown()
    end)
    local port = sockets.free_port()
    local args = { ... }
    args[#args + 1] = "s.lua"
    return run(FORWARD:format(port, target.at), table.unpack(args)), port
  end

  --- Runs a verb to its end.
  local function verb(...)
    local p = start(...)
    return p:wait_exit(20), p.stdout, p.stderr
  end

  --- Sends lines and returns all that comes back, as lines.
  local function ask(text, at)
    local conn = assert(sockets.connect(at or path()))
    conn:send(text)
    conn:shutdown()
    local lines = {}
    for line in conn:recv_all():gmatch "[^\n]+" do lines[#lines + 1] = line end
    return lines
  end

  local function mode(file)
    local pipe = assert(io.popen(("stat -c '%%a %%F' %s 2>/dev/null"):format(file)))
    local text = pipe:read "l"
    pipe:close()
    return text
  end

  it("belongs to its user alone, and is removed at the end", function()
    h.run(function()
      local p = forward()
      assert.equal("600 socket", mode(path()))
      assert.equal("700 directory", mode(s.dir .. "/kt"))
      assert.equal(0, p:stop())
      assert.is_nil(mode(path()))
    end)
  end)

  it("takes the place of one that a killed kt has left, and gets a number beside a living one", function()
    h.run(function()
      forward():kill()
      assert.equal("600 socket", mode(path()))
      forward()
      local second = forward()
      second:expect "control socket at [^\n]*/s%-2%.sock\n"
      s.write("other.lua", FORWARD:format(sockets.free_port(), 9))
      local refused = start("run", "--control", path(), "other.lua")
      assert.equal(1, refused:wait_exit())
      assert.matches("s%.sock: address already in use", refused.stderr)
      assert.is_nil(refused.stderr:find("listening on", 1, true))
      local client = start("client", "--control", path(), "-l", "127.0.0.1:0")
      assert.equal(1, client:wait_exit())
      assert.matches("s%.sock: address already in use", client.stderr)
      assert.is_nil(client.stderr:find("listening on", 1, true))
      local unnamed = start("run", "--control", "", "other.lua")
      assert.equal(1, unnamed:wait_exit())
      assert.matches("%-%-control: expected the path of a socket, or none", unnamed.stderr)
    end)
  end)

  it("is one of its own for each of several kts that find a stale one at once", function()
    h.run(function()
      forward():kill()
      s.write("s.lua", "require 'kt'.every('1h', print)")
      local all = {}
      for i = 1, 6 do all[i] = start("run", "--log-level", "debug", "s.lua") end
      local paths = {}
      for _, p in ipairs(all) do paths[p:expect "control socket at ([^\n]*)"] = true end
      for n = 1, 6 do assert.is_true(paths[path(n > 1 and "s-" .. n or nil)]) end
      local _, out = verb "list"
      assert.equal(6, select(2, out:gsub("\ns +%d", "")))
    end)
  end)

  it("does not take the place of a stale one whose folder another process holds locked", function()
    h.run(function()
      forward():kill()
      for _, args in ipairs { { "run", "--control", path(), "s.lua" }, { "client", "--control", path(), "-l", "127.0.0.1:0" } } do
        local p = process.start { name = "kt", cwd = s.dir, cmd = { "flock", s.dir .. "/kt", scripts.kt, table.unpack(args) } }
        assert.equal(1, p:wait_exit())
        assert.matches("kt: unix:[^\n]*/s%.sock: nothing listens there, but its folder cannot be locked %([^\n]*%); remove it\n", p.stderr)
        assert.is_nil(p.stderr:find("listening on", 1, true)) -- found before anything is opened
      end
      assert.equal("600 socket", mode(path()))
    end)
  end)

  it("is not made with --control none, nor where there is no folder for it", function()
    h.run(function()
      s.write("s.lua", FORWARD:format(sockets.free_port(), 9))
      local off = start("run", "--control", "none", "s.lua")
      off:expect "listening on"
      assert.is_nil(mode(path()))
      off:stop()
      s.write("kt", "a file")
      local none = start("run", "--log-level", "debug", "s.lua")
      none:expect "no control socket: [^\n]*/kt: not a folder; remove it\n"
      assert.equal(0, none:stop())
    end)
  end)

  it("answers each line in turn, with the id of the request", function()
    h.run(function()
      local p = forward()
      local lines = ask('{"id":1,"cmd":"hello"}\n{"id":"b\\"","cmd":"log"}\n{"cmd":"fly"}\n{"cmd":"log","args":{"lvl":"info"}}\n'
        .. '{"cmd":"' .. ("x"):rep(33) .. '"}\n')
      assert.matches('^{"id":1,"ok":true,"result":{"protocol":1,"version":"[%d.]+","name":"s","pid":' .. p.pid .. ',"uptime":', lines[1])
      assert.equal('{"id":"b\\"","ok":true,"result":"debug"}', lines[2])
      assert.matches('^{"ok":false,"error":{"code":"invalid","message":"unknown command \\"fly\\"; expected one of hello, status, ', lines[3])
      assert.matches('unknown argument \\"lvl\\"', lines[4])
      assert.matches('unknown command \\"' .. ("x"):rep(32) .. '\\"; expected one of hello, ', lines[5])
      assert.equal(5, #lines)
      local guide, n = h.read_file "docs/control.md", 0
      for name in lines[3]:match("expected one of (.-)\""):gmatch "%l+" do
        n = n + 1
        assert.is_truthy(guide:find("\n| `" .. name .. "` |", 1, true), name .. " is not in docs/control.md")
      end
      assert.is_true(n >= 9)
    end)
  end)

  it("answers what it cannot read with an error, and closes", function()
    h.run(function()
      forward()
      local cases = {
        ["not JSON"] = "GET / HTTP/1.1\r\n\r\n", ["expected a JSON object"] = "[1]\n", ["unknown key"] = '{"cmd":"hello","x":1}\n',
        ["too long"] = ('"'):rep(70000), ["cmd: missing"] = "{}\n", ["speaks version 1"] = '{"cmd":"hello","protocol":2}\n', ["id: expected"] = '{"id":{}}\n',
        ["id: expected an integer below 2^53"] = '{"id":9007199254740993,"cmd":"hello"}\n', ["cmd: given twice"] = '{"cmd":"hello","cmd":"drain"}\n',
        ["args: level: given twice"] = '{"cmd":"log","args":{"level":"info","level":"debug"}}\n',
      }
      for expected, text in pairs(cases) do
        local lines = ask(text .. '{"cmd":"hello"}\n')
        assert.equal(1, #lines, expected)
        assert.is_truthy(lines[1]:find('"ok":false', 1, true) and lines[1]:find(expected, 1, true), lines[1])
      end
    end)
  end)

  it("refuses other users, and says whose it is", function()
    if os.execute "test $(id -u) = 0 || exit 1" ~= true then return end -- only root can run both
    h.run(function()
      os.execute("chmod 777 " .. s.dir)
      s.write("s.lua", FORWARD:format(sockets.free_port(), 9))
      local at = s.dir .. "/c.sock"
      local kt = process.start {
        name = "kt", cwd = s.dir, cmd = { "setpriv", "--reuid", "65534", "--clear-groups", scripts.kt, "run", "--control", at, "s.lua" },
      }
      kt:expect "listening on"
      kt:wait_unix(at)
      assert.equal("600 socket", mode(at))
      for _, case in ipairs { { "", "c runs as user nobody; only that user and root may control it: try sudo\n" },
        { "--control " .. at, "c runs as user nobody; only that user and root may control it: try sudo\n" },
        { "--control " .. at, "only the user of this kt and root may connect", "chmod 666 " .. at } } do
        os.execute(case[3] or "true")
        local other = process.start { name = "kt", cmd = { "sh", "-c", ("KT_RUNTIME_DIR=%s exec setpriv --reuid 65533 --clear-groups %s status %s"):format(
          s.dir, scripts.kt, case[1]) } }
        assert.equal(2, other:wait_exit())
        loop.eventually("its message", 5, function() return other.stderr:find("\n", 1, true) ~= nil end)
        assert.matches(case[2], other.stderr, 1, true)
      end
      assert.equal(0, (verb("status", "--control", at)))
    end)
  end)

  it("turns away the seventeenth client of a thousand, and the tunnel does not notice", function()
    h.run(function()
      local _, port = forward()
      local through = sockets.connect(port)
      local clients, refused = {}, 0
      for i = 1, h.light and 200 or 1000 do clients[i] = assert(sockets.connect(path())) end
      through:send "hello"
      assert.equal("hello", through:recv_exactly(5))
      for i = 17, #clients do
        local text = clients[i]:recv_all()
        refused = refused + (text:find '"code":"limit"' and 1 or 0)
      end
      assert.equal(#clients - 16, refused)
      for i = 1, 16 do clients[i]:close() end
      loop.eventually("room for a client", 10, function() return ask('{"cmd":"hello"}\n')[1]:find '"ok":true' end)
    end)
  end)

  it("drops a client that asks nothing, does not finish a line, or does not read", function()
    h.run(function()
      forward "--allow-eval"
      local silent, slow, deaf = sockets.connect(path()), sockets.connect(path()), sockets.connect(path())
      slow:send '{"cmd":'
      deaf:send('{"cmd":"eval","args":{"code":"local t = {} for i = 1, 28 do t[i] = (\\"x\\"):rep(1900) end return t"}}\n{"cmd":"hello"}\n')
      deaf:send(('{"cmd":"status"}\n'):rep(500)) -- more answers than the socket's buffers hold
      local lines = ask '{"cmd":"hello"}\n'
      assert.matches('"ok":true', lines[1])
      assert.equal("", (silent:recv_all(10)))
      assert.equal("", (slow:recv_all(10)))
      loop.eventually("the deaf client to be dropped", 10, function() return not deaf:send "\n" end)
    end)
  end)

  it("drops a follower of events that does not read, and nobody else", function()
    h.run(function()
      local p = forward "--allow-eval"
      local deaf = sockets.connect(path())
      deaf:send '{"cmd":"events"}\n'
      local follower = start("events", "s", "--json")
      follower:expect "following s"
      -- Failures are logged ten times for each line of the script.
      local line = 'for _ = 1, 10 do kt.spawn(function() error((\\"x\\"):rep(900)) end) end\\n'
      assert.matches('"ok":true', ask('{"cmd":"eval","args":{"code":"' .. line:rep(300) .. '"}}\n')[1])
      p:expect "dropped a client that does not read its stream"
      follower:expect '"type":"error"'
      assert.matches('"ok":true', ask('{"cmd":"hello"}\n')[1])
    end)
  end)

  it("evaluates only with --allow-eval, within the watchdog and a timeout", function()
    h.run(function()
      local p = forward()
      assert.matches('"code":"denied","message":"eval is off; start kt with %-%-allow%-eval"', ask('{"cmd":"eval","args":{"code":"1"}}\n')[1])
      p:stop()
      forward "--allow-eval"
      local function eval(code, more) return ask(('{"cmd":"eval","args":{"code":"%s"%s}}\n'):format(code, more or ""))[1] end
      assert.equal('{"ok":true,"result":["0","nil","{ 1, { a = \\"b\\" } }"]}', eval "count, nil, { 1, { a = 'b' } }")
      assert.equal('{"ok":true,"result":[]}', eval "count = 7")
      assert.equal('{"ok":true,"result":["a\\t1","7"]}', eval "kt.sleep '1ms' print('a', 1) return count")
      assert.matches("global 'nope' is not defined", eval "nope")
      assert.matches('"code":"invalid","message":"eval:1: ', eval "if")
      assert.matches("stopped after 0.5 s without yielding", eval "while true do end")
      assert.matches('"code":"timeout"', eval("kt.sleep(60)", ',"timeout":1'))
      assert.matches('"ok":false', eval "os.exit(1)")
    end)
  end)
end)

describe("verbs for a running kt", function()
  local s = scripts.each(before_each, after_each)

  local function start(...)
    return process.start { name = "kt " .. ..., cmd = { scripts.kt, ... }, cwd = s.dir, env = { KT_RUNTIME_DIR = s.dir .. "/kt" } }
  end
  local function verb(...)
    local p = start(...)
    return p:wait_exit(20), p.stdout, p.stderr
  end

  --- Starts a forwarding script and returns its process and port.
  local function forward(name, ...)
    local target = sockets.serve(function(conn) conn:recv_all(60) end)
    local port = sockets.free_port()
    s.write(name .. ".lua", FORWARD:format(port, target.at))
    local args = { "run", "--log-level", "debug", ... }
    args[#args + 1] = name .. ".lua"
    local p = start(table.unpack(args))
    p:expect "control socket at "
    return p, port
  end

  it("say that there is none, list those that run, and take a name or a pid", function()
    h.run(function()
      local code, _, err = verb "status"
      assert.same({ 2, "kt status: no running kt with a control socket; for one of another user, run this as that user\n" }, { code, err })
      local a, b = forward("one", "--allow-eval"), forward("two", "--allow-eval")
      code, _, err = verb "status"
      assert.equal(2, code)
      assert.matches("2 instances run; give a name or a pid:\n[^\n]*\none +" .. a.pid .. " .*\ntwo +" .. b.pid, err)
      local listed, out = verb "list"
      assert.equal(0, listed)
      assert.matches("\none +" .. a.pid .. " +[%d.]+ .*/kt/one.sock\ntwo ", out)
      for _, name in ipairs { "one", tostring(a.pid) } do
        code, out = verb("status", name)
        assert.equal(0, code)
        assert.matches("^one %(pid " .. a.pid .. "%), kt ", out)
      end
      assert.equal(2, (verb("status", "three")))
      assert.equal(1, (verb("close")))
    end)
  end)

  it("show a conn and close it with what it is joined with; the script learns why", function()
    h.run(function()
      local p, port = forward("s", "--allow-eval")
      local client = sockets.connect(port)
      local out = loop.eventually("the conn to be joined", 10, function()
        local _, text = verb "status"
        return text:find "JOINED" and text:find "conn 127.0.0.1" and text
      end)
      assert.matches("Listeners\n.*127.0.0.1:" .. port .. " +kt.listen +open", out)
      local id = out:match "\n +(%d+) +conn +127"
      local code, said = verb("close", id)
      assert.same({ 0, "closed " .. id .. "\n" }, { code, said })
      assert.same({ "", "ECONNRESET" }, { client:recv_all(10) })
      p:expect "ended: closed by kt close"
      local again, _, err = verb("close", id)
      assert.same({ 1, ("kt close: no conn or stream %s\n"):format(id) }, { again, err })
      local _, json = verb("status", "--json")
      assert.matches('^{.*"conns":0,.*"script":{.*"conn_count":0,"conns":%[%],.*"links":%[%],"listeners":%[{', json)
    end)
  end)

  it("reload the script, keep the old one if the new one is wrong, and list conns of the old one", function()
    h.run(function()
      local p, port = forward("s", "--allow-eval")
      sockets.connect(port)
      p:expect "s: conn\n"
      local events = start("events", "--json")
      events:expect "following s"
      local first = process.start {
        name = "head", cmd = { "sh", "-c", scripts.kt .. " events s | head -n 1" }, cwd = s.dir, env = { KT_RUNTIME_DIR = s.dir .. "/kt" },
      }
      first:expect "following s"
      local code, out = verb "reload"
      assert.equal(0, code)
      assert.matches("^reloaded s.lua: 1 address kept, .*2 conns and streams of the old script stay open\n$", out)
      local _, status = verb "status"
      assert.matches("Conns and streams of a replaced script %(2%)\n.* conn +127", status)
      assert.equal(0, (verb("close", (status:match "\n +(%d+) +conn +127"))))
      s.write("s.lua", "local kt = nope")
      local bad, _, err = verb "reload"
      assert.equal(1, bad)
      assert.matches("^kt reload: failed; still running the previous script: s.lua:1: ", err)
      assert.equal(0, (verb "status"))
      events:expect '"failed":true,[^\n]*"type":"reload"'
      first:wait_exit(10) -- its reader has gone after the first event
      assert.matches(" reload +reloaded s.lua", first.stdout)
    end)
  end)

  it("run Lua in the script, read from a pipe or a file", function()
    h.run(function()
      forward("s", "--allow-eval")
      s.write("input", "for i = 1, 2 do\n  count = count + i\nend\ncount\n\nnope\n{ 1, 'two' }")
      for _, command in ipairs { "%s repl < input", "cat input | %s repl s --timeout=5" } do
        local p = process.start { name = "repl", cmd = { "sh", "-c", command:format(scripts.kt) }, cwd = s.dir, env = { KT_RUNTIME_DIR = s.dir .. "/kt" } }
        assert.equal(1, p:wait_exit(20)) -- something failed
        assert.matches("^%d\n{ 1, \"two\" }\n$", p.stdout)
        assert.equal("eval:1: global 'nope' is not defined\n", p.stderr)
      end
      forward "other"
      local code, _, err = verb("repl", "other")
      assert.same({ 1, "kt repl: not allowed; start it with kt run --allow-eval\n" }, { code, err })
    end)
  end)

  it("trace a link on either wire: its packets, decrypted, as pcapng", function()
    h.run(function()
      local target = sockets.serve(function(conn)
        for chunk in function() return conn:recv(60) end do conn:send(chunk) end
      end)
      for _, wire in ipairs { "kt", "kcptun" } do
        local port, near = sockets.free_port "udp", sockets.free_port()
        local flags = { "--key", "k", "--wire", wire, "--nocomp" }
        local server = start("server", "-l", "127.0.0.1:" .. port, "-t", "127.0.0.1:" .. target.at, table.unpack(flags))
        server:wait_unix(s.dir .. "/kt/server.sock")
        local client = start("client", "-l", "127.0.0.1:" .. near, "-r", "127.0.0.1:" .. port, table.unpack(flags)):wait_tcp(near)
        client:wait_unix(s.dir .. "/kt/client.sock")
        local link = "127.0.0.1:" .. port
        local traces = {
          start("trace", "client", link, "client.pcapng", "--packets", "4"),
          start("trace", "server", link, "server.pcapng", "--packets", "4"),
        }
        for _, trace in ipairs(traces) do trace:expect "writing 127.0.0.1" end
        local code, _, err = verb("trace", "client", link, "second.pcapng")
        assert.same({ 1, "kt trace: it is already being traced\n" }, { code, err })
        code, _, err = verb("trace", "client", "127.0.0.1:1", "none.pcapng")
        assert.equal(1, code)
        assert.matches("no open link of that name", err)
        local conn = sockets.connect(near)
        local text = "the text that is carried"
        for i = 1, 5 do
          conn:send(text .. i)
          assert.equal(text .. i, conn:recv_exactly(#text + 1))
        end
        for i, trace in ipairs(traces) do
          assert.equal(0, trace:wait_exit(20))
          assert.equal("4 packets, 0 left out\n", trace.stdout)
          local file = h.read_file(("%s/%s.pcapng"):format(s.dir, i == 1 and "client" or "server"))
          assert.equal("\x0A\x0D\x0D\x0A", file:sub(1, 4))
          assert.is_truthy(file:find(text, 1, true))
          assert.is_truthy(file:find(wire .. " out", 1, true) and file:find(wire .. " in", 1, true))
          local packets = 0
          for from, to in file:gmatch "\x7F\0\0\1\x7F\0\0\1(..)(..)" do -- in an IPv4 header and the UDP header after it
            assert.is_true(from ~= "\0\0" and to ~= "\0\0")
            packets = packets + 1
          end
          assert.is_true(packets >= 4)
        end
        local gone = start("trace", "client", link, "gone.pcapng")
        gone:expect "writing 127.0.0.1"
        gone:kill() -- the link is idle, so no packet finds out
        local interrupted = start("trace", "client", link, "interrupted.pcapng")
        interrupted:expect "writing 127.0.0.1"
        conn:send "y"
        assert.equal("y", conn:recv_exactly(1))
        interrupted:signal_with "sigint"
        assert.equal(0, interrupted:wait_exit(20))
        assert.matches("^[1-9]%d* packets, 0 left out\n$", interrupted.stdout)
        if h.installed "tshark" then
          local shown = process.start { name = "tshark", cwd = s.dir,
            cmd = { "tshark", "-r", "interrupted.pcapng", "-T", "fields", "-e", "frame.interface_name" } }
          assert.equal(0, shown:wait_exit(30))
          assert.matches(wire .. " out\n", shown.stdout, 1, true)
        end
        local full = start("trace", "client", link, "/dev/full", "--packets", "1")
        full:expect "writing 127.0.0.1"
        conn:send "more"
        assert.equal(1, full:wait_exit(20))
        assert.matches("\nkt trace: /dev/full: No space left on device\n$", full.stderr)
        code, _, err = verb("trace", "client", link, "x.pcapng", "--seconds", "0.5")
        assert.same({ 1, "kt trace: --seconds: expected an integer from 1, got 0.5\n" }, { code, err })
        client:kill()
        server:kill()
      end
    end)
  end)

  it("trace no more than the reader takes, and count the rest", function()
    h.run(function()
      local target = sockets.serve(function(conn)
        for _ = 1, 16 << 10 do conn:recv_exactly(1024) end
        conn:send "all"
      end)
      local port, near = sockets.free_port "udp", sockets.free_port()
      start("server", "-l", "127.0.0.1:" .. port, "-t", "127.0.0.1:" .. target.at, "--key", "k"):wait_udp(port):wait_unix(s.dir .. "/kt/server.sock")
      start("client", "-l", "127.0.0.1:" .. near, "-r", "127.0.0.1:" .. port, "--key", "k"):wait_tcp(near):wait_unix(s.dir .. "/kt/client.sock")
      local reader = assert(sockets.connect(s.dir .. "/kt/client.sock"))
      reader:send(('{"cmd":"trace","args":{"link":"127.0.0.1:%d"}}\n'):format(port))
      assert.equal('{"ok":true,"result":true}\n', reader:recv_exactly(26))
      local conn = sockets.connect(near)
      assert(conn:send(("x"):rep(16 << 20))) -- taken by the tunnel although nobody reads the trace
      conn:recv_exactly(3)
      reader:shutdown()
      local lines = reader:recv_all(30)
      assert.is_true(#lines > 16 << 20, #lines)
      local last, first = lines:sub(-200):match '\n({"dropped":.*)\n$', lines:sub(1, 4000)
      assert.matches('"dropped":0,"data"', first, 1, true)
      assert.matches('^{"dropped":{"in":%d+,"out":[1-9]%d*}}$', last)
    end)
  end)

  it("set the log level, which a reload keeps", function()
    h.run(function()
      forward("s", "--allow-eval")
      assert.equal("debug\n", select(2, verb "log"))
      assert.equal("warn\n", select(2, verb("log", "s", "warn")))
      assert.equal(0, (verb "reload"))
      assert.equal("warn\n", select(2, verb("log", "s")))
      local client = start("client", "-l", "127.0.0.1:0", "-r", "127.0.0.1:9", "--key", "k", "--loglevel", "info")
      client:wait_unix(s.dir .. "/kt/client.sock")
      assert.equal("debug\n", select(2, verb("log", "client", "debug")))
      assert.equal(0, (verb("reload", "client"))) -- the flag sets its own level again
      assert.equal("debug\n", select(2, verb("log", "client")))
      local code, _, err = verb("log", "s", "loud")
      assert.equal(1, code)
      assert.matches("level: expected one of debug", err)
    end)
  end)

  it("show the conn of a task that failed", function()
    h.run(function()
      local at = sockets.free_port()
      s.write("s.lua", ('local kt = require "kt" kt.listen { on = "127.0.0.1:%d" }:serve(function() error "lost" end)'):format(at))
      start("run", "--log-level", "debug", "s.lua"):expect "control socket at "
      local events = start("events", "s", "--json")
      events:expect "following s"
      sockets.connect(at)
      events:expect '"conn":"127%.0%.0%.1:%d+"'
    end)
  end)

  it("drain it, as SIGTERM does", function()
    h.run(function()
      local p = forward("s", "--allow-eval")
      local code, out = verb("drain", "--wait")
      assert.same({ 0, "ending; 0 conns and streams have 5 s to finish\n" }, { code, out })
      assert.equal(0, p:wait_exit(10))
      assert.matches("kt drain: ending; 0 conns and streams", p.stderr)
    end)
  end)

  it("follow the peers of a server", function()
    h.run(function()
      local key = ("A"):rep(43) .. "="
      local target = sockets.serve(function(conn) conn:recv_all(60) end)
      for _, wire in ipairs { "kt", "kcptun" } do
        local port, near = sockets.free_port "udp", sockets.free_port()
        local server = start("server", "-l", "127.0.0.1:" .. port, "-t", "127.0.0.1:" .. target.at, "--key", key, "--suspectpeer", "1")
        server:wait_unix(s.dir .. "/kt/server.sock")
        local events = start("events", "server")
        events:expect "following server"
        local client = start("client", "--control", "none", "-l", "127.0.0.1:" .. near, "-r", "127.0.0.1:" .. port, "--key", key, "--wire", wire)
        client:wait_tcp(near)
        local conn = sockets.connect(near)
        events:expect " up +127.0.0.1:%d+: a peer is up\n"
        conn:close()
        if wire == "kt" then client:stop() else client:kill() end -- the former says goodbye, the latter falls silent
        events:expect " down +127.0.0.1:%d+: "
        server:kill()
      end
    end)
  end)

  it("follow a link and a pool through up, down and switch", function()
    h.run(function()
      local port, other = sockets.free_port "udp", sockets.free_port "udp"
      s.write("s.lua", ([[
local kt = require "kt"
local function link(port) return kt.link { remote = "127.0.0.1:" .. port, key = "k", wire = "kcptun" } end
local pool = kt.pool {
  name = "far", hold = "0s", check = { every = "100ms", fall = 1, rise = 1, timeout = "1s" },
  links = { { name = "a", link = link(%d) }, { name = "b", link = link(%d) } },
}
kt.every("50ms", function() local stream = pool:open { timeout = "1s" } if stream then stream:close() end end)
kt.spawn(function() kt.sleep "1h" end)
]]):format(port, other))
      local function server(at) return start("server", "--control", "none", "-l", "127.0.0.1:" .. at, "-t", "127.0.0.1:9", "--key", "k", "--wire", "kcptun") end
      local a = server(port)
      server(other)
      local run = start("run", "--log-level", "debug", "s.lua")
      run:expect "control socket at "
      run:expect "far: a is up"
      run:expect "far: b is up"
      loop.eventually("the pool to prefer a", 10, function() return select(2, verb "status"):find "far +a +%* +up" end)
      local events = start("events")
      events:expect "following s"
      a:kill()
      events:expect " down +far: a is down: "
      events:expect " switch +far: b: new streams now go to b instead of a"
      server(port)
      events:expect " up +far: a is up"
      events:expect(" up +127.0.0.1:" .. port .. ": the link is up")
    end)
  end)
end)
