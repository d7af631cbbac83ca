-- quota.lua: a client over its quota, and no other, is refused until midnight.
local sim = require "kt.sim"

describe("quota.lua", function()
  local w, gateway
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" }, start = os.time { year = 2026, month = 3, day = 2, hour = 23, min = 30 } }
    gateway = w:host("gateway", { address = "192.0.2.1" }) -- no IPv6: a second address would have a second quota
    for _, name in ipairs { "ann", "bob", "cat", "server" } do w:host(name) end
    for _, name in ipairs { "ann", "bob", "cat", "server" } do w:link("gateway", name, { delay = "10ms" }) end
    w:name("vps.example", "server")
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    w:host("server"):run "scripts/examples/server.lua"
  end)

  local bytes_per_day = { args = { "1000000" } }
  local function start() return gateway:run("scripts/examples/quota.lua", bytes_per_day) end

  local function move(name, bytes)
    w:transfer({ from = name, to = "gateway:12948", bytes = bytes, kind = "echo" }):wait()
    w:settle() -- a conn's bytes are counted when it ends
  end

  local function is_served(name)
    local app = w:host(name):try_connect "gateway:12948"
    return app ~= nil and app:try_echo "hello" ~= nil -- a refused client may see the reset here or in connect
  end

  local function logs_usage(script, name, bytes)
    script:wait_log(("%s has used %d bytes today"):format(w:host(name):addresses()[1], bytes))
  end

  it("counts both directions, refuses a client over its quota, and serves the others", function()
    local script = start()
    move("ann", 400000)
    logs_usage(script, "ann", 800000)
    move("ann", 400000) -- began below the quota
    logs_usage(script, "ann", 1600000)
    assert.is_false(is_served "ann")
    assert.is_true(is_served "bob")
  end)

  it("resets the quota at midnight", function()
    start()
    move("ann", 600000)
    w:run "29m"
    assert.is_false(is_served "ann")
    w:run "31m"
    assert.is_true(is_served "ann")
  end)

  it("keeps the counts when the script is reloaded", function()
    local script = start()
    move("ann", 600000)
    script:signal "HUP"
    w:run_for "1s"
    assert.is_false(is_served "ann")
    assert.is_true(is_served "bob")
  end)

  it("ends a conn that stays open after an hour, and counts its bytes", function()
    local script = start()
    local app = w:host("ann"):connect "gateway:12948"
    w:every("5m", function() app:write(("x"):rep(1000)) end)
    w:run "59m"
    assert.is_true(app:is_open())
    assert.falsy(script:log():find "bytes today")
    w:run "61m"
    script:wait_log "10.0.2.1 has used 2[2-4]%d%d%d bytes today" -- 11 or 12 writes and their echoes
  end)

  it("counts the configured number of clients separately, and the others together", function()
    local text, changed = assert(io.open "scripts/examples/quota.lua"):read("a"):gsub("CLIENTS = 10000", "CLIENTS = 1")
    assert.equal(1, changed)
    gateway:file("quota.lua", text)
    local script = gateway:run("quota.lua", bytes_per_day)
    for _, name in ipairs { "ann", "bob", "cat" } do move(name, 400000) end
    logs_usage(script, "ann", 800000)
    logs_usage(script, "bob", 800000)
    logs_usage(script, "cat", 1600000)
    assert.is_false(is_served "bob")
    assert.is_true(is_served "ann")
  end)
end)
