-- sticky.lua: clients keep their server, and a drained one gets no new conns.
local sim = require "kt.sim"

describe("sticky.lua", function()
  local w, gateway, script
  local clients = {}
  for i = 1, 12 do clients[i] = "client" .. i end
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    gateway = w:host "gateway"
    for _, name in ipairs { "a", "b", "c" } do
      w:host(name):serve { on = "127.0.0.1:8388", kind = "echo" }
      w:host(name):run "scripts/examples/server.lua"
      w:link("gateway", name, { delay = "30ms" })
      w:name(name .. ".example", name)
    end
    for _, name in ipairs(clients) do
      w:host(name)
      w:link(name, "gateway", { delay = "5ms" })
    end
    script = gateway:run "scripts/examples/sticky.lua"
    w:run "5s"
  end)

  -- The server of each client, and of the number of clients on each.
  local function servers()
    local of, count = {}, { a = 0, b = 0, c = 0 }
    for _, name in ipairs(clients) do
      of[name] = w:host(name):connect "gateway:12948":echo("hello").server
      count[of[name]] = count[of[name]] + 1
    end
    return of, count
  end

  it("keeps each client on its server, also after a restart and a failure of another", function()
    local before, count = servers()
    for _, name in ipairs { "a", "b", "c" } do assert.is_true(count[name] > 0, name) end
    gateway:crash()
    gateway:restart()
    w:run_for "5s"
    assert.same(before, servers())
    w:host("b"):crash()
    w:run_for "10s"
    local meanwhile = servers()
    for _, name in ipairs(clients) do
      if before[name] ~= "b" then assert.equal(before[name], meanwhile[name]) else assert.not_equal("b", meanwhile[name]) end
    end
    w:host("b"):restart()
    w:run_for "20s"
    assert.same(before, servers())
  end)

  it("drains the servers in drain.txt: open conns stay, new ones go elsewhere, until the name is removed", function()
    local before = servers()
    local first
    for _, name in ipairs(clients) do first = first or before[name] == "a" and name end
    local open = w:host(first):connect "gateway:12948"
    open:echo "before"
    gateway:file("scripts/examples/drain.txt", "a\n")
    w:run_for "1s"
    assert.equal(0, select(2, servers()).a)
    assert.equal("a", open:echo("during").server)
    script:wait_log "a drains: %d+ streams left"
    open:close()
    gateway:file("scripts/examples/drain.txt", nil)
    w:run_for "1s"
    assert.same(before, servers())
  end)
end)
