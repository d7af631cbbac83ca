-- The guard: scripts that loop outside a connection, that probe the sandbox, and that misuse tasks and secrets. Scripts whose
-- connections loop, hoard memory or wait where they may not: bad_scripts_spec.
local h = require "harness"
local scripts = require "harness.scripts"

local HEAD = scripts.HEAD
local STOPPED = "stopped after 0%.5 s without yielding; call kt%.sleep%(0%) in long loops"

describe("a script", function()
  local s = scripts.each(before_each, after_each)

  local function run(...) return s.ran(...) end
  local function task(...) return s.ran_task(...) end

  it("whose __gc loops forever loses its finalizers, and the running task continues", function()
    local r = run(HEAD .. [[
kt.spawn(function()
  setmetatable({}, { __gc = function() while true do end end })
  collectgarbage()
  setmetatable({}, { __gc = function() print "never" end })
  collectgarbage()
  print "on"
end)]])
    assert.same({ 0, "on\n" }, { r.code, r.out })
    assert.matches("error s: __gc: s.lua:3: " .. STOPPED .. "; disabled all __gc of this script\n$", r.err)
  end)

  it("whose __gc loops forever at exit still exits", function()
    local r = run(HEAD .. "X = setmetatable({}, { __gc = function() while true do end end })\nkt.spawn(function() end)")
    assert.equal(0, r.code)
    assert.matches("__gc: s.lua:2: stopped", r.err)
  end)

  it("whose __close loops forever at exit still exits", function()
    h.run(function()
      local p = s.start [[
for _ = 1, 3 do
  kt.spawn(function()
    local x <close> = setmetatable({}, { __close = function() while true do end end })
    print "up"
    kt.sleep "1h"
  end)
end]]
      p:expect("up\nup\nup\n")
      p:signal_with("sigterm")
      p:signal_with("sigterm")
      assert.equal(0, p:wait_exit(10))
    end)
  end)

  it("whose main chunk loops forever is stopped before anything is opened", function()
    local r = run("while true do end")
    assert.equal(1, r.code)
    assert.equal("kt: s.lua:1: stopped after 5 s in the main chunk; move long work into a task\n", r.err)
  end)

  it("that takes long, but not too long, gets a warning with its line, and continues", function()
    -- Processor time counts, which a script without --unsafe cannot read: the fastest of many short loops shows how long one needs.
    local r = run(HEAD .. [[
local function loop(n) for _ = 1, n do end end
kt.spawn(function()
  local fastest = math.huge
  for _ = 1, 50 do
    local from = kt.wall()
    loop(100000)
    fastest = math.min(fastest, kt.wall() - from)
    kt.sleep(0)
  end
  loop(100000 * 0.15 // fastest)
  print "done"
end)]])
    assert.equal("done\n", r.out)
    assert.matches("warn  s: s.lua:2: a slice took %d+ ms, spawned at s.lua:3; call kt.sleep%(0%) in long loops\n$", r.err)
  end)

  it("that works long in short slices is left alone", function()
    assert.equal("done\n", task [[
      local from = kt.now()
      while kt.now() - from < 0.8 do
        for _ = 1, 1000 do end
        kt.sleep(0)
      end
      print "done"]])
  end)

  it("can be stopped again in a coroutine that was stopped before", function()
    local r = run(HEAD .. [[
local co = coroutine.create(function()
  local x <close> = setmetatable({}, { __close = function() while true do end end })
  while true do end
end)
kt.spawn(function() coroutine.resume(co) end)
kt.spawn(function() print(coroutine.resume(co)) print(coroutine.close(co)) end)]])
    assert.matches("task failed: s.lua:4: stopped", r.err)
    assert.equal("false\tcannot resume dead coroutine\nfalse\tthe coroutine was stopped\n", r.out)
  end)

  it("that has no memory left may continue when it catches the error", function()
    assert.equal("false\tnot enough memory\non\n", task('print(pcall(string.rep, "x", 1 << 30)) print "on"', "--memory", "16MiB"))
  end)

  it("explains the values of --memory", function()
    local r = run("", "--memory", "lots")
    assert.equal(1, r.code)
    assert.matches("^kt run: %-%-memory: expected a size such as 64MiB, or none, got lots\n", r.err)
    local text = "print(#('x'):rep(300 << 20) >> 20)\n" .. HEAD .. "kt.spawn(function() end)"
    assert.matches("^kt: not enough memory", run(text, "--memory", "0.25GiB").err)
    assert.equal("300\n", run(text, "--memory", "none").out)
  end)

  describe("with tasks", function()
    it("cannot resume, wrap or close one, even with its coroutine", function()
      assert.equal(table.concat({
        "false\ts.lua:5: coroutine.resume: this is a task; kt resumes it when its wait is over",
        "false\ts.lua:6: coroutine.close: this is a task; it ends when its function returns",
        "false\tbad argument #1 to 'coroutine.wrap' (function expected, got thread)",
        "false\ts.lua:8: coroutine.resume: this is a task; kt resumes it when its wait is over",
        "slept", "false\tcannot resume dead coroutine", "true", "" }, "\n"), task [[
        local other
        kt.spawn(function() other = coroutine.running() print(kt.sleep "20ms" or "slept") end)
        kt.sleep(0) print(pcall(coroutine.resume, other, "what it did not wait for"))
        print(pcall(coroutine.close, other))
        print(pcall(coroutine.wrap, other))
        coroutine.wrap(function() print(pcall(coroutine.resume, other)) end)()
        for _ = 1, 300 do kt.spawn(kt.sleep, "30ms") end
        kt.sleep "50ms"
        other = nil
        local co = coroutine.create(function() end)
        coroutine.resume(co)
        print(coroutine.resume(co))
        print(coroutine.close(co))]])
    end)

    it("cannot resume or close the main chunk", function()
      local r = run(HEAD .. [[
local main = coroutine.running()
kt.spawn(function() print(pcall(coroutine.resume, main)) print(pcall(coroutine.close, main)) end)]])
      assert.equal("", r.err)
      assert.matches("^false\ts.lua:3: coroutine.resume: this is a task; [^\n]*\nfalse\ts.lua:3: coroutine.close: this is a task; [^\n]*\n$", r.out)
    end)

    it("cannot touch the threads of ended ones", function()
      assert.equal("ok\n", task [[
        local threads = {}
        for i = 1, 400 do kt.spawn(function() threads[i] = coroutine.running() end) end
        kt.sleep "20ms"
        for i = 1, 400 do
          pcall(coroutine.resume, threads[i])
          pcall(coroutine.close, threads[i])
          coroutine.status(threads[i])
        end
        collectgarbage()
        for i = 1, 400 do kt.spawn(function() kt.sleep(0) end) end
        kt.sleep "20ms"
        print "ok"]])
    end)
  end)

  describe("that keeps closed handles", function()
    it("gets an error for each use, and nothing else happens", function()
      h.run(function()
        local server = h.sockets.serve(function(conn) conn:recv_all(10) end)
        local p = s.start([[
local kept, link, udp = {}, kt.link { remote = "127.0.0.1:9", key = kt.secret "k" }
kt.spawn(function()
  kt.spawn(function() kept.conn = kt.connect { to = "127.0.0.1:%d" } end)
  kt.sleep "50ms"
  local conn = kept.conn
  print(conn.local_addr)
  conn:close() conn:reset() conn:reset "again"
  print(pcall(kt.splice, conn, conn))
  kt.spawn(function(c) print(pcall(kt.splice, c, c)) end, conn)
  link:close() link:close()
  print(link:open {})
  print(link:stats().sessions)
end)]], server.at)
        assert.equal(0, p:wait_exit(20))
        assert.equal(table.concat({ "nil",
          "false\ts.lua:9: kt.splice: argument 1: this conn was closed, or taken over by a splice",
          "nil\tthe link was closed", "0",
          "false\ts.lua:10: kt.splice: argument 1: this conn was closed, or taken over by a splice", "" }, "\n"), p.stdout)
      end)
    end)
  end)

  describe("finds", function()
    it("these globals and no others", function()
      local out = task "local names = {} for name in next, _G do names[#names + 1] = name end table.sort(names) print(table.concat(names, ' '))"
      assert.equal("_G _VERSION assert collectgarbage coroutine error getmetatable ipairs load math next pairs pcall print rawequal "
        .. "rawget rawlen rawset require select setmetatable string table tonumber tostring type utf8 warn xpcall\n", out)
    end)

    it("os and io as well with --unsafe, but nothing that loads C or inspects frames", function()
      assert.equal("table table nil nil nil nil\n", task([[print(type(os) .. " " .. type(io), rawget(_G, "debug"), rawget(_G, "package"),
        rawget(_G, "dofile"), rawget(_G, "loadfile"))]], "--unsafe"):gsub("\t", " "), nil)
    end)

    it("no way to an undefined global, also through load and a module", function()
      s.write("m.lua", "return pcall(function() return nothing end) and 1 or select(2, pcall(function() return nothing end))")
      local out = task [[
        print(pcall(load "return nothing"))
        print((require "m"))
        print(pcall(setmetatable, _G, {}))
        print(getmetatable(_G))]]
      assert.matches("^false\t%[string \"return nothing\"%]:1: global 'nothing' is not defined\nm.lua:1: global 'nothing' is not defined\n"
        .. "false\tcannot change a protected metatable\nfalse\n$", out)
    end)

    it("no way round the absence of os and io", function()
      local out = task [[
        local function name(f) return (select(2, pcall(f))) end
        print(name(function() return os.time() end))
        print(name(function() return io end))
        print(name(load "return os"))
        print(pcall(require, "os"), pcall(require, "io"), pcall(require, "debug"), pcall(require, "luv"))
        print(load(string.dump(function() return 1 end), "x", "b"))
        print(load(function() return nil end, "x", "bt") ~= nil)
        print(getmetatable(""), getmetatable(kt.secret "s"), rawget(_G, "newproxy"))]]
      assert.matches("^s.lua:4: global 'os' is not available: os and io need kt run %-%-unsafe\n"
        .. "s.lua:5: global 'io' is not available[^\n]*\n[^\n]*global 'os' is not available[^\n]*\n"
        .. 'false\tfalse\tfalse\tfalse\t', (out:gsub("false\trequire[^\t]*\t", "false\t")))
      assert.matches("nil\tattempt to load a binary chunk %(mode is 't'%)\ntrue\nfalse\tfalse\tnil\n$", out)
    end)

    it("its finalizers run between slices, or when it collects, but never within a slice", function()
      assert.equal("made\tfalse\tslept\ttrue\ncollected\ttrue\n", task [[
        local gone = false
        setmetatable({}, { __gc = function() gone = true end })
        local list = {}
        for i = 1, 200000 do list[i % 10] = { i } end
        local made = gone
        for _ = 1, 1000 do kt.sleep(0) for i = 1, 1000 do list[i % 10] = { i } end if gone then break end end
        print("made", made, "slept", gone)
        gone = false
        setmetatable({}, { __gc = function() gone = true end })
        collectgarbage()
        print("collected", gone)]])
    end)

    it("a collector that it can run but not switch off", function()
      local out = task [[
        print(pcall(collectgarbage, "stop"))
        print(pcall(collectgarbage, "step", -1000000))
        print(pcall(collectgarbage, "step", 1 << 31))
        print((pcall(collectgarbage, "step", 1)))
        print(math.type(collectgarbage()), math.type(collectgarbage "count"), collectgarbage "isrunning")]]
      assert.equal('false\tcollectgarbage "stop": not allowed; expected one of "collect", "step", "count", "isrunning"\n'
        .. 'false\tcollectgarbage "step": expected a size of 0 to 1048576 KiB, got -1000000\n'
        .. 'false\tcollectgarbage "step": expected a size of 0 to 1048576 KiB, got 2147483648\ntrue\n'
        .. "integer\tfloat\ttrue\n", (out:gsub("s.lua:%d+: ", "")))
    end)

    it("strings whose methods it can add to, but not change under kt", function()
      assert.equal("x!\tX\tfalse\tudp: expected a table, got no value\n", (task [[
        function string.shout(s) return s .. "!" end
        function string.format() error "mine" end
        function string.gsub() error "mine" end
        string.find = nil
        print(("x"):shout(), ("x"):upper(), pcall(kt.udp))]]:gsub("s.lua:%d+: ", "")))
    end)

    it("library calls that would run for years refused or cut short", function()
      assert.equal("\tfalse\ttable.move: at most 16777216 elements at once\n", (task [[
        print(("").rep("", 1 << 60), pcall(table.move, {}, 1, math.maxinteger - 1, 2))]]:gsub("s.lua:%d+: ", "")))
    end)

    it("string.rep as Lua has it, and long results of it at once", function()
      assert.equal("0\ttrue\ttrue\tfalse\tresulting string too large\nfalse\tresulting string too large\n", task [[
        local wrong = 0
        for _, s in ipairs { "", "x", "abc", ("q"):rep(1000), ("z"):rep(70000) } do
          for _, n in ipairs { -1, 0, 1, 2, 3, 66, 127, 128, 129, 130, 257, 1000, 21846, 32769, 65535, 65536, 65537, 65538, 100003 } do
            for _, sep in ipairs { "", ",", "--" } do
              local copies = {}
              for i = 1, #s * n < 1 << 22 and n or 0 do copies[i] = s end
              if #copies == math.max(n, 0) and s:rep(n, sep) ~= table.concat(copies, sep) then wrong = wrong + 1 end
              kt.sleep(0)
            end
          end
        end
        print(wrong, ("x"):rep(4 << 20) == ("xx"):rep(2 << 20), string.rep(12, 2) == "1212", pcall(string.rep, "xx", math.maxinteger))
        print(pcall(string.rep, "x", math.maxinteger // 2, "yy"))]])
    end)

    it("xpcall, coroutines and setmetatable as Lua has them", function()
      assert.equal(table.concat({ "true\t1\t2", "false\th:s.lua:4: e", "true\tnil", "1\t2\t3", "true\tnil", "false", "true", "gone\t7" }, "\n") .. "\n", task [[
        print(xpcall(function(a, b) kt.sleep "1ms" return a, b end, print, 1, 2))
        print(xpcall(function() kt.sleep "1ms" error "e" end, function(m) return "h:" .. m end))
        print(xpcall(function(...) return (...) end, print))
        local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
        print(gen(), gen(), gen())
        local co = coroutine.create(function(a) local b = coroutine.yield(a) return b end)
        print(coroutine.resume(co, 9), (select(2, coroutine.resume(co))))
        print((coroutine.resume(co)))
        print(coroutine.close(co))
        local mt = { __gc = true }
        setmetatable({ n = 7 }, mt)
        mt.__gc = function(o) print("gone", o.n) end
        collectgarbage()]])
    end)
  end)

  describe("that holds a secret never shows it", function()
    it("in any use of it", function()
      local r = run(HEAD .. [[
local s = kt.secret "hunter2"
kt.spawn(function()
  print(s, tostring(s), ("%s %p"):format(s, s))
  kt.log.info("%s", s) kt.log.warn(s) kt.log.error("%s", { s })
  print(pcall(string.format, "%q", s), pcall(string.format, "%d", s))
  print(pcall(function() return s .. "" end), pcall(function() return #s end), pcall(function() return s < "x" end))
  print(pcall(function() return s.bytes end), pcall(function() s.x = 1 end), pcall(pairs, s), pcall(next, s), pcall(s))
  print(pcall(table.concat, { s }), pcall(tonumber, s), pcall(string.rep, s), pcall(string.byte, s), pcall(load, s))
  print(pcall(kt.connect, s), pcall(kt.connect, { to = s }), pcall(kt.sleep, s), pcall(kt.spawn, s), pcall(kt.secret, s))
  print(pcall(kt.splice, s, s), pcall(require, s), pcall(kt.secret_file, s), getmetatable(s), s == "hunter2")
  error(s)
end)
kt.spawn(function() local k = s error { key = k } end)
kt.spawn(function() local k = s error("with " .. tostring(k)) end)
kt.spawn(function() local k = s; (nil)() end)
print(pcall(kt.link, { remote = s, key = s, crypt = s, mode = s, kcp = s, [s] = s }), pcall(kt.listen, { on = s }), pcall(kt.accept, s))]])
      assert.equal(1, r.code)
      assert.is_nil((r.out .. r.err):find("hunter2", 1, true))
      assert.matches("^false[^\n]*\n?.-<secret>\t<secret>\t<secret> 0x", r.out)
      assert.matches("info  s: <secret>\n", r.err)
      assert.matches("task failed: <secret> %(at s.lua:12; spawned at s.lua:3%)", r.err)
    end)
  end)

  it("whose tasks fail is among the counters", function()
    h.run(function()
      local client = h.peer.tunnel(h.sockets.refusing())
      assert.equal(0, client:counters().TaskErrors)
    end)
  end)
end)
