-- client.lua: conns are carried intact, and reset when the server is unreachable.
local sim = require "kt.sim"

describe("client.lua", function()
  local w
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "40ms", loss = "3%", reorder = "1%" })
    w:name("vps.example", "server")
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    w:host("server"):run "scripts/examples/server.lua"
    w:host("client"):run "scripts/examples/client.lua"
  end)

  it("carries several conns at once over a link that loses and reorders packets", function()
    local transfers = {}
    for i = 1, 5 do transfers[i] = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "300kB", kind = "echo" } end
    for _, transfer in ipairs(transfers) do transfer:wait() end
    w:settle()
  end)

  it("resets an app after 30 s when the server is dark, and serves the next one when it is back", function()
    w:link("client", "server"):cut()
    local app = w:host("client"):connect "127.0.0.1:12948"
    local reply, err = app:try_echo("hello?", { timeout = "40s" })
    assert.is_nil(reply)
    assert.equal("reset", err.code)
    assert.is_true(w:now() < 32)

    w:link("client", "server"):heal()
    app = w:host("client"):connect "127.0.0.1:12948"
    assert.equal("server", app:echo("hello").server)
  end)
end)
