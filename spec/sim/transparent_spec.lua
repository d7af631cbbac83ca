-- kt.listen { transparent = … } on a simulated router. With a kernel's rules: spec/tunnel/transparent_spec.lua.
local sim = require "kt.sim"

local SCRIPT = [[
local kt = require "kt"
kt.listen { on = ":1234", transparent = "redirect" }:serve(function(conn) conn:write(tostring(conn.original) .. "\n") end)
kt.listen { udp = ":1234", transparent = "tproxy", max_flows = 3 }:serve(function(flow)
  print(flow.original)
  if flow.original then kt.splice(flow, (kt.connect { udp = "127.0.0.1:7" })) end
end)
local echo = kt.udp { on = "127.0.0.1:7" }
kt.spawn(function()
  while true do
    local data, from = echo:receive { timeout = "24h" }
    if data then echo:send(data, from) end
  end
end)]]

describe("a transparent listener", function()
  local w, router, client, script
  before_each(function()
    w = sim.world { seed = 1 }
    router, client = w:host "router", w:host "client"
    w:link("router", "client", { delay = "5ms" })
    client:gateway "router"
    router:file("s.lua", SCRIPT)
    script = router:run "s.lua"
  end)

  it("gets conns for any address beyond its host, and tells them from those to itself", function()
    local function original(to)
      local app = client:connect(to)
      local line = app:read(100)
      app:close()
      return line
    end
    assert.equal("203.0.113.5:443\n", original "203.0.113.5:443")
    assert.equal("[2001:db8::5]:22\n", original "[2001:db8::5]:22")
    assert.equal("nil\n", original "router:1234")
    assert.is_nil((client:try_connect "router:443"))
  end)

  it("makes a flow for each pair of addresses, and answers from the one that was asked", function()
    local socket = client:udp { on = ":5000" }
    for _, to in ipairs { "203.0.113.5:53", "203.0.113.6:53", "203.0.113.5:54", "203.0.113.5:53" } do
      socket:send(to, to)
      local data, from = socket:receive { timeout = "1s" }
      assert.equal(to, data)
      assert.equal(to, from)
    end
    assert.equal("203.0.113.5:53\n203.0.113.6:53\n203.0.113.5:54\n", script:output())
    socket:send("to itself", "router:1234")
    w:run_for "1s"
    assert.equal("203.0.113.5:53\n203.0.113.6:53\n203.0.113.5:54\nnil\n", script:output())
    local open = router:stats().sockets -- with two diverted flows
    for port = 1, 50 do socket:send("x", "203.0.113.9:" .. port) end
    w:run_for "1s"
    assert.equal(open + 2, router:stats().sockets) -- with three: each has one of its own, and one to the echo
  end)

  it("stays as it is over a reload, which cannot change `transparent`", function()
    script:signal "HUP"
    w:run_for "1s"
    assert.equal("203.0.113.5:443\n", client:connect "203.0.113.5:443":read(100))
    router:file("s.lua", (SCRIPT:gsub('"redirect"', '"tproxy"')))
    script:signal "HUP"
    w:run_for "1s"
    assert.matches("a reload cannot change `transparent` of a listener; restart kt", script:log(), 1, true)
    assert.equal("203.0.113.5:443\n", client:connect "203.0.113.5:443":read(100))
  end)
end)
