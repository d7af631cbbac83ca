-- Error messages for scripts, and how handles print: a method appears as written in the call, a handle by its kind, and
-- nothing by its address in memory. The arguments of each call are covered elsewhere (lua_schema_spec, lua_link_spec, lua_pipe_spec, …).
local h = require "harness"
local scripts = require "harness.scripts"

local HINT = "  run kt check to list all mistakes\n"

describe("a message", function()
  local s = scripts.each(before_each, after_each)

  --- The error that each of the calls raises in a task of a script that has `link`, `pool`, `listener`, `acceptor`, `socket` and `conn`.
  local function raised(...)
    local lines = {}
    for i, call in ipairs { ... } do lines[i] = ("print(select(2, pcall(function() %s end)))"):format(call) end
    local said
    h.run(function()
      local code, out, err = s.run(([[
local link = kt.link { remote = "127.0.0.1:9", key = KEY }
local pool = kt.pool { links = { link }, check = { every = "1h" } }
kt.spawn(function()
  local listener = kt.listen { on = "127.0.0.1:0" }:serve(function(conn) conn:read() end)
  local acceptor, socket = kt.accept { on = "127.0.0.1:0", key = KEY }, kt.udp { on = "127.0.0.1:0" }
  local conn = kt.connect { to = listener.local_addr }
  %s
  acceptor:close() listener:close() socket:close() conn:close()
end)]]):format(table.concat(lines, "\n")))
      assert.equal(0, code, err)
      said = out:gsub("s%.lua:%d+: ", "")
    end)
    return said
  end

  it("names the method that was called, and its kind", function()
    assert.equal(table.concat({
      "link:open.timout: unknown key; did you mean timeout?", "link:set.mod: unknown key; did you mean mode?",
      "link:probe.x: unknown key; expected timeout", "link:on.every: expected at least 100ms, got 0",
      "pool:open.timout: unknown key; did you mean timeout?", "pool:add.wieght: unknown key; did you mean weight?",
      "conn:set.x: unknown key; expected one of rate_in, rate_out, limit, limit_in, limit_out, idle, total, user_timeout",
      "conn:read.timout: unknown key; did you mean timeout?",
      "socket:receive.timout: unknown key; did you mean timeout?", "" }, "\n"),
      raised("link:open { timout = 5 }", 'link:set { mod = "fast" }', "link:probe { x = 1 }", 'link:on("stats", print, { every = 0 })',
        "pool:open { timout = 1 }", "pool:add { link = link, wieght = 2 }", "conn:set { x = 1 }", "conn:read { timout = 1 }",
        "socket:receive { timout = 1 }"))
  end)

  it("calls a handle by its kind", function()
    assert.equal(table.concat({
      "link:open: expected a table, got a conn", "link:on: expected a function, got pool", "link:on: expected an event name, got socket",
      "acceptor:on: expected an event name, got acceptor", "acceptor:serve: expected a function, got link", "kt.spawn: expected a function, got link",
      "kt.splice: argument 1: expected a conn or a stream, got link", "kt.connect.to: expected a string, got a listener",
      "conn:write: argument 1: expected a string, got link",
      "conn:read: argument 1: expected a number of bytes from 1 to 1048576, got acceptor",
      "conn:reset: argument 1: expected an err, a string or nothing, got link",
      'pool:on "up": expected a function, got a link', "pool:add.link: expected a link, got a pool", "kt.secret: expected a string, got link",
      'accept.key: expected a string, or kt.secret_file "psk.key", got a link', "coroutine.resume: expected a coroutine, got link", "" }, "\n"),
      raised("link:open(conn)", 'link:on("up", pool)', "link:on(socket, print)", "acceptor:on(acceptor, print)", "acceptor:serve(link)", "kt.spawn(link)",
        "kt.splice(link, conn)", "kt.connect { to = listener }", "conn:write(link)", "conn:read(acceptor)", "conn:reset(link)", 'pool:on("up", link)',
        "pool:add { link = pool }", "kt.secret(link)", 'kt.accept { on = ":1", key = link }', "coroutine.resume(link)"))
  end)

  it("reports a NaN time as not a number, with either sign", function()
    local said = raised("kt.sleep(0 / 0)", "kt.sleep(-(0 / 0))", "conn:set { idle = 0 / 0 }", "conn:read(0 / 0)")
    assert.equal(2, select(2, said:gsub('kt%.sleep: expected a duration such as .-, got NaN', "")))
    assert.matches("\nconn:set.idle: expected a duration such as \"5s\", \"800ms\", \"10m\", \"1h30m\", or a number of seconds, got NaN", said, 1, true)
    assert.matches("\nconn:read: argument 1: expected a number of bytes from 1 to 1048576, got NaN\n", said, 1, true)
  end)

  it("joins a service and its address correctly", function()
    assert.equal("kt.link to 127.0.0.1:9: closed\nkt.listen on 127.0.0.1:0: closed\nkt.accept on 127.0.0.1:0: closed\n",
      raised("link:close() link:serve(print)", "local l = kt.listen { on = '127.0.0.1:0' } l:close() l:serve(print)",
        "acceptor:close() acceptor:serve(print)"))
  end)

  it("about a dropped listener names its address", function()
    h.run(function()
      local _, _, err = s.run 'kt.spawn(function() kt.listen { on = "127.0.0.1:0" } collectgarbage() kt.sleep "10ms" end)'
      assert.matches("warn  s: kt.listen on 127.0.0.1:0, declared at s.lua:2, was dropped without :close(); closed it\n", err, 1, true)
    end)
  end)

  describe("of a task that raised", function()
    local function told(what)
      local said
      h.run(function()
        local _, _, err = s.run(("kt.spawn(function() error(%s) end)"):format(what))
        said = err:match "task failed: (.-) %(at s.lua:2; spawned at s.lua:2%)\n" or err
      end)
      return said
    end

    it("a table shows its texts", function()
      assert.equal("an error that is a table without __tostring", told "{}")
      assert.equal("an error that is a table without __tostring: code = 7, message = it broke, name = Broken",
        told '{ name = "Broken", code = 7, message = "it broke", more = {} }')
    end)

    it("a table with __tostring uses that", function()
      assert.equal("broken", told 'setmetatable({}, { __tostring = function() return "broken" end })')
    end)

    it("nothing, a function or a handle names the kind", function()
      assert.equal("an error that is nil", told "nil")
      assert.equal("an error that is a function", told "print")
      assert.equal("<link a:9, down>", told 'kt.link { remote = "a:9", key = KEY }')
    end)
  end)

  it("of a main chunk that raised a table shows it, run and checked", function()
    h.run(function()
      local code, _, err = s.run 'error { message = "it broke" }'
      assert.same({ 1, "kt: s.lua:2: an error that is a table without __tostring: message = it broke\n" .. HINT }, { code, err })
      local p = s.kt("check", "s.lua")
      p:wait_exit(20)
      assert.matches("^s.lua:2: an error that is a table without __tostring: message = it broke\n", p.stdout)
    end)
  end)

  describe("of a task that failed and leaves a scope", function()
    local function closing(what)
      local said
      h.run(function()
        local _, out, err = s.run(([[
kt.spawn(function()
  local x <close> = setmetatable({}, { __close = function() %s end })
  error "first"
end)]]):format(what))
        said = out .. err:gsub("%d+%-%d+%-%d+ %d+:%d+:%d+ ", "")
      end)
      return said
    end
    local FIRST = "error s: task failed: s.lua:4: first (at s.lua:4; spawned at s.lua:2)\n"

    it("includes an error in its __close", function()
      assert.equal(FIRST .. "error s: __close of a failed task failed as well: s.lua:3: second (spawned at s.lua:2)\n", closing 'error "second"')
      assert.equal(FIRST .. "error s: __close of a failed task failed as well: an error that is a table without __tostring: name = T (spawned at s.lua:2)\n",
        closing 'error { name = "T" }')
    end)

    it("explains that its __close cannot wait", function()
      local said = closing "kt.sleep(0)"
      assert.equal(FIRST, said:sub(1, #FIRST))
      assert.matches("error s: __close of a failed task failed as well: s.lua:3: kt.sleep: cannot wait here, inside a function called from C",
        said:sub(#FIRST + 1), 1, true)
    end)

    it("adds nothing when everything was closed", function()
      assert.equal("closed\n" .. FIRST, closing 'print "closed"')
    end)
  end)

  describe("of a line for the log", function()
    it("names the function, the argument and the line of the script", function()
      h.run(function()
        local code, _, err = s.run 'kt.log.warn("%%d", "x")'
        assert.same({ 1, "kt: s.lua:2: kt.log.warn: argument 2: number expected, got string\n" .. HINT }, { code, err })
        _, _, err = s.run 'kt.spawn(function() kt.log.info("%%d %%s", 1) end)'
        assert.matches("task failed: s.lua:2: kt.log.info: argument 3: no value (at s.lua:2", err, 1, true)
      end)
      assert.equal("kt.log.info: invalid conversion '%y' to 'format'\nboth\n", raised('kt.log.info("%%y", 1)',
        'kt.log.info("%%s", setmetatable({}, { __tostring = function() error("both", 0) end }))'))
    end)

    it("is written whole, a zero byte in it as well", function()
      h.run(function()
        local _, _, err = s.run 'kt.spawn(function() kt.log.info("a\\0b") kt.log.info("%%s!", "c\\0") end)'
        assert.matches("info  s: a\\0b\n.*info  s: c\\0!\n", err)
      end)
    end)
  end)

  it("names the function, its argument and the fix", function()
    assert.equal(table.concat({
      'conn:set.idle: expected at most 3.2e9 seconds (a hundred years), got "1000000d"',
      "kt.sleep: expected at most 3.2e9 seconds (a hundred years), got 4000000000.0",
      'conn:set.idle: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got math.huge',
      'conn:set.rate_in: expected a rate such as "20Mbit" (bits per second), "2MiB" (bytes per second), or a number of bytes per second, got math.huge',
      'udp.on: "x": missing port; write host:port',
      'kt.connect: expected a table, got "127.0.0.1:1"; write kt.connect { to = "127.0.0.1:1" }',
      'link: expected a table, got "vps:1"; write kt.link { remote = "vps:1" }', "pool: expected a table, got \"x\"",
      'kt.splice.idle: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "x"', "" }, "\n"),
      raised('conn:set { idle = "1000000d" }', "kt.sleep(4e9)", "conn:set { idle = math.huge }", "conn:set { rate_in = math.huge }", 'kt.udp { on = "x" }',
        'kt.connect "127.0.0.1:1"', 'kt.link "vps:1"', 'kt.pool "x"',
        'kt.splice(conn, kt.connect { to = listener.local_addr }, { idle = "x" })'))
  end)

  it("about a main chunk that raised nil, or misses a module, has its line", function()
    h.run(function()
      local _, _, err = s.run "local function f()\nerror()\nend\nf()"
      assert.equal("kt: s.lua:3: an error that is nil\n  called from s.lua:5\n" .. HINT, err)
      _, _, err = s.run 'error("only this", 0)'
      assert.equal("kt: only this\n", err)
    end)
    assert.equal('require "socket": no such module; looked for socket.lua and socket/init.lua beside the script\n', raised 'require "socket"')
    h.run(function()
      local _, _, err = s.run 'kt.spawn(function()\nrequire "socket" end)'
      assert.matches('task failed: s.lua:3: require "socket": no such module', err, 1, true)
    end)
  end)

  describe("about a script that cannot be loaded", function()
    local function told(text)
      local said = {}
      h.run(function()
        s.write("s.lua", text)
        for i, verb in ipairs { "run", "check" } do
          local p = s.kt(verb, "s.lua")
          p:wait_exit(20)
          said[i] = (p.stdout .. p.stderr):match "^[^\n]*":gsub("^kt: ", ""):gsub("(%.lua:%d+):%d+:", "%1:") -- without the column
        end
      end)
      assert.equal(said[1], said[2])
      return said[1]
    end

    it("because it is bytecode says so", function()
      assert.equal("s.lua: bytecode is not allowed; scripts must be Lua source", told(string.dump(function() end)))
    end)

    it("because it is nested too deeply has the line", function()
      local wanted = "s.lua:3: tables, functions or brackets are nested too deeply; Lua allows fewer than 200 levels"
      assert.equal(wanted, told("local a = 1\n\nlocal t = " .. ("{"):rep(300) .. "\n" .. ("}"):rep(300)))
      assert.equal(wanted, told("\n\nlocal t = " .. ("("):rep(300)))
    end)

    it("has the right line after a byte order mark and a #! line", function()
      assert.matches("^s.lua:2: .*near '='$", told "\xEF\xBB\xBFlocal x = 1\nlocal = 2\n")
      assert.matches("^s.lua:2: .*near '='$", told "\xEF\xBB\xBF#!/usr/bin/env -S kt run\nlocal = 2\n")
      assert.equal("s.lua:2: global 'nothing' is not defined", told "\xEF\xBB\xBF#!x\nnothing()\n")
    end)
  end)

  it("about options and files names the fix", function()
    h.run(function()
      local function said(...)
        local p = s.kt(...)
        assert.equal(1, p:wait_exit(20))
        return p.stderr:match "^[^\n]*"
      end
      assert.equal("kt run: --memory: expected a size such as 64MiB, or none, got 1", said("run", "--memory", "1", "s.lua"))
      assert.equal("kt new: x/y: no such folder: x", said("new", "failover", "x/y"))
    end)
  end)

  it("explains that fields of kt cannot be set", function()
    assert.equal("kt.splice: kt is read-only; use a local instead\nkt.new: kt is read-only; use a local instead\n"
      .. "kt.log.info: kt.log is read-only; use a local instead\n0 splice\n", raised("kt.splice = nil", "kt.new = 1", "kt.log.info = print",
      "local n, last = 0 for name, value in pairs(kt) do if name == 'splice' then last = name end if kt[name] ~= value then n = n + 1 end end "
        .. "error(n .. ' ' .. last, 0)"))
  end)

  describe("of an address that the script already uses", function()
    it("names the line, before it is opened and after", function()
      h.run(function()
        local code, _, err = s.run [[
kt.listen { on = "127.0.0.1:0" }:serve(print) kt.udp { on = "127.0.0.1:9" }
kt.accept { on = "127.0.0.1:9", key = KEY }:serve(print)]]
        assert.equal(1, code)
        assert.matches("kt: s.lua:3: kt.accept: 127.0.0.1:9: the kt.udp at s.lua:2 already uses this address; change one of the two\n", err, 1, true)
      end)
      local at = "127.0.0.1:" .. h.sockets.free_port "tcp"
      assert.equal(at .. ": the kt.listen at s.lua:9 already uses this address; change one of the two\n",
        raised(('local l = kt.listen { on = "%s" } local _, err = kt.listen { on = "%s" } l:close() error(tostring(err), 0)'):format(at, at))
          :gsub("s.lua:%d+", "s.lua:9"))
    end)
  end)

  it("shows the details of a printed handle", function()
    h.run(function()
      local _, out = s.run [[
kt.spawn(function()
local link = kt.link { remote = "127.0.0.1:9", key = KEY }
local listener = kt.listen { on = "127.0.0.1:0" }
local acceptor, socket = kt.accept { on = "127.0.0.1:0", key = KEY }, kt.udp { on = "127.0.0.1:0" }
print(link, tostring(listener) == ("<listener %%s>"):format(listener.local_addr), acceptor,
  tostring(socket) == ("<socket %%s>"):format(socket.local_addr))
for _, handle in ipairs { link, listener, acceptor, socket } do handle:close() print(handle) end
end)]]
      assert.equal("<link 127.0.0.1:9, down>\ttrue\t<acceptor 127.0.0.1:0>\ttrue\n<link 127.0.0.1:9, closed>\n<listener 127.0.0.1:0, closed>\n"
        .. "<acceptor 127.0.0.1:0, closed>\n<socket, closed>\n", out)
    end)
  end)
end)
