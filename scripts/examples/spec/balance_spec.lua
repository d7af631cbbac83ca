-- balance.lua: how conns are shared among the servers, also when one is unreachable.
local sim = require "kt.sim"

describe("balance.lua", function()
  local w, script
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    w:host "client"
    for _, name in ipairs { "big", "small1", "small2" } do
      w:host(name):serve { on = "127.0.0.1:8388", kind = "echo" }
      w:host(name):run "scripts/examples/server.lua"
      w:link("client", name, { delay = "30ms" })
      w:name(name .. ".example", name)
    end
    script = w:host("client"):run "scripts/examples/balance.lua"
    w:run "10s"
  end)

  -- Opens n conns and returns how many of them each server got.
  local function spread(n)
    local got = { big = 0, small1 = 0, small2 = 0 }
    for _ = 1, n do
      local server = w:host("client"):connect "127.0.0.1:12948":echo("hello").server
      got[server] = got[server] + 1
    end
    return got
  end

  it("gives the big server three times as many conns as each small one", function()
    assert.same({ big = 60, small1 = 20, small2 = 20 }, spread(100))
    w:run "1m"
    script:wait_log "big.example:29900: up, 60 streams, %d+ ms"
  end)

  it("avoids a server that is dark, and uses it again when it answers", function()
    w:link("client", "big"):cut()
    w:run_for "10s"
    assert.same({ big = 0, small1 = 10, small2 = 10 }, spread(20))
    w:run "1m"
    script:wait_log "big.example:29900: down: "
    w:link("client", "big"):heal()
    w:run_for "30s"
    assert.is_true(spread(20).big > 0)
  end)
end)
