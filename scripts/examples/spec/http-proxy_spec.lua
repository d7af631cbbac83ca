-- http-proxy.lua: browsers reach what the list does not deny, through the tunnel.
local sim = require "kt.sim"

describe("http-proxy.lua", function()
  local w, client, proxy
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    client = w:host "client"
    w:host "server"
    w:host "web"
    w:link("client", "server", { delay = "40ms", loss = "2%" })
    w:link("server", "web", { delay = "5ms" })
    w:name("vps.example", "server")
    for _, name in ipairs { "web.example", "ads.example", "cdn.ads.example", "example.ads" } do w:name(name, "web") end
    w:host("web"):serve { on = ":443", kind = "echo" }
    w:host("web"):serve { on = ":80", kind = "echo" }
    w:host("server"):run("kt server", { args = { "--key", "our secret", "--allow", "*:443,*:80" } })
    proxy = client:run("scripts/examples/http-proxy.lua", { files = {
      ["deny.txt"] = "# trackers\n.ads.example\nweb.example:80 # only TLS\n10.0.0.1\n192.0.2.0/24\n2001:db8::/32\n",
    } })
    w:run_for "2s"
  end)

  -- Asks the proxy for a target; returns the status and the conn.
  local function through(target)
    local conn = client:connect "127.0.0.1:3128"
    conn:write(("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n"):format(target, target))
    return tonumber(conn:read_until("\r\n\r\n", { timeout = "20s" }):match "^HTTP/1.1 (%d+) "), conn
  end

  it("connects a browser to its target by name, with the bytes that it sent early", function()
    local status, conn = through "web.example:443"
    assert.equal(200, status)
    assert.equal("web", conn:echo("hello").server)
    conn = client:connect "127.0.0.1:3128"
    conn:write "CONNECT web.example:443 HTTP/1.1\r\nHost: web.example:443\r\n\r\nearly"
    conn:read_until "\r\n\r\n"
    assert.equal("early", conn:read_exactly(5))
  end)

  it("denies hosts, hosts below a domain, and single ports, and says so", function()
    for target, status in pairs {
      ["cdn.ads.example:443"] = 403, ["CDN.Ads.Example.:443"] = 403, ["web.example:80"] = 403,
      ["ads.example:443"] = 200, ["example.ads:80"] = 200, -- neither is below .ads.example
    } do assert.equal(status, (through(target)), target) end
    proxy:wait_log "cdn.ads.example:443 is denied"
  end)

  it("denies a host in whatever form it is written", function()
    for _, target in ipairs { "cdn.ads.example..:443", "web.example:080", "10.0.0.1:80", "010.0.0.1:80", "10.1:80", "167772161:80", "0xa000001:80",
      "0xa.0.0.0x1:80", "10.0.0.99999999999999999999:80", "[::ffff:10.0.0.1]:80", "[::ffff:a00:1]:80" } do
      assert.equal(403, (through(target)), target)
    end
    assert.equal(200, (through "10.0.0.10:80"))
  end)

  it("denies networks, and takes other IPv6 addresses", function()
    for target, status in pairs {
      ["192.0.2.7:443"] = 403, ["192.0.3.7:443"] = 200, ["[2001:db8:1::7]:443"] = 403, ["[2001:DB8:0:0::7]:443"] = 403, ["[2001:db9::7]:443"] = 200,
    } do assert.equal(status, (through(target)), target) end
  end)

  it("keeps the list when a change of it has a mistake", function()
    client:file("scripts/examples/deny.txt", "10.0.0.1/8\n")
    w:run_for "2s"
    assert.equal(403, (through "192.0.2.7:443"))
    proxy:wait_log "10.0.0.1/8: bits after the first 8 must be zero"
  end)

  it("follows the list when it changes", function()
    client:file("scripts/examples/deny.txt", "web.example\n")
    w:run_for "2s"
    assert.equal(403, (through "web.example:443"))
    assert.equal(200, (through "cdn.ads.example:443"))
  end)

  it("ends the connection when the far end refuses the target", function()
    local status, conn = through "web.example:25"
    assert.equal(200, status) -- the stream opens without asking the far end
    local _, err = conn:read()
    assert.equal("reset", err.code)
  end)

  it("refuses requests that are not CONNECT", function()
    assert.equal(404, client:http { url = "http://localhost/", to = "127.0.0.1:3128" }.status)
  end)
end)
