-- kt check: reports all mistakes of a script at once, each at its place, without opening anything.
local h = require "harness"
local scripts = require "harness.scripts"

local HEAD = scripts.HEAD

describe("kt check", function()
  local s = scripts.each(before_each, after_each)

  local function write(...) return s.write(...) end

  local function check(text, ...)
    return s.exited("check", write("s.lua", text), ...)
  end

  --- Leaves out the columns: "s.lua:4:12: text" → "s.lua:4: text".
  local function by_line(text) return (text:gsub("(%.lua:%d+):%d+:", "%1:")) end

  --- Returns the mistakes in a script with that text, as lines without columns, and without hints and the last line, which counts them.
  local function mistakes(text)
    local r = check(text)
    assert.equal("", r.err)
    assert.equal(r.out:find "s.lua: no mistakes[^\n]*\n$" and 0 or 1, r.code)
    return (by_line(r.out):gsub("[^\n]*: hint: [^\n]*\n", ""):gsub("s.lua: [%dno]+ mistakes?[%dhints, ]*\n$", ""))
  end

  describe("on a script with twenty mistakes", function()
    local fixture = "spec/fixtures/twenty_mistakes.lua"

    local function planted()
      local list, n = {}, 0
      for line in io.lines(fixture) do
        n = n + 1
        local path, text = line:match "%-%- MISTAKE ?(%S-): (.+)$"
        if path then list[#list + 1] = { line = n, path = path, text = text } end
      end
      assert.equal(20, #list)
      return list
    end

    it("finds all twenty and no other, each at its line", function()
      local r = scripts.exited(nil, "check", fixture)
      assert.equal(1, r.code)
      local lines = {}
      for line in by_line(r.out):gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.equal(fixture .. ": 20 mistakes", table.remove(lines))
      for i, m in ipairs(planted()) do
        local wanted = ("%s:%d: %s%s"):format(fixture, m.line, m.path ~= "" and m.path .. ": " or "", m.text)
        assert.equal(wanted, lines[i]:sub(1, #wanted))
      end
    end)

    it("lists them for an editor", function()
      local r = scripts.exited(nil, "check", "--json", fixture)
      assert.equal(1, r.code)
      local objects = {}
      for object in r.out:gmatch "\n  (%b{})" do objects[#objects + 1] = object end
      assert.equal(20, #objects)
      for i, m in ipairs(planted()) do
        local head = ('{"file": "%s", "line": %d, "severity": "mistake", "path": %s, "message": "'):format(fixture, m.line,
          m.path ~= "" and '"' .. m.path .. '"' or "null")
        assert.equal(head, objects[i]:gsub('"column": %d+, ', ""):sub(1, #head))
      end
      assert.truthy(r.out:find('"line": 13, "column": 5, "severity": "mistake", "path": "link.kcp.sndwind", "message": "unknown key", '
        .. '"suggestion": "did you mean sndwnd?"}', 1, true))
    end)
  end)

  describe("on a script without mistakes", function()
    it("says so and exits with 0", function()
      assert.same({ code = 0, err = "", out = "s.lua: no mistakes\n" }, check(HEAD .. "kt.spawn(function() end)"))
    end)

    it("has nothing to list for an editor", function()
      write("s.lua", HEAD .. "kt.spawn(function() end)")
      assert.same({ code = 0, err = "", out = "[]\n" }, s.exited("check", "--json", "s.lua"))
    end)

    it("exits with 0 also if it has a hint", function()
      local text = HEAD .. 'local far = kt.link { remote = "a:1", key = "k" }\nkt.spawn(function() far:open():close() end)'
      local hint = "s.lua:3:21: hint: link:open: the result is nil if it fails, and is used unchecked; keep it in a local and check that, or write assert(…)\n"
      assert.same({ code = 0, err = "", out = hint .. "s.lua: no mistakes, 1 hint\n" }, check(text))
      assert.truthy(s.exited("check", "--json", "s.lua").out:find('"column": 21, "severity": "hint", "path": "link:open"', 1, true))
    end)

    it("opens nothing and runs no task", function()
      h.run(function()
        local taken = h.sockets.serve(function() end)
        write("s.lua", HEAD .. ('kt.listen { on = "127.0.0.1:%d" }:serve(print)\nkt.spawn(function() print "ran" end)'):format(taken.at))
        local p = s.kt("check", "s.lua")
        assert.equal(0, p:wait_exit(20))
        assert.equal("s.lua: no mistakes\n", p.stdout)
      end)
    end)

    it("hands the arguments to it", function()
      assert.equal("a\tb c\ns.lua: no mistakes\n", check("print(...)\n" .. HEAD .. "kt.spawn(function() end)", "a", "b c").out)
    end)

    it("keeps what the script prints out of the JSON", function()
      write("s.lua", HEAD .. 'print("hello", 1)\nkt.spawn(function() end)')
      assert.same({ code = 0, err = "hello\t1\n", out = "[]\n" }, s.exited("check", "--json", "s.lua"))
    end)
  end)

  describe("finds", function()
    it("a syntax error, with its line", function()
      assert.matches("^s.lua:2: .*expected near '='\n$", mistakes("local x = 1\nlocal = 2\n"))
    end)

    it("a missing script", function()
      local r = s.exited("check", "nowhere.lua")
      assert.same({ code = 1, err = "", out = "nowhere.lua: no such file\nnowhere.lua: 1 mistake\n" }, r)
    end)

    it("an error in the main chunk, with its line, and what came before it", function()
      assert.equal('s.lua:2: listen.on: missing; expected on = "127.0.0.1:12948", or udp = "127.0.0.1:53"\n'
        .. "s.lua:4: attempt to perform arithmetic on a nil value (local 'x')\n",
        mistakes(HEAD .. "kt.listen {}\nlocal x\nprint(x + 1)\nkt.listen { on = ':1' }"))
    end)

    it("a main chunk that does not end, even inside pcall, and what is wrong before it and after", function()
      assert.equal("s.lua:2: kt.lisen: no such function; did you mean kt.listen?\n"
        .. "s.lua:3: stopped after 5 s in the main chunk; move long work into a task\n"
        .. "s.lua:5: global 'nothing' is not defined\n",
        mistakes(HEAD .. "kt.lisen {}\nlocal function f() while true do end end\nwhile true do pcall(f) end\nprint(nothing)\n"))
    end)

    it("a main chunk that allocates without end", function()
      assert.matches("^s.lua: not enough memory: the script holds %d+%.%d of 16%.0 MiB; kt run %-%-memory sets the limit\ns.lua: 1 mistake\n$",
        s.exited("check", "--memory", "16MiB", write("s.lua", "local t = {} while true do t[#t + 1] = {} end")).out)
    end)

    it("an undefined name in a long loop, once", function()
      assert.equal("s.lua:1: global 'nothing' is not defined\n", (mistakes("for i = 1, 100000 do nothing[i] = nothing end"):gsub(
        "s.lua: the script declares.*", "")))
    end)

    it("an error that is not a string", function()
      assert.equal("s.lua:2: an error that is nil\n", mistakes("local kt = require 'kt'\nerror()\n"))
    end)

    it("an error in a module beside the script, and mistakes in its functions", function()
      os.execute("mkdir " .. s.dir .. "/lib")
      write("lib/bad.lua", "local kt = require 'kt'\nlocal M = {}\nfunction M.go() kt.slep(1) end\nerror 'oh'\n")
      assert.equal("s.lua: the script has nothing to do", mistakes("require 'kt'"):sub(1, 35))
      assert.equal("lib/bad.lua:3: kt.slep: no such function; did you mean kt.sleep?\nlib/bad.lua:4: oh\n",
        (by_line(check('require "lib.bad"').out):gsub("s.lua: .*$", "")))
    end)

    it("a script that declares nothing", function()
      assert.equal("s.lua: the script has nothing to do; call kt.listen, kt.accept or kt.spawn at its top level\n",
        mistakes(HEAD))
    end)

    it("a listener that is served twice, or by no function", function()
      local out = mistakes(HEAD .. 'local l = kt.listen { on = ":1" }\nl:serve(print)\nl:serve(print)\nl:serve(5)\n')
      assert.equal("s.lua:4: listener:serve: kt.listen on :1 already has a handler, set at s.lua:3\n"
        .. "s.lua:5: listener:serve: expected a function, got number\n", out)
    end)

    it("two listeners on one address, naming the first", function()
      local taken = "127.0.0.1:%d: the %s at s.lua:%d already uses this address; change one of the two\n"
      local out = mistakes(HEAD .. [[
kt.listen { on = "127.0.0.1:1" }:serve(print)
kt.listen { on = "127.0.0.1:2" }:serve(print)
kt.listen { on = "127.0.0.1:1" }:serve(print)
kt.accept { on = "127.0.0.1:1", key = "k" }:serve(print)
local socket = kt.udp { on = "127.0.0.1:1" }
for _ = 1, 2 do kt.listen { on = "127.0.0.1:0" }:serve(print) end
kt.listen { on = "127.0.0.1:3" }:close()
kt.listen { on = "127.0.0.1:3" }:serve(print)]])
      assert.equal("s.lua:4: kt.listen: " .. taken:format(1, "kt.listen", 2) .. "s.lua:6: kt.udp: " .. taken:format(1, "kt.accept", 5), out)
    end)

    it("a line for the log that cannot be written, also one below the level", function()
      assert.equal("s.lua:2: kt.log.debug: argument 2: number expected, got string\n",
        mistakes(HEAD .. 'kt.log.debug("%d", "x") kt.log.debug("50%") kt.spawn(print)'))
    end)

    it("in a main chunk, arguments, dots, and what is set, each once", function()
      assert.equal("s.lua:2: link:on: expected self of type link; call it with a colon\ns.lua:3: kt.secret: expected a string, got number\n"
        .. "s.lua:4: kt.listen: kt is read-only; use a local instead\n"
        .. "s.lua:5: kt.log.info: kt.log is read-only; use a local instead\n", mistakes(HEAD .. [[
local far = kt.link { remote = "a:1", key = "k" } far.on("up", print)
kt.secret(5)
kt.listen = nil
kt.log.info = print
kt.listen { on = ":1" }:serve(print)]]))
    end)

    it("mistakes below a mistake: in what a wrong constructor would have returned", function()
      local out = mistakes(HEAD .. 'local a = kt.accept {}\na:srve(print)\na:serve(print)\nkt.link { remote = 5 }:open()\n')
      assert.equal('s.lua:2: accept.on: missing; expected ":29900", "ip:port", or a range of ports ":3000-3010"\n'
        .. 's.lua:2: accept.key: missing; expected a string, or kt.secret_file "psk.key"\n'
        .. "s.lua:3: acceptor.srve: no such field; did you mean acceptor.serve?\n"
        .. 's.lua:5: link.remote: expected "host:port", or "host:min-max" for a random port at each dial, got 5\n'
        .. 's.lua:5: link.key: missing; expected a string, or kt.secret_file "psk.key"\n'
        .. "s.lua:5: link:open: not allowed in the main chunk; call it in a function passed to :serve or kt.spawn\n", out)
    end)

    it("a mistake without its consequences", function()
      local out = mistakes(HEAD .. [[
local at = adress.of "near"
kt.listen { on = at .. ":" .. at.port }:serve(print)
kt.listen { on = at }:serve(print)
for i = 1, #at do print(i) end
for _, v in ipairs(at) do print(v) end
for k in pairs(at) do print(k) end
for k in at.all() do print(k) end
if at > at then print(at + 1, -at) end]])
      assert.equal("s.lua:2: global 'adress' is not defined\n", out)
    end)

    it("the key that has a mistake, wherever it is written", function()
      local out = mistakes(HEAD .. 'local key = "k"\nkt.link(\n  {\n    remote = "a:1", key = key,\n    ["mode"] = "fst",\n    kcp =\n'
        .. "    { mtu = 5 } })\nkt.spawn(function() end)")
      assert.equal('s.lua:6: link.mode: unknown value "fst"; did you mean "fast"?\n'
        .. "s.lua:8: link.kcp.mtu: expected 128 to 1500, got 5\n", out)
    end)

    it("the call, when the table is made elsewhere", function()
      assert.equal("s.lua:3: listen.no: unknown key; did you mean on?\n",
        mistakes(HEAD .. 'local config = { on = ":1", no = 2 }\nlocal l = kt.listen(config)\nl:serve(print)\n'))
    end)
  end)

  describe("in tasks, which it does not run,", function()
    local function task(body)
      return mistakes(HEAD .. 'local far = kt.link { remote = "a:1", key = "k" }\nkt.spawn(function(...)\n' .. body .. "\nend)\n")
    end

    it("finds invalid units", function()
      assert.equal('s.lua:4: kt.sleep: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "soon"\n',
        task 'kt.sleep "soon"')
      assert.matches("^s.lua:4: kt.sleep: expected .*, got %-1\n$", task "kt.sleep(-1)")
    end)

    it("finds literal keys and values, and trusts computed ones", function()
      assert.equal("s.lua:4: kt.connect.tmeout: unknown key; did you mean timeout?\n",
        task 'local to = ... kt.connect { to = to.host .. ":1", tmeout = "5s" }')
      assert.equal("", task 'kt.connect { to = (function() local a, b = "x", "1"; return a .. b end)(), timeout = 2 * 3 }')
      assert.equal("", task "kt.connect(...)")
      assert.equal('s.lua:4: kt.resolve.type: unknown value "srv"; did you mean "SRV"?\n', task 'kt.resolve { name = "a", type = "srv" }')
      assert.equal('s.lua:4: kt.resolve.servers[2]: "a.b"; expected a name server\'s IP address, such as "9.9.9.9", "127.0.0.1:5353" or "[::1]:53"\n',
        task 'kt.resolve { name = "a", servers = { "9.9.9.9", "a.b" } }')
      assert.equal("", task 'local x = ... kt.resolve { name = x.name, servers = { x.dns, "[::1]:53" } }')
    end)

    it("finds options behind parameters, and in the place of those that were left out", function()
      assert.equal("s.lua:4: conn:read.timout: unknown key; did you mean timeout?\ns.lua:5: conn:read.timout: unknown key; did you mean timeout?\n"
        .. "s.lua:6: socket:send.tmeout: unknown key; did you mean timeout?\n", task [[
local conn = kt.connect { to = "a:1" } conn:read { timout = 1 } conn:read(5) conn:read { timeout = 1 }
conn:read(5, { timout = 1 })
local socket = kt.udp { to = "a:1" } socket:send("data", { tmeout = 1 }) socket:send("data", "b:1", { timeout = 1 })]])
    end)

    it("finds wrong and missing arguments", function()
      assert.equal('s.lua:4: conn:write: argument 1: expected a string, got 5\n'
        .. 's.lua:5: conn:read: argument 1: expected an integer (1 to 1048576), got "x"\n'
        .. "s.lua:5: conn:read: argument 1: expected an integer (1 to 1048576), got -1\n"
        .. "s.lua:6: conn:read_until: argument 2: expected an integer (1 to 1048576), got no value\n"
        .. "s.lua:7: kt.splice: argument 2: expected a conn, a stream or a flow, got no value\n"
        .. "s.lua:8: kt.splice: argument 2: expected a conn, a stream or a flow, got a link\n"
        .. 's.lua:9: kt.spawn: argument 1: expected a function, got "x"\n'
        .. "s.lua:10: kt.secret: argument 1: expected a string, got true\n"
        .. 's.lua:11: link:on: unknown event "upp"; expected one of "up", "down", "degraded", "stats", "flow"\n'
        .. "s.lua:12: link:serve: argument 1: expected a function, got a table\n"
        .. "s.lua:13: kt.connect: expected a table, got no value\n", task [[
local conn = kt.connect { to = "a:1" } conn:write(5)
conn:read("x") conn:read(-1)
conn:read_until("\n")
kt.splice(conn)
kt.splice(conn, far)
kt.spawn("x")
kt.secret(true)
far:on("upp", print)
kt.link { remote = "a:1", key = "k" }:serve {}
kt.connect()]])
    end)

    it("finds wrong functions, names and arguments of kt.crypto, and methods of its secrets", function()
      assert.equal("s.lua:5: kt.crypto.sing: no such function; did you mean kt.crypto.sign?\n"
        .. 's.lua:6: kt.crypto.hash: unknown name "md5"; expected one of "blake2b", "sha256", "sha512", "sha1"\n'
        .. "s.lua:7: kt.crypto.aead_seal: argument 2: expected a string, got 5\n"
        .. "s.lua:8: secret.exprot: no such field; did you mean secret.export?\n", task [[
local private, public = kt.crypto.sign_keys()
kt.crypto.sing(private, public)
kt.crypto.hash("md5", "x")
kt.crypto.aead_seal(private, 5)
private:exprot()]])
    end)

    it("trusts arguments that are computed, or any number of values", function()
      assert.equal("", task [[
local args, conn = { ... }, kt.connect { to = "a:1" }
conn:write(tostring(5)) conn:write("a" .. args[1]) conn:write(...) conn:write "x" conn:read(2 * 8) conn:read(nil, { timeout = 1 })
conn:read_until(table.unpack(args)) conn:read_until(args.f "x") kt.splice(conn, (far:open())) kt.splice(args.both())
kt.spawn(args.fn) kt.spawn(function() end, 1, nil) conn:reset() conn:reset "why" far:on(args.event, args.fn, args)
far:open() far:open(...) kt.log.info(5) kt.log.info(nil)]])
    end)

    it("finds a dot where a colon belongs, and a colon where a dot does", function()
      assert.equal("s.lua:4: link:open: called with a dot; write it with a colon\ns.lua:5: link:stats: called with a dot; write it with a colon\n"
        .. "s.lua:6: kt.sleep: called with a colon; write it with a dot\ns.lua:7: conn.peer: not a method; it is a field; read it without a call\n", task [[
local s = far.open { timeout = "5s" }
print(s, far.stats())
kt:sleep(1)
local conn = kt.connect { to = "a:1" } print(conn:peer())]])
      assert.equal("", task "local other = ... far.open(far, { timeout = 1 }) far.open(other) pcall(far.open, far) print(far.stats)")
    end)

    it("finds fields that cannot be set", function()
      assert.equal("s.lua:4: conn.peer: a handle's fields cannot be set\ns.lua:5: kt.splice: kt is read-only; use a local instead\n"
        .. "s.lua:6: kt.log.loud: kt.log is read-only; use a local instead\ns.lua:7: kt.helper: kt is read-only; "
        .. "use a local instead\n", task [[
local conn = kt.connect { to = "a:1" } conn.peer = 5
kt.splice = nil
kt.log.loud = print
function kt.helper() end]])
      assert.equal("", task 'local t = {} t.peer = far.remote == "x" and kt.version == "y"')
    end)

    it("finds kt.reload, but not in a function that the main chunk may call", function()
      local wrong = "kt.reload: only allowed in the main chunk; call it at the top level of the script\n"
      assert.equal("s.lua:4: " .. wrong, task "kt.reload {}")
      assert.equal("s.lua:5: " .. wrong, mistakes(HEAD .. 'local a = kt.accept { on = ":1", key = "k" }:serve(print)\n'
        .. 'kt.link { remote = "a:1", key = "k" }:on("up", print):on("down",\nfunction() local function f()\nkt.reload {} end f() end)'))
      assert.equal("", mistakes(HEAD .. "kt.spawn(function() end)\nlocal function drain() kt.reload { old = 'drain' } end\ndrain()"))
    end)

    it("finds a yield, unless the script makes coroutines", function()
      assert.equal("s.lua:4: coroutine.yield in a task: nothing resumes it; call kt.sleep(0) to let other tasks run\n", task "coroutine.yield()")
      assert.equal("", task "local each = coroutine.wrap(function() coroutine.yield(1) end) each()")
      assert.equal("", task "local co = coroutine co.wrap(function() coroutine.yield(1) end)()")
      write("lib.lua", "return function() coroutine.yield(1) end")
      assert.equal("", task 'coroutine.wrap(require "lib")()')
    end)

    it("finds unknown fields of a handle", function()
      assert.equal("s.lua:4: conn.pier: no such field; did you mean conn.peer?\n",
        task 'local conn, err = kt.connect { to = "a:1" } print(conn.pier, err)')
    end)

    it("knows which functions open handles, and what a handler receives", function()
      assert.equal("s.lua:4: stream.reed: no such field; did you mean stream.read?\n",
        task 'local stream, err = far:open { timeout = "5s" } print(stream:reed(), err)')
      assert.equal("s.lua:5: stream:read.timout: unknown key; did you mean timeout?\n",
        task 'local stream, err\nstream, err = far:open {} print(stream:read { timout = 1 }, err)')
      assert.equal("s.lua:4: stream:set.rat: unknown key; expected one of priority, weight, rate_in, rate_out, limit, limit_in, limit_out, idle, total\n",
        task "local stream <close> = assert(far:open {}) stream:set { rat = 1 }")
      assert.equal("s.lua:5: conn.pear: no such field; did you mean conn.peer?\n",
        mistakes(HEAD .. 'local l = kt.listen { on = ":1" }\n\nl:serve(function(conn)\nprint(conn.pear) end)'))
      assert.equal("s.lua:4: link.opne: no such field; did you mean link.open?\n",
        mistakes(HEAD .. 'local a = kt.accept { on = ":1", key = "k" }:serve(print)\na:on("link", function(link)\nlink:opne() end)'))
    end)

    it("does not take a key of a table for a name that is set", function()
      assert.equal("s.lua:4: link.opne: no such field; did you mean link.open?\n",
        task "local t = { 1, far = { far, remote = 1 }, { far, far = 2 } } far:opne(t)")
    end)

    it("ignores a name that may hold something else", function()
      assert.equal("", task 'local function f() end local a, far, b = f() print(a, far.name, b)')
      assert.equal("", task 'for i, far in ipairs {} do print(i, far.name) end')
      assert.equal("", task 'local t, far = {} t.x, far = 1, {} print(far.name)')
      assert.equal("", task 'local t = {} far, t.x = {}, 1 print(far.name)')
      assert.equal("s.lua:4: name: a field of a function; a function has none\n", task 'local function far() end print(far.name)')
      assert.equal("", task 'local sum = kt.listen { on = ":1" }:serve(print).local_addr print(sum.len)')
      assert.equal("", task 'local ok = kt.link(...) and { x = 1 } print(ok.x)')
      assert.equal("", task 'local conn = kt.connect { to = "a:1" } conn = ... print(conn.pier)')
      assert.equal("", task 'local function f(far) return far.near end f { near = 1 }')
    end)

    it("finds names that nothing defines", function()
      assert.equal("s.lua:4: global 'stats' is not defined\n", task "local a <const> = 1 print(a, stats)")
      assert.equal("", task "local x = 1 goto done ::done:: local t = { y = x } print(t.y, t:z(), _ENV)")
    end)

    it("finds globals that all connections would share, in functions only", function()
      local function at(line, name) return ("s.lua:%d: global '%s' is shared by all connections; write: local %s\n"):format(line, name, name) end
      assert.equal(at(3, "line") .. at(4, "c") .. at(5, "z") .. at(6, "w") .. at(7, "m") .. at(8, "stuff")
        .. "s.lua:9: global 'none' is not defined\n" .. at(9, "d"), mistakes(HEAD .. [[
declared = 0 kt.spawn(function() declared = 1
  line = "x" print(line)
  local a, b a, b, c = 1, 2, 3
  if a then local z z = 1 else z = 2 end
  for k in pairs { x = 1, y = function() w = 1 end } do k = b end
  local function rec(n) n = 1 m = n rec = nil end
  function stuff() end
  local t = {} t.x, d = 1, 2 function t:z() self = 1 end none.x = 1
  for i = 1, 2 do i = 3 while b do local u = 1 u = i end end repeat local q q = rec until q
end)
local function set() late = 1 end set()
]]))
    end)

    it("explains why a script lacks a Lua function, or what to use instead", function()
      assert.equal("s.lua:4: global 'debug' is not available: it could bypass the sandbox\n", task "print(debug)")
      assert.equal("s.lua:4: global 'loadstring' is not available: use load\n", task "print(loadstring)")
    end)

    it("finds os and io, and names the option that enables them", function()
      assert.equal("s.lua:4: global 'os' is not available: os and io need kt run --unsafe\n",
        task "print(os.time())")
      write("s.lua", HEAD .. "kt.spawn(function() print(os.time()) end)")
      assert.equal(0, s.exited("check", "--unsafe", "s.lua").code)
    end)
  end)

  it("shows a hundred mistakes and the number of the others, and lists all for an editor", function()
    local text = HEAD .. ("kt.slep(1)\n"):rep(150)
    local out = by_line(check(text).out)
    assert.equal(102, select(2, out:gsub("\n", "")))
    assert.matches("s.lua:101: kt.slep: [^\n]*\n… and 50 more; fix these first, or list all with %-%-json\ns.lua: 150 mistakes\n$", out)
    assert.equal(150, select(2, s.exited("check", "--json", "s.lua").out:gsub('"line": ', "")))
  end)

  describe("reports everything it has found, although", function()
    local NO_SUCH = "s.lua:2: kt.slep: no such function; [^\n]*\n"

    it("an argument that may be anything is missing", function()
      assert.equal("s.lua:2: kt.slep: no such function; did you mean kt.sleep?\n"
        .. "s.lua:3: kt.log.info: argument 1: expected a value, got no value\n", mistakes(HEAD .. [[
kt.slep(1)
kt.spawn(function() kt.log.info() kt.log.info(nil) end)]]))
    end)

    it("an expression is thousands of terms long", function()
      local out = mistakes(HEAD .. 'local far = kt.link { remote = "a:1", key = "k" }\nkt.spawn(function() print(1' .. (" + 1"):rep(5000) .. ")\nfar"
        .. (":on('up', print)"):rep(5000) .. ":opne()\nend)\n")
      assert.equal("s.lua:4: link.opne: no such field; did you mean link.open?\n", out)
    end)

    it("a name has a million letters, or is none", function()
      local r = check(HEAD .. 'local far = kt.link { remote = "a:1", key = "k" }\nkt.spawn(function() print(far.' .. ("x"):rep(1000000)
        .. ', far:stats()["a b: c; d"], far:stats()["\\n"])\nkt["a b"] = 1 end)')
      assert.equal("", r.err)
      for _, name in ipairs { 'xxx: no such field', 'stats["a b: c; d"]: no such field', 'stats["\\10"]: no such field', 'kt["a b"]: kt is read-only' } do
        assert.truthy(r.out:find(name, 1, true), name)
      end
    end)

    it("the script ends the program", function()
      write("s.lua", HEAD .. "kt.slep(1) os.exit(0)")
      local r = s.exited("check", "--unsafe", "s.lua")
      assert.equal(1, r.code)
      assert.matches("^" .. NO_SUCH .. "s.lua: 1 mistake\n$", by_line(r.out))
    end)

    it("the script has used all its memory", function()
      write("s.lua", HEAD .. "kt.slep(1) T = {} while true do T[#T + 1] = (\"x\"):rep(1000) end kt.spawn(function() print(undefned) end)")
      local r = s.exited("check", "--memory", "8MiB", "s.lua")
      assert.equal(1, r.code)
      assert.equal("", r.err)
      assert.matches(NO_SUCH .. "s.lua:2: global 'undefned' is not defined", by_line(r.out))
      assert.matches("not enough memory", r.out)
    end)
  end)

  it("ignores errors that the script catches itself", function()
    assert.equal("", mistakes(HEAD .. [[
local ok, err = pcall(kt.listen, {})
if not ok and err:find "^s.lua:2: listen.on: missing" then kt.spawn(function() end) end]]))
  end)

  it("explains its usage", function()
    assert.matches("^usage: kt check ", s.exited("check", "--help").out)
    assert.same({ 1, "kt check: no script given" }, { s.exited("check").code, (s.exited("check").err:match "^[^\n]+") })
    assert.matches("^kt check: %-%-jsn: unknown flag\n", s.exited("check", "--jsn", "x").err)
  end)
end)
