-- route-by-port.lua: each local port leads to its own target, independently of the others.
local sim = require "kt.sim"

describe("route-by-port.lua", function()
  local w, client, far
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    client = w:host "client"
    for _, name in ipairs { "server", "web" } do w:host(name) end
    w:link("client", "server", { delay = "40ms", loss = "2%" })
    w:link("server", "web", { delay = "5ms" })
    w:name("vps.example", "server")
    w:name("intranet.example", "web")
    w:host("server"):serve { on = "127.0.0.1:22", kind = "echo" }
    w:host("server"):serve { on = "unix:/run/postgresql/.s.PGSQL.5432", fn = function(conn) conn:write "a database" end }
    w:host("web"):serve { on = ":80", kind = "echo" }
    far = w:host("server"):run("scripts/examples/route-by-port.lua", { args = { "far" } })
  end)

  it("connects each local port to its own target", function()
    client:run "scripts/examples/route-by-port.lua"
    assert.equal("server", client:connect "127.0.0.1:2222":echo("hello").server)
    assert.equal("web", client:connect "127.0.0.1:8080":echo("hello").server)
    assert.equal("a database", client:connect "127.0.0.1:5432":read_all())
  end)

  it("keeps the other routes working when one target is unreachable or refuses", function()
    client:run "scripts/examples/route-by-port.lua"
    w:link("server", "web"):cut()
    local web = client:connect "127.0.0.1:8080"
    local ssh = w:keystrokes { from = "client", to = "127.0.0.1:2222", count = 50 }:wait()
    assert.is_true(ssh:worst() < 1)
    local data, err = web:read_all()
    assert.is_nil(data)
    assert.equal("reset", err.code)

    w:link("server", "web"):heal()
    w:name("intranet.example", "server") -- where nothing listens on port 80
    assert.equal("reset", select(2, client:connect "127.0.0.1:8080":read_all()).code)
    far:wait_log "refused"
    assert.equal("server", client:connect "127.0.0.1:2222":echo("hello").server)
  end)

  it("connects only to targets in the far end's table", function()
    client:run "scripts/examples/client.lua" -- its apps choose the first line of a stream
    for line, reason in pairs { ["ftp\n"] = 'unknown route "ftp"', [("x"):rep(100)] = "limit" } do
      local app = client:connect "127.0.0.1:12948"
      app:write(line)
      assert.equal("reset", select(2, app:read_all()).code)
      far:wait_log(reason)
    end
  end)

  it("explains its usage", function()
    assert.has_error(function() client:run("scripts/examples/route-by-port.lua", { args = { "middle" } }) end)
  end)
end)
