-- quota.lua: a client over its quota, and no other, is refused until midnight.
local sim = require "kt.sim"

describe("quota.lua", function()
  local w
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" }, start = os.time { year = 2026, month = 3, day = 2, hour = 23, min = 30 } }
    w:host("gateway", { address = "192.0.2.1" }) -- no IPv6: a second address would have a second quota
    for _, name in ipairs { "ann", "bob", "server" } do w:host(name) end
    for _, name in ipairs { "ann", "bob", "server" } do w:link("gateway", name, { delay = "10ms" }) end
    w:name("vps.example", "server")
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    w:host("server"):run "scripts/examples/server.lua"
    w:host("gateway"):run("scripts/examples/quota.lua", { args = { "1000000" } }) -- bytes per day
  end)

  local function move(name, bytes)
    w:transfer({ from = name, to = "gateway:12948", bytes = bytes, kind = "echo" }):wait()
    w:settle() -- a conn's bytes are counted when it ends
  end

  local function is_served(name)
    local app = w:host(name):try_connect "gateway:12948"
    return app ~= nil and app:try_echo "hello" ~= nil -- a refused client may see the reset here or in connect
  end

  it("counts both directions, refuses a client over its quota, and serves the others", function()
    move("ann", 400000)
    move("ann", 400000) -- began below the quota
    assert.is_false(is_served "ann")
    assert.is_true(is_served "bob")
  end)

  it("resets the quota at midnight", function()
    move("ann", 600000)
    w:run "29m"
    assert.is_false(is_served "ann")
    w:run "31m"
    assert.is_true(is_served "ann")
  end)
end)
