-- A peer that has the key (here: none, --crypt null) and breaks the protocol: its session ends with the reason in the log, and a neighbour is unaffected.
local h = require "harness"
local uv = require "luv"

local CONV = 0x11223344

local function segment(cmd, sn, data, len)
  data = data or ""
  return ("<I4BBI2I4I4I4I4"):pack(CONV, cmd, 0, 512, 0, sn, 0, len or #data) .. data
end

local function push(sn, data, len) return segment(81, sn, data, len) end

local function fec(seqid, kind, rest) return ("<I4I2"):pack(seqid, kind) .. rest end

local SYN = "\2\0\0\0\3\0\0\0"

local function noise(n, seed)
  local out, x = {}, seed
  for i = 1, n do
    x = (x * 1103515245 + 12345) & 0x7fffffff
    out[i] = string.char(x >> 16 & 255)
  end
  return table.concat(out)
end

-- Groups of 9 data packets and a parity packet that does not belong to them.
local function corrupt_groups(count)
  local list = { push(0, SYN) }
  for g = 0, count - 1 do
    for i = 0, 8 do
      local wins = segment(84, 0)
      list[#list + 1] = fec(g * 13 + i, 0xf1, ("<I2"):pack(2 + #wins) .. wins)
    end
    list[#list + 1] = fec(g * 13 + 10, 0xf2, "\xff\xff" .. noise(24, g))
  end
  return list
end

describe("a peer that has the key and sends", function()
  after_each(h.cleanup)

  local cases = {
    { "a KCP segment whose length lies", { nocomp = true }, { push(0, "", 500) }, "malformed KCP packet" },
    { "an unknown KCP command", { nocomp = true }, { push(0, SYN), segment(99, 1) }, "malformed KCP packet" },
    { "a FEC packet larger than any", { nocomp = true },
      { push(0, SYN), fec(0, 0xf1, ("<I2"):pack(1602) .. push(1, ("x"):rep(1576))) }, "malformed FEC packet" },
    { "groups of FEC packets that contradict themselves", { nocomp = true }, corrupt_groups(40), "corrupt FEC data" },
    { "another version of smux", { nocomp = true }, { push(0, "\1\0\0\0\3\0\0\0") }, "smuxver" },
    { "an unknown smux command", { nocomp = true }, { push(0, SYN), push(1, "\2\9\0\0\3\0\0\0") }, "ended: " },
    { "a window update of a wrong length", { nocomp = true }, { push(0, SYN), push(1, "\2\4\3\0\3\0\0\0") }, "ended: " },
    { "snappy without its beginning", {}, { push(0, noise(64, 7)) }, "ended: " },
    { "a snappy chunk with a wrong checksum", {},
      { push(0, "\xff\6\0\0sNaPpY\1\x0c\0\0" .. "\0\0\0\0" .. SYN) }, "ended: " },
  }
  for _, case in ipairs(cases) do
    it(case[1] .. ": loses its session, with the reason in the log, and its neighbour is unaffected", function()
      h.run(function()
        local target = h.transfer.echo()
        local options = { crypt = "null", nocomp = case[2].nocomp }
        local client, server = h.peer.tunnel(target.at, options)
        local neighbour = assert(h.sockets.connect(client.at))
        neighbour:send("one")
        assert.equal("one", neighbour:recv_exactly(3))

        local stranger = uv.new_udp()
        stranger:bind("127.0.0.1", 0)
        local port = stranger:getsockname().port
        for i, body in ipairs(case[3]) do
          stranger:try_send(body, "127.0.0.1", server.port)
          if i % 50 == 0 then h.loop.sleep(0.01) end
        end
        server:expect(("session with 127%%.0%%.0%%.1:%d ended: [^\n]*%s"):format(port, case[4]:gsub("^ended: ", "")), 10)
        assert.equal(1, server:counters().SessionsFailed)
        stranger:close()

        neighbour:send("two")
        assert.equal("two", neighbour:recv_exactly(3))
      end)
    end)
  end
end)

describe("a session that has received 44 bytes", function()
  after_each(h.cleanup)

  it("costs the server little memory, at the defaults of compression and FEC", function()
    h.run(function()
      local _, server = h.peer.tunnel(h.transfer.echo().at, { crypt = "null" })
      local before, sessions = server:rss(), 600
      for i = 1, sessions do
        local kcp = ("<I4BBI2I4I4I4I4"):pack(CONV + i, 81, 0, 512, 0, 0, 0, 12) .. "\xff\6\0\0sNaPpYxx"
        local stranger = uv.new_udp()
        stranger:bind("127.0.0.1", 0)
        stranger:try_send(fec(0, 0xf1, ("<I2"):pack(2 + #kcp) .. kcp), "127.0.0.1", server.port)
        stranger:close()
        if i % 50 == 0 then h.loop.sleep(0.01) end
      end
      local held = server:counters().CurrEstab
      assert.is_true(held > sessions // 2)
      local each = (server:rss() - before) // held
      if h.memory_counts then assert.is_true(each < 28 << 10, ("%d bytes each"):format(each)) end
    end)
  end)
end)

describe("sessions with a long chunk that is not whole", function()
  after_each(h.cleanup)

  it("count it, and their memory returns to the system some time after they have ended", function()
    h.run(function()
      local sessions, body = 100, 65540
      local server = h.peer.server(h.transfer.echo().at, { crypt = "null", datashard = 0, parityshard = 0 })
      local before, strangers = server:rss(), {}
      local function send(i, sn, data)
        strangers[i]:try_send(("<I4BBI2I4I4I4I4"):pack(CONV + i, 81, 0, 512, 0, sn, 0, #data) .. data, "127.0.0.1", server.port)
      end
      for i = 1, sessions do
        strangers[i] = uv.new_udp()
        strangers[i]:bind("127.0.0.1", 0)
        send(i, 0, "\xff\6\0\0sNaPpY\1" .. ("<I3"):pack(body))
        for sn = 1, 64 do send(i, sn, ("x"):rep(1024)) end
        h.loop.sleep(0.002)
      end
      h.loop.eventually("the chunks to be counted", 5, function() return server:counters().BytesHeld > sessions * 50000 end)
      local held = server:rss() - before
      for i = 1, sessions do
        send(i, 65, ("x"):rep(4))
        strangers[i]:close()
      end
      h.loop.eventually("the sessions to end", 5, function() return server:counters().SessionsFailed == sessions end)
      assert.is_true(server:counters().BytesHeld < 65536)
      if not h.memory_counts then return end
      assert.is_true(held > sessions * 60000 and held < sessions * (110 << 10), ("%d bytes more"):format(held))
      h.loop.eventually("their memory to be returned", 30, function() return server:rss() - before < 2 << 20 end)
    end)
  end)
end)

describe("peers whose FEC has groups of 200 packets, none of which is whole,", function()
  after_each(h.cleanup)

  it("make no more memory resident than --maxbuffered and what each session may have", function()
    h.run(function()
      local sessions, budget, data, parity = 8, 1 << 20, 200, 2
      local server = h.peer.server(h.transfer.echo().at, { crypt = "null", nocomp = true, maxbuffered = budget })
      local before = server:rss()
      local function packet(i, seqid)
        if seqid % (data + parity) >= data then return fec(seqid, 0xf2, ("\0"):rep(24)) end
        local kcp = ("<I4BBI2I4I4I4I4"):pack(CONV + i, 81, 0, 128, 0, 0, 0, 8) .. SYN
        return fec(seqid, 0xf1, ("<I2"):pack(2 + #kcp) .. kcp)
      end
      for i = 1, sessions do
        local stranger = uv.new_udp()
        stranger:bind("127.0.0.1", 0)
        stranger:try_send(packet(i, data + parity), "127.0.0.1", server.port) -- only data makes a session
        for seqid = data, 6 * (data + parity) do
          local at = seqid % (data + parity)
          if seqid < 2 * (data + parity) or at < data - 1 then stranger:try_send(packet(i, seqid), "127.0.0.1", server.port) end
          if seqid % 50 == 0 then h.loop.sleep(0.002) end
        end
        stranger:close()
      end
      h.loop.sleep(0.1)
      local counters = server:counters()
      assert.equal(sessions, counters.CurrEstab)
      assert.is_true(counters.BytesHeld > budget // 4 and counters.BytesHeld <= budget + sessions * (64 << 10), tostring(counters.BytesHeld))
      if h.memory_counts then
        assert.is_true(server:rss() - before < budget + sessions * (110 << 10) + (1 << 20), ("%d bytes more"):format(server:rss() - before))
      end
    end)
  end)
end)

describe("a peer that offers no window, with streams to a target that sends without end,", function()
  after_each(h.cleanup)

  it("makes no more memory resident than --maxbuffered", function()
    h.run(function()
      local streams, budget, data = 300, 8 << 20, ("x"):rep(192 << 10) -- of each, more than the kernel takes of an unread conn at once
      local target, taken, told = uv.new_tcp(), {}, 0
      target:bind("127.0.0.1", 0)
      target:listen(512, function()
        local conn = uv.new_tcp()
        target:accept(conn)
        taken[#taken + 1] = conn
        conn:read_start(function(_, bytes)
          if not bytes then return end
          told = told + 1
          conn:write(data)
        end)
      end)
      local server = h.peer.server(target:getsockname().port, { crypt = "null", nocomp = true, datashard = 0, parityshard = 0, maxbuffered = budget })
      local before = server:rss()

      local stranger = uv.new_udp()
      for sn = 0, streams // 30 - 1 do
        local frames = {}
        for i = 1, 30 do
          local id = 3 + 2 * (sn * 30 + i)
          frames[i] = ("<BBI2I4BBI2I4I4I4BBI2I4"):pack(2, 0, 0, id, 2, 4, 8, id, 0, 0x7fffffff, 2, 2, 1, id) .. "x"
        end
        local body = table.concat(frames)
        stranger:try_send(("<I4BBI2I4I4I4I4"):pack(CONV, 81, 0, 0, 0, sn, 0, #body) .. body, "127.0.0.1", server.port)
        h.loop.sleep(0.02)
      end
      h.loop.eventually("bytes of all streams", 20, function() return told == streams end)
      h.loop.sleep(0.3)
      local counters = server:counters()
      assert.equal(0, counters.StreamsRefused)
      assert.is_true(counters.BytesHeld > streams * 5120)
      if h.memory_counts then
        assert.is_true(server:rss() - before < budget + (2 << 20), ("%d bytes more"):format(server:rss() - before))
      end
      stranger:close()
      target:close()
      for _, conn in ipairs(taken) do conn:close() end
    end)
  end)
end)
