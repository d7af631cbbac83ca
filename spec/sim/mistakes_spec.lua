-- Mistakes in specs: each is raised at the spec's own line and says what to write instead.
local sim = require "kt.sim"

local function two()
  local w = sim.world { seed = 1 }
  w:host "client"
  w:host "server"
  w:link("client", "server", { delay = "10ms" })
  return w
end

-- A script on host client that sends a packet to host server.
local function sends(w)
  w:host "client":file("sends.lua", [[local kt = require "kt"
    local s = kt.udp { on = ":9" }
    kt.spawn(function() s:send("x", "10.0.2.1:9") kt.sleep "1s" end)]])
  return "sends.lua"
end

-- fn's error, which must begin with the line that fn is on.
local function mistake(fn)
  local line = debug.getinfo(fn, "S").linedefined
  local ok, why = pcall(fn)
  assert.is_false(ok)
  local at, text = tostring(why):match "^spec/sim/mistakes_spec%.lua:(%d+): (.*)$"
  assert.is_string(at, why)
  assert.equal(line, tonumber(at))
  return text
end

describe("a spec's mistake", function()
  it("in a world's options is named", function()
    assert.equal("sim.world.sead: unknown key; did you mean seed?", mistake(function() sim.world { sead = 3 } end))
  end)

  it("in a function's name is named", function()
    assert.equal("sim.wrld: no such function; did you mean sim.world?", mistake(function() return sim.wrld end))
  end)

  it("in a link's parameters reports all of them at once", function()
    local w = two()
    w:host "third"
    local text = mistake(function() w:link("client", "third", { delay = "5", loss = "300%", mtu = 9, los = 1 }) end)
    assert.matches("4 mistakes", text)
    assert.matches('w:link.delay: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "5"', text, 1, true)
    assert.matches('w:link.loss: expected a share such as "5%", or a number from 0 to 1, got "300%"', text, 1, true)
    assert.matches("w:link.mtu: expected 68 to 65535, got 9", text, 1, true)
    assert.matches("w:link.los: unknown key; did you mean loss?", text, 1, true)
  end)

  it("of bursts that never end is reported", function()
    local w = two()
    local text = mistake(function() w:link("client", "server"):set { burst = { enter = 0.1, leave = 0 } } end)
    assert.matches("burst_leave", text, 1, true)
  end)

  it("in a host's name comes with the nearest one", function()
    local w = two()
    assert.equal('w:link: unknown host "servr"; did you mean "server"?', mistake(function() w:link("client", "servr") end))
    assert.equal('w:name: unknown host "servr"; did you mean "server"?', mistake(function() w:name("x", "servr") end))
    assert.equal('w:transfer: unknown host "clint"; did you mean "client"?',
      mistake(function() w:transfer { from = "clint", to = "server:1" } end))
  end)

  it("of an unknown link lists the existing ones", function()
    local w = two()
    w:host "third"
    local text = mistake(function() w:link("client", "third"):cut() end)
    assert.equal("w:link: client - third: not linked; give options, at least {}, to link them (links: client - server)", text)
  end)

  it("of linking twice names the line of the first", function()
    local w = two()
    assert.matches("already linked (spec/sim/mistakes_spec.lua:8)", mistake(function() w:link("server", "client", {}) end), 1, true)
  end)

  it("in the end of a link is reported", function()
    local w = two()
    assert.equal('link:cut: unknown end of this link "other"; expected one of client, server',
      mistake(function() w:link("client", "server"):cut "other" end))
  end)

  it("of a time in the past is reported", function()
    local w = two()
    w:run "5s"
    assert.equal("w:run: 3 s is in the past; the clock is at 5 s", mistake(function() w:run "3s" end))
    assert.equal("w:at: 1 s is in the past; the clock is at 5 s", mistake(function() w:at("1s", print) end))
  end)

  it("of an absurdly late time is reported", function()
    local w = two()
    assert.matches("w:run: expected at most", mistake(function() w:run(1e300) end), 1, true)
    assert.matches("w:run: expected a duration such as \"5s\", \"800ms\", \"10m\", \"1h30m\", or a number of seconds, got NaN",
      mistake(function() w:run(0 / 0) end):gsub("%-nan", "nan"), 1, true)
    assert.matches("w:run: expected a duration such as \"5s\", \"800ms\", \"10m\", \"1h30m\", or a number of seconds, got -3",
      mistake(function() w:run(-3) end), 1, true)
  end)

  it("of a period of length 0 is reported", function()
    local w = two()
    assert.matches("w:every: expected a period longer than 0, got 0", mistake(function() w:every(0, print) end))
  end)

  it("in the start time of a world is reported", function()
    for _, start in ipairs { "2026-02-29", "2026-3-2", "yesterday", "2026-01-01 24:00", "2026-01-01 10:00:0", -1, {} } do
      assert.matches('sim.world.start: expected a moment in UTC such as "2026%-03%-02"', mistake(function() sim.world { start = start } end))
    end
  end)

  it("in a NAT's address is reported", function()
    local w = two()
    local client, server = w:host "client", w:host "server"
    assert.equal('host:nat: "2001:db8::1/64" is not an IP address', mistake(function() client:nat { public = "2001:db8::1/64" } end))
    assert.equal("host:nat: nat of host client: fd00::2 is the address of host server", mistake(function() client:nat { public = "fd00::2" } end))
    server:nat { public = { "198.51.100.1", "2001:db8::1" } }
    assert.equal("host:nat: host server already has a NAT for IPv6", mistake(function() server:nat { public = "2001:db8::2" } end))
    local old = w:host("old", { address = "192.0.2.9" })
    assert.equal("host:nat: nat of host old: 2001:db8::3, but the host has no IPv6 address to translate",
      mistake(function() old:nat { public = "2001:db8::3" } end))
  end)

  it("of running a host's second script names the first and its line", function()
    local w = two()
    local client = w:host "client"
    client:file("a.lua", 'local kt = require "kt" kt.spawn(function() kt.sleep "1h" end)')
    client:run "a.lua"
    assert.matches("host client already runs a.lua (started at spec/sim/mistakes_spec.lua:" ..
      debug.getinfo(1, "l").currentline - 2 .. ")", mistake(function() client:run "a.lua" end), 1, true)
    client:run("a.lua", { beside = true })
  end)

  it("in a script is reported with the script's line and the spec's", function()
    local w = two()
    w:host "client":file("bad.lua", 'local kt = require "kt"\nkt.listen { on = "127.0.0.1:1", backlok = 3 }')
    assert.matches("host:run: script bad.lua on host client: bad.lua:2: listen.backlok: unknown key",
      mistake(function() w:host "client":run "bad.lua" end), 1, true)
    assert.matches("missing.lua: no such file", mistake(function() w:host "client":run "missing.lua" end), 1, true)
  end)

  it("of running anything on a host that is down is reported", function()
    local w = two()
    w:host "client":crash()
    assert.matches("host client is down; host:restart() brings it up", mistake(function() w:host "client":run "a.lua" end), 1, true)
    assert.matches("host client is down", mistake(function() w:host "client":connect "server:1" end), 1, true)
  end)

  it("of running the world from inside it is reported", function()
    local w = two()
    w:at("1s", function() w:run "20s" end)
    local ok, why = pcall(function() w:run "10s" end)
    assert.is_false(ok)
    assert.matches("w:run: the world is already running; call it in the body of a spec", why, 1, true)
  end)

  it("of waiting where waiting is impossible is reported", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "echo" }
    local app = w:host "client":connect "server:1"
    local ok, why = pcall(function() w:run_until(function() return app:echo "hello" end) end)
    assert.is_false(ok)
    assert.matches("cannot wait here while the world runs", why, 1, true)
  end)

  it("of a rule's answer names the rule's line", function()
    local w = two()
    w:host "server":file("s.lua", 'local kt = require "kt" local s = kt.udp { on = ":9" } kt.spawn(function() s:receive() end)')
    w:rule { fn = function() return { dely = 3 } end }
    local line = debug.getinfo(1, "l").currentline - 1
    w:host "client":run(sends(w))
    local ok, why = pcall(function() w:run "2s" end)
    assert.is_false(ok)
    assert.equal(("spec/sim/mistakes_spec.lua:%d: rule.dely: unknown key; did you mean delay?"):format(line), why)
  end)

  it("of waiting for a condition that never holds is reported with the clock", function()
    local w = two()
    assert.equal("w:run_until: not true within 5 s; the clock is at 5 s",
      mistake(function() w:run_until(function() end, { timeout = "5s" }) end))
  end)

  it("of connecting to an address without a listener is reported with the reason", function()
    local w = two()
    assert.matches("connection refused", mistake(function() w:host "client":connect "server:7" end), 1, true)
    assert.matches("nobody.example: no such host name", mistake(function() w:host "client":connect "nobody.example:7" end), 1, true)
  end)

  it("of serving at an address in use is reported", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "echo" }
    assert.matches("in use", mistake(function() w:host "server":serve { on = ":1", kind = "echo" } end), 1, true)
  end)

  it("in a task comes out of the run", function()
    local w = two()
    w:task(function()
      w:sleep "1s"
      error({ "as it is" })
    end)
    local ok, why = pcall(function() w:run "5s" end)
    assert.is_false(ok)
    assert.same({ "as it is" }, why)
    assert.equal(1, w:now())
  end)

  it("in a task does not keep other events of that instant from happening", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "echo" }
    local app = w:host "client":connect "server:1"
    local happened = {}
    local function happens(what) return function() happened[#happened + 1] = what end end
    w:at("1s", function()
      w:task(function() error("the first", 0) end)
      w:task(happens "a task that is ready too")
      w:task(function() error("the second", 0) end)
    end)
    w:at("1s", happens "a timer that is due too")
    w:at("1s", function() app:echo "hello"; happened[#happened + 1] = "an echo later" end)
    local ok, why = pcall(function() w:run "5s" end)
    assert.is_false(ok)
    assert.matches("^the first\n  in the function given to w:task [^\n]+\n  at [^\n]+\n%(and 1 more at that instant%)$", why)
    assert.equal(1, w:now())
    w:run "5s"
    table.sort(happened)
    assert.same({ "a task that is ready too", "a timer that is due too", "an echo later" }, happened)
  end)

  it("in a condition does not change the world", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "echo" }
    local app = w:host "client":connect "server:1"
    local function broken() error("in the condition", 0) end
    assert.error_matches(function() w:run_until(broken) end, "^in the condition$") -- at once
    app:echo "hello"
    local asked = 0
    w:at(w:now() + 1, function() end)
    local ok, why = pcall(function() -- when it is asked while the world runs
      w:run_until(function()
        asked = asked + 1
        if asked > 1 then broken() end
      end)
    end)
    assert.is_false(ok)
    assert.equal("in the condition", why)
    app:echo "hello"
  end)

  it("in the arguments of a call is reported", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "sink" }
    local client = w:host "client"
    client:file("s.lua", 'local kt = require "kt" kt.spawn(function() kt.sleep "1h" end)')
    local script, app = client:run "s.lua", client:connect "server:1"
    assert.equal('script:signal: unknown value "TRM"; did you mean "TERM"?', mistake(function() script:signal "TRM" end))
    assert.equal("host:short_io: expected 1 to 1073741824, got 0", mistake(function() client:short_io(0) end))
    assert.equal("host:file: text: expected a string, got a table", mistake(function() client:file("a", {}) end))
    assert.equal("host:connect: address: expected a string, got 7", mistake(function() client:connect(7) end))
    assert.equal("app:write: expected a string, got nil", mistake(function() app:write() end))
    assert.equal("app:read: expected at least 1, got 0", mistake(function() app:read(0) end))
    assert.equal("app:read_exactly: expected an integer (at least 1), got nil", mistake(function() app:read_exactly() end))
    assert.equal("app:read_until: expected a delimiter of at least one byte, got \"\"", mistake(function() app:read_until "" end))
    assert.equal("app:echo: expected a string, got a table", mistake(function() app:echo {} end))
    assert.matches('connect.timeout: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "soon"',
      mistake(function() client:connect("a", { timeout = "soon" }) end), 1, true)
    assert.matches('sweep: expected the number of seeds, got "all"', mistake(function() sim.sweep("all", print) end), 1, true)
    assert.matches("leave it out", mistake(function() sim.sweep(3, print, { seed = 1 }) end), 1, true)
  end)

  it("of using a closed world, or an object of it, is reported with the line that closed it", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "echo" }
    local app, link = w:host "client":connect "server:1", w:link("client", "server")
    w:close()
    local closed = ("the world was closed (spec/sim/mistakes_spec.lua:%d)"):format(debug.getinfo(1, "l").currentline - 1)
    assert.equal("w:run: " .. closed, mistake(function() w:run "5s" end))
    assert.equal("w:now: " .. closed, mistake(function() w:now() end))
    assert.equal("app:write: " .. closed, mistake(function() app:write "x" end))
    assert.equal("link:cut: " .. closed, mistake(function() link:cut() end))
    assert.equal("world of seed 1, closed", tostring(w))
    app:close()
    w:close()
  end)

  it("in a method's name comes with the nearest one", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "echo" }
    local client = w:host "client"
    assert.equal("w:trasnfer: no such field or method; did you mean w:transfer?", mistake(function() w:trasnfer {} end))
    assert.equal("host:conect: no such field or method; did you mean host:connect?", mistake(function() client:conect "server:1" end))
    assert.equal("link:cutt: no such field or method; did you mean link:cut?", mistake(function() w:link("client", "server"):cutt() end))
    local k = w:keystrokes { from = client, to = "server:1", count = 1 }
    assert.equal("flow:meadian: no such field or method; did you mean flow:median?", mistake(function() k:meadian() end))
    assert.equal("flow:wiat: no such field or method; did you mean flow:wait?", mistake(function() k:wiat() end))
    assert.equal('app:frobnicate: no such field or method; see docs/reference-sim.md',
      mistake(function() client:connect "server:1":frobnicate() end))
    assert.is_nil(k.server) -- which a flow may have
  end)

  it("of a dot for a colon is reported", function()
    local w = two()
    assert.equal('w.run: called with a dot; write w:run(...)', mistake(function() w.run "1s" end))
    assert.equal('host.crash: called with a dot; write host:crash(...)', mistake(function() w:host "client".crash() end))
  end)

  it("of impossible parameters is reported with the possible ones", function()
    local w = two()
    local client = w:host "client"
    local function link(opts) return function() w:link("client", "server"):set(opts) end end
    local function refused(want, fn)
      local line = debug.getinfo(fn, "S").linedefined
      local ok, why = pcall(fn)
      assert.is_false(ok)
      assert.matches(("spec/sim/mistakes_spec.lua:%d: "):format(line), why, 1, true)
      assert.matches(want, why, 1, true)
    end
    for _, rate in ipairs { 0, 1e-300, 1e300, math.maxinteger, "0bit" } do
      local shown = type(rate) == "string" and '"0bit"' or tostring(rate)
      refused("link:set.rate: expected 1kbit to 1000Gbit, got " .. shown, link { rate = rate })
    end
    refused("link:set.queue.time: expected 1us to 1h, got 0", link { queue = { time = 0 } })
    refused("link:set.queue.packets: expected 1 to 1000000000, got 1000000000000000000", link { queue = { packets = 10 ^ 18 // 1 | 0 } })
    refused("link:set.reorder_by: expected at most 1h, got 1e+300", link { reorder_by = 1e300 })
    refused("host:slow_reader: expected 1 bytes per second to 1000Gbit, got 0", function() client:slow_reader(0) end)
    refused("host:slow_reader: expected 1 bytes per second to 1000Gbit, got 1e+300", function() client:slow_reader(1e300) end)
    refused("host:clock_jump: expected at most 1000000000s, got 1e+300", function() client:clock_jump(1e300) end)
    refused('host:clock_jump: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "-1x"',
      function() client:clock_jump "-1x" end)
    refused("host:run.memory: expected 1MiB to 64GiB, got 1000000000000000000", function() client:run("m.lua", { memory = 1000000000000000000 }) end)
    refused("host:nat.timeout: expected at most 1000000000s, got 1e+300",
      function() client:nat { public = "198.51.100.1", timeout = 1e300 } end)
    refused("198.51.100.256", function() client:nat { public = "198.51.100.256" } end)
    refused("224.0.0.1 cannot be a public address", function() client:nat { public = "224.0.0.1" } end)
    refused("w:keystrokes.count: expected 1 to 1000000, got 1000000000000000000",
      function() w:keystrokes { from = client, to = "server:1", count = 1000000000000000000 } end)
    refused("sim.world.start: expected a moment in UTC such as \"2026-03-02\" or \"2026-03-02 22:59:30\", or seconds since 1970, got 1e+300",
      function() sim.world { start = 1e300 } end)
    refused('host:serve.rate: only for kind = "source"',
      function() client:serve { on = ":2", kind = "echo", rate = "1Mbit" } end)
    refused('host:serve.bytes: only for kind = "source"', function() client:serve { on = ":2", fn = print, bytes = 5 } end)
  end)

  it("that raises without a value is reported as such", function()
    local w = two()
    w:at("1s", function() error() end)
    local ok, why = pcall(w.run, w, "2s")
    assert.is_false(ok)
    assert.matches("an error without a value\n  in the function given to w:at (spec/sim/mistakes_spec.lua:", why, 1, true)
  end)

  it("in the name of a host or a DNS name is reported", function()
    local w = two()
    for _, name in ipairs { "", "a\0b", "\n", "a:1", "a b", ("x"):rep(64) } do
      assert.matches('^w:host: expected a name of 1 to 63 letters, digits and %-_%., got ".*"$', mistake(function() w:host(name) end))
    end
    assert.equal('w:host: expected a name, not an address, got "10.0.0.9"', mistake(function() w:host "10.0.0.9" end))
    assert.equal('w:host: "localhost" is reserved: every host is localhost to itself', mistake(function() w:host "localhost" end))
    assert.equal("w:name: expected a name, got 5", mistake(function() w:name(5) end))
    assert.equal("w:name: expected a name, got false", mistake(function() w:name(false) end))
    assert.equal("w:name: expected a name, got a table", mistake(function() w:name {} end))
    assert.matches("w:name.delay: expected at most", mistake(function() w:name("n", "server", { delay = 1e18 }) end), 1, true)
    assert.matches("255.255.255.255:0 cannot be a host's address", mistake(function() w:host("x", { address = "255.255.255.255" }) end), 1, true)
  end)

  it("that points a name to nil by a typing mistake is reported", function()
    local w, hosts = two(), {}
    assert.equal("w:name: vps.example: expected a host, an address, a list of addresses, or false (no such name), got nil",
      mistake(function() w:name("vps.example", hosts.typo) end))
    assert.equal("w:name: vps.example: expected a list of 1 to 16, got 0", mistake(function() w:name("vps.example", {}) end))
  end)

  it("that uses a host of another world is reported", function()
    local w, other = two(), two()
    local text = "host server belongs to another world"
    assert.equal("w:link: " .. text, mistake(function() w:link("client", other:host "server") end))
    assert.equal("w:name: " .. text, mistake(function() w:name("n", other:host "server") end))
    assert.equal("w:transfer: " .. text, mistake(function() w:transfer { from = other:host "server", to = "server:1" } end))
    assert.equal("link:cut: " .. text, mistake(function() w:link("client", "server"):cut(other:host "server") end))
  end)

  it("in a script that a host runs again is reported as an error of restart", function()
    local w = two()
    local client = w:host "client"
    client:file("s.lua", 'local kt = require "kt" kt.spawn(function() kt.sleep "1h" end)')
    client:run "s.lua"
    client:crash()
    client:file("s.lua", "error 'no more'")
    assert.equal("host:restart: script s.lua on host client: s.lua:1: no more", mistake(function() client:restart() end))
  end)

  it("of raising a value that is not a string is reported", function()
    local w = two()
    local client = w:host "client"
    local function said(text)
      client:file("s.lua", text)
      return mistake(function() client:run "s.lua" end)
    end
    assert.equal("host:run: script s.lua on host client: s.lua:2: an error that is a table without __tostring", said "\nerror {}")
    assert.equal("host:run: script s.lua on host client: s.lua:1: an error that is nil", said "error()")
  end)

  it("in a function that is called later names its owner and the lines it came through", function()
    local here = "spec/sim/mistakes_spec.lua:"
    local function check(what, give)
      local w = two()
      w:host "server":serve { on = ":1", kind = "sink" }
      local given = here .. debug.getinfo(give, "S").linedefined
      give(w, function()
        local function inner() error "ouch" end
        inner()
      end)
      local ok, why = pcall(function() w:run "5s" end)
      assert.is_false(ok)
      local line = debug.getinfo(1, "l").currentline - 5
      assert.equal(("%s%d: ouch\n  in the function given to %s (%s)\n  at %s%d\n  from %s%d"):format(here, line, what, given, here, line, here, line + 1),
        (why:gsub("(from [^\n]+)\n.*", "%1")))
    end
    check("w:at", function(w, fn) w:at("1s", fn) end)
    check("w:every", function(w, fn) w:every("1s", fn) end)
    check("w:task", function(w, fn) w:task(fn) end)
    check("w:fault", function(w, fn) w:fault("1s", "ill", fn) end)
    check("host:serve", function(w, fn) w:host "client":serve { on = ":2", fn = fn } w:at("1s", function() w:host "server":connect "client:2" end) end)
    check("w:rule", function(w, fn) w:rule { fn = fn } w:host "client":run(sends(w)) end)
  end)

  it("found by an assertion in a task is still a failure, with its place", function()
    local w = two()
    w:at("1s", function() assert.equal(1, 2) end)
    local ok, why = pcall(function() w:run "5s" end)
    assert.is_false(ok)
    assert.equal("failure", debug.getmetatable(why).__type)
    assert.matches("Expected objects to be equal.*in the function given to w:at %(spec/sim/mistakes_spec.lua:%d+%)\n"
      .. "  at spec/sim/mistakes_spec.lua:%d+", why.message)
  end)

  it("of yielding in a task is reported", function()
    local w = two()
    w:task(function() coroutine.yield() end)
    local ok, why = pcall(function() w:run "5s" end)
    assert.is_false(ok)
    assert.matches("spec/sim/mistakes_spec.lua:" .. debug.getinfo(1, "l").currentline - 3 .. ": coroutine.yield in a task: nothing resumes it",
      why, 1, true)
  end)

  it("of closing the world from a task is reported", function()
    local w = two()
    w:task(function() w:close() end)
    local ok, why = pcall(function() w:run "5s" end)
    assert.is_false(ok)
    assert.matches("spec/sim/mistakes_spec.lua:" .. debug.getinfo(1, "l").currentline - 3 .. ": w:close: the world is running", why, 1, true)
  end)
end)

describe("a world that cannot advance", function()
  it("reports a livelock, with its place and seed", function()
    local w = two()
    local function again() w:at(w:now(), again) end
    w:at("1s", again)
    local ok, why = pcall(function() w:run "5s" end)
    assert.is_false(ok)
    assert.matches("livelock at 1", why, 1, true)
    assert.matches("seed 1", why, 1, true)
  end)

  it("reports tasks of the spec that start each other endlessly, with their place", function()
    local w = two()
    local function again() w:task(again) end
    local line = debug.getinfo(again, "S").linedefined
    again()
    local ok, why = pcall(function() w:run "5s" end)
    assert.is_false(ok)
    assert.matches(("livelock at 0 s: 100001 tasks .* from spec/sim/mistakes_spec.lua:%d %%(seed 1%%)"):format(line), why)
  end)

  it("is not one with very many tasks at one instant", function()
    local w, n = two(), 0
    for _ = 1, 150000 do w:task(function() n = n + 1 end) end
    w:run "1s"
    assert.equal(150000, n)
  end)

  it("reports a script whose tasks spawn or wake each other endlessly", function()
    local texts = {
      doubling = "local kt = require 'kt'\nlocal function f() kt.spawn(f) kt.spawn(f) end\nkt.spawn(f)",
      single = "local kt = require 'kt'\nlocal function f() kt.spawn(f) end\nkt.spawn(f)",
    }
    for name, text in pairs(texts) do
      local w = two()
      w:host "client":file(name .. ".lua", text)
      w:host "client":run(name .. ".lua")
      local ok, why = pcall(function() w:run "5s" end)
      assert.is_false(ok)
      assert.matches(("livelock at 0.000000 s: %s on host client ran 100000 task slices without the clock advancing, "
        .. "the last in a task spawned at %s.lua:2; "):format(name, name), why, 1, true)
      assert.matches("(seed 1)", why, 1, true)
    end
  end)

  it("reports a script that wakes itself endlessly", function()
    local w = two()
    w:host "client":file("s.lua", 'local kt = require "kt" kt.spawn(function() while true do kt.sleep(0) end end)')
    w:host "client":run "s.lua"
    local ok, why = pcall(function() w:run "5s" end)
    assert.is_false(ok)
    assert.matches("livelock", why, 1, true)
    assert.matches("client", why, 1, true)
  end)
end)
