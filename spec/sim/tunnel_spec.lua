-- A tunnel in virtual time, as users test theirs: scripts/examples/client.lua and server.lua, unmodified.
local sim = require "kt.sim"

local function tunnel()
  local w = sim.world { seed = 7, files = { ["psk.key"] = "a secret of this spec's" } }
  w:host "client"
  w:host "server"
  w:link("client", "server", { delay = "40ms", loss = "2%" })
  w:name("vps.example", "server")
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host("server"):run "scripts/examples/server.lua"
  w:host("client"):run "scripts/examples/client.lua"
  return w
end

describe("a simulated tunnel", function()
  it("carries an app's bytes to the server and back", function()
    local w = tunnel()
    local app = w:host("client"):connect "127.0.0.1:12948"
    local reply = app:echo("hello", { timeout = "5s" })
    assert.equal("server", reply.server)
    assert.is_true(reply.time > 0.08)
  end)

  it("may also consist of kt client and kt server", function()
    local w = sim.world { seed = 7 }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "40ms" })
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    w:host("server"):run("kt server", { args = { "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k" } })
    w:host("client"):run("kt client", { args = { "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "k" } })
    assert.equal("server", w:host("client"):connect "127.0.0.1:12948":echo("hello").server)
  end)

  it("fails at the line that runs kt client when that cannot start, with its error", function()
    local w = sim.world { seed = 7 }
    assert.error_matches(function() w:host("client"):run("kt client", { args = { "--nonsense" } }) end,
      "host:run: script kt client on host client: exited immediately with code 1: kt client: --nonsense: unknown flag",
      1, true)
  end)

  it("continues when kt client only prints its usage", function()
    local w = sim.world { seed = 7 }
    local client = w:host("client"):run("kt client", { args = { "--help" } })
    w:run "1s"
    assert.equal(0, client.exit_code)
    assert.matches("--remoteaddr", client:output(), 1, true)
  end)

  it("survives a restart of its server", function()
    local w = tunnel()
    local app = w:host("client"):connect "127.0.0.1:12948"
    app:echo "before"
    w:host("server"):crash()
    w:run_for "1s"
    w:host("server"):restart()
    assert.is_nil((app:try_echo("into the void", { timeout = "30s" })))
    app:close()
    app = w:host("client"):connect "127.0.0.1:12948"
    assert.equal("server", app:echo("after").server)
    app:close()
    w:settle()
  end)

  it("waits out an outage without losing a byte", function()
    local w = tunnel()
    w:fault("500ms", "cut", function() w:link("client", "server"):cut() end)
    w:fault("3s", "heal", function() w:link("client", "server"):heal() end)
    local t = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "1MB", kind = "echo" }:wait()
    assert.is_true(t:worst_stall() > 2)
    w:settle()
  end)

  it("lets a session that has expired deliver the last bytes of its last stream", function()
    local w = sim.world { seed = 7, files = { ["psk.key"] = "a secret of this spec's" } }
    local got, data = nil, ("x"):rep(100000)
    w:host "server":serve { on = "127.0.0.1:8388", fn = function(conn)
      conn:shutdown() -- so that the client's end of the stream is done with it as soon as it has sent all
      local all = conn:read_all { timeout = "60s" }
      if all ~= "" then got = all or "nothing whole" end
    end }
    w:host "server":run "scripts/examples/server.lua"
    local file = assert(io.open "scripts/examples/client.lua")
    w:host "client":file("client.lua", (file:read "a":gsub('remote = ', 'expire = "1s", remote = ')))
    file:close()
    w:link("client", "server", { delay = "200ms", loss = "20%" })
    w:name("vps.example", "server")
    w:host "client":run "client.lua"
    local app = w:host "client":connect "127.0.0.1:12948"
    app:write "x"
    app:read_all { timeout = "60s" }
    w:run "3s"
    w:host "client":connect "127.0.0.1:12948":close() -- goes to a new session
    app:write(data, { timeout = "60s" })
    app:close()
    w:run_until(function() return got end, { timeout = "100s" })
    assert.equal(#data + 1, #got)
    w:settle()
  end)

  it("keeps to the pace of a slow reader, without affecting others", function()
    local w = tunnel()
    w:host("client"):slow_reader "50kB"
    local slow = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "300kB", kind = "echo" }
    local keys = w:keystrokes { from = "client", to = "127.0.0.1:12948", count = 50 }:wait()
    assert.is_true(keys:median() < 0.2)
    slow:wait()
    w:settle()
  end)

  it("checks a pool's links for an hour", function()
    local w = sim.world { seed = 7, files = { ["psk.key"] = "a secret of this spec's" } }
    w:host "client"
    for _, name in ipairs { "near", "far", "spare" } do
      w:host(name):run "scripts/examples/server.lua"
      w:link("client", name, { delay = "40ms" })
      w:name(name .. ".example", name)
    end
    w:host("client"):run "scripts/examples/failover.lua"
    w:run "1h"
  end)

  it("lets a script sleep until a time closer than the clock's resolution", function()
    local w = sim.world { seed = 7 }
    w:host("client"):file("s.lua", [[
      local kt = require "kt"
      kt.spawn(function()
        for ms = 1, 100 do
          local due = kt.now() + ms / 1000 + 3e-7
          while kt.now() < due do kt.sleep(due - kt.now()) end
        end
        print "awake"
        kt.sleep "1h"
      end)]])
    local script = w:host("client"):run "s.lua"
    w:run "10s"
    assert.equal("awake\n", script:output())
  end)
end)
