-- race.lua: the faster link wins, and a dark one costs nothing.
local sim = require "kt.sim"

describe("race.lua", function()
  local w, client, script
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    client = w:host "client"
    for name, delay in pairs { fibre = "10ms", lte = "60ms" } do
      w:host(name):serve { on = "127.0.0.1:8388", kind = "echo" }
      w:host(name):run "scripts/examples/server.lua"
      w:link("client", name, { delay = delay })
      w:name(name .. ".example", name)
    end
    script = client:run "scripts/examples/race.lua"
    w:run "5s"
  end)

  it("keeps the link that answers first", function()
    assert.equal("fibre", client:connect "127.0.0.1:12948":echo("hello").server)
    w:link("client", "fibre"):set { delay = "200ms" }
    assert.equal("lte", client:connect "127.0.0.1:12948":echo("hello").server)
    w:run "61m"
    script:wait_log "answered first: fibre 1 times, lte 1 times"
  end)

  it("loses no time when a link goes dark", function()
    w:link("client", "fibre"):cut()
    local from = w:now()
    assert.equal("lte", client:connect "127.0.0.1:12948":echo("hello").server)
    assert.is_true(w:now() - from < 0.5)
  end)

  it("refuses applications within 5 s while both are dark", function()
    w:link("client", "fibre"):cut()
    w:link("client", "lte"):cut()
    local app, from = client:connect "127.0.0.1:12948", w:now()
    assert.equal("reset", select(2, app:read()).code)
    assert.is_true(w:now() - from < 5.1)
  end)
end)
