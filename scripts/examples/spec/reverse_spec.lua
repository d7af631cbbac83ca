-- reverse.lua: a service behind NAT stays reachable through restarts and idle periods.
local sim = require "kt.sim"

describe("reverse.lua", function()
  local w, inside, outside, user, script
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    inside, user = w:host "inside", w:host "user"
    outside = w:host("outside", { address = "203.0.113.9" }) -- no IPv6, which would bypass the NAT
    w:link("inside", "outside", { delay = "30ms", loss = "1%" })
    w:link("user", "outside", { delay = "20ms" })
    w:name("vps.example", "outside")
    inside:nat { public = "198.51.100.1", timeout = "30s" }
    inside:serve { on = "127.0.0.1:22", kind = "echo" }
    script = outside:run "scripts/examples/reverse.lua"
    inside:run("scripts/examples/reverse.lua", { args = { "inside" } })
    w:run "5s"
  end)

  it("connects users of the outside to the service inside, also after an idle hour behind NAT", function()
    local transfers = {}
    for i = 1, 3 do transfers[i] = w:transfer { from = "user", to = "outside:2222", bytes = "500kB", kind = "echo" } end
    for _, transfer in ipairs(transfers) do transfer:wait() end
    w:settle()
    w:run_for "1h"
    assert.equal("inside", user:connect "outside:2222":echo("still there").server)
  end)

  it("works again within 15 s after either end restarts", function()
    for _, host in ipairs { outside, inside } do
      host:crash()
      w:run_for "3s"
      host:restart()
      w:run_for "15s"
      assert.equal("inside", user:connect "outside:2222":echo("hello again").server)
    end
  end)

  it("refuses users while the inside is down", function()
    inside:crash()
    w:run_for "60s"
    local app = user:try_connect "outside:2222"
    assert.is_nil(app and app:try_echo "hello?")
    script:wait_log "the inside has not dialled in"
  end)
end)
