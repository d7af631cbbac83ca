-- failover.lua: when users move to another server, and when they move back.
local sim = require "kt.sim"

describe("failover.lua", function()
  local w, client, script
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    client = w:host "client"
    for i, name in ipairs { "near", "far", "spare" } do
      w:host(name):serve { on = "127.0.0.1:8388", kind = "echo" }
      w:host(name):run "scripts/examples/server.lua"
      w:link("client", name, { delay = i * 0.04 })
      w:name(name .. ".example", name)
    end
    script = client:run "scripts/examples/failover.lua"
    w:run "10s"
  end)

  -- The server that a new conn reaches.
  local function server() return client:connect "127.0.0.1:12948":echo("hello").server end

  it("moves to the next server within 5 s when the first goes dark", function()
    assert.equal("near", server())
    w:link("client", "near"):cut()
    w:run_for "5s"
    assert.equal("far", server())
    w:link("client", "far"):cut()
    w:run_for "5s"
    assert.equal("spare", server())
    assert.equal(2, w:switches())
    script:wait_log "switched to far.example:29900 from near.example:29900: near.example:29900 "
    script:wait_log "switched to spare from far.example:29900: "
    assert.equal("spare", client:pools()[1].current)
  end)

  it("moves back when the first server recovers, but not within the hold time of 10 s", function()
    w:link("client", "near"):cut()
    w:run_for "5s"
    assert.equal("far", server())
    w:link("client", "near"):heal()
    w:run_for "4s"
    assert.equal("far", server())
    w:run_for "10s"
    assert.equal("near", server())
  end)

  it("keeps open conns on their server when another one becomes better", function()
    local app = client:connect "127.0.0.1:12948"
    app:echo "before"
    w:link("client", "near"):set { delay = "300ms" }
    w:run_for "30s"
    assert.not_equal("near", server())
    assert.equal("near", app:echo("after").server)
  end)
end)
