-- scripts/examples/proxy-protocol.lua at the near end, server.lua at the far one, and a target that reads the header.
local ends = require "harness.ends"
local h = require "harness"
local scripts = require "harness.scripts"
local uv = require "luv"

--- Connects over IPv6; returns a function that sends, and the client's own port.
local function connect_v6(port)
  local handle = uv.new_tcp()
  h.loop.wait("a connection to ::1", 20, function(wake) handle:connect("::1", port, wake) end)
  return handle, handle:getsockname().port
end

describe("the proxy-protocol example", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- A target that keeps the head of each connection in `seen`, as haproxy's text says it is laid out, and echoes the rest.
  local function target()
    local seen = {}
    local server = h.sockets.serve(function(conn)
      local signature, version_command, family, length = string.unpack(">c12BBI2", conn:recv_exactly(16, 20))
      assert(signature == "\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A")
      local body = conn:recv_exactly(length, 20)
      seen[#seen + 1] = { version = version_command >> 4, command = version_command & 15, family = family, body = body }
      for chunk in function() return conn:recv(60) end do conn:send(chunk) end
      conn:shutdown()
    end)
    server.seen = seen
    return server
  end

  local function tunnel(target_port, on)
    local far = ends.far(s, "server.lua", { { "127.0.0.1:8388", "127.0.0.1:" .. target_port } })
    return ends.near(s, "proxy-protocol.lua", far, { { ":12948", on } })
  end

  --- Sends through the tunnel and waits for the echo, behind which the target has seen the head.
  local function echo(app)
    app:send "hello"
    assert.equal("hello", app:recv_exactly(5, 20))
  end

  it("sends the target a client's IPv4 address and port, and its own", function()
    h.run(function()
      local t, port = target(), h.sockets.free_port "tcp"
      tunnel(t.at, "127.0.0.1:" .. port):wait_tcp(port)
      local app = assert(h.sockets.connect(port))
      echo(app)
      local own = app.handle:getsockname().port
      assert.same({ version = 2, command = 1, family = 0x11,
        body = "\127\0\0\1\127\0\0\1" .. string.pack(">I2I2", own, port) }, t.seen[1])
    end)
  end)

  it("distinguishes an IPv4 client from an IPv6 one on the same port", function()
    h.run(function()
      local t, port = target(), h.sockets.free_port "tcp"
      tunnel(t.at, "[::]:" .. port):wait_tcp(port)
      echo(assert(h.sockets.connect(port)))
      local handle, own = connect_v6(port)
      handle:write "hello"
      h.loop.eventually("the header of the second", 20, function() return t.seen[2] end)
      handle:close()
      assert.equal(0x11, t.seen[1].family)
      local loopback = ("\0"):rep(15) .. "\1"
      assert.same({ version = 2, command = 1, family = 0x21,
        body = loopback .. loopback .. string.pack(">I2I2", own, port) }, t.seen[2])
    end)
  end)

  it("sends no address for a client of a unix socket", function()
    h.run(function()
      local t, path = target(), s.dir .. "/near"
      tunnel(t.at, "unix:" .. path):wait_unix(path)
      echo(assert(h.sockets.connect(path)))
      assert.same({ version = 2, command = 0, family = 0, body = "" }, t.seen[1])
    end)
  end)

  it("writes IPv6 addresses in binary, with zeros anywhere", function()
    local text = h.read_file "scripts/examples/proxy-protocol.lua"
    local parse = assert(load(text:match "local UNSPEC.-\n(.-)\nlocal function header" .. "\nreturn parse", "=parse", "t",
      setmetatable({ TCP4 = 4, TCP6 = 6 }, { __index = _G })))()
    for address, bytes in pairs {
      ["[2001:db8::1]:80"] = "\x20\x01\x0d\xb8" .. ("\0"):rep(11) .. "\1",
      ["[2001:db8:1:2:3:4:5:6]:80"] = "\x20\x01\x0d\xb8\0\1\0\2\0\3\0\4\0\5\0\6",
      ["[::]:80"] = ("\0"):rep(16),
      ["[fe80::]:80"] = "\xfe\x80" .. ("\0"):rep(14),
      ["[fe80::abcd%2]:80"] = "\xfe\x80" .. ("\0"):rep(12) .. "\xab\xcd",
      ["[1::8]:80"] = "\0\1" .. ("\0"):rep(12) .. "\0\8",
    } do
      local family, got, port = parse(address)
      assert.same({ 6, bytes, "80" }, { family, got, port })
    end
    assert.is_nil(parse "unix:")
    assert.same({ 4, "\192\0\2\1", "443" }, { parse "192.0.2.1:443" })
  end)
end)
