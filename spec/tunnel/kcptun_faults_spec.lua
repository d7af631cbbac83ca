-- kt beside Debian's kcptun when one of them, or one side of a connection, goes away: the best that is possible for an end
-- that knows neither restarts nor half-close.
local h = require "harness"

local KT_TO_KCPTUN = { client = { impl = "kt" }, server = { impl = "kcptun" } }
local KCPTUN_TO_KT = { client = { impl = "kcptun" }, server = { impl = "kt" } }

--- Connects and asks until an answer comes, retrying a refused or ended attempt at once; returns the seconds it took.
local function served_again(where, within)
  local start = h.loop.now()
  h.loop.eventually("an answer", within, function()
    local conn = h.sockets.connect(where)
    if not conn then return false end
    conn:send("ping\n")
    local left = math.max(start + within - h.loop.now(), 0.01)
    local ok, reply = pcall(conn.recv_exactly, conn, 5, left)
    conn:close()
    return ok and reply == "ping\n"
  end)
  return h.loop.now() - start
end

describe("a kt client", function()
  after_each(h.cleanup)

  for _, smuxver in ipairs { 1, 2 } do
    it("is served again within 5 s of the first connection after a kcptun server was killed and restarted, on smux " .. smuxver,
      function()
        h.run(function()
          local target = h.transfer.echo()
          local client, server = h.peer.tunnel(target.at, { smuxver = smuxver }, KT_TO_KCPTUN)
          h.transfer.ping(client.at)
          server:kill()
          h.peer.server(target.at, { impl = "kcptun", port = server.port, smuxver = smuxver })
          local took = served_again(client.at, 10)
          assert.is_true(took < 5, ("it took %.1f s"):format(took))
        end)
      end)

    it("gives an application that half-closes a reply that comes 300 ms after the request, on smux " .. smuxver, function()
      h.run(function()
        local target = h.sockets.serve(function(conn)
          assert.equal("request", conn:recv_exactly(7))
          h.loop.sleep(0.3)
          conn:send("the whole reply")
          conn:recv(60)
        end)
        local client = h.peer.tunnel(target.at, { smuxver = smuxver }, KT_TO_KCPTUN)
        local conn = assert(h.sockets.connect(client.at))
        conn:send("request")
        conn:shutdown()
        assert.equal("the whole reply", conn:recv_exactly(15, 5))
      end)
    end)
  end

  it("ends such a connection once the reply has been quiet for a second, though neither target nor server ends it", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        assert.equal("request", conn:recv_exactly(7))
        h.loop.sleep(0.3)
        conn:send("the whole reply")
        conn:recv(60)
      end)
      local client = h.peer.tunnel(target.at, {}, KT_TO_KCPTUN)
      local conn = assert(h.sockets.connect(client.at))
      conn:send("request")
      conn:shutdown()
      assert.equal("the whole reply", conn:recv_exactly(15, 5))
      local start = h.loop.now()
      assert.is_nil((conn:recv(15)))
      local took = h.loop.now() - start
      assert.is_true(took > 0.8 and took < 3, ("it took %.1f s"):format(took))
    end)
  end)
end)

describe("a kt server", function()
  after_each(h.cleanup)

  for _, smuxver in ipairs { 1, 2 } do
    it("ends the application's connection through a kcptun client within 1 s of its target's closing, on smux " .. smuxver,
      function()
        h.run(function()
          local closed
          local target = h.sockets.serve(function(conn)
            conn:recv_exactly(7)
            h.transfer.push(conn, 5, 200000)
            conn:close()
            closed = h.loop.now()
          end)
          local client = h.peer.tunnel(target.at, { smuxver = smuxver }, KCPTUN_TO_KT)
          local conn = assert(h.sockets.connect(client.at))
          conn:send("request")
          h.transfer.pull(conn, 5, 200000)
          local start = math.max(h.loop.now(), closed)
          local rest, err = conn:recv_all(5)
          assert.equal("", rest)
          assert.is_nil(err)
          local took = h.loop.now() - start
          assert.is_true(took < 1, ("it took %.1f s"):format(took))
        end)
      end)
  end

  it("carries the streams of a kcptun client to a unix socket", function()
    h.run(function()
      local partner = h.transfer.partner(100000, 100000, h.temporary_path())
      local client = h.peer.tunnel(partner.at, {}, KCPTUN_TO_KT)
      h.transfer.exchange(client.at, 4, 100000, 100000)
      assert.equal(1, partner.accepted)
    end)
  end)

  it("serves kcptun clients on each port of a range", function()
    h.run(function()
      local partner = h.transfer.partner(50000, 50000)
      local first = h.sockets.free_port("udp", 2)
      h.peer.server(partner.at, { port = first, listen = ("127.0.0.1:%d-%d"):format(first, first + 1) }):wait_udp(first + 1)
      for i, port in ipairs { first + 1, first } do
        local client = h.peer.client(port, { impl = "kcptun" })
        h.transfer.exchange(client.at, i, 50000, 50000)
        assert.equal(i, partner.accepted)
      end
    end)
  end)
end)
