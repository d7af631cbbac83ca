-- kt to kt over real sockets, on kt's own wire.
local h = require "harness"

local NATIVE = { wire = "kt", smuxver = false, key = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4=" }

describe("a tunnel on kt's own wire", function()
  after_each(h.cleanup)

  it("carries much both ways at once, on many streams", function()
    h.run(function()
      local each = h.light and 1 << 20 or 8 << 20
      local partner = h.transfer.partner(each, each)
      local client, server = h.peer.tunnel(partner.at, NATIVE)
      local streams = {}
      for i = 1, 16 do streams[i] = function() h.transfer.exchange(client.at, i, each, each) end end
      h.loop.all(100, table.unpack(streams))
      h.loop.eventually("all streams to be gone", 10, function() return server:counters().StreamsNow == 0 end)
      assert.equal(1, server:counters().PassiveOpens)
    end, 110)
  end)

  it("recovers within 5 s of the first connection after its server was killed and started again", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = h.peer.tunnel(target.at, NATIVE)
      h.transfer.ping(client.at)
      local busy = assert(h.sockets.connect(client.at))
      busy:send("held open")
      busy:recv_exactly(9)
      server:kill()
      busy:send("into the dark")
      local again = { port = server.port }
      for name, value in pairs(NATIVE) do again[name] = value end
      h.peer.server(target.at, again)
      local start = h.loop.now()
      h.transfer.ping(client.at, 10)
      assert.is_true(h.loop.now() - start < 5)
      assert.is_nil((busy:recv(10)), "the stream of the dead server was not ended")
    end)
  end)

  for _, which in ipairs { "client", "server" } do
    it("lets a transfer finish when its " .. which .. " gets a TERM", function()
      h.run(function()
        local partner = h.transfer.partner(4 << 20, 4 << 20)
        local ends = {}
        ends.client, ends.server = h.peer.tunnel(partner.at, NATIVE)
        h.loop.all(60, function() h.transfer.exchange(ends.client.at, 1, 4 << 20, 4 << 20) end, function()
          h.loop.eventually("the stream", 10, function() return ends.server:counters().StreamsAccepted == 1 end)
          ends[which]:signal_with("sigterm")
        end)
        assert.equal(0, ends[which]:wait_exit(20))
      end, 90)
    end)
  end

  it("says that it closes: the other end knows at once", function()
    h.run(function()
      local target = h.transfer.echo()
      local client, server = h.peer.tunnel(target.at, NATIVE)
      h.transfer.ping(client.at)
      client:signal_with("sigterm")
      assert.equal(0, client:wait_exit(20))
      h.loop.eventually("the server to know", 3, function() return server:counters().CurrEstab == 0 end)
    end)
  end)
end)
