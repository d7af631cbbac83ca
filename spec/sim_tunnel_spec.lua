-- A tunnel in virtual time, as users test theirs: scripts/examples/client.lua and server.lua, unmodified.
local sim = require "kt.sim"

local function tunnel(opts)
  local w = sim.world { seed = opts and opts.seed or 7, files = { ["psk.key"] = "a secret of this spec's" } }
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

  it("runs the same way for the same seed, and another way for another", function()
    local function run(seed)
      local w = tunnel { seed = seed }
      local app = w:host("client"):connect "127.0.0.1:12948"
      for i = 1, 20 do
        app:echo(("x"):rep(i * 100))
        w:run_for "200ms"
      end
      return w:fingerprint()
    end
    local first = run(7)
    assert.equal(first, run(7))
    assert.is_true(first ~= run(8))
  end)
end)
