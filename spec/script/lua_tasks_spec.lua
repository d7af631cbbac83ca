-- Tasks that wait for each other, in virtual time: handles of tasks, kt.first, events, queues, timers.
local sim = require "kt.sim"
local lone_host = require "lone_host"

describe("tasks", function()
  --- Runs the text as a task, and `main` before it in the main chunk; returns the script and its host.
  local function run(text, main, time)
    local script, host, w = lone_host.start((main or "") .. "\nkt.spawn(function()\n" .. text .. "\nend)")
    w:run(time or "10s")
    return script, host, w
  end

  -- A listener that answers each conn with its name, and says how the conn ends.
  local SERVER = [[
local function serve(port, name, delay)
  kt.listen { on = "127.0.0.1:" .. port }:serve(function(conn)
    kt.sleep(delay)
    conn:write(name)
    local data, err
    repeat data, err = conn:read(9, { timeout = "1h" }) until not data
    print(name, err.code)
  end)
end]]

  describe("that wait for another", function()
    it("get what it returned, each of them and also afterwards, or true for nothing", function()
      assert.equal("1\tnil\t3\n1\tnil\t3\n1\tnil\t3\ntrue\nreturned\n", run([[
local t = kt.spawn(function(a) kt.sleep(1) return a, nil, 3 end, 1)
local other = kt.spawn(function() print(t:wait()) end)
print(t:wait())
other:wait()
print(t:wait { timeout = 0 })
print(kt.spawn(function() end):wait())
print(t.state)]]):output())
    end)

    it("get its failure, which is then not logged; one that nobody waits for is logged", function()
      local script = run [[
local quota = kt.err { code = "quota", message = "over" }
for _, fn in ipairs { function() error "oops" end, function() error(quota) end, function() error() end, coroutine.yield,
  function() while true do end end } do
  local ok, err = kt.spawn(function() kt.sleep(0) fn() end):wait()
  print(ok, err.code, err, err == quota)
end
local t = kt.spawn(function() error "alone" end)
kt.sleep(0)
print(t.state, select(2, t:wait()).text)
print(pcall(function() local me me = kt.spawn(function() me:wait() end) local _, e = me:wait() error(e, 0) end))]]
      local lines = {}
      for line in script:output():gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.same({
        "nil\tfailed\ts.lua:5: oops\tfalse", "nil\tquota\tover\ttrue", "nil\tfailed\tan error that is nil\tfalse",
        "nil\tfailed\tcoroutine.yield in a task: nothing resumes it; call kt.sleep(0) to let other tasks run\tfalse",
      }, table.move(lines, 1, 4, 1, {}))
      assert.matches("^nil\tfailed\ts.lua:6: stopped after .*\tfalse$", lines[5])
      assert.equal("failed\ts.lua:10: alone", lines[6])
      assert.equal("false\ts.lua:13: task:wait: a task cannot wait for itself", lines[7])
      assert.equal(1, select(2, script:log():gsub("task failed: ", "")))
      assert.matches("task failed: s.lua:10: alone", script:log(), 1, true)
    end)

    it("give up at the timeout, and it runs on; its handle may be dropped", function()
      assert.equal("nil\ttimeout\ttask:wait: the task did not end within 1 s\t1.0\ndone\n", run([[
local at = kt.now()
local ok, err = kt.spawn(function() kt.sleep(2) print "done" end):wait { timeout = "1s" }
print(ok, err.code, err, ("%.1f"):format(kt.now() - at))
for _ = 1, 3 do collectgarbage() kt.sleep(0) end]]):output())
    end)
  end)

  describe("that are canceled", function()
    it("end at once in any wait, and reset what they own; `<close>` variables are closed", function()
      local script = run([[
local function closing(name) return setmetatable({}, { __close = function(_, e) print(name, "closes", e) end }) end
local socket = kt.udp { on = "127.0.0.1:0" }
local event, queue = kt.event(), kt.queue()
for name, wait in pairs {
  probe = function() far:probe { timeout = "1h" } end, read = function(c) while c:read(1, { timeout = "1h" }) do end end,
  sleep = function() kt.sleep "1h" end, splice = function(c) kt.splice(c, kt.connect { to = "127.0.0.1:80" }) end,
  event = function() event:wait() end, queue = function() queue:pop() end, udp = function() socket:receive { timeout = "1h" } end,
  task = function() kt.spawn(kt.sleep, 3600):wait() end, first = function() kt.first(kt.spawn(kt.sleep, 3600)) end,
} do
  local t = kt.spawn(function()
    local conn = kt.connect { to = "127.0.0.1:80" }
    local var <close> = closing(name)
    pcall(wait, conn)
    print(name, "goes on")
  end)
  kt.sleep "100ms"
  t:cancel() t:cancel()
  local _, err = t:wait()
  if err.code ~= "canceled" or t.state ~= "canceled" then print(name, err, t.state) end
end]], SERVER .. "\nserve(80, 'srv', 0)\nfar = kt.link { remote = '10.9.9.9:1', key = 'k' }")
      local said = script:output()
      assert.equal(8, select(2, said:gsub("closes\tnil\n", "")) - 1, said)
      assert.is_nil(said:find "goes on" or said:find "running")
      assert.equal(10, select(2, said:gsub("srv\treset\n", "")), said)
      assert.is_nil(script:log():find "task failed" or script:log():find "__close")
    end)

    it("do not begin, do not wait in __close, may cancel themselves, and cannot be canceled when they have ended", function()
      local script = run [[
local t = kt.spawn(function() print "begun" end)
t:cancel()
print(select(2, t:wait()).code)
local me
me = kt.spawn(function()
  local bad <close> = setmetatable({}, { __close = function() kt.sleep(1) end })
  me:cancel()
  print "until the next wait"
  kt.sleep(0)
  print "not this"
end)
print(select(2, me:wait()).code)
do
  local scoped <close> = kt.spawn(function() kt.sleep(1) print "not this" end)
end
local done = kt.spawn(function() return "kept" end)
kt.sleep(0)
done:cancel()
print(done:wait())]]
      assert.equal("canceled\nuntil the next wait\ncanceled\nkept\n", script:output())
      assert.matches("__close of a canceled task failed: s.lua:9: kt.sleep: cannot wait here", script:log(), 1, true)
    end)
  end)

  it("raced by kt.first: the first to succeed wins with what it opened, and the others are canceled", function()
    local script = run([[
local function open(port)
  local conn = assert(kt.connect { to = "127.0.0.1:" .. port })
  return conn, conn:read(4, { timeout = "1h" })
end
local function no() return nil, kt.err { code = "refused", message = "no" } end
local conn, name = kt.first(kt.spawn(open, 80), kt.spawn(no), kt.spawn(open, 81), kt.spawn(open, 99))
kt.sleep(1)
print(name, "closing") conn:close() kt.sleep(1)
local done = kt.spawn(function() return 7 end)
kt.sleep(0)
print(kt.first(kt.spawn(open, 80), done))
local ok, err = kt.first(kt.spawn(no), kt.spawn(no))
print(ok, err.code, select(2, pcall(kt.first)))
print(select(2, pcall(kt.first, 1)))
print(select(2, kt.first(kt.spawn(kt.sleep, 100), kt.spawn(kt.sleep, 100), { timeout = "1s" })).code)]],
      SERVER .. "\nserve(80, 'slow', '2s') serve(81, 'fast', '1s')")
    local said = script:output()
    assert.matches("slow\treset\nfast\tclosing\nfast\teof\n", said, 1, true)
    assert.matches("7\nnil\trefused\ts.lua:%d+: kt.first: expected one or more tasks, from kt.spawn\n"
      .. "s.lua:%d+: kt.first: argument 1: expected a task, got number\ntimeout\n", said)
    assert.is_nil(script:log():find "task failed")
  end)

  it("that race each other are both canceled when one of them is", function()
    assert.equal("canceled\tcanceled\nfree\n", run([[
local a, b
local function soon() kt.sleep "10ms" return true end
a = kt.spawn(function() kt.sleep(0) kt.first(b, kt.spawn(soon)) print "not this" end)
b = kt.spawn(function() kt.sleep(0) kt.first(a, kt.spawn(kt.sleep, 100)) print "not this" end)
kt.sleep(1)
print(a.state, b.state)
for _ = 1, 3 do kt.spawn(function() kt.sleep(0) end) end
kt.sleep(1)
print "free"]]):output())
  end)

  it("wait for an event until it is set, by the ten thousand", function()
    assert.equal("20000\nnil\ttimeout\ntrue\ttrue\n", run([[
local event, n = kt.event(), 0
for i = 1, 20000 do
  kt.spawn(function() event:wait() n = n + 1 end)
  if i % 1000 == 0 then kt.sleep(0) end
end
event:set() event:clear()
kt.sleep "10ms"
print(n)
local ok, err = event:wait { timeout = "1s" }
print(ok, err.code)
kt.after("1s", function() event:set() end)
print(event:wait { timeout = "2s" }, event.is_set)]]):output())
  end)

  describe("with a queue", function()
    it("get values in order, and a full queue holds up those that push", function()
      assert.equal("1\t2\t3\t4\t5\t6\tend\n2.0\nclosed\ttimeout\nfalse\ts.lua:20: queue:push: expected a value, got nil\n", run([[
local queue, at, got = kt.queue { size = 2 }, kt.now(), {}
kt.spawn(function() for i = 1, 3 do queue:push(i) end end)
kt.spawn(function() for i = 4, 6 do queue:push(i) end kt.sleep(2) queue:close() end)
kt.sleep(0)
for i = 1, 3 do got[i] = queue:pop() end
table.sort(got)
if #got ~= 3 then error "lost" end
while true do
  local value, err = queue:pop()
  if not value then got[#got + 1] = "end" break end
  got[#got + 1] = value
end
table.sort(got, function(a, b) return tostring(a) < tostring(b) end)
print(table.concat(got, "\t"))
print(("%.1f"):format(kt.now() - at))
print(select(2, queue:push(1)).code, select(2, kt.queue():pop { timeout = "1s" }).code)
print(pcall(queue.push, queue, nil))]]):output())
    end)

    it("hand over conns: one in a queue outlives the task that pushed it, and belongs to the one that pops it", function()
      local script = run([[
for _, popper_waits in ipairs { true, false } do
  local queue = kt.queue()
  local function push() queue:push((kt.connect { to = "127.0.0.1:80" })) end
  local function pop() local conn = queue:pop() print(conn:read(3)) kt.sleep(1) print "ends" end
  if popper_waits then
    local popper = kt.spawn(pop)
    kt.sleep(0)
    kt.spawn(push)
    popper:wait()
  else
    kt.spawn(push):wait()
    kt.sleep(1)
    kt.spawn(pop):wait()
  end
  kt.sleep(1)
end
do
  local queue = kt.queue()
  kt.spawn(function() queue:push((kt.connect { to = "127.0.0.1:80" })) end):wait()
end
for _ = 1, 3 do collectgarbage() kt.sleep(1) end]], SERVER .. "\nserve(80, 'srv', 0)")
      assert.equal("srv\nends\nsrv\teof\nsrv\nends\nsrv\teof\nsrv\teof\n", script:output())
      assert.matches("a conn was dropped without :close(), between two tasks; closed it", script:log(), 1, true)
    end)

    it("skip one that was canceled while it waited", function()
      assert.equal("a\n1\tpushed\n2\n", run([[
local queue = kt.queue { size = 1 }
local function pop() print(queue:pop()) end
local gone, stays = kt.spawn(pop), kt.spawn(pop)
kt.sleep(0)
gone:cancel()
queue:push "a"
stays:wait()
queue:push(1)
local full = kt.spawn(function() queue:push "lost" end)
kt.sleep(0)
full:cancel()
kt.spawn(function() queue:push(2) end)
kt.sleep(0)
print(queue:pop(), "pushed")
print(queue:pop())]]):output())
    end)
  end)

  describe("of timers", function()
    it("run after a time, or again and again without overlap, until canceled; a failure does not end them", function()
      local script = run([[
local began = kt.now()
local function at(...) print(("%.1f"):format(kt.now() - began), ...) end
kt.after("1s", function() at "after" end)
kt.after("1s", function() at "never" end):cancel()
local n = 0
local tick
tick = kt.every("2s", function()
  n = n + 1
  at "every"
  if n == 2 then kt.sleep(3) end
  if n == 3 then tick:cancel() at "canceled" end
  error("oops " .. n)
end)
print(select(2, pcall(kt.every, 0, print)))
print(select(2, pcall(kt.every, "2x", print)))
print(select(2, pcall(kt.after, 1)))]], nil, "1m")
      assert.equal("s.lua:17: kt.every: expected an interval of at least 1ms\n"
        .. 's.lua:18: kt.every: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "2x"\n'
        .. "s.lua:19: kt.after: argument 2: expected a function, got no value\n"
        .. "1.0\tafter\n2.0\tevery\n4.0\tevery\n8.0\tevery\n8.0\tcanceled\n", script:output())
      assert.equal(3, select(2, script:log():gsub("task failed: s.lua:%d+: oops %d", "")))
      assert.equal(1, script.exit_code) -- nothing is left to do, and tasks have failed
    end)

    it("cost no task until they are due, by the ten thousand", function()
      local script = run([[
for i = 1, 20000 do
  kt.after(1 + i / 1e4, function() count = count + 1 end)
  if i % 1000 == 0 then kt.sleep(0) end
end]], "count = 0\nkt.after('5s', function() print(count) end)", "900ms")
      assert.equal(0, script:stats().tasks)
    end)

    it("made in the main chunk end when a reload replaces the script; those of a live conn go on", function()
      local w = sim.world { seed = 1 }
      local host = w:host "a"
      host:file("s.lua", [[
local kt = require "kt"
local name = ...
kt.every("1s", function() print("declared") end)
kt.listen { on = "127.0.0.1:80" }:serve(function(conn)
  local watch <close> = kt.every("1s", function() print("conn's") end)
  conn:read(1, { timeout = "1h" })
end)]])
      local script = host:run "s.lua"
      local conn = host:connect "127.0.0.1:80"
      w:run_for "2500ms"
      assert.equal(("declared\nconn's\n"):rep(2), script:output())
      script:signal "HUP"
      w:run_for "2s"
      conn:close()
      w:run_for "2100ms"
      local said = script:output():sub(#("declared\nconn's\n"):rep(2) + 1)
      assert.equal(2, select(2, said:gsub("conn's", "")))
      assert.equal(4, select(2, said:gsub("declared", "")))
    end)
  end)

  it("of scripts that use all of this at random end as they should, also over a reload and at the end", function()
    for seed = 1, 2 do
      local w = sim.world { seed = seed }
      local host = w:host "a"
      host:file("s.lua", [[
local kt = require "kt"
kt.listen { on = "127.0.0.1:80" }:serve(function(conn)
  local d = conn:read(9, { timeout = "10s" })
  if d then conn:write(d) end
  conn:read(1, { timeout = "3s" })
end)
local tasks, events, queues, live = {}, {}, {}, 0
for i = 1, 5 do events[i], queues[i] = kt.event(), kt.queue { size = math.random(1, 3) } end
local function pick(t) return t[math.random(#t)] end
local function wait() return { timeout = math.random() * 2 } end
local act
local acts = {
  function() kt.sleep(math.random() / 10) end,
  function() local t = pick(tasks) if t then pcall(t.wait, t, wait()) end end,
  function() local t = pick(tasks) if t then t:cancel() end end,
  function() pick(events):set() end, function() pick(events):clear() end, function() pick(events):wait(wait()) end,
  function() pick(queues):push(math.random(), wait()) end, function() pick(queues):pop(wait()) end,
  function() local c = kt.connect { to = "127.0.0.1:80" } if c then pick(queues):push(c, wait()) end end,
  function()
    local c = pick(queues):pop(wait())
    if type(c) == "userdata" then c:write "x" c:read(1, wait()) end
  end,
  function()
    local a, b = kt.connect { to = "127.0.0.1:80" }, kt.connect { to = "127.0.0.1:80" }
    if a and b then kt.splice(a, b, { idle = "1s" }) end
  end,
  function()
    local opener = kt.spawn(function() kt.sleep(math.random()) return kt.connect { to = "127.0.0.1:80" } end)
    pcall(kt.first, pick(tasks), pick(tasks), opener, wait())
  end,
  function() error("x" .. math.random(3)) end,
  function()
    local x <close> = setmetatable({}, { __close = function() if math.random() < 0.1 then error "x0" end end })
    act()
  end,
  function() kt.after(math.random(), act) end,
  function() local t <close> = kt.every(0.1, act) kt.sleep(math.random()) end,
  function() kt.inspect { max = 20 } end, function() collectgarbage() end,
  function() return kt.connect { to = "127.0.0.1:80" } end,
}
function act()
  if live >= 300 then return pick(acts)() end
  tasks[math.random(40)] = kt.spawn(function()
    live = live + 1
    local done <close> = setmetatable({}, { __close = function() live = live - 1 end })
    local last
    for _ = 1, math.random(6) do last = pick(acts)() end
    return last
  end)
end
for i = 1, 40 do tasks[i] = kt.spawn(kt.sleep, 0) end
kt.every("50ms", function() for _ = 1, 10 do act() end end)]])
      local script = host:run "s.lua"
      w:run_for "4s"
      script:signal "HUP"
      w:run_for "3s"
      script:signal "TERM"
      w:run_for "20s"
      assert.is_not_nil(script.exit_code)
      for line in script:log():gmatch "[^\n]+" do
        local planned = line:find "^info" or line:find "s%.lua:%d+: x%d" or line:find "more times" or line:find "dropped without" or line:find "still open"
        assert.truthy(planned, line)
      end
    end
  end)
end)
