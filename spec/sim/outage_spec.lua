-- Outages of the line in virtual time: kt client and kt server with their defaults.
local sim = require "kt.sim"

local function tunnel(opts)
  opts = opts or {}
  local w = sim.world { seed = opts.seed or 7 }
  w:host "client"
  w:host "server"
  w:link("client", "server", { delay = "40ms" })
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  local function args(own) return { args = table.move(opts, 1, #opts, #own + 1, own) } end
  w:host("server"):run("kt server", args { "--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k" })
  return w, w:host("client"):run("kt client", args { "--wire", "kcptun", "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "k" })
end

--- One of the counters that SIGUSR1 brings into the log.
local function counter(w, script, name)
  script:signal "USR1"
  w:run_for "1ms"
  return tonumber((script:log() .. script:output()):match(".*" .. name .. "%W+(%d+)"))
end

local function connect(w) return w:host("client"):connect "127.0.0.1:12948" end

describe("a connection", function()
  for _, seconds in ipairs { 3, 6, 12, 25 } do
    it(("survives an outage of %d s, and is answered within 2 s after it"):format(seconds), function()
      local w = tunnel()
      local app = connect(w)
      app:echo "before"
      w:fault("1s", "cut", function() w:link("client", "server"):cut() end)
      w:fault(1 + seconds .. "s", "heal", function() w:link("client", "server"):heal() end)
      w:run "1500ms"
      assert.equal("server", app:echo("in the outage", { timeout = "60s" }).server)
      local after = w:now() - 1 - seconds
      assert.is_true(after >= 0 and after < 2, ("%.3f s after the outage"):format(after))
      app:echo "after"
      app:close()
      w:settle()
    end)
  end

  it("is broken by an outage of 40 s, which is logged", function()
    local w, client = tunnel()
    local app = connect(w)
    app:echo "before"
    w:link("client", "server"):cut()
    assert.is_nil((app:try_echo("in the outage", { timeout = "39s" })))
    w:run_for "5s"
    assert.matches("no answer for 5.0 s; giving up in 25.0 s unless it answers, new streams use a new session",
      client:log(), 1, true)
    assert.matches("session with 10.0.2.1:29900 ended: no answer for 30.0 s", client:log(), 1, true)
  end)

  it("survives an outage of 40 s when dead_after is 60 s", function()
    local w = tunnel { "--deadpeer", "60" }
    local app = connect(w)
    app:echo "before"
    w:fault("1s", "cut", function() w:link("client", "server"):cut() end)
    w:fault("41s", "heal", function() w:link("client", "server"):heal() end)
    w:run "1500ms"
    assert.equal("server", app:echo("in the outage", { timeout = "60s" }).server)
  end)

  it("ends after 5 s of an outage when dead_after says so", function()
    local w, client = tunnel { "--deadpeer", "5" }
    local app = connect(w)
    app:echo "before"
    w:link("client", "server"):cut()
    assert.is_nil((app:try_echo("in the outage", { timeout = "7s" })))
    assert.matches("ended: no answer for 5.0 s", client:log(), 1, true)
  end)
end)

describe("a connection whose first datagrams are lost", function()
  for _, seconds in ipairs { 3, 6, 9, 13, 20 } do
    it(("is answered within 1.5 s after the line is back, %d s later"):format(seconds), function()
      local w = tunnel()
      w:link("client", "server"):cut()
      w:fault(seconds .. "s", "heal", function() w:link("client", "server"):heal() end)
      local app = connect(w)
      assert.equal("server", app:echo("hello", { timeout = "60s" }).server)
      local after = w:now() - seconds
      assert.is_true(after >= 0 and after < 1.5, ("%.3f s after the outage"):format(after))
      app:close()
      w:settle()
    end)
  end

  it("is answered when only the client's datagrams were lost", function()
    local w = tunnel()
    w:link("client", "server"):cut "client"
    w:fault("8s", "heal", function() w:link("client", "server"):heal() end)
    assert.equal("server", connect(w):echo("hello", { timeout = "10s" }).server)
  end)

  it("is answered when only the server's datagrams were lost", function()
    local w = tunnel()
    w:link("client", "server"):cut "server"
    w:fault("8s", "heal", function() w:link("client", "server"):heal() end)
    assert.equal("server", connect(w):echo("hello", { timeout = "10s" }).server)
  end)
end)

describe("an answer whose first transmissions are lost", function()
  for _, seconds in ipairs { 4, 7, 15 } do
    it(("arrives within a second after the losses, which last for %d s"):format(seconds), function()
      local w = tunnel()
      w:rule { from = "server", to = "client", fn = function(packet) -- acknowledgements arrive
        return packet.size > 90 and w:now() < seconds and "drop" or nil
      end }
      assert.equal("server", connect(w):echo(("x"):rep(1290), { timeout = "60s" }).server)
      local after = w:now() - seconds
      assert.is_true(after < 1, ("%.3f s after the losses"):format(after))
    end)
  end
end)

describe("a new session that is probed at once", function()
  it("is begun by its first datagram", function()
    local w = tunnel()
    w:host("client"):file("probe.lua", [[
      local kt = require "kt"
      local far = kt.link { remote = "server:29900", wire = "kcptun", key = "k" }
      kt.spawn(function() print(far:probe { timeout = "5s" }) end)]])
    local probing = w:host("client"):run("probe.lua", { beside = true })
    w:run "150ms"
    assert.matches("^0.08", probing:output())
  end)
end)

describe("a session in an outage", function()
  it("gets no new streams after 5 s, and is used again if it is heard first", function()
    local w, client = tunnel()
    local old = connect(w)
    old:echo "before"
    w:fault("1s", "cut", function() w:link("client", "server"):cut() end)
    w:fault("13s", "heal", function() w:link("client", "server"):heal() end)
    w:run "1500ms"
    old:send "in the outage"
    w:run "9s"
    assert.equal(1, counter(w, client, "ActiveOpens"))
    local new = connect(w)
    assert.equal("server", new:echo("in the outage", { timeout = "20s" }).server)
    assert.equal(2, counter(w, client, "ActiveOpens"))
    assert.equal(1, counter(w, client, "SessionsSuspect"))
    assert.matches("alive again after 1%d%.%d s", client:log())
    local last = connect(w)
    assert.equal("server", last:echo("after").server)
    assert.equal(2, counter(w, client, "ActiveOpens"))
    for _, app in ipairs { old, new, last } do app:close() end
    w:settle()
  end)

  it("whose server restarts meanwhile ends within a second after it, and new streams move on", function()
    local w, client = tunnel()
    local app = connect(w)
    app:echo "before"
    w:link("client", "server"):cut()
    app:send "in the outage"
    w:run_for "8s"
    w:host("server"):crash()
    w:host("server"):restart()
    w:link("client", "server"):heal()
    w:run_for "1500ms"
    assert.equal(1, counter(w, client, "SessionsRestarted"))
    assert.equal("server", connect(w):echo("after").server)
  end)
end)

describe("a link that an acceptor gave out", function()
  it("is down while its peer is silent, and given out again when it is heard, while its stream stays open", function()
    local w = sim.world { seed = 7 }
    w:host "inside":file("inside.lua", [[
      local kt = require "kt"
      local far = kt.link { remote = "outside:29900", wire = "kcptun", key = "k" }
      far:serve(function(stream)
        for data in function() return stream:read { timeout = "1h" } end do stream:write(data) end
      end)]])
    w:host "outside":file("outside.lua", [[
      local kt = require "kt"
      local first = true
      local acceptor = kt.accept { on = ":29900", wire = "kcptun", key = "k" }
      acceptor:serve(function(stream) stream:reset() end)
      acceptor:on("link", function(link)
        print "up"
        link:on("down", function() print "down" end)
        if not first then return end
        first = false
        local stream = assert(link:open { timeout = "5s" })
        for i = 1, 20 do
          stream:write "x"
          stream:read_exactly(1, { timeout = "1h" })
          kt.sleep "1s"
        end
        print "all answered"
      end)]])
    local line = w:link("inside", "outside", { delay = "40ms" })
    local outside = w:host("outside"):run "outside.lua"
    w:host("inside"):run "inside.lua"
    w:run "5500ms"
    line:cut()
    w:run_for "12s"
    assert.equal("up\ndown\n", outside:output())
    line:heal()
    w:run_for "3s"
    assert.matches("^up\ndown\nup\n", outside:output())
    w:run_for "20s"
    -- The session that was to replace the silent one may have been heard first; then it was up too, for a while.
    local _, ups = outside:output():gsub("up\n", "")
    local _, downs = outside:output():gsub("down\n", "")
    assert.equal(1, ups - downs)
    assert.matches("all answered\n$", outside:output())
  end)
end)
