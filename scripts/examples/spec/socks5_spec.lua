-- socks5.lua: applications name a target, and the far end connects to it.
local sim = require "kt.sim"

-- Connects to a name and port through a SOCKS5 proxy; returns the conn and the proxy's reply code (0 is success).
local function through(host, name, port)
  local conn = host:connect "127.0.0.1:12948"
  conn:write "\5\1\0" -- version, one method: no authentication
  assert.equal("\5\0", conn:read_exactly(2))
  conn:write(string.pack(">BBBB s1 I2", 5, 1, 0, 3, name, port)) -- CONNECT to a name
  return conn, conn:read_exactly(10, { timeout = "20s" }):byte(2)
end

describe("socks5.lua", function()
  local w, client
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    client = w:host "client"
    w:host "server"
    w:host "web"
    w:link("client", "server", { delay = "40ms", loss = "2%" })
    w:link("server", "web", { delay = "5ms" })
    w:name("vps.example", "server")
    w:name("intranet.example", "web")
    w:host("web"):serve { on = ":80", kind = "echo" }
    w:host("server"):run "scripts/examples/socks5.lua"
    client:run "scripts/examples/client.lua"
  end)

  it("connects an application to a name that only the far end can resolve", function()
    assert.is_nil((client:try_connect "intranet.example:80"))
    local conn, code = through(client, "intranet.example", 80)
    assert.equal(0, code)
    assert.equal("web", conn:echo("hello").server)
  end)

  it("follows a name that changes its address", function()
    w:host("spare"):serve { on = ":80", kind = "echo" }
    w:link("server", "spare", { delay = "5ms" })
    through(client, "intranet.example", 80):echo "hello"
    w:name("intranet.example", "spare")
    assert.equal("spare", through(client, "intranet.example", 80):echo("hello").server)
  end)

  it("replies with the reason of a failure", function()
    local HOST_UNREACHABLE, CONNECTION_REFUSED = 4, 5
    assert.equal(HOST_UNREACHABLE, select(2, through(client, "nowhere.example", 80)))
    assert.equal(CONNECTION_REFUSED, select(2, through(client, "intranet.example", 81)))
  end)
end)
