-- scripts/examples/socks5.lua at the far end, client.lua at the near one: SOCKS5 from an application's view.
local h = require "harness"
local scripts = require "harness.scripts"

describe("the socks5 example", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- Both ends; returns the near one, with its port as `at`, and the far one.
  local function tunnel(changes)
    local port, near = h.sockets.free_port("udp"), h.sockets.free_port("tcp")
    s.key()
    local server = s.kt("run", s.example("socks5.lua", { { ":29900", "127.0.0.1:" .. port }, table.unpack(changes or {}) }))
    server:wait_udp(port)
    local client = s.kt("run", s.example("client.lua", {
      { "vps.example:29900", "127.0.0.1:" .. port }, { "127.0.0.1:12948", "127.0.0.1:" .. near } }))
    client:wait_tcp(near)
    client.at = near
    return client, server
  end

  local function connect_to(kind, address, port, command)
    return string.pack("BBBB", 5, command or 1, 0, kind) .. address .. string.pack(">I2", port)
  end

  --- An application that was greeted.
  local function greeted(client)
    local app = assert(h.sockets.connect(client.at))
    app:send("\5\1\0")
    assert.equal("\5\0", app:recv_exactly(2, 20))
    return app
  end

  local function reply_code(app)
    local version, code = app:recv_exactly(10, 20):byte(1, 2)
    assert.equal(5, version)
    return code
  end

  it("connects to an IPv4 address and carries bytes both ways", function()
    h.run(function()
      local target = h.transfer.partner(300000, 500000)
      local client, server = tunnel()
      local app = greeted(client)
      app:send(connect_to(1, "\127\0\0\1", target.at))
      assert.equal(0, reply_code(app))
      app:send(string.pack("<i8", 3))
      h.loop.all(60,
        function() h.transfer.push(app, 3, 300000) end,
        function() h.transfer.pull(app, -3, 500000) end)
      assert.equal("!", app:recv_exactly(1, 20))
      app:close()
      assert.equal(0, client:stop())
      assert.equal(0, server:stop())
    end)
  end)

  it("looks names up at the far end", function()
    h.run(function()
      local target = h.transfer.echo()
      local client = tunnel()
      local app = greeted(client)
      app:send(connect_to(3, "\9localhost", target.at))
      assert.equal(0, reply_code(app))
      app:send("hello")
      assert.equal("hello", app:recv_exactly(5, 20))
    end)
  end)

  it("passes on what the application sent without waiting for replies", function()
    h.run(function()
      local target = h.transfer.echo()
      local client = tunnel()
      local app = assert(h.sockets.connect(client.at))
      app:send("\5\2\0\1" .. connect_to(1, "\127\0\0\1", target.at) .. "eager")
      app:shutdown()
      assert.equal("\5\0", app:recv_exactly(2, 20))
      assert.equal(0, reply_code(app))
      assert.equal("eager", (app:recv_all(20)))
    end)
  end)

  it("replies to each failure with its code", function()
    h.run(function()
      local client, server = tunnel()
      for code, request in pairs {
        [5] = connect_to(1, "\127\0\0\1", h.sockets.refusing()),
        [4] = connect_to(3, "\15nowhere.invalid", 80),
        [7] = connect_to(1, "\127\0\0\1", 80, 2), -- BIND
        [8] = string.pack("BBBB", 5, 1, 0, 9),
      } do
        local app = greeted(client)
        app:send(request)
        assert.equal(code, reply_code(app))
        assert.equal("", (app:recv_all(20)))
      end
      server:expect("only CONNECT is supported\n")
      server:expect("unknown address type\n")
    end)
  end)

  it("refuses targets that the script does not allow", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = tunnel { { "  return true\n", '  return host ~= "127.0.0.1"\n' } }
      local app = greeted(client)
      app:send(connect_to(1, "\127\0\0\1", target.at))
      assert.equal(2, reply_code(app))
      assert.equal(0, target.accepted)
      server:expect(("127.0.0.1:%d is not allowed\n"):format(target.at))
    end)
  end)

  it("refuses a client that insists on authentication, and one that does not speak SOCKS5", function()
    h.run(function()
      local client, server = tunnel()
      local app = assert(h.sockets.connect(client.at))
      app:send("\5\1\2")
      assert.equal("\5\255", (app:recv_all(20)))
      server:expect("requires authentication\n")
      local http = assert(h.sockets.connect(client.at))
      http:send("GET / HTTP/1.1\r\n\r\n")
      assert.equal("", (http:recv_all(20)))
      server:expect("not SOCKS5\n")
    end)
  end)

  it("does not let a silent application disturb the others", function()
    h.run(function()
      local target = h.transfer.echo()
      local client = tunnel { { 'timeout = "10s"', 'timeout = "300ms"' } }
      local silent = assert(h.sockets.connect(client.at))
      silent:send("\5")
      local app = greeted(client)
      app:send(connect_to(1, "\127\0\0\1", target.at))
      assert.equal(0, reply_code(app))
      assert.equal("", (silent:recv_all(20)))
      app:send("still there")
      assert.equal("still there", app:recv_exactly(11, 20))
    end)
  end)
end)
