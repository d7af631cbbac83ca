-- router.lua: clients behind the router reach targets at the far end, and get their answers from there.
local sim = require "kt.sim"

-- A service on TCP and UDP, which says who asks.
local SERVICE = [[
local kt = require "kt"
kt.listen { on = ":80" }:serve(function(conn) conn:write("web for " .. conn.peer:match "^[^:]+" .. "\n") end)
local socket = kt.udp { on = ":53" }
kt.spawn(function()
  while true do
    local question, from = socket:receive { timeout = "24h" }
    if question then socket:send("answer to " .. question, from) end
  end
end)]]

local CLIENT = [[
local kt = require "kt"
local web, dns = ...
kt.spawn(function()
  local conn, err = kt.connect { to = web, timeout = "5s" }
  if conn then print(conn:read(100)) else print(err.code) end
  local socket = kt.udp { to = dns } -- takes datagrams from there alone
  for _ = 1, 2 do
    socket:send "q"
    print(socket:receive { timeout = "2s" })
  end
end)]]

describe("router.lua", function()
  local w
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret", ["service.lua"] = SERVICE, ["client.lua"] = CLIENT } }
    for _, name in ipairs { "client", "router", "far" } do w:host(name) end
    w:host("service", { address = { "203.0.113.5", "2001:db8::5" } })
    w:link("client", "router", { delay = "1ms" })
    w:link("router", "far", { delay = "40ms" })
    w:link("far", "service", { delay = "5ms" })
    w:name("vps.example", "far")
    w:host("client"):gateway "router"
    w:host("service"):run "service.lua"
    w:host("far"):run("scripts/examples/router.lua", { beside = true })
    w:host("router"):run("scripts/examples/router.lua", { args = { "near" } })
  end)

  local function ask(...)
    local client = w:host("client"):run("client.lua", { args = { ... }, beside = true })
    w:run_for "15s"
    return client:output()
  end

  it("carries conns and datagrams to where their clients sent them, and answers from there", function()
    local far = w:host("far"):addresses()[1]
    assert.equal("web for " .. far .. "\n\nanswer to q\t203.0.113.5:53\nanswer to q\t203.0.113.5:53\n", ask("203.0.113.5:80", "203.0.113.5:53"))
    assert.matches("^web for .*answer to q\t%[2001:db8::5%]:53\nanswer", ask("[2001:db8::5]:80", "[2001:db8::5]:53"))
  end)

  it("resets what leads nowhere", function()
    w:host("service"):crash()
    assert.matches("^nil\tconn:read: connection reset", ask("203.0.113.5:80", "203.0.113.5:53"))
  end)
end)
