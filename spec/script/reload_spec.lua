-- Reload from a script author's view: SIGHUP or kt reload loads the script again, open connections continue, and a
-- script with a mistake changes nothing. Real processes, real sockets.
local uv = require "luv"
local h = require "harness"
local scripts = require "harness.scripts"

local HEAD = scripts.HEAD

--- A script that answers each line with its version in front; `more` is put at its top level.
local function answering(version, port, more)
  return HEAD .. ([[
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  for line in function() return conn:read_until("\n", 4096, { timeout = "1m" }) end do conn:write("%s " .. line) end
end)
]]):format(port, version) .. (more or "")
end

describe("a reload", function()
  local s = scripts.each(before_each, after_each)
  local port
  local kt = scripts.kt

  before_each(function() port = h.sockets.free_port("tcp") end)

  --- Starts kt run with the options given and s.lua of this text.
  local function start(text, ...)
    s.write("s.lua", text)
    local cmd = { kt, "run", ... }
    cmd[#cmd + 1] = "s.lua"
    return h.start { name = "kt", cmd = cmd, cwd = s.dir, graceful = true }
  end

  --- Gives the process another script, and waits for the log line of the reload, or for the expected one.
  local function reload(p, text, said)
    s.write("s.lua", text)
    p:mark()
    p:signal_with("sighup")
    return p:expect(said or "reloaded s.lua: ([^\n]*)\n")
  end

  --- The version that answers on a connection, a new one unless given.
  local function version(conn)
    local own = not conn
    conn = conn or assert(h.sockets.connect(port))
    assert(conn:send("x\n"))
    local got = conn:recv_exactly(5)
    if own then conn:close() end
    return got:sub(1, 2)
  end

  --- Reloads a script of `answering`, and waits until new conns get its version: the log holds back a line that it has written ten times.
  local function reload_to(p, name, more)
    s.write("s.lua", answering(name, port, more))
    p:signal_with("sighup")
    h.loop.eventually("the new script", 10, function() return version() == name end)
  end

  describe("of a listener's script", function()
    it("gives new conns to the new script and keeps those of the old one", function()
      h.run(function()
        local p = start(answering("v1", port)):wait_tcp(port)
        local conn = assert(h.sockets.connect(port))
        assert.equal("v1", version(conn))
        assert.equal("1 address kept, 0 opened, 0 closed; 1 conns and streams of the old script stay open",
          reload(p, answering("v2", port)))
        assert.equal("v2", version())
        assert.equal("v1", version(conn))
        assert.equal("1 address kept, 0 opened, 0 closed; the old script had no conns", (function()
          conn:close()
          h.loop.sleep(0.1)
          assert.equal("v2", version())
          h.loop.sleep(0.1)
          return reload(p, answering("v3", port))
        end)())
        assert.equal("v3", version())
      end)
    end)

    it("closes an address that is no longer listened on and opens the new one", function()
      h.run(function()
        local other = h.sockets.free_port("tcp")
        local p = start(answering("v1", port)):wait_tcp(port)
        local conn = assert(h.sockets.connect(port))
        assert.equal("v1", version(conn))
        assert.matches("^0 addresses kept, 1 opened, 1 closed; ", reload(p, answering("v2", other)))
        assert.same({ nil, "ECONNREFUSED" }, { h.sockets.connect(port) })
        assert.equal("v2", version(assert(h.sockets.connect(other))))
        assert.equal("v1", version(conn))
      end)
    end)

    it("exchanges the addresses of two listeners", function()
      h.run(function()
        local other = h.sockets.free_port("tcp")
        local p = start(answering("v1", port, answering("w1", other))):wait_tcp(other)
        reload(p, answering("v2", other, answering("w2", port)))
        assert.equal("w2", version())
        assert.equal("v2", version(assert(h.sockets.connect(other))))
      end)
    end)

    it("keeps the port that the system chose, and a unix socket", function()
      h.run(function()
        local path = s.dir .. "/sock"
        local text = HEAD .. 'kt.listen { on = "127.0.0.1:0" }:serve(function(conn) conn:write("v1 x\\n") end)\n'
          .. ('kt.listen { on = "unix:%s" }:serve(function(conn) conn:write("v1 x\\n") end)'):format(path)
        local p = start(text)
        local chosen = tonumber((p:expect("listening on 127.0.0.1:(%d+)")))
        p:wait_unix(path)
        assert.matches("^2 addresses kept, 0 opened, 0 closed", reload(p, (text:gsub("v1", "v2"))))
        for _, where in ipairs { chosen, path } do assert.equal("v2", version(assert(h.sockets.connect(where)))) end
      end)
    end)

    it("serves conns waiting in the backlog", function()
      h.run(function()
        local p = start(answering("v1", port)):wait_tcp(port)
        p:signal_with("sigstop")
        local conns = {}
        for i = 1, 20 do conns[i] = assert(h.sockets.connect(port)) end
        s.write("s.lua", answering("v2", port))
        p:signal_with("sighup")
        p:signal_with("sigcont")
        for _, conn in ipairs(conns) do assert.matches("^v[12]$", version(conn)) end
      end)
    end)

    it("reloads modules and arguments too", function()
      h.run(function()
        s.write("words.lua", 'return { "v1" }')
        local text = HEAD .. ([[
local words, arg = require "words", ...
assert(arg == "an arg")
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn) conn:write(words[1] .. " x\n") end)]]):format(port)
        s.write("s.lua", text)
        local p = h.start { name = "kt", cmd = { kt, "run", "s.lua", "an arg" }, cwd = s.dir, graceful = true }
        p:wait_tcp(port)
        assert.equal("v1", version())
        s.write("words.lua", 'return { "v2" }')
        reload(p, text)
        assert.equal("v2", version())
      end)
    end)
  end)

  describe("that fails", function()
    --- Checks that the old script, a conn of it and a listener continue unaffected.
    local function unchanged(p, broken, why)
      local conn = assert(h.sockets.connect(port))
      assert.equal("v1", version(conn))
      local fds = p:settled_fd_count()
      reload(p, broken, "error s: reload failed; still running the previous script: " .. why)
      assert.equal("v1", version(conn))
      assert.equal("v1", version())
      assert.equal(fds, p:settled_fd_count())
      conn:close()
    end

    local mistakes = {
      { "a syntax error", "local = 1", "s.lua:1: " },
      { "an error in its main chunk", "\nerror 'oh'", "s.lua:2: oh\n" },
      { "a mistake in a constructor", 'local kt = require "kt"\nkt.listen { no = 1 }', "s.lua:2: kt.listen: " },
      { "nothing to do", 'local kt = require "kt"', "the script has nothing to do" },
      { "a listener without a handler", 'require "kt".listen { on = "127.0.0.1:0" }', "s.lua:1: kt.listen: 127.0.0.1:0 has no handler" },
      { "a loop without an end", "while true do end", "s.lua:1: stopped after 0.5 s in the main chunk" },
      { "more memory than it may have", 'local s = ("x"):rep(30000000)',
        "not enough memory: the script holds .* of 16.0 MiB" },
    }
    for _, m in ipairs(mistakes) do
      it("because of " .. m[1] .. " changes nothing and says why", function()
        h.run(function() unchanged(start(answering("v1", port), "--memory", "16MiB"):wait_tcp(port), m[2], m[3]) end)
      end)
    end

    it("because an address is in use changes nothing, although it had taken or opened others", function()
      h.run(function()
        local held, free = h.sockets.serve(function() end), h.sockets.free_port("tcp")
        local p = start(answering("v1", port)):wait_tcp(port)
        unchanged(p, answering("v2", port, answering("v2", free) .. answering("v2", held.at)), "s.lua:%d+: kt.listen: .*" .. held.at)
        assert.is_false(h.proc.tcp_listening(free))
      end)
    end)

    it("because the file is gone changes nothing, and a good one is accepted afterwards", function()
      h.run(function()
        local p = start(answering("v1", port)):wait_tcp(port)
        os.remove(s.dir .. "/s.lua")
        p:signal_with("sighup")
        p:expect("reload failed; still running the previous script: s.lua: no such file\n")
        assert.equal("v1", version())
        reload(p, answering("v2", port))
        assert.equal("v2", version())
      end)
    end)
  end)

  describe("with conns of the old script", function()
    it("resets those that outlive the time that it gave them", function()
      h.run(function()
        local p = start(answering("v1", port, 'kt.reload { old = "drain", timeout = "500ms" }')):wait_tcp(port)
        local conn = assert(h.sockets.connect(port))
        assert.equal("v1", version(conn))
        assert.matches("; 1 conns and streams of the old script have 0.5 s to finish$", reload(p, answering("v2", port)))
        local began = h.loop.now()
        assert.equal("v1", version(conn))
        assert.same({ nil, "ECONNRESET" }, { conn:recv(10) })
        assert.is_true(h.loop.now() - began > 0.3)
        assert.equal("v2", version())
      end)
    end)

    it("keeps its tasks running for them, and ends these with the last one", function()
      h.run(function()
        local p = start(answering("v1", port, 'kt.spawn(function() while true do kt.sleep "50ms"; kt.log.info("tick v1, at %g", kt.now()) end end)'))
        p:wait_tcp(port)
        local conn = assert(h.sockets.connect(port))
        assert.equal("v1", version(conn))
        reload(p, answering("v2", port))
        p:mark()
        p:expect("tick v1")
        conn:close()
        h.loop.eventually("the old script to be quiet", 10, function()
          p:mark()
          h.loop.sleep(0.3)
          return not p.fresh:find "tick"
        end)
      end)
    end)

    it("is refused while 16 replaced scripts still have some", function()
      h.run(function()
        local p = start(answering("v1", port)):wait_tcp(port)
        local conns = {}
        for i = 1, 16 do
          conns[i] = assert(h.sockets.connect(port))
          version(conns[i])
          reload_to(p, "v" .. (i + 1) % 10)
        end
        reload(p, answering("no", port), "reload failed; .*: 16 replaced scripts still have conns; limit their time with kt.reload")
        for i, conn in ipairs(conns) do assert.equal("v" .. i % 10, version(conn)) end
        conns[3]:close()
        s.write("s.lua", answering("ok", port))
        h.loop.eventually("room for another", 10, function()
          p:signal_with("sighup")
          h.loop.sleep(0.3)
          return version() == "ok"
        end)
        for i, conn in ipairs(conns) do
          if i ~= 3 then assert.equal("v" .. i % 10, version(conn)) end
        end
      end)
    end)

    it("waits for them when the new script ends by itself", function()
      h.run(function()
        local p = start(answering("v1", port)):wait_tcp(port)
        local conn = assert(h.sockets.connect(port))
        version(conn)
        reload(p, HEAD .. "kt.spawn(function() end)")
        h.loop.sleep(0.2)
        assert.equal("v1", version(conn))
        conn:close()
        assert.equal(0, p:wait_exit(10))
      end)
    end)
  end)

  it("requested a hundred times in a second runs a few times, one after the other", function()
    h.run(function()
      local p = start(answering("v1", port)):wait_tcp(port)
      local conn = assert(h.sockets.connect(port))
      version(conn)
      s.write("s.lua", answering("v2", port))
      for _ = 1, 100 do
        p:signal_with("sighup")
        h.loop.sleep(0.01)
      end
      h.loop.eventually("the new script", 10, function() return version() == "v2" end)
      h.loop.sleep(0.5)
      local _, count = p:logged():gsub("reloaded s.lua", "")
      assert.is_true(count >= 1 and count <= 12, count .. " reloads")
      assert.equal("v1", version(conn))
    end)
  end)

  it("leaks no descriptor and no memory in a hundred runs", function()
    h.run(function()
      local link = ([[
local far = kt.link { remote = "127.0.0.1:%d", key = KEY, mode = "fast2" }
kt.accept { on = "127.0.0.1:%d", key = KEY }:serve(function(stream) kt.splice(stream, stream) end)
]]):format(h.sockets.free_port("udp"), h.sockets.free_port("udp"))
      local p = start(answering("v1", port, link)):wait_tcp(port)
      local function some(n)
        for i = 1, n do
          local conn = assert(h.sockets.connect(port))
          version(conn)
          reload_to(p, "v" .. i % 10, link)
          conn:close()
        end
        h.loop.sleep(1.5) -- replaced scripts look once a second at most whether their conns have ended
        return p:settled_fd_count(), p:rss()
      end
      local fds, rss = some(5)
      local fds_after, rss_after = some(h.light and 15 or 100)
      assert.equal(fds, fds_after)
      if h.memory_counts then assert.is_true(rss_after < rss + (2 << 20), rss .. " grew to " .. rss_after) end
    end, 100)
  end)

  describe("and a SIGTERM", function()
    it("end together: the conns of all scripts may finish, then it ends", function()
      h.run(function()
        local p = start(answering("v1", port)):wait_tcp(port)
        local old = assert(h.sockets.connect(port))
        version(old)
        reload(p, answering("v2", port))
        local new = assert(h.sockets.connect(port))
        version(new)
        p:signal_with("sigterm")
        p:expect("SIGTERM: ending; 2 conns and streams have 5 s to finish")
        assert.equal("v1", version(old))
        assert.equal("v2", version(new))
        new:close()
        assert.equal("v1", version(old))
        old:close()
        assert.same({ 0, 0 }, { p:wait_exit(4) })
      end)
    end)

    it("at the same moment: kt exits, reloaded or not", function()
      h.run(function()
        for _ = 1, 5 do
          local p = start(answering("v1", port)):wait_tcp(port)
          p:signal_with("sighup")
          p:signal_with("sigterm")
          p:signal_with("sighup")
          assert.same({ 0, 0 }, { p:wait_exit(10) })
        end
      end)
    end)
  end)

  describe("of a kt.udp script", function()
    it("loses no datagram", function()
      h.run(function()
        local at = h.sockets.free_port("udp")
        local text = HEAD .. ([[
local socket = kt.udp { on = "127.0.0.1:%d" }
kt.spawn(function()
  while true do
    local data, from = socket:receive { timeout = "1h" }
    if data then socket:send(data, from) end
  end
end)]]):format(at)
        local p = start(text):wait_udp(at)
        local socket = uv.new_udp()
        local back, n = {}, 0
        socket:bind("127.0.0.1", 0)
        socket:recv_start(function(_, data) if data then back[tonumber(data)] = true end end)
        local stop = false
        local sender = h.loop.spawn(function()
          while not stop do
            n = n + 1
            socket:try_send(tostring(n), "127.0.0.1", at)
            h.loop.sleep(0.002)
          end
        end)
        for _ = 1, 5 do assert.matches("^1 address kept", reload(p, text)) end
        stop = true
        h.loop.join(sender)
        h.loop.eventually("every datagram to be answered", 10, function() return #back == n end)
        assert.is_nil(p:logged():find "task failed")
        socket:close()
      end)
    end)
  end)

  it("lets the old script send from a socket that the new one receives from", function()
    h.run(function()
      local at, socket = h.sockets.free_port("udp"), uv.new_udp()
      socket:bind("127.0.0.1", 0)
      local function text(name)
        return HEAD .. ([[
local socket = kt.udp { on = "127.0.0.1:%d" }
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  while conn:read_until("\n", 10) do socket:send("%s", "127.0.0.1:%d") end
end)
kt.spawn(function()
  while true do
    local data, from = socket:receive { timeout = "1h" }
    if data then socket:send("%s heard " .. data, from) end
  end
end)]]):format(at, port, name, socket:getsockname().port, name)
      end
      local got
      socket:recv_start(function(_, data) got = data or got end)
      local function expect(what)
        h.loop.eventually(what, 5, function() return got == what end)
      end
      local p = start(text "v1"):wait_tcp(port)
      local conn = assert(h.sockets.connect(port))
      conn:send("\n")
      expect "v1"
      reload(p, text "v2")
      got = nil
      conn:send("\n")
      expect "v1"
      socket:try_send("hi", "127.0.0.1", at)
      expect "v2 heard hi"
      conn:close()
      h.loop.sleep(1.5) -- the old script is gone by then
      socket:try_send("ho", "127.0.0.1", at)
      expect "v2 heard ho"
      assert.is_nil(p:logged():find "task failed")
      socket:close()
    end)
  end)

  it("is not triggered by a closed terminal: a kt started on it exits", function()
    h.run(function()
      s.write("s.lua", answering("v1", port))
      local terminal = h.start {
        name = "script", cwd = s.dir,
        cmd = { "script", "-qfec", "exec " .. kt .. " run --pid-file kt.pid s.lua", "/dev/null" },
      }
      h.loop.eventually("the pid file", 10, function() return io.open(s.dir .. "/kt.pid") end)
      local pid = tonumber(h.read_file(s.dir .. "/kt.pid"))
      uv.kill(pid, "sighup")
      terminal:expect("reloaded s.lua")
      terminal:kill()
      local ended = pcall(h.loop.eventually, "kt to end", 5, function() return not uv.kill(pid, 0) end)
      if not ended then uv.kill(pid, "sigkill") end
      assert.is_true(ended)
    end)
  end)

  describe("with --watch", function()
    local function changed(p, name, text, said)
      p:mark()
      s.write(name, text)
      p:expect(said)
    end

    it("follows the script and its modules, keeps the old script while the new one is wrong, and reloads only for a new content", function()
      h.run(function()
        s.write("word.lua", 'return "v1"')
        local text = (answering("%s", port):gsub('"%%s " %.%. line', 'require "word" .. " " .. line'))
        local p = start('require "word"\n' .. text, "--watch"):wait_tcp(port)
        assert.equal("v1", version())
        changed(p, "word.lua", 'return "v2"', "s: the script has changed\n.*reloaded s.lua: 1 address kept")
        assert.equal("v2", version())
        changed(p, "word.lua", "return nope", "reload failed; still running the previous script: word.lua:1: ")
        assert.equal("v2", version())
        changed(p, "word.lua", 'return "v3"', "reloaded s.lua: 1 address kept")
        assert.equal("v3", version())
        p:mark()
        s.write("word.lua", 'return "v3"') -- not a change
        s.write("new.lua", answering("v4", port))
        os.rename(s.dir .. "/new.lua", s.dir .. "/s.lua") -- as editors write
        p:expect "reloaded s.lua: 1 address kept"
        assert.equal("v4", version())
        assert.equal(1, select(2, p.since.stderr:gsub("the script has changed", "")))
        s.write("word.lua", "return nope") -- no longer the script's
        changed(p, "s.lua", answering("v5", port), "reloaded s.lua: 1 address kept")
        assert.equal("v5", version())
      end)
    end)
  end)

  describe("by the verb", function()
    local function verb(...)
      local p = h.start { name = "kt reload", cmd = { kt, "reload", ... }, cwd = s.dir }
      local code = p:wait_exit(20)
      return { code, p.stdout, p.stderr }
    end

    it("prints the outcome with a pid file", function()
      h.run(function()
        local p = start(answering("v1", port), "--pid-file", "kt.pid"):wait_tcp(port)
        h.loop.eventually("the pid file", 5, function() return io.open(s.dir .. "/kt.pid") end)
        assert.equal(p.pid .. "\n", h.read_file(s.dir .. "/kt.pid"))
        s.write("s.lua", answering("v2", port))
        assert.same({ 0, "reloaded s.lua: 1 address kept, 0 opened, 0 closed; the old script had no conns\n", "" },
          verb("--pid-file", "kt.pid"))
        assert.equal("v2", version())
        s.write("s.lua", "error 'oh'")
        assert.same({ 1, "", "kt reload: failed; still running the previous script: s.lua:1: oh\n"
          .. "  run kt check to list all mistakes\n" }, verb("--pid-file", "kt.pid"))
        assert.equal("v2", version())
        p:stop()
        assert.is_nil(io.open(s.dir .. "/kt.pid"))
        assert.is_nil(io.open(s.dir .. "/kt.pid.reload"))
      end)
    end)

    it("accepts a process id", function()
      h.run(function()
        local p = start(answering("v1", port)):wait_tcp(port)
        s.write("s.lua", answering("v2", port))
        assert.same({ 0, "", "" }, verb(tostring(p.pid)))
        p:expect("reloaded s.lua")
        assert.equal("v2", version())
      end)
    end)

    it("does not touch a process other than kt", function()
      h.run(function()
        local other = h.start { name = "sleep", cmd = { "sleep", "60" } }
        local r = verb(tostring(other.pid))
        assert.same({ 1, "" }, { r[1], r[2] })
        assert.matches("^kt reload: process %d+ is not a kt", r[3])
        s.write("other.pid", other.pid .. "\n")
        assert.equal(1, verb("--pid-file", "other.pid")[1])
        h.loop.sleep(0.1)
        assert.is_nil(other.exited)
      end)
    end)

    it("says what is wrong with its argument", function()
      h.run(function()
        s.write("bad.pid", "cat\n")
        assert.matches("^kt reload: no running kt with a control socket; ", verb()[3])
        assert.matches("^kt reload: no running kt with the name or pid fish\n", verb("fish")[3])
        assert.equal("kt reload: no process 4194304\n", verb("4194304")[3])
        assert.equal("kt reload: bad.pid: expected a process id\n", verb("--pid-file", "bad.pid")[3])
        assert.matches("^kt reload: none.pid: no such file", verb("--pid-file", "none.pid")[3])
      end)
    end)

    it("refuses a pid file that another kt uses", function()
      h.run(function()
        start(answering("v1", port), "--pid-file", "kt.pid"):wait_tcp(port)
        h.loop.eventually("the pid file", 5, function() return io.open(s.dir .. "/kt.pid") end)
        local other = h.start { name = "kt", cwd = s.dir, cmd = { kt, "run", "--pid-file", "kt.pid", s.write("t.lua",
          answering("v2", h.sockets.free_port("tcp"))) } }
        assert.equal(1, other:wait_exit(10))
        assert.matches("kt: kt.pid: in use by process %d+, a running kt\n$", other.stderr)
      end)
    end)
  end)
end)
