-- kt to kt when things go wrong: killed ends, refusing targets, stalled readers, strangers.
local uv = require "luv"
local h = require "harness"

--- Opens and closes one connection, so that everything opened on first use is open. Returns the server's descriptors.
local function used_once(client, server, target)
  local conn = assert(h.sockets.connect(client.at))
  conn:send("x")
  conn:recv()
  conn:close()
  h.loop.eventually("the connection to be gone", 10, function()
    return target.open == 0 and server:counters().StreamsNow == 0
  end)
  return server:settled_fd_count()
end

describe("a kt tunnel", function()
  after_each(h.cleanup)

  for _, idle in ipairs { false, true } do
    it("recovers within 5 s of the first connection after its server was killed and restarted, having been "
      .. (idle and "idle" or "busy"), function()
      h.run(function()
        local target = h.transfer.echo()
        local client, server = h.peer.tunnel(target.at)
        h.transfer.ping(client.at)
        local busy = not idle and assert(h.sockets.connect(client.at))
        if busy then
          busy:send("held open")
          busy:recv_exactly(9)
        end
        server:kill()
        if busy then busy:send("into the dark") end
        h.peer.server(target.at, { port = server.port })
        local start = h.loop.now()
        h.transfer.ping(client.at, 10)
        local took = h.loop.now() - start
        assert.is_true(took < 5, ("it took %.1f s"):format(took))
        if busy then assert.is_nil((busy:recv(10)), "the stream of the dead server was not ended") end
      end)
    end)
  end

  it("ends the streams of a server that is gone", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = h.peer.tunnel(target.at, { wire = "kt", deadpeer = 5 })
      local conn = assert(h.sockets.connect(client.at))
      conn:send("x")
      conn:recv_exactly(1)
      server:kill()
      conn:send("into the dark")
      assert.is_nil((conn:recv(15)))
      assert.equal(1, client:counters().SessionsDead)
    end)
  end)

  it("does not give up on an idle peer", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = h.peer.tunnel(target.at, { wire = "kt", deadpeer = 1, keepalive = 10 })
      local conn = assert(h.sockets.connect(client.at))
      conn:send("x")
      conn:recv_exactly(1)
      h.loop.sleep(4) -- four times what a dead peer is given
      conn:send("still there?")
      assert.equal("still there?", conn:recv_exactly(12))
      assert.equal(0, client:counters().SessionsDead + server:counters().SessionsDead)
    end)
  end)

  it("ends a connection whose target refuses, logs it, and carries the next when the target is back", function()
    h.run(function()
      local port = h.sockets.free_port("tcp")
      local client, server = h.peer.tunnel(port)
      assert.is_true(h.sockets.is_reset(client.at, 10))
      server:expect("127%.0%.0%.1:" .. port .. ".*refused")
      h.transfer.echo(port)
      h.transfer.ping(client.at)
    end)
  end)

  it("forgets a client that vanishes in the middle of a transfer, with its connections", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        for data in h.pattern.blocks(1, 1 << 40) do
          if not conn:send(data, 60) then return end
        end
      end)
      local client, server = h.peer.tunnel(target.at, { deadpeer = 5 })
      local before = used_once(client, server, target)
      local seen = {}
      for i = 1, 10 do seen[i] = assert(h.sockets.connect(client.at)) end
      for i = 1, 10 do assert(seen[i]:recv()) end
      assert.equal(before + 10, server:fd_count())
      client:kill()
      h.loop.eventually("the target's connections to end", 15, function() return target.open == 0 end)
      h.loop.eventually("the descriptors to be closed", 5, function() return server:fd_count() == before end)
      local counters = server:counters()
      assert.equal(0, counters.CurrEstab)
      assert.equal(0, counters.StreamsNow)
    end)
  end)

  it("forgets a client that vanishes while nothing moves", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = h.peer.tunnel(target.at, { keepalive = 1, deadpeer = 2 })
      local before = used_once(client, server, target)
      local conn = assert(h.sockets.connect(client.at))
      conn:send("x")
      conn:recv_exactly(1)
      client:kill()
      h.loop.eventually("the server to drop the session", 35, function() return server:counters().CurrEstab == 0 end)
      h.loop.eventually("the descriptors to be closed", 5, function()
        return target.open == 0 and server:fd_count() == before
      end)
    end)
  end)

  for _, smuxver in ipairs { 1, 2 } do
    it("stops a writer whose reader stalls, within bounded memory, on smux " .. smuxver, function()
      h.run(function()
        local sent = 0
        local target = h.sockets.serve(function(conn)
          for data in h.pattern.blocks(1, 1 << 40) do
            if not conn:send(data, 60) then return end
            sent = sent + #data
          end
        end)
        local client, server = h.peer.tunnel(target.at, { wire = "kcptun", smuxver = smuxver, mode = "fast" })
        local conn = assert(h.sockets.connect(client.at))
        local base = { client:rss(), server:rss() }
        local check = h.pattern.checker(1)
        local got = check(assert(conn:recv())) -- and then no more
        local stalled
        h.loop.eventually("the target to be stopped", 20, function()
          local last = sent
          h.loop.sleep(0.5)
          stalled = sent
          return stalled == last
        end)
        -- smuxbuf 4 MiB, windows of 1024 and 512 packets, and the kernel's buffers of three TCP legs.
        assert.is_true(stalled < 40 << 20, ("the target could send %d bytes"):format(stalled))
        if h.memory_counts then
          assert.is_true(client:rss() - base[1] < 16 << 20, "the client grew by " .. client:rss() - base[1])
          assert.is_true(server:rss() - base[2] < 16 << 20, "the server grew by " .. server:rss() - base[2])
        end
        while got < stalled do got = check(assert(conn:recv())) end
      end)
    end)
  end

  it("exits cleanly on SIGTERM while a new stream waits behind a stalled one", function()
    h.run(function()
      local sent = 0
      local target = h.sockets.serve(function() h.loop.sleep(30) end) -- accepts, and never reads
      local client, server = h.peer.tunnel(target.at, { wire = "kcptun", smuxver = 1 })
      local flood = assert(h.sockets.connect(client.at))
      h.loop.spawn(function()
        for data in h.pattern.blocks(1, 1 << 40) do
          if not flood:send(data, 60) then return end
          sent = sent + #data
        end
      end)
      h.loop.eventually("the writer to be stopped", 20, function()
        local last = sent
        h.loop.sleep(0.5)
        return sent > 0 and sent == last
      end)
      assert(h.sockets.connect(client.at)):send("behind") -- its SYN is not read while the session's buffer is full
      h.loop.sleep(0.2)
      server:signal_with("sigterm")
      assert.equal(0, server:wait_exit(20))
    end)
  end)

  it("keeps other streams moving beside a stalled one on smux 2", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        if conn:recv_exactly(5) == "flood" then
          for data in h.pattern.blocks(1, 1 << 40) do
            if not conn:send(data, 60) then return end
          end
        end
        conn:send("ping\n")
      end)
      local client = h.peer.tunnel(target.at)
      local stalled = assert(h.sockets.connect(client.at))
      stalled:send("flood")
      stalled:recv()
      for _ = 1, 20 do
        h.transfer.ping(client.at, 5)
        h.loop.sleep(0.05)
      end
    end)
  end)

  it("neither answers nor remembers datagrams that do not authenticate, and counts them", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = h.peer.tunnel(target.at)
      h.transfer.ping(client.at)
      local before, memory = server:counters(), server:rss()
      local answered = 0
      local stranger = uv.new_udp()
      stranger:bind("127.0.0.1", 0)
      stranger:recv_start(function(_, data) answered = answered + (data and 1 or 0) end)
      local noise = h.pattern.blocks(99, 65536)()
      local total = 1000
      for i = 1, total do
        stranger:try_send(noise:sub(i + 16, i + 16 + i % 1700), "127.0.0.1", server.port)
        if i % 50 == 0 then h.loop.sleep(0.01) end -- no faster than the socket's buffer
      end
      local after
      h.loop.eventually("the datagrams to be counted", 5, function()
        after = server:counters()
        return after.InCsumErrors + after.InErrs - before.InCsumErrors - before.InErrs >= total
      end)
      assert.is_true(after.InCsumErrors > before.InCsumErrors)
      assert.equal(0, answered)
      assert.equal(before.CurrEstab, after.CurrEstab)
      assert.equal(before.PassiveOpens, after.PassiveOpens)
      if h.memory_counts then assert.is_true(server:rss() - memory < 1 << 20) end
      h.transfer.ping(client.at)
    end)
  end)

  it("carries bytes over a path with 8 % loss each way", function()
    h.run(function()
      local partner = h.transfer.partner(500000, 500000)
      local relay
      local client, server = h.peer.tunnel(partner.at, { wire = "kcptun", mode = "fast2" }, {
        through = function(port)
          relay = h.relay.start(port, { loss = 0.08, delay = 0.02 }, 3)
          return relay.port
        end,
      })
      h.transfer.exchange(client.at, 8, 500000, 500000)
      local counters = server:counters()
      assert.is_true(relay.lost > 20)
      assert.is_true(counters.FECRecovered > 0)
      assert.is_true(counters.RetransSegs > 0)
    end)
  end)

  it("keeps its connections after its address changes on the path", function()
    h.run(function()
      local target = h.transfer.echo()
      local relay
      local client = h.peer.tunnel(target.at, {}, {
        through = function(port)
          relay = h.relay.start(port)
          return relay.port
        end,
      })
      local conn = assert(h.sockets.connect(client.at))
      conn:send("ping\n")
      assert.equal("ping\n", conn:recv_exactly(5))
      relay.rebind()
      conn:send("more\n")
      assert.equal("more\n", conn:recv_exactly(5, 15))
    end)
  end)
end)
