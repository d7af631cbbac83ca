-- server.lua: half-close reaches the target, and clients reconnect after a restart.
local sim = require "kt.sim"

describe("server.lua", function()
  local w
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "40ms", loss = "2%" })
    w:name("vps.example", "server")
    w:host("server"):run "scripts/examples/server.lua"
    w:host("client"):run "scripts/examples/client.lua"
  end)

  it("passes half-close to the target, and still carries the answer", function()
    w:host("server"):serve { on = "127.0.0.1:8388", fn = function(conn)
      local question = conn:read_all() -- ends with the app's shutdown
      w:sleep "2s"
      conn:write(("%d bytes"):format(#question))
    end }
    local app = w:host("client"):connect "127.0.0.1:12948"
    app:write(("x"):rep(50000))
    app:shutdown()
    assert.equal("50000 bytes", app:read_all())
    app:close()
    w:settle()
  end)

  it("resets an app's conn at once when the target is down", function()
    local app = w:host("client"):connect "127.0.0.1:12948"
    local data, err = app:read_all { timeout = "1s" }
    assert.is_nil(data)
    assert.equal("reset", err.code)
  end)

  it("is reconnected by its client within 10 s of a restart", function()
    local server = w:host "server"
    server:serve { on = "127.0.0.1:8388", kind = "echo" }
    w:host("client"):connect "127.0.0.1:12948":echo "before"
    server:crash()
    w:run_for "5s"
    server:restart()
    w:run_for "10s"
    assert.equal("server", w:host("client"):connect "127.0.0.1:12948":echo("after").server)
  end)
end)
