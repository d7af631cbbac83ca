-- kt to kt over real sockets: an application's view of a working tunnel.
local uv = require "luv"
local h = require "harness"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4=" -- deriving one from a passphrase takes 64 MiB for a moment
local fastest = {
  wire = "kcptun", mode = "fast3", nocomp = true, sndwnd = 4096, rcvwnd = 4096, datashard = 0, parityshard = 0, smuxbuf = 16 << 20,
  streambuf = 8 << 20,
}

describe("a kt tunnel", function()
  after_each(h.cleanup)

  it("carries 200 streams at once", function()
    h.run(function()
      local each = h.light and 20000 or 200000
      local partner = h.transfer.partner(each, each)
      local client, server = h.peer.tunnel(partner.at)
      local streams = {}
      for i = 1, 200 do streams[i] = function() h.transfer.exchange(client.at, i, each, each) end end
      h.loop.all(100, table.unpack(streams))
      assert.equal(200, partner.accepted)
      h.loop.eventually("all streams to be gone", 10, function() return server:counters().StreamsNow == 0 end)
      h.loop.eventually("all streams to be gone", 5, function() return client:counters().StreamsNow == 0 end)
    end)
  end)

  it("carries 1 GB through one stream", function()
    h.run(function()
      local total = h.light and 50 << 20 or 1 << 30
      local partner = h.transfer.partner(total, 0)
      local client, server = h.peer.tunnel(partner.at, { key = KEY })
      h.transfer.exchange(client.at, 1, total, 0)
      if h.memory_counts then
        assert.is_true(client:peak_rss() < 64 << 20, "client's memory: " .. client:peak_rss())
        assert.is_true(server:peak_rss() < 64 << 20, "server's memory: " .. server:peak_rss())
      end
    end, 110)
  end)

  it("carries as much the other way", function()
    h.run(function()
      local total = h.light and 20 << 20 or 200 << 20
      local partner = h.transfer.partner(0, total)
      local client = h.peer.tunnel(partner.at, fastest)
      h.transfer.exchange(client.at, 1, 0, total)
    end)
  end)

  it("leaves no descriptor and no memory behind after 2,000 short connections", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = h.peer.tunnel(target.at, { quiet = true })
      local total, side_by_side = h.light and 400 or 2000, 50
      local function some(n)
        local function visitor()
          for _ = 1, n // side_by_side do h.transfer.ping(client.at) end
        end
        local visitors = {}
        for i = 1, side_by_side do visitors[i] = visitor end
        h.loop.all(100, table.unpack(visitors))
      end
      local function settled()
        h.loop.eventually("all streams to be gone", 10, function()
          return client:counters().StreamsNow == 0 and server:counters().StreamsNow == 0 and target.open == 0
        end)
      end
      h.transfer.ping(client.at) -- what is opened on first use
      settled()
      local fds = { client:settled_fd_count(), server:settled_fd_count() }
      some(500) -- pools grow to what this traffic needs
      settled()
      local before = { client:rss(), server:rss() }
      some(total)
      settled()
      h.loop.eventually("all descriptors to be closed", 10, function()
        return client:fd_count() == fds[1] and server:fd_count() == fds[2]
      end)
      assert.equal(total + 501, target.accepted)
      if h.memory_counts then
        assert.is_true(client:rss() - before[1] < 3 << 20, "the client grew by " .. client:rss() - before[1])
        assert.is_true(server:rss() - before[2] < 3 << 20, "the server grew by " .. server:rss() - before[2])
      end
    end)
  end)

  it("lets an application half-close after its request and then read the reply", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        local request = conn:recv_all() -- to the end: the half-close has to arrive
        conn:send(request:reverse())
      end)
      local client = h.peer.tunnel(target.at)
      local conn = assert(h.sockets.connect(client.at))
      conn:send("stressed desserts")
      conn:shutdown()
      local reply, err = conn:recv_all(10)
      assert.equal("stressed desserts", reply)
      assert.is_nil(err)
    end)
  end)

  it("lets a target half-close first and still read from the application", function()
    h.run(function()
      local heard
      local target = h.sockets.serve(function(conn)
        conn:send("bye")
        conn:shutdown()
        heard = conn:recv_all()
      end)
      local client = h.peer.tunnel(target.at)
      local conn = assert(h.sockets.connect(client.at))
      conn:send("a")
      assert.equal("bye", (conn:recv_all(10)))
      conn:send("bc")
      conn:close()
      h.loop.eventually("the target to hear the end", 10, function() return heard end)
      assert.equal("abc", heard)
    end)
  end)

  it("passes a target's reset on as a reset", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        conn:recv()
        conn:reset()
      end)
      local client = h.peer.tunnel(target.at)
      local conn = assert(h.sockets.connect(client.at))
      conn:send("x")
      local chunk = conn:recv(10)
      assert.is_nil(chunk)
    end)
  end)

  it("delivers everything that was sent just before the close", function()
    h.run(function()
      local target = h.sockets.serve(function(conn) h.transfer.push(conn, 5, 3000000) end)
      local client = h.peer.tunnel(target.at)
      local conn = assert(h.sockets.connect(client.at))
      h.transfer.pull(conn, 5, 3000000)
      assert.is_nil(conn:recv(10))
    end)
  end)

  for _, crypt in ipairs { "aes", "aes-128-gcm", "null", "none", "salsa20" } do
    it("carries bytes with " .. crypt, function()
      h.run(function()
        local partner = h.transfer.partner(500000, 500000)
        local client = h.peer.tunnel(partner.at, { wire = "kcptun", crypt = crypt })
        h.transfer.exchange(client.at, 2, 500000, 500000)
      end)
    end)
  end

  for _, smuxver in ipairs { 1, 2 } do
    it("carries bytes with QPP and tuncrypt over smux " .. smuxver, function()
      h.run(function()
        local partner = h.transfer.partner(300000, 300000)
        local client = h.peer.tunnel(partner.at, { wire = "kcptun", QPP = true, tuncrypt = true, smuxver = smuxver })
        h.transfer.exchange(client.at, 2, 300000, 300000)
      end)
    end)
  end

  it("joins unix sockets on both sides", function()
    h.run(function()
      local near, far = h.temporary_path(), h.temporary_path()
      local partner = h.transfer.partner(200000, 300000, far)
      local client = h.peer.tunnel(partner.at, {}, { client = { at = near } })
      h.transfer.exchange(client.at, 4, 200000, 300000)
    end)
  end)

  it("serves every port of a range", function()
    h.run(function()
      local target = h.transfer.echo()
      local first = h.sockets.free_port("udp", 4)
      local server = h.peer.server(target.at, { wire = "kt", port = first, listen = ("127.0.0.1:%d-%d"):format(first, first + 3) })
      for port = first, first + 3 do
        server:wait_udp(port)
        h.transfer.ping(h.peer.client(port, { wire = "kt" }).at)
      end
      assert.equal(4, server:counters().PassiveOpens)
    end)
  end)

  it("spreads its sessions over a range of ports", function()
    h.run(function()
      local first = h.sockets.free_port("udp", 4)
      local heard, ports = {}, 0
      for port = first, first + 3 do
        local socket = uv.new_udp()
        assert(socket:bind("127.0.0.1", port))
        socket:recv_start(function(_, data)
          if data and not heard[port] then
            heard[port] = true
            ports = ports + 1
          end
        end)
      end
      local client = h.peer.client(nil, { remoteaddr = ("127.0.0.1:%d-%d"):format(first, first + 3), conn = 24, wire = "kcptun" })
      for _ = 1, 24 do assert(h.sockets.connect(client.at)):send("x") end
      h.loop.eventually("all four ports to be used", 10, function() return ports == 4 end)
    end)
  end)

  it("uses its sessions in rotation and replaces an expired one", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = h.peer.tunnel(target.at, { wire = "kcptun" }, { client = { conn = 3, autoexpire = 1, scavengettl = 1 } })
      for _ = 1, 6 do h.transfer.ping(client.at) end
      assert.equal(3, server:counters().PassiveOpens)
      h.loop.sleep(1.2) -- what expires is measured in seconds
      for _ = 1, 3 do h.transfer.ping(client.at) end
      assert.equal(6, server:counters().PassiveOpens)
    end)
  end)

  it("keeps to its rate limit", function()
    h.run(function()
      local total, rate = 1500000, 1000000
      local partner = h.transfer.partner(total, 0)
      local client = h.peer.tunnel(partner.at, { nocomp = true, datashard = 0, parityshard = 0 }, { client = { ratelimit = rate } })
      local start = h.loop.now()
      h.transfer.exchange(client.at, 6, total, 0)
      local took = h.loop.now() - start
      assert.is_true(took > 1.2 and took < 4, ("%d bytes at %d a second took %.2f s"):format(total, rate, took))
    end)
  end)
end)
