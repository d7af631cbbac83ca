-- Mistakes in handlers, timers and tasks: each is reported in one line of the log, and a neighbour in the
-- same process, whose bytes go through a tunnel of the same script, keeps its connection. Policies: bad_policies_spec.
local h = require "harness"
local bad_script = require "bad_script"
local scripts = require "harness.scripts"

local STOPPED = "stopped after 0.5 s without yielding; call kt.sleep(0) in long loops"

-- This many locals fill the stack in a few thousand calls, before the watchdog fires, even under the sanitizers.
local WIDE = ("_, "):rep(198) .. "_"

describe("beside a script that", function()
  local s = scripts.each(before_each, after_each)

  local function misbehaves(...) return bad_script.misbehaves(s, ...) end

  it("loops forever, a neighbour is unaffected", function()
    local function stopped(body, what) return { what, body, "task failed: s.lua:<line>: " .. STOPPED .. " (at s.lua:<line>" } end
    bad_script.misbehave(s, {
      stopped("while true do end", "in plain sight"),
      stopped("while true do end", "in the next connection"),
      stopped("while true do pcall(function() while true do end end) end", "catching the error that stops it"),
      stopped("local function f() while true do pcall(f) end end while true do pcall(f) end", "inside nested pcalls that keep looping"),
      stopped("xpcall(error, function() while true do end end)", "in the handler of xpcall"),
      stopped("xpcall(function() while true do end end, function() while true do end end)", "in the handler of xpcall, called for being stopped"),
      stopped("local f = coroutine.wrap(function() while true do end end) while true do pcall(f) end", "in a coroutine"),
      stopped([[
        local function deep(n)
          local co = coroutine.create(n == 0 and function() while true do pcall(function() while true do end end) end end or
            function() while true do deep(n - 1) end end)
          while true do coroutine.resume(co) end
        end
        deep(5)]], "in a coroutine within a coroutine"),
      stopped("while true do coroutine.wrap(function() coroutine.yield() end)() end", "over coroutines without end"),
      stopped('string.gsub("x", "x", function() while true do end end)', "in a callback of gsub"),
      stopped("table.sort({ 2, 1, 3 }, function() while true do end end)", "in a comparator of sort"),
      stopped("local t = setmetatable({}, { __index = function() while true do end end }) print(t.x)", "in a metamethod"),
      stopped("local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end", "in __close"),
      stopped("load(function() while true do end end)", "in the reader of load"),
      stopped("for _ in function() while true do end end do end", "in an iterator"),
      stopped("local t = {} for i = 1, 3000000 do t[i] = i * 7919 % 1000003 end table.sort(t)", "in the sorting of a long list"),
      stopped('load(("x = 1 "):rep(10000000))', "in compiling"),
      stopped("local function f() return f() end f()", "in a tail call"),
      stopped("::top:: goto top", "with goto"),
      { "in the __close of a task that fails", 'local x <close> = setmetatable({}, { __close = function() while true do end end }) error "first"',
        { "task failed: s.lua:<line>: first" .. bad_script.AT, "__close of a failed task: s.lua:<line>: " .. STOPPED } },
      { "in the __tostring of an error", "error(setmetatable({}, { __tostring = function() while true do end end }))",
        "task failed: formatting its error failed as well" .. bad_script.AT },
    }, nil, 3)
  end)

  it("allocates without end, a neighbour is unaffected", function()
    local function full(body, what)
      return { what, body, "task failed: not enough memory: the script holds <n> of 16.0 MiB; kt run --memory sets the limit" .. bad_script.AT }
    end
    bad_script.misbehave(s, {
      full("local t = {} while true do t[#t + 1] = {} end", "in its handler"),
      full('local t = {} while true do t[#t + 1] = ("x"):rep(100000) .. #t kt.sleep "1ms" end', "in a task that takes its time"),
      full('local x = "x" while true do x = x .. x end', "by doubling a string"),
      full('local s = ("x"):rep(1 << 30)', "by string.rep"),
      full('local s = ("x"):rep(1 << 20):gsub(".", ("y"):rep(1000))', "by gsub"),
      full('local t = {} for i = 1, 1000 do t[i] = ("x"):rep(1 << 10) end table.concat(t, ("-"):rep(1 << 20))', "in buffers of concat"),
    }, { memory = "16MiB" })
  end)

  it("raises, a neighbour is unaffected", function()
    local AT = bad_script.AT
    bad_script.misbehave(s, {
      { "a sentence", 'error "no, thanks"', "task failed: s.lua:<line>: no, thanks" .. AT },
      { "a table", "error { code = 7 }", "task failed: an error that is a table without __tostring: code = 7" .. AT },
      { "nil", "error(nil)", "task failed: an error that is nil" .. AT },
      { "a value whose __tostring fails", 'error(setmetatable({}, { __tostring = function() error "never" end }))',
        "task failed: formatting its error failed as well" .. AT },
      { "by recursing without end", "local function f() local " .. WIDE .. " return 1 + f() end f()", "task failed: s.lua:<line>: stack overflow" },
    })
  end)

  it("waits where it may not, a neighbour is unaffected", function()
    local HERE = "cannot wait here, inside a function called from C (a sort or gsub callback, a __close or __gc metamethod, require); "
      .. "call it before or after"
    local IN_COROUTINE = "cannot wait in a coroutine created by the script; call it in the task itself or use kt.spawn"
    s.write("waits.lua", 'require "kt".sleep(1)')
    bad_script.misbehave(s, {
      { "in a message handler", "error((select(2, xpcall(error, function() return select(2, pcall(kt.sleep, 1)) end))), 0)",
        "task failed: s.lua:<line>: kt.sleep: " .. HERE },
      { "in a message handler that fails because of it", "error((select(2, xpcall(error, function() kt.sleep(1) end))))",
        "task failed: s.lua:<line>: error in error handling" },
      { "in a comparator", "table.sort({ 2, 1 }, function() far:open {} end)", "task failed: s.lua:<line>: link:open: " .. HERE },
      { "in gsub", '("x"):gsub("x", function() kt.sleep(1) end)', "task failed: s.lua:<line>: kt.sleep: " .. HERE },
      { "in require", 'require "waits"', "waits.lua:1: kt.sleep: " .. HERE },
      { "in a coroutine of its own", "coroutine.wrap(function() conn:read(1) end)()",
        "task failed: s.lua:<line>: s.lua:<line>: conn:read: " .. IN_COROUTINE },
      { "by yielding", "coroutine.yield(1)", "task failed: coroutine.yield in a task: nothing resumes it; call kt.sleep(0) to let other tasks run" },
      { "in a finalizer", "setmetatable({}, { __gc = function() kt.sleep(1) end }) collectgarbage()",
        "warn  s: error in __gc (s.lua:<line>: kt.sleep: " .. IN_COROUTINE },
      { "in a finalizer, by yielding", "setmetatable({}, { __gc = function() coroutine.yield() end }) collectgarbage()",
        "warn  s: error in __gc (attempt to yield in a __gc)" },
    })
  end)

  describe("spawns a million tasks, a neighbour is unaffected:", function()
    it("that sleep", function()
      misbehaves("bad:serve(function(conn)\n  for _ = 1, 1000000 do kt.spawn(kt.sleep, 1) end\nend)",
        "task failed: s.lua:7: kt.spawn: limit of 65536 spawned tasks reached; wait for some to end (at s.lua:7; spawned at s.lua:6)")
    end)

    it("one after the other, without end", function()
      h.run(function()
        local w = bad_script.start(s, [[
local n = 0
local function again()
  n = n + 1
  if n % 1000 == 0 then kt.log.info("%d spawned", n) end
  kt.spawn(again)
end
bad:serve(again)]])
        w.poke()
        w.says "5000 spawned"
        w.finish()
      end)
    end)
  end)

  describe("never sleeps for long, a neighbour is unaffected:", function()
    it("with kt.sleep(0) in a loop", function()
      misbehaves([[
bad:serve(function(conn)
  for i = 1, math.huge do
    kt.sleep(0)
    if i % 1000 == 0 then kt.log.info("%d turns", i) end
  end
end)]], "1000 turns")
    end)

    it("in five hundred tasks at once", function()
      misbehaves([[
bad:serve(function(conn)
  for _ = 1, 500 do kt.spawn(function() while true do kt.sleep(0) end end) end
  kt.sleep "300ms"
  kt.log.info "they turn"
end)]], "they turn")
    end)

    it("with waits that end at once: streams of a session that is up", function()
      misbehaves([[
bad:serve(function(conn)
  for i = 1, math.huge do
    assert(sink:open {}):reset()
    if i % 500 == 0 then kt.log.info("%d opened", i) end
  end
end)]], "1000 opened")
    end)
  end)

  describe("opens without end, a neighbour is unaffected:", function()
    it("streams that it keeps, in a handler whose memory has a limit", function()
      misbehaves("bad:serve(function(conn)\n  local kept = {}\n  while true do kept[#kept + 1] = assert(sink:open {}) end\nend)",
        "task failed: not enough memory: the script holds <n> of 8.0 MiB; kt run --memory sets the limit (at s.lua:8; spawned at s.lua:6)",
        { memory = "8MiB" })
    end)

    it("streams that it forgets", function()
      misbehaves("bad:serve(function(conn)\n  while true do sink:open {} end\nend)",
        "a stream was dropped without :close(), in the task spawned at s.lua:6; closed it")
    end)

    it("conns, until it is out of descriptors", function()
      local w = misbehaves([[
local sink = kt.listen { on = "127.0.0.1:0" }
sink:serve(function() kt.sleep "1h" end)
bad:serve(function(conn)
  local kept = {}
  while true do kept[#kept + 1] = assert(kt.connect { to = sink.local_addr }) end
end)]], "no file descriptors left of 200; raise the limit (ulimit -n) (at s.lua:10; spawned at s.lua:8)", { descriptors = 200 })
      assert.equal(1, w.times "task failed")
    end)

    it("UDP sockets, until it is out of descriptors", function()
      misbehaves("bad:serve(function(conn)\n  local kept = {}\n  while true do kept[#kept + 1] = assert(kt.udp { on = \"127.0.0.1:0\" }) end\nend)",
        "task failed: 127.0.0.1:0: no file descriptors left of 200; raise the limit (ulimit -n) (at s.lua:8; spawned at s.lua:6)", { descriptors = 200 })
    end)

    it("links with stay = true, until it is out of descriptors", function()
      misbehaves([[
bad:serve(function(conn)
  local kept = {}
  for i = 1, 250 do
    kept[i] = kt.link { remote = "127.0.0.1:9", key = KEY, stay = true }
    kt.sleep(0)
  end
  kt.sleep "1s"
  for _, link in ipairs(kept) do link:close() end
end)]], "no file descriptors left of 200; raise the limit (ulimit -n)", { descriptors = 200 })
    end)
  end)

  it("sets a handler more for each connection, a neighbour is unaffected", function()
    local WRONG = ": limit of 64 handlers per %s reached; set handlers once, not for each connection" .. bad_script.AT
    bad_script.misbehave(s, {
      { "of its link", 'for _ = 1, 1000 do far:on("up", function() end) end', "task failed: s.lua:<line>: link:on" .. WRONG:gsub("%%s", "link") },
      { "of its pool", 'local pool = kt.pool { links = { far } } for _ = 1, 1000 do pool:on("up", function() end) end',
        "task failed: s.lua:<line>: pool:on" .. WRONG:gsub("%%s", "pool") },
    })
  end)

  describe("watches its link badly, a neighbour is unaffected:", function()
    it("with handlers that fail", function()
      misbehaves('far:on("stats", function(stats) error("with " .. stats.sessions) end, { every = "100ms" })\nbad:serve(function() end)',
        "task failed: s.lua:6: with 1 (at s.lua:6; spawned at s.lua:6)")
    end)

    it("with handlers that loop", function()
      -- Twice: handlers that loop without end leave a busy machine no time for the neighbour.
      misbehaves('local runs = 0 far:on("stats", function() runs = runs + 1 while runs < 3 do end end, { every = "1s" })\nbad:serve(function() end)',
        "task failed: s.lua:6: " .. STOPPED .. " (at s.lua:6; spawned at s.lua:6)")
    end)

    it("with handlers that hang: they are not piled up", function()
      h.run(function()
        local w = bad_script.start(s, [[
local runs = 0
far:on("stats", function() runs = runs + 1 kt.sleep "1h" end, { every = "100ms" })
bad:serve(function(conn) conn:write(runs .. "\n") end)]])
        w.says 'warn  s: the "stats" handler set at s.lua:7 is still running; it is not called again until it returns'
        h.loop.sleep(0.5) -- several times 100 ms
        assert.equal("1\n", w.poke():recv(20))
        assert.equal(1, w.times "is still running")
        w.finish()
      end)
    end)

    it("with handlers slower than the events: each waits for the one before", function()
      h.run(function()
        local w = bad_script.start(s, [[
local now, most, runs = 0, 0, 0
far:on("stats", function()
  now = now + 1
  runs, most = runs + 1, math.max(most, now)
  kt.sleep "250ms"
  now = now - 1
end, { every = "100ms" })
bad:serve(function(conn) conn:write(("%d %s\n"):format(most, runs > 2)) end)]])
        h.loop.eventually("the third run", 20, function() return w.poke():recv(20) == "1 true\n" end)
        w.finish()
      end)
    end)
  end)

  describe("watches its pool badly, a neighbour is unaffected:", function()
    it("with handlers that hang: they are not piled up", function()
      h.run(function()
        local w = bad_script.start(s, [[
local runs, well, checks = 0, false, 0
local pool = kt.pool { links = { far }, check = { every = "50ms", fall = 1, rise = 1, with = function()
  well, checks = not well, checks + 1
  return well
end } }
pool:on("down", function() runs = runs + 1 kt.sleep "1h" end)
bad:serve(function(conn) conn:write(("%d %s\n"):format(runs, checks > 40)) end)]])
        w.says 'warn  s: the "down" handler set at s.lua:11 is still running in 16 tasks; it is not called again until one returns'
        h.loop.eventually("more checks", 20, function() return w.poke():recv(20) == "16 true\n" end)
        assert.equal(1, w.times "is still running")
        w.finish()
      end)
    end)

    it("with handlers that fail or are stopped: these have ended", function()
      h.run(function()
        local w = bad_script.start(s, [[
local runs, well = 0, false
local pool = kt.pool { links = { far }, check = { every = "50ms", fall = 1, rise = 1, with = function()
  well = not well
  return well
end } }
pool:on("down", function()
  runs = runs + 1
  if runs == 1 then while true do end end
  error(runs)
end)
bad:serve(function(conn) conn:write(runs > 18 and "enough\n" or "more\n") end)]])
        h.loop.eventually("more runs than may be under way", 20, function() return w.poke():recv(20) == "enough\n" end)
        assert.equal(0, w.times "is still running")
        w.finish()
      end)
    end)
  end)

  describe("keeps closed handles, a neighbour is unaffected:", function()
    it("conns and streams after a splice, a close and the end of their handler", function()
      h.run(function()
        local w = bad_script.start(s, [[
local kept = {}
bad:serve(function(conn)
  local stream = far:open {}
  kept[1], kept[2] = conn, stream
  kt.spawn(function()
    for _, c in ipairs(kept) do
      print(pcall(c.read, c)) print(pcall(c.write, c, "x")) print(c:set { idle = "1h" }, c:close(), c:reset())
    end
    print(pcall(kt.splice, conn, stream))
  end)
  kt.splice(conn, stream, { total = "100ms" })
  for _, c in ipairs(kept) do print(pcall(c.shutdown, c)) print(c:set { idle = "1h" }) print(c) end
  kept[3] = far:open {}
  kt.spawn(function()
    kt.sleep "50ms"
    print(kept[3], pcall(kept[3].read, kept[3], 1))
    print(kept[3]:stats().queued == 0)
    print "over"
  end)
end)]])
        w.poke()
        w.prints "over"
        local lines = {}
        for _, kind in ipairs { "conn", "stream" } do
          local closed = ("this %s was closed, or taken over by a splice"):format(kind)
          table.insert(lines, ("false\ts.lua:12: %s:read: %s\nfalse\ts.lua:12: %s:write: %s"):format(kind, closed, kind, closed))
          table.insert(lines, "true\tnil")
        end
        table.insert(lines, "false\ts.lua:14: kt.splice: argument 1: this conn was closed, or taken over by a splice")
        for _, kind in ipairs { "conn", "stream" } do
          table.insert(lines, ("true\nnil\t%s:set: already ended\n<%s ADDRESS, closed>"):format(kind, kind))
        end
        table.insert(lines, "<stream ADDRESS, closed>\tfalse\ts.lua:21: stream:read: this stream was closed, or taken over by a splice\ntrue\nover\n")
        assert.equal(table.concat(lines, "\n"), (w.process.stdout:gsub("127%.0%.0%.1:%d+", "ADDRESS")))
        assert.equal(0, w.times "task failed")
        w.finish()
      end)
    end)

    it("links, acceptors, listeners, pools and sockets", function()
      h.run(function()
        local w = bad_script.start(s, [[
bad:serve(function(conn)
  local link = kt.link { remote = far.remote, key = KEY }
  local pool = kt.pool { links = { link } }
  local acceptor = kt.accept { on = "127.0.0.1:0", key = KEY }
  local listener = kt.listen { on = "127.0.0.1:0" }
  local socket = kt.udp { on = "127.0.0.1:0" }
  for _, handle in ipairs { pool, link, acceptor, listener, socket } do handle:close() handle:close() end
  print(pool:open {}) print(link:open {}) print(link:probe {}) print(link:set { mode = "fast" }) print(link:stats().sessions)
  print(pcall(link.serve, link, print)) print(pcall(link.on, link, "up", print)) print(pcall(acceptor.on, acceptor, "link", print))
  print(pcall(acceptor.serve, acceptor, print)) print(pcall(listener.serve, listener, print)) print(acceptor:stats().sessions)
  print(pcall(pool.add, pool, far)) print(pool:remove(link), #pool:links(), pool:stats().links)
  print(listener.local_addr, socket.local_addr) print(pcall(socket.receive, socket)) print(pcall(socket.send, socket, "x", "127.0.0.1:9"))
  print "over"
end)]])
        w.poke()
        w.prints "over"
        local at = w.udp
        assert.equal(table.concat({
          "nil\tpool: the pool was closed", "nil\tthe link was closed", "nil\tthe link was closed", "nil\tthe link was closed", "0",
          "false\ts.lua:14: kt.link to 127.0.0.1:" .. at .. ": closed", "false\ts.lua:14: link:on: the link was closed",
          "false\ts.lua:14: acceptor:on: the acceptor was closed", "false\ts.lua:15: kt.accept on 127.0.0.1:0: closed",
          "false\ts.lua:15: kt.listen on 127.0.0.1:0: closed", "0", "false\ts.lua:16: pool:add: the pool was closed", "false\t0\t0", "nil\tnil",
          "false\ts.lua:17: socket:receive: this socket was closed", "false\ts.lua:17: socket:send: this socket was closed",
          "over", "" }, "\n"), w.process.stdout)
        w.finish()
      end)
    end)
  end)

  -- Ten echoes are twenty wakings; in one line with the spawned ones each would wait for all of these.
  it("keeps 30000 spawned tasks ready all the time does not delay tasks that wait for bytes", function()
    h.run(function()
      local code, out, err = s.run([[
kt.spawn(function()
  local listener = kt.listen { on = "127.0.0.1:0" }
  listener:serve(function(conn)
    for data in function() return conn:read() end do conn:write(data) end
  end)
  local conn = kt.connect { to = listener.local_addr }
  local slices, done = 0, false
  local function busy()
    for _ = 1, 300 do end
    slices = slices + 1
  end
  for i = 1, 30000 do
    kt.spawn(function() repeat busy() kt.sleep(0) until done end)
    if i %% 1000 == 0 then kt.sleep(0) end
  end
  slices = 0
  for _ = 1, 10 do assert(conn:write "x" and conn:read()) end
  print(slices)
  done = true
  conn:close() listener:close()
end)]])
      assert.equal(0, code, err)
      assert.is_true(tonumber(out) < 10 * 30000, out .. "slices of others in ten echoes")
    end)
  end)

  -- With a full stack, finalizers of values dropped before would fail and be skipped.
  it("recurses without end over handles that it dropped closes all of them, and the task continues", function()
    h.run(function()
      local w = bad_script.start(s, [[
bad:serve(function() end)
kt.spawn(function()
  for _ = 1, 200 do far:open {} end
  local function f() local ]] .. WIDE .. [[ return 1 + f() end
  print(pcall(f))
  kt.sleep(0)
  repeat collectgarbage() kt.sleep "10ms" until far:stats().streams <= 1 -- the neighbour's
  print "over"
end)]])
      w.prints "over"
      assert.matches("^false\ts.lua:[^\n]*stack overflow\nover\n$", w.process.stdout)
      assert.is_nil(w.process:logged():find("__gc", 1, true))
      w.finish()
    end)
  end)

  it("opens handles in a finalizer, even at the end, still exits", function()
    local code, out, err
    h.run(function()
      code, out, err = s.run([[
local function open()
  for _, make in ipairs {
    function() return kt.listen { on = "127.0.0.1:0" }:serve(print) end,
    function() return kt.accept { on = "127.0.0.1:0", key = KEY }:serve(print) end,
    function() return kt.link { remote = "127.0.0.1:9", key = KEY, stay = true }:serve(print) end,
    function() return kt.pool { links = {} } end,
    function() kt.spawn(print) end,
  } do print(select(2, pcall(make))) end
end
KEPT = setmetatable({}, { __gc = open })
kt.spawn(function() end)]])
    end)
    assert.same({ 0, "" }, { code, err })
    assert.equal("s.lua:4: kt.listen: the script has ended\ns.lua:5: kt.accept: the script has ended\n"
      .. "s.lua:6: kt.link: the script has ended\n<pool>\ns.lua:8: kt.spawn: the script has ended\n", out)
  end)

  it("sets handlers of a link that is never opened leaves nothing behind", function()
    local code, _, err
    h.run(function()
      code, _, err = s.run([[
local link = kt.link { remote = "127.0.0.1:9", key = KEY }
link:on("up", print):on("stats", print)
error "and fails"]])
    end)
    assert.same({ 1, "kt: s.lua:4: and fails\n  run kt check to list all mistakes\n" }, { code, err })
  end)
end)
