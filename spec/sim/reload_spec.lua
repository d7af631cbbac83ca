-- Reloads and ends in virtual time: cleanup of a replaced script, and the links handed to a new one.
local sim = require "kt.sim"

-- A near host whose script brings streams to a far one, which echoes them.
local function tunnel(near, far, line)
  local w = sim.world { seed = 1, log = "debug" }
  w:host "near"
  w:host "far"
  w:link("near", "far", line or { delay = "50ms" })
  w:host("far"):serve { on = "127.0.0.1:9", kind = "echo" }
  w:host("far"):file("far.lua", [[
    local kt = require "kt"
    local acceptor = kt.accept { on = ":29900", wire = "kcptun", key = "k" }
    acceptor:serve(function(stream)
      local conn = kt.connect { to = "127.0.0.1:9" }
      kt.splice(stream, conn)
    end)]] .. (far or ""))
  w:host("near"):file("near.lua", [[
    local kt = require "kt"
    local link = kt.link { remote = "far:29900", wire = "kcptun", key = "k", smux = { keepalive = "1s" } }
    kt.listen { on = "127.0.0.1:1" }:serve(function(conn)
      kt.splice(conn, link:open())
    end)]] .. (near or ""))
  return w, w:host("far"):run "far.lua", w:host("near"):run "near.lua"
end

local function gone(script)
  return function() return script:stats().replaced == 0 end
end

describe("a script that was replaced", function()
  it("counts towards its host's figures while its conns live", function()
    local w, _, script = tunnel()
    local app = w:host("near"):connect "127.0.0.1:1"
    app:echo "a"
    script:signal "HUP"
    w:run_for "2s"
    assert.equal(1, script:stats().replaced)
    assert.equal(2, script:stats().pipes)
    assert.error_matches(function() w:settle { timeout = "5s" } end, "near.lua on host near holds 2 conns and streams")
    app:close()
    w:settle()
    w:run_until(gone(script))
  end)

  it("no longer watches files or holds the UDP ports of its tasks, while its conns live", function()
    local w, _, script = tunnel([[
    kt.watch("rules.txt", function(text) print("changed", text) end)
    kt.spawn(function()
      local socket, err = kt.udp { on = "127.0.0.1:5" }
      print(socket and "bound" or err)
      print(socket and select(2, socket:receive { timeout = "1h" }).code)
    end)]])
    local app = w:host("near"):connect "127.0.0.1:1"
    app:echo "a"
    for _ = 1, 3 do
      script:signal "HUP"
      w:run_for "3s"
    end
    assert.equal(1, script:stats().replaced)
    w:host("near"):file("rules.txt", "two")
    w:run_for "1s"
    assert.equal("bound\n" .. ("bound\nclosed\n"):rep(3) .. "changed\ttwo\n", script:output())
    app:close()
  end)

  it("ends once its last conn has ended, although its link is probed all the time", function()
    local w, _, script = tunnel("kt.pool { links = { link }, check = { every = '100ms', timeout = '2s' } }", nil, { delay = "400ms" })
    local app = w:host("near"):connect "127.0.0.1:1"
    app:echo "a"
    script:signal "HUP"
    w:run_for "3s"
    assert.equal(1, script:stats().replaced)
    app:close()
    w:run_until(gone(script), { timeout = "10s" })
  end)

  it("has its last bytes delivered before it goes", function()
    local w, _, script = tunnel("", "", { delay = "50ms", rate = "80kbit", queue = { time = "200ms" } })
    w:host("far"):serve { on = "127.0.0.1:10", kind = "sink" }
    w:host("far"):file("far.lua", (w:host("far"):read_file "far.lua":gsub("0.1:9\"", "0.1:10\"")))
    w:host("far").scripts[1]:signal "HUP"
    w:run_for "1s"
    local t = w:transfer { from = "near", to = "127.0.0.1:1", bytes = "60kB", kind = "up" }
    w:run_for "1s"
    script:signal "HUP"
    t:wait()
    w:run_until(gone(script), { timeout = "10s" })
  end)
end)

describe("a script that has ended and waits for the conns of the one before it", function()
  it("takes no turns for tasks that have ended", function()
    local w, _, script = tunnel()
    local app = w:host("near"):connect "127.0.0.1:1"
    app:echo "a"
    w:host("near"):file("near.lua", w:host("near"):read_file "near.lua" .. [[
      for i = 1, 50 do
        kt.spawn(function() while true do kt.sleep "1ms" end end)
      end]])
    script:signal "HUP"
    w:run_for "1s"
    script:signal "TERM"
    w:run_for "3s" -- or it is a livelock
    assert.is_true(script:is_running())
    app:echo "still here"
    app:close()
    w:run_for "3s"
    assert.equal(0, script.exit_code)
  end)
end)

describe("a script that takes an acceptor over", function()
  it("keeps its place if the new one gives an acceptor another wire, and the log says what to do", function()
    local w, script = tunnel()
    w:host("far"):file("far.lua", [[
      local kt = require "kt"
      kt.accept { on = ":29900", wire = "kt", key = "k" }:serve(function() end)]])
    script:signal "HUP"
    w:run_for "1s"
    assert.matches("a reload cannot change the wire of an acceptor from kcptun to kt; restart kt, or accept at another port", script:log(), 1, true)
    w:host("near"):connect("127.0.0.1:1"):echo "a"
  end)

  it("receives the existing links in the order in which they came", function()
    local w = sim.world { seed = 1 }
    w:host("far"):file("far.lua", [[
      local kt = require "kt"
      local acceptor = kt.accept { on = ":29900", wire = "kcptun", key = "k" }
      acceptor:serve(function() end)
      acceptor:on("link", function(link) print(link.remote) end)]])
    local script = w:host("far"):run "far.lua"
    local came = {}
    for i = 1, 12 do
      local near = w:host("near" .. i)
      w:link(near, "far", { delay = "10ms" })
      near:file("near.lua", 'local kt = require "kt" kt.link { remote = "far:29900", wire = "kcptun", key = "k", stay = true } '
        .. 'kt.listen { on = "127.0.0.1:1" }:serve(print)')
      near:run "near.lua"
      w:run_for "1s"
      came[i] = script:output():match "([^\n]*)\n$"
    end
    assert.equal(12, select(2, script:output():gsub("\n", "\n")))
    local before = #script:output()
    script:signal "HUP"
    w:run_for "1s"
    assert.equal(table.concat(came, "\n") .. "\n", script:output():sub(before + 1))
  end)
end)

describe("a socket that moves between the main chunk and a task", function()
  local HEAD = 'local kt = require "kt"\nlocal version = "%s"\n'
  local IN_MAIN = HEAD .. "open()\nkt.spawn(kt.sleep, '10h')"
  local IN_TASK = HEAD .. "kt.spawn(function() kt.sleep '%s'; open() kt.sleep '10h' end)"

  --- A host whose script opens its sockets where `text` says, by this code.
  local function host(open)
    local w = sim.world { seed = 1 }
    local a, script = w:host "a", nil
    local function load(version, text, delay)
      a:file("s.lua", (text:format(version, delay):gsub("open%(%)", function() return "(function() " .. open .. " end)()" end)))
      if script then script:signal "HUP" else script = a:run "s.lua" end
      return script
    end
    return w, a, load
  end

  it("is kept without a gap: each client is served, by the old script until the task has opened it", function()
    local w, a, load = host [[
      assert(kt.listen { on = "127.0.0.1:1" }):serve(function(conn) conn:write(version) end)
      local socket = assert(kt.udp { on = "127.0.0.1:2" })
      kt.spawn(function()
        for data, from in function() return socket:receive { timeout = "1h" } end do socket:send(version, from) end
      end)]]
    load("1", IN_MAIN)
    local udp = a:udp { to = "127.0.0.1:2" }
    local function ask()
      udp:send "x"
      return a:connect("127.0.0.1:1"):read_exactly(1) .. udp:receive { timeout = "1s" }
    end
    for i, text in ipairs { IN_TASK, IN_TASK, IN_MAIN } do
      local before, after = tostring(i):rep(2), tostring(i + 1):rep(2)
      load(tostring(i + 1), text, "500ms")
      local seen = { [before] = 0, [after] = 0 }
      for _ = 1, 20 do
        w:run_for "45ms"
        local got = ask()
        seen[got] = seen[got] + 1
      end
      assert.is_true(text == IN_MAIN and seen[after] == 20 or seen[before] > 5 and seen[after] > 5)
    end
  end)

  it("is closed a second after the reload if no task has opened it, and can be opened later", function()
    local w, a, load = host 'kt.listen { on = "127.0.0.1:1" }:serve(function(conn) conn:write(version) end)'
    local script = load("1", IN_MAIN)
    load("2", IN_TASK, "2s")
    w:run_for "900ms"
    assert.equal("1", a:connect("127.0.0.1:1"):read_exactly(1))
    w:run_for "500ms"
    assert.is_nil((a:try_connect "127.0.0.1:1"))
    w:run_for "1s"
    assert.equal("2", a:connect("127.0.0.1:1"):read_exactly(1))
    assert.matches("0 addresses kept, 0 opened, 0 closed, 1 left to the new script's tasks for 1 s; ", script:log(), 1, true)
    w:run_until(gone(script))
  end)

  it("keeps the sessions of an acceptor, however late its task opens it", function()
    local w, _, load = host [[
      kt.accept { on = ":29900", wire = "kcptun", key = "k" }:serve(function(stream)
        for line in function() return stream:read_until("\n", 100, { timeout = "1h" }) end do stream:write(version .. line) end
      end)]]
    load("1", IN_MAIN)
    w:link(w:host "b", "a", { delay = "10ms" })
    w:host("b"):file("near.lua", [[
      local kt = require "kt"
      local link = kt.link { remote = "a:29900", wire = "kcptun", key = "k" }
      link:on("down", function() print "down" end)
      kt.listen { on = "127.0.0.1:1" }:serve(function(conn) kt.splice(conn, link:open()) end)]])
    local near = w:host("b"):run "near.lua"
    local function ask(app)
      app:write "x\n"
      return app:read_until "\n"
    end
    local first = w:host("b"):connect "127.0.0.1:1"
    assert.equal("1x\n", ask(first))
    for i, delay in ipairs { "10ms", "3s" } do
      local version = tostring(i + 1)
      load(version, IN_TASK, delay)
      w:run_for "5s"
      assert.equal(version .. "x\n", ask(w:host("b"):connect "127.0.0.1:1"))
      assert.equal("1x\n", ask(first))
    end
    assert.equal("", near:output())
  end)

  it("gives the task of an acceptor the links of peers that are up", function()
    local w, _, load = host [[
      kt.accept { on = ":29900", wire = "kt", key = "k" }:on("link", function(link) print(version, (kt.address(link.remote))) end)]]
    local script = load("1", IN_MAIN)
    w:link(w:host "b", "a", { delay = "10ms" })
    w:host("b"):run("near.lua", { files = { ["near.lua"] = [[
      local kt = require "kt"
      kt.link { remote = "a:29900", wire = "kt", key = "k" }:serve(function() end)]] } })
    w:run_for "1s"
    for i, text in ipairs { IN_TASK, IN_MAIN } do
      load(tostring(i + 1), text, "100ms")
      w:run_for "3s"
    end
    local peer = w:host("b"):addresses()[1]
    assert.equal(("1\t%s\n2\t%s\n3\t%s\n"):format(peer, peer, peer), script:output())
  end)
end)
