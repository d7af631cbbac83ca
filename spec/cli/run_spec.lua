-- kt run from a script author's view: contexts, errors, tasks, handles, tunnels, endings. Real processes, real
-- sockets; the scripts are written to temporary folders.
local h = require "harness"
local scripts = require "harness.scripts"

local HEAD = scripts.HEAD

local HINT = "  run kt check to list all mistakes\n"

describe("kt run", function()
  local s = scripts.each(before_each, after_each)

  local function write(...) return s.write(...) end
  local function start(...) return s.kt(...) end
  local function run_with(...) return s.exited(...) end

  local function echo()
    return h.sockets.serve(function(conn)
      for chunk in function() return conn:recv(20) end do conn:send(chunk) end
      conn:shutdown()
    end)
  end

  local function run(...) return s.ran(...) end
  local function task(...) return s.ran_task(...) end

  describe("on the command line", function()
    it("lists its verbs when given none", function()
      local r = run_with()
      assert.equal(1, r.code)
      for _, verb in ipairs { "run", "client", "server", "version", "help" } do
        assert.matches("\n  " .. verb .. " +%w", r.out)
      end
    end)

    it("refuses an unknown verb", function()
      local r = run_with("fly")
      assert.equal(1, r.code)
      assert.matches("^kt: unknown verb: fly\nusage: kt VERB .*\n  client ", r.err)
    end)

    it("prints its version", function()
      assert.matches("^kt %d+%.%d+%.%d+\n$", run_with("version").out)
      assert.matches("^kt %d+%.%d+%.%d+\n$", run_with("--version").out)
    end)

    it("prints its usage without a script", function()
      local r = run_with("run")
      assert.equal(1, r.code)
      assert.matches("^kt run: no script given\nusage: kt run ", r.err)
    end)

    it("names a missing script", function()
      local r = run_with("run", "nowhere.lua")
      assert.same({ 1, "kt: nowhere.lua: no such file\n" }, { r.code, r.err })
    end)

    it("refuses an option it does not know", function()
      local r = run_with("run", "--fast", "x.lua")
      assert.equal(1, r.code)
      assert.matches("^kt run: %-%-fast: unknown flag\n", r.err)
    end)

    it("hands the arguments to the script", function()
      local r = run_with("run", write("s.lua", 'print(...)\nlocal kt = require "kt"\nkt.spawn(function() end)'), "a b", "-c")
      assert.equal("a b\t-c\n", r.out)
    end)

    it("writes the log to a file when asked", function()
      write("s.lua", HEAD .. 'kt.spawn(function() kt.log.info("hello") kt.log.debug("psst") end)')
      local r = run_with("run", "--log", "out.log", "s.lua")
      assert.equal("", r.err)
      assert.matches("^%d+%-%d%d%-%d%d %d%d:%d%d:%d%d info  s: hello\n$", h.read_file(s.dir .. "/out.log"))
    end)

    it("takes a log level", function()
      write("s.lua", HEAD .. 'kt.spawn(function() kt.log.debug("psst") end)')
      assert.matches("debug s: psst\n$", run_with("run", "--log-level", "debug", "s.lua").err)
    end)
  end)

  describe("in the main chunk", function()
    it("names the line of a syntax error", function()
      local r = run("local x = 1\nlocal = 2\n")
      assert.equal(1, r.code)
      assert.matches("^kt: s.lua:2: ", r.err)
      assert.equal(1, select(2, r.err:gsub("\n", "")))
    end)

    it("names the line of an error, with a traceback", function()
      local r = run("local function f()\n  error 'oh'\nend\nf()\n")
      assert.same({ 1, "kt: s.lua:2: oh\n  called from s.lua:4\n" .. HINT }, { r.code, r.err })
    end)

    it("counts lines right below a #! line", function()
      assert.matches("^kt: s.lua:2: ", run("#!/usr/bin/env -S kt run\nerror 'x'\n").err)
    end)

    it("refuses to wait, and says where waiting is possible", function()
      local r = run(HEAD .. 'kt.connect { to = "127.0.0.1:1" }')
      assert.same({ 1, "kt: s.lua:2: kt.connect: not allowed in the main chunk; call it in a function passed "
        .. "to :serve or kt.spawn\n" .. HINT }, { r.code, r.err })
    end)

    it("reports all mistakes of a constructor at once", function()
      local r = run(HEAD .. 'kt.link {\n  remote = "vps",\n  wire = "kcptun",\n  mtu = 1300,\n  kcp = { sndwind = 9 },\n}')
      assert.equal(1, r.code)
      assert.matches("^kt: s.lua:%d: kt.link: 4 mistakes\n", r.err)
      for _, part in ipairs { 'link.remote: "vps": missing port', "link.key: missing", "link.kcp.sndwind: unknown key; did you mean sndwnd?",
        "link.mtu: only kt's wire has this setting; on kcptun's it goes inside kcp" } do
        assert.truthy(r.err:find("\n  " .. part, 1, true), part .. "\n" .. r.err)
      end
    end)

    it("suggests the closest function", function()
      assert.equal("kt: s.lua:2: kt.conect: no such function; did you mean kt.connect?\n" .. HINT, run(HEAD .. "kt.conect {}").err)
    end)

    it("has no undefined globals", function()
      assert.equal("kt: s.lua:1: global 'prnt' is not defined\n" .. HINT, run("prnt(1)").err)
    end)

    it("has os and io only with --unsafe", function()
      assert.matches("os and io need kt run %-%-unsafe", run("print(os.time())").err)
      write("s.lua", HEAD .. "kt.spawn(function() print(type(os.time()), type(io.open)) end)")
      assert.equal("number\tfunction\n", run_with("run", "--unsafe", "s.lua").out)
    end)

    it("has no way to load bytecode or files behind require's back", function()
      local r = run(HEAD .. "print(rawget(_G, 'dofile'), rawget(_G, 'loadfile'), rawget(_G, 'debug'), rawget(_G, 'package'))\n"
        .. "print((select(2, load(string.dump(function() end)))))\nkt.spawn(function() end)")
      assert.matches("^nil\tnil\tnil\tnil\nattempt to load a binary chunk", r.out)
    end)

    it("requires modules beside the script, once", function()
      os.execute("mkdir " .. s.dir .. "/lib")
      write("lib/routes.lua", 'print("loading", ...)\nreturn { n = 7 }')
      local r = run('local a, b = require "lib.routes", require "lib.routes"\nprint(a == b, a.n)\n' .. HEAD .. "kt.spawn(function() end)")
      assert.equal("loading\tlib.routes\ntrue\t7\n", r.out)
    end)

    it("finds its modules when started from any folder", function()
      write("other.lua", "return 5")
      write("s.lua", 'print(require "other")\n' .. HEAD .. "kt.spawn(function() end)")
      assert.equal("5\n", scripts.exited("/", "run", s.dir .. "/s.lua").out)
    end)

    it("requires modules from the folder of --path, after those beside the script, and so does kt check", function()
      os.execute("mkdir -p " .. s.dir .. "/shared/lib")
      write("shared/lib/deep.lua", 'return "shared"')
      write("shared/near.lua", "return 'shared'")
      write("near.lua", "return 'beside'")
      write("s.lua", 'print(require "lib.deep", require "near")\n' .. HEAD .. "kt.spawn(function() require 'lib.nope' end)")
      for _, folder in ipairs { "shared", "shared/", s.dir .. "/shared" } do
        assert.equal("shared\tbeside\n", s.exited("run", "--path", folder, "s.lua").out)
      end
      assert.matches('require "lib.nope": no such module; looked for lib/nope.lua and lib/nope/init.lua beside the script and in shared',
        s.exited("run", "--path", "shared", "s.lua").err, 1, true)
      write("shared/lib/deep.lua", "local kt = require 'kt'\nreturn function() kt.slep(1) end")
      assert.matches("shared/lib/deep.lua:2:22: kt.slep: no such function", s.exited("check", "--path", "shared/", "s.lua").out, 1, true)
    end)

    it("lists where it looked for a missing module", function()
      assert.equal('kt: s.lua:1: require "nope": no such module; looked for nope.lua and nope/init.lua beside the script\n' .. HINT,
        run('require "nope"').err)
    end)

    it("cannot reach kt's insides", function()
      for _, name in ipairs { "kt.core", "kt.schema", "../x", "/etc/passwd" } do
        assert.equal(1, run(("require %q"):format(name)).code, name)
      end
    end)

    it("detects modules that require each other", function()
      write("a.lua", 'return require "b"')
      write("b.lua", 'return require "a"')
      assert.matches('require "a": circular require', run('require "a"').err)
    end)

    it("has to declare something", function()
      local r = run("local kt = require 'kt'\n")
      assert.equal(1, r.code)
      assert.matches("has nothing to do", r.err)
    end)

    it("has to serve what it listens on", function()
      local r = run(HEAD .. '\nkt.listen { on = "127.0.0.1:0" }')
      assert.equal(1, r.code)
      assert.matches("^kt: s.lua:3: kt.listen: 127.0.0.1:0 has no handler; add :serve", r.err)
    end)

    it("serves a listener only once", function()
      assert.matches("^kt: s.lua:4: .* already has a handler, set at s.lua:3",
        run(HEAD .. 'local l = kt.listen { on = "127.0.0.1:0" }\nl:serve(print)\nl:serve(print)').err)
    end)

    it("fails with the address when a port is taken", function()
      h.run(function()
        local server = h.sockets.serve(function() end)
        local p = start("run", write("s.lua", HEAD .. ('kt.listen { on = "127.0.0.1:%d" }:serve(print)'):format(server.at)))
        assert.equal(1, p:wait_exit(20))
        assert.matches("^kt: s.lua:2: kt.listen: .*in use", p.stderr)
      end)
    end)
  end)

  describe("keeps secrets", function()
    it("out of printed output", function()
      local r = run(HEAD .. 'local s = kt.secret "hunter2"\nprint(s, tostring(s))\nprint(pcall(function() return s .. "" end))\n'
        .. 'kt.spawn(function() kt.log.info("key %s", s) end)')
      assert.equal(0, r.code)
      assert.is_nil((r.out .. r.err):find("hunter2", 1, true))
      assert.matches("<secret>\t<secret>", r.out)
      assert.matches("key <secret>", r.err)
    end)

    it("out of error messages", function()
      local r = run(HEAD .. 'kt.link { remote = "x:1", key = "hunter2", keyy = "hunter2", crypt = 5 }')
      assert.equal(1, r.code)
      assert.is_nil(r.err:find("hunter2", 1, true))
    end)

    it("and warns about a file that every user can read", function()
      write("psk.key", "abc\n")
      os.execute("chmod 644 " .. s.dir .. "/psk.key")
      local text = HEAD .. 'kt.secret_file "psk.key"\nkt.spawn(function() end)'
      assert.matches("warn .*psk.key: .*chmod 600", run(text).err)
      os.execute("chmod 600 " .. s.dir .. "/psk.key")
      assert.equal("", run(text).err)
    end)

    it("and refuses a file that is empty or missing", function()
      write("empty.key", "\n")
      assert.matches("^kt: s.lua:2: kt.secret_file: empty.key is empty", run(HEAD .. 'kt.secret_file "empty.key"').err)
      assert.matches("^kt: s.lua:2: kt.secret_file: gone.key: no such file", run(HEAD .. 'kt.secret_file "gone.key"').err)
    end)
  end)

  describe("runs tasks", function()
    it("and ends with 0 when all have ended", function()
      assert.equal("1\n2\n", task "print(1) kt.sleep '1ms' print(2)")
    end)

    it("in the order of their sleeping", function()
      local r = run(HEAD .. 'for _, ms in ipairs { 60, 20, 40 } do kt.spawn(function(n) kt.sleep(n / 1000) print(n) end, ms) end')
      assert.equal("20\n40\n60\n", r.out)
    end)

    it("when the one that spawned them waits or ends", function()
      assert.equal("first\nsecond\n", task 'kt.spawn(print, "second") print "first" kt.sleep(0)')
    end)

    it("through pcall and iterators", function()
      assert.equal("true\t5\n", task "print(pcall(function() kt.sleep(0.001) return 5 end))")
    end)

    it("that wake themselves forever without starving the others", function()
      assert.equal("done\n", task [[
        local stop
        kt.spawn(function() while not stop do kt.sleep(0) end end)
        kt.sleep "30ms"
        stop = true
        print "done"]])
    end)

    it("that spawn the next one forever without starving the others", function()
      assert.equal("done\n", task [[
        local stop
        local function again() return stop or kt.spawn(again) end
        again()
        kt.sleep "30ms"
        stop = true
        print "done"]])
    end)

    it("that spawn two more each without holding up a sleeper", function()
      local out = task [[
        local stop, runs, most = false, 0, 0
        local function two()
          if stop then return end
          runs = runs + 1
          pcall(kt.spawn, two)
          pcall(kt.spawn, two)
        end
        two()
        for _ = 1, 20 do
          local before = runs
          kt.sleep "5ms"
          most = math.max(most, runs - before)
        end
        stop = true
        print(most)]]
      assert.is_true(tonumber(out) < 3 * 65536, out .. " others ran during one sleep") -- 65536 can be ready at once
    end)

    it("and reports one that fails with its line, a traceback and where it was spawned; the others continue", function()
      local r = run(HEAD .. [[
local function deep() error "oh dear" end
kt.spawn(function()
  deep()
  kt.log.info "never"
end)
kt.spawn(function() kt.sleep "5ms" print "on" end)]])
      assert.equal(1, r.code)
      assert.equal("on\n", r.out)
      assert.matches(" error s: task failed: s.lua:2: oh dear %(at s.lua:2 in upvalue 'deep'.* < s.lua:4; spawned at s.lua:3%)\n$",
        (r.err:gsub("in deep", "in upvalue 'deep'")))
    end)

    it("and counts those that fail, for SIGUSR1", function()
      h.run(function()
        local p = start("run", write("s.lua", HEAD
          .. 'kt.spawn(function() error "one" end)\nkt.spawn(function() print "up" kt.sleep "1h" end)'))
        p:expect "up\n"
        assert.equal(1, p:counters().TaskErrors)
        assert.equal(1, p:counters().TaskErrors)
      end)
    end)

    it("that raise something odd", function()
      assert.matches("task failed: an error that is a table without __tostring %(", run(HEAD .. "kt.spawn(function() error {} end)").err)
      assert.matches("task failed: an error that is nil %(", run(HEAD .. "kt.spawn(function() error() end)").err)
      assert.matches("formatting its error failed as well",
        run(HEAD .. "kt.spawn(function() error(setmetatable({}, { __tostring = function() error 'x' end })) end)").err)
    end)

    it("that run out of stack", function()
      local r = run(HEAD .. "local function f() return 1 + f() end\nkt.spawn(f)\nkt.spawn(print, 'on')")
      assert.matches("task failed: .*stack overflow", r.err)
      assert.equal("on\n", r.out)
    end)

    it("that call coroutine.yield, with an error", function()
      assert.matches("coroutine.yield in a task: nothing resumes it", run(HEAD .. "kt.spawn(function() coroutine.yield() end)").err)
    end)

    it("but none may wait inside a coroutine of its own", function()
      assert.matches("kt.sleep: cannot wait in a coroutine created by the script",
        task "print(coroutine.resume(coroutine.create(function() kt.sleep(1) end)))")
    end)

    it("but none may wait inside a callback from C", function()
      assert.matches("kt.sleep: cannot wait here", task 'print(pcall(string.gsub, "x", "x", function() kt.sleep(1) end))')
    end)

    it("closing their <close> variables when they fail", function()
      local r = run(HEAD .. [[
kt.spawn(function()
  local x <close> = setmetatable({}, { __close = function() print "closed" end })
  kt.sleep "1ms"
  error "oh"
end)]])
      assert.equal("closed\n", r.out)
    end)

    it("which an error in a __gc does not disturb", function()
      local r = run(HEAD .. [[
kt.spawn(function()
  setmetatable({}, { __gc = function() error "in gc" end })
  collectgarbage()
  print "on"
end)]])
      assert.equal("on\n", r.out)
      assert.matches("warn  s: .*in gc", r.err)
    end)

    it("and explains an invalid duration", function()
      assert.matches('kt.sleep: expected a duration such as "5s", "800ms", "10m", .*, got "soon"', task "print(pcall(kt.sleep, 'soon'))")
      assert.matches("kt.sleep: expected .*, got %-1", task "print(pcall(kt.sleep, -1))")
    end)
  end)

  describe("gives handles", function()
    it("that know their fields and refuse others", function()
      h.run(function()
        local server = h.sockets.serve(function(conn) conn:recv_all(10) end)
        local p = start("run", write("s.lua", HEAD .. ([[
kt.spawn(function()
  local conn = kt.connect { to = "127.0.0.1:%d" }
  print(conn.peer, conn.local_addr:match "^127.0.0.1:%%d+$" ~= nil)
  print(pcall(function() return conn.pier end))
  print(pcall(function() conn.peer = 1 end))
  print(pcall(conn.close))
  print(getmetatable(conn))
  conn:close() conn:close()
  print(conn.peer, conn.local_addr, conn)
  print(pcall(kt.splice, conn, conn))
end)]]):format(server.at)))
        assert.equal(0, p:wait_exit(20))
        local at = "127.0.0.1:" .. server.at
        assert.equal(table.concat({
          at .. "\ttrue",
          "false\ts.lua:5: conn.pier: no such field; expected one of :read, :read_exactly, :read_until, :peek, :write, :shutdown, :close, "
            .. ":reset, :set, :stats, peer, local_addr, original",
          "false\ts.lua:6: conn.peer: a handle's fields cannot be set",
          "false\ts.lua:7: conn:close, stream:close: expected self of type conn or stream; call it with a colon",
          "false",
          at .. "\tnil\t<conn " .. at .. ", closed>",
          "false\ts.lua:11: kt.splice: argument 1: this conn was closed, or taken over by a splice",
        }, "\n") .. "\n", p.stdout)
      end)
    end)

    it("to errors that have a code and read as sentences", function()
      h.run(function()
        local port = h.sockets.refusing()
        local p = start("run", write("s.lua", HEAD .. ([[
kt.spawn(function()
  local conn, err = kt.connect { to = "127.0.0.1:%d", timeout = "5s" }
  print(conn, err.code, tostring(err), "so: " .. err)
  print(select(2, kt.connect { to = "no port" }).code)
end)]]):format(port)))
        assert.equal(0, p:wait_exit(20))
        assert.matches("^nil\trefused\t[^\n]*refused[^\n]*\tso: [^\n]*refused[^\n]*\nconfig\n$", p.stdout)
      end)
    end)

    it("whose timeouts are kept", function()
      local out = task [[
        local from = kt.now()
        local conn, err = kt.connect { to = "192.0.2.1:9", timeout = "50ms" } -- an unused address
        print(conn, err.code, kt.now() - from < 5)]]
      assert.matches("^nil\t%w+\ttrue\n$", out)
    end)

    it("that close what a task leaves open", function()
      h.run(function()
        local ended
        local server = h.sockets.serve(function(conn) conn:recv_all(10) ended = true end)
        local p = start("run", write("s.lua", HEAD .. ([[
kt.spawn(function() local conn = kt.connect { to = "127.0.0.1:%d" } end)
kt.spawn(function() kt.sleep "20s" end)]]):format(server.at)))
        h.loop.eventually("the end of the conn", 10, function() return ended end)
        assert.is_nil(p:logged():find " warn ")
        assert.equal(0, p:stop())
      end)
    end)

    it("that a spawned task takes along", function()
      h.run(function()
        local server = h.sockets.serve(function(conn) conn:recv_all(10) end)
        local p = start("run", write("s.lua", HEAD .. ([[
kt.spawn(function()
  local conn = kt.connect { to = "127.0.0.1:%d" }
  kt.spawn(function(c) kt.sleep "10ms" print(c) end, conn)
end)]]):format(server.at)))
        assert.equal(0, p:wait_exit(20))
        assert.equal(("<conn 127.0.0.1:%d>\n"):format(server.at), p.stdout)
      end)
    end)

    it("that log when they are forgotten", function()
      h.run(function()
        local server = h.sockets.serve(function(conn) conn:recv_all(10) end)
        local p = start("run", write("s.lua", HEAD .. ([[
kt.spawn(function()
  kt.connect { to = "127.0.0.1:%d" }
  collectgarbage()
end)]]):format(server.at)))
        assert.equal(0, p:wait_exit(20))
        assert.matches("warn  s: a conn was dropped without :close%(%), in the task spawned at s.lua:2; closed it", p.stderr)
      end)
    end)

    it("that reset with a reason, which is logged", function()
      h.run(function()
        local near = h.sockets.free_port("tcp")
        local p = start("run", write("s.lua", HEAD .. ([[
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn) conn:reset "not today" end)]]):format(near)))
        p:wait_tcp(near)
        local conn, err = h.sockets.connect(near) -- the reset may come first
        if conn then conn, err = conn:recv(10) end
        assert.same({ nil, "ECONNRESET" }, { conn, err })
        p:expect("info  s: conn of 127.0.0.1:%d+: reset: not today\n")
        assert.equal(0, p:stop())
      end)
    end)

    it("and resets the conn of a task that fails, and no other", function()
      h.run(function()
        local near = h.sockets.free_port("tcp")
        local p = start("run", write("s.lua", HEAD .. ([[
local n = 0
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  n = n + 1
  kt.sleep "20ms"
  if n == 2 then error "not this one" end
  kt.sleep "30s"
end)]]):format(near)))
        p:wait_tcp(near)
        local first = assert(h.sockets.connect(near))
        p:mark()
        local second = assert(h.sockets.connect(near))
        local chunk, err = second:recv(10)
        assert.same({ nil, "ECONNRESET" }, { chunk, err })
        p:expect("task failed: s.lua:6: not this one %(at s.lua:6; spawned at s.lua:3%)")
        first:send("still there?")
        first:close()
      end)
    end)
  end)

  describe("carries a tunnel", function()
    local function pair(target, client_extra, server_extra)
      local port, near = h.sockets.free_port("udp"), h.sockets.free_port("tcp")
      write("psk.key", "correct horse\n")
      os.execute("chmod 600 " .. s.dir .. "/psk.key")
      local function example(name, changes)
        local text = h.read_file("scripts/examples/" .. name)
        for _, change in ipairs(changes) do
          local from, to = table.unpack(change)
          local at, last = text:find(from, 1, true)
          assert(at, from)
          text = text:sub(1, at - 1) .. to .. text:sub(last + 1)
        end
        return write(name, text)
      end
      local server = start("run", example("server.lua", {
        { ":29900", "127.0.0.1:" .. port }, { "127.0.0.1:8388", "127.0.0.1:" .. target }, table.unpack(server_extra or {}) }))
      server:wait_udp(port)
      local client = start("run", example("client.lua", {
        { "vps.example:29900", "127.0.0.1:" .. port }, { "127.0.0.1:12948", "127.0.0.1:" .. near },
        table.unpack(client_extra or {}) }))
      client:wait_tcp(near)
      client.at = near
      return client, server
    end

    it("with the examples, byte for byte, both ways, and ends with 0", function()
      h.run(function()
        local target = h.transfer.partner(2000000, 3000000)
        local client, server = pair(target.at)
        h.transfer.exchange(client.at, 5, 2000000, 3000000)
        assert.equal(0, client:stop())
        assert.equal(0, server:stop())
      end)
    end)

    it("whose splices report what they moved", function()
      h.run(function()
        local target = echo()
        local client = pair(target.at, { { 'kt.splice(conn, stream, { idle = "10m" })', [[
local peer = conn.peer
local sum = kt.splice(conn, stream)
kt.log.info("%s %s %d %d %s %s", conn.peer == peer, stream.peer, sum.a_to_b, sum.b_to_a, sum.reason, sum.duration >= 0)]] } })
        local conn = assert(h.sockets.connect(client.at))
        conn:send("twelve bytes")
        conn:shutdown()
        assert.equal("twelve bytes", conn:recv_all(10))
        client:expect("info  client: true 127.0.0.1:%d+ 12 12 end true\n", 10)
      end)
    end)

    it("whose conns are reset when the target refuses", function()
      h.run(function()
        local port = h.sockets.refusing()
        local client, server = pair(port)
        assert.is_true(h.sockets.is_reset(client.at, 10))
        server:expect("stream of 127.0.0.1:%d+: reset: .*refused", 10)
      end)
    end)

    it("whose idle splices end", function()
      h.run(function()
        local target = echo()
        local client = pair(target.at, { { 'kt.splice(conn, stream, { idle = "10m" })',
          'kt.log.info("ended: %s", kt.splice(conn, stream, { idle = "200ms" }).reason)' } })
        local conn = assert(h.sockets.connect(client.at))
        conn:send("x")
        assert.equal("x", conn:recv(10))
        client:expect("ended: idle\n", 10)
      end)
    end)

    it("that answers an open with an error once the link is closed", function()
      h.run(function()
        local client = pair(1, { { "  local stream, err = far:open", "  far:close()\n  local stream, err = far:open" } })
        local conn = h.sockets.connect(client.at) -- or is reset before it is known to be there
        client:expect("reset: the link was closed\n", 10)
        if conn then conn:close() end
      end)
    end)

    it("that finishes open connections when asked to end", function()
      h.run(function()
        local target = echo()
        local client, server = pair(target.at)
        local conn = assert(h.sockets.connect(client.at))
        conn:send("before")
        assert.equal("before", conn:recv_exactly(6, 10))
        client:signal_with("sigterm")
        client:expect("SIGTERM: ending; 2 conns and streams have 5 s to finish")
        h.loop.eventually("the listener to close", 5, function()
          local late = h.sockets.connect(client.at)
          if late then late:close() end
          return not late
        end)
        conn:send("after")
        assert.equal("after", conn:recv_exactly(5, 10))
        conn:shutdown()
        assert.equal("", conn:recv_all(10))
        assert.equal(0, client:wait_exit(4))
        assert.equal(0, server:stop())
      end)
    end)

    it("that ends at once when asked a second time", function()
      h.run(function()
        local target = echo()
        local client = pair(target.at)
        local conn = assert(h.sockets.connect(client.at))
        conn:send("x")
        assert.equal("x", conn:recv(10))
        client:signal_with("sigint")
        client:expect("SIGINT: ending")
        client:signal_with("sigint")
        assert.equal(130, client:wait_exit(3))
      end)
    end)
  end)
end)
