-- socks5.lua: applications name a target, and the far end connects to it.
local sim = require "kt.sim"

-- The request for a target; command 1 is CONNECT.
local function request(kind, address, port, command)
  return string.pack("BBBB", 5, command or 1, 0, kind) .. address .. string.pack(">I2", port)
end
local function by_name(name, port) return request(3, string.pack("s1", name), port) end

local HOST_UNREACHABLE, CONNECTION_REFUSED, NOT_ALLOWED, NO_SUCH_COMMAND, NO_SUCH_ADDRESS_TYPE = 4, 5, 2, 7, 8

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
  end)

  -- Starts both ends; returns the far one.
  local function start()
    client:run "scripts/examples/client.lua"
    return w:host("server"):run "scripts/examples/socks5.lua"
  end

  -- Connects through the proxy; returns the conn and the proxy's reply code (0 is success).
  local function through(asked)
    local conn = client:connect "127.0.0.1:12948"
    conn:write "\5\1\0" -- version, one method: no authentication
    assert.equal("\5\0", conn:read_exactly(2))
    conn:write(asked)
    return conn, conn:read_exactly(10, { timeout = "20s" }):byte(2)
  end

  it("connects an application to a name that only the far end can resolve, and to IPv4 and IPv6 addresses", function()
    start()
    assert.is_nil((client:try_connect "intranet.example:80"))
    local v4, v6 = "\10\0\3\1", "\xfd" .. ("\0"):rep(14) .. "\3" -- of the third host
    for _, asked in ipairs { by_name("intranet.example", 80), request(1, v4, 80), request(4, v6, 80) } do
      local conn, code = through(asked)
      assert.equal(0, code)
      assert.equal("web", conn:echo("hello").server)
    end
  end)

  it("follows a name that changes its address", function()
    start()
    w:host("spare"):serve { on = ":80", kind = "echo" }
    w:link("server", "spare", { delay = "5ms" })
    through(by_name("intranet.example", 80)):echo "hello"
    w:name("intranet.example", "spare")
    assert.equal("spare", through(by_name("intranet.example", 80)):echo("hello").server)
  end)

  it("passes on what an application sent without waiting for replies", function()
    start()
    w:host("web"):serve { on = ":7", fn = function(conn) conn:write("got " .. conn:read_all()) end }
    local conn = client:connect "127.0.0.1:12948"
    conn:write("\5\2\0\1" .. by_name("intranet.example", 7) .. "eager")
    conn:shutdown()
    assert.equal("\5\0\5\0", conn:read_exactly(4))
    conn:read_exactly(8) -- the rest of the reply
    assert.equal("got eager", conn:read_all())
  end)

  it("replies with the reason of a failure, and ends the connection", function()
    local far = start()
    for code, asked in pairs {
      [HOST_UNREACHABLE] = by_name("nowhere.example", 80),
      [CONNECTION_REFUSED] = by_name("intranet.example", 81),
      [NO_SUCH_COMMAND] = request(1, "\10\0\0\1", 80, 2), -- BIND
      [NO_SUCH_ADDRESS_TYPE] = string.pack("BBBB", 5, 1, 0, 9),
    } do
      local conn, got = through(asked)
      assert.equal(code, got)
      assert.equal("", conn:read_all())
    end
    far:wait_log "only CONNECT is supported"
    far:wait_log "unknown address type"
  end)

  it("refuses targets that the script does not allow", function()
    local web = w:host("web"):serve { on = ":81", kind = "echo" }
    local text, changed = assert(io.open "scripts/examples/socks5.lua"):read("a"):gsub("  return true\n", '  return host ~= "intranet.example"\n', 1)
    assert.equal(1, changed)
    w:host("server"):file("strict.lua", text)
    local far = w:host("server"):run "strict.lua"
    client:run "scripts/examples/client.lua"
    assert.equal(NOT_ALLOWED, select(2, through(by_name("intranet.example", 81))))
    assert.equal(0, web.conns)
    far:wait_log "intranet.example:81 is not allowed"
  end)

  it("refuses a client that insists on authentication, and one that does not speak SOCKS5", function()
    local far = start()
    for sent, case in pairs { ["\5\1\2"] = { "\5\255", "requires authentication" }, ["GET / HTTP/1.1\r\n\r\n"] = { "", "not SOCKS5" } } do
      local conn = client:connect "127.0.0.1:12948"
      conn:write(sent)
      assert.equal(case[1], conn:read_all())
      far:wait_log(case[2])
    end
  end)

  it("ends a silent application after 10 s, and serves others meanwhile", function()
    start()
    local silent = client:connect "127.0.0.1:12948"
    silent:write "\5"
    w:run_for "5s"
    local conn = through(by_name("intranet.example", 80))
    assert.equal("", silent:read_all { timeout = "6s" })
    assert.equal("web", conn:echo("still there").server)
  end)
end)
