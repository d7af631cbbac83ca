-- UDP of both backends; io/uv with every combination of the kernel's features that it can do without.
local backends = require "backends"
local spec_io = require "spec_io"

local function flag_name(flags)
  local off = {}
  if flags & spec_io.NO_GSO ~= 0 then off[#off + 1] = "GSO" end
  if flags & spec_io.NO_GRO ~= 0 then off[#off + 1] = "GRO" end
  if flags & spec_io.NO_MMSG ~= 0 then off[#off + 1] = "mmsg" end
  return #off == 0 and "with all features" or "without " .. table.concat(off, ", ")
end

-- A payload that tells its number and is of length n.
local function payload(i, n)
  local head = ("%06d:"):format(i)
  return (head .. ("abcdefghijklm%d"):format(i):rep(n // 13 + 1)):sub(1, n)
end

local variants = { { flags = spec_io.NO_MMSG, backend = backends.sim, name = "of io/sim" } }
for flags = 0, 7 do variants[flags + 2] = { flags = flags, backend = backends.uv, name = flag_name(flags) } end

for _, variant in ipairs(variants) do
  local flags, backend = variant.flags, variant.backend

  describe("udp " .. variant.name, function()
    local io

    before_each(function() io = backend.new(flags) end)
    after_each(function() io:free() end)

    -- A socket that collects; calls done() when it has n.
    local function sink(n, bind)
      local got = { sizes = {} }
      local socket = assert(io:udp({ bind = bind or "127.0.0.1:0", rcvbuf = 4 << 20 }, {
        batch = function(list)
          got.sizes[#got.sizes + 1] = #list
          for _, dgram in ipairs(list) do got[#got + 1] = dgram end
          if #got >= n then io:stop() end
        end,
      }))
      return socket, got
    end

    it("carries datagrams of every size in order, with the sender's address", function()
      local sent = {}
      for i = 1, 3 do sent[i] = payload(i, i - 1) end
      for _, n in ipairs { 1350, 1350, 1350, 900, 1350, 1350, 20, 20, 0, 20, 2048, 2048, 1 } do
        sent[#sent + 1] = payload(#sent + 1, n)
      end
      for _ = 1, 300 do sent[#sent + 1] = payload(#sent + 1, (#sent * 37) % 1400 + 7) end
      for _ = 1, 300 do sent[#sent + 1] = payload(#sent + 1, 1200) end
      local b, got = sink(#sent)
      local to, a, next_one = b:addr(), nil, 1
      local function pump()
        while next_one <= #sent and a:send(sent[next_one], to) do next_one = next_one + 1 end
      end
      a = assert(io:udp({ bind = "127.0.0.1:0", sndbuf = 1 << 20 }, { writable = pump }))
      pump()
      assert.is_true(io:run(5000))
      assert.equal(#sent, #got)
      local bytes = 0
      for i, data in ipairs(sent) do
        assert.equal(data, got[i][1])
        assert.equal(a:addr(), got[i][2])
        bytes = bytes + #data
      end
      for _, size in ipairs(got.sizes) do assert.is_true(size <= 64) end
      local out, into = a:stats(), b:stats()
      assert.equal(#sent, out.out_pkts)
      assert.equal(bytes, out.out_bytes)
      assert.equal(0, out.out_dropped)
      assert.equal(#sent, into.in_pkts)
      assert.equal(bytes, into.in_bytes)
    end)

    it("sends what a turn committed in few calls", function()
      local b, got = sink(100)
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      for i = 1, 100 do assert.is_true(a:send(payload(i, 1300), b:addr())) end
      assert.equal(0, a:stats().out_calls)
      assert.is_true(io:run(5000))
      assert.equal(100, #got)
      local calls = a:stats().out_calls
      if not backend.real or flags & spec_io.NO_MMSG == 0 then
        assert.is_true(calls <= 2, calls .. " calls")
      elseif flags & spec_io.NO_GSO == 0 then
        assert.is_true(calls <= 3, calls .. " calls")
      else
        assert.equal(100, calls)
      end
      if flags & (spec_io.NO_GRO | spec_io.NO_MMSG) == 0 then assert.is_true(b:stats().in_calls < 20) end
    end)

    it("keeps peers apart in one burst", function()
      local b, at_b = sink(1 / 0)
      local c, at_c = sink(1 / 0)
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      for i = 1, 60 do a:send(payload(i, 500), (i % 3 == 0 and c or b):addr()) end
      io:run(50)
      assert.equal(40, #at_b)
      assert.equal(20, #at_c)
      for i, dgram in ipairs(at_c) do assert.equal(payload(i * 3, 500), dgram[1]) end
    end)

    if backend.real then
      it("drops and counts what is larger than KT_UDP_MAX, and nothing else", function()
        local b, got = sink(2)
        local port = b:addr():match "%d+$"
        local sender = ([[python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in (2048, 2049, 9000, 60000, 5): s.sendto(b"x" * n, ("127.0.0.1", %s))']]):format(port)
        assert(os.execute(sender))
        assert.is_true(io:run(5000))
        assert.equal(2048, #got[1][1])
        assert.equal("xxxxx", got[2][1])
        assert.equal(3, b:stats().in_oversize)
        assert.equal(2, b:stats().in_pkts)
      end)
    end

    it("may be closed by its own handler in the middle of what arrived", function()
      local calls = 0
      local b
      b = assert(io:udp({ bind = "127.0.0.1:0" }, {
        batch = function()
          calls = calls + 1
          b:close()
        end,
      }))
      local to = b:addr()
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      for round = 1, 6 do
        for i = 1, 100 do a:send(payload(i, 400), to) end
        io:turn(function() end)
        if round < 6 then a:hold(128) end -- full: what is committed leaves at once
      end
      io:run(30)
      assert.equal(1, calls)
    end)

    it("reports a refusal on a connected socket, which lives on", function()
      local dead = sink(1)
      local to = dead:addr()
      dead:close()
      local errors, got = 0, 0
      local a
      a = assert(io:udp({ remote = to }, {
        error = function(name)
          assert.equal("refused", name)
          errors = errors + 1
          io:stop()
        end,
        batch = function()
          got = got + 1
          io:stop()
        end,
      }))
      for _ = 1, 2 do
        a:send("anyone?")
        assert.is_true(io:run(2000))
      end
      assert.equal(2, errors)
      local b
      b = assert(io:udp({ bind = to }, { batch = function(list) b:send("yes", list[1][2]) end }))
      a:send("anyone?")
      a:send("anyone?") -- the first may be answered by the error that still was pending
      assert.is_true(io:run(2000))
      assert.is_true(got > 0)
    end)

    it("receives from its connected peer only", function()
      local b, got = sink(1)
      local a
      a = assert(io:udp({ remote = b:addr() }, { batch = function(list) got[#got + 1] = list[1] end }))
      local stranger = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      stranger:send("hello", a:addr())
      a:send("hi")
      assert.is_true(io:run(2000))
      b:send("hello yourself", a:addr())
      io:run(20)
      assert.same({ { "hi", a:addr() }, { "hello yourself", b:addr() } }, { got[1], got[2] })
      assert.equal(2, #got)
    end)

    it("speaks to v4 and v6 from one wildcard socket, with addresses as they are", function()
      local got = {}
      local b = assert(io:udp({ bind = "[::]:0" }, {
        batch = function(list)
          for _, dgram in ipairs(list) do got[dgram[1]] = dgram[2] end
          if got.four and got.six then io:stop() end
        end,
      }))
      local port = b:addr():match "%d+$"
      local answers = {}
      local function collect(list)
        for _, dgram in ipairs(list) do answers[#answers + 1] = dgram[1] .. " " .. dgram[2] end
        if #answers == 2 then io:stop() end
      end
      local four = assert(io:udp({ bind = "127.0.0.1:0" }, { batch = collect }))
      local six = assert(io:udp({ bind = "[::1]:0" }, { batch = collect }))
      four:send("four", "127.0.0.1:" .. port)
      six:send("six", "[::1]:" .. port)
      assert.is_true(io:run(2000))
      assert.same({ four = four:addr(), six = six:addr() }, got)
      b:send("to four", got.four)
      b:send("to six", got.six)
      assert.is_true(io:run(2000))
      table.sort(answers)
      assert.same({ "to four 127.0.0.1:" .. port, "to six [::1]:" .. port }, answers)
    end)

    it("reports the local address of a datagram, and sends from it", function()
      for _, case in ipairs { { "[::]:0", "127.0.0.1", "127.0.0.2", "127.0.0.3", "[::1]" }, { "0.0.0.0:0", "127.0.0.1", "127.0.0.2" } } do
        local addressed, answers, n = {}, {}, #case - 1
        local b
        b = assert(io:udp({ bind = case[1] }, {
          batch = function(list)
            for _, dgram in ipairs(list) do
              addressed[#addressed + 1] = dgram[3]
              for i = 1, 20 do b:send(payload(i, 900), dgram[2], dgram[3]) end
            end
          end,
        }))
        local port = b:addr():match "%d+$"
        for i = 2, #case do
          local a = assert(io:udp({ remote = case[i] .. ":" .. port }, {
            batch = function(list)
              for _ = 1, #list do answers[#answers + 1] = case[i] end
              if #answers == 20 * n then io:stop() end
            end,
          }))
          a:send "hello"
        end
        assert.is_true(io:run(2000), #answers .. " answers")
        table.sort(addressed)
        local want = {}
        for i = 2, #case do want[i - 1] = case[i] .. ":0" end
        table.sort(want)
        assert.same(want, addressed)
      end
    end)

    it("does not report it for a socket that is bound to one address or connected", function()
      local b, got = sink(1)
      local a = assert(io:udp({ remote = b:addr() }, { batch = function(list) got[2] = list[1]; io:stop() end }))
      a:send "hello"
      assert.is_true(io:run(2000))
      b:send("hello yourself", a:addr())
      assert.is_true(io:run(2000))
      assert.is_nil(got[1][3])
      assert.is_nil(got[2][3])
    end)

    it("sends from another address when the host does not have the one that was asked for", function()
      local b, got = sink(1)
      local a = assert(io:udp({ bind = "[::]:0" }, {}))
      a:send("hello", b:addr(), "192.0.2.1:0")
      assert.is_true(io:run(2000))
      assert.equal("hello", got[1][1])
      assert.equal(0, a:stats().out_dropped)
    end)

    it("has 128 buffers or more, and takes unused ones back", function()
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      local n = a:hold(256)
      assert.is_true(n >= 128)
      assert.equal(n, a:hold(256))
    end)

    it("signals room after a failed reserve", function()
      local b = sink(1 / 0)
      local writable = 0
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {
        writable = function()
          writable = writable + 1
          io:stop()
        end,
      }))
      assert.is_true(a:hold(256) < 256)
      assert.is_true(io:run(2000))
      io:run(10)
      assert.equal(1, writable)
      assert.is_true(a:hold(256, b:addr()) < 256) -- given away instead of back
      assert.is_true(io:run(2000))
      io:run(10)
      assert.equal(2, writable)
      assert.is_true(a:send("x", b:addr()))
    end)

    it("sends what is queued when it is closed", function()
      local b, got = sink(3)
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      for i = 1, 3 do a:send(payload(i, 100), b:addr()) end
      a:close()
      assert.is_true(io:run(2000))
      assert.equal(3, #got)
    end)

    it("drops and counts what the system refuses, and sends the rest", function()
      local b, got = sink(2)
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      a:send("one", b:addr())
      a:send("nowhere", "[::1]:9") -- a v4 socket cannot
      a:send("nowhere", "255.255.255.255:9") -- not permitted without SO_BROADCAST
      a:send("two", b:addr())
      assert.is_true(io:run(2000))
      assert.same({ "one", "two" }, { got[1][1], got[2][1] })
      assert.equal(2, a:stats().out_dropped)
      assert.equal(2, a:stats().out_pkts)
    end)
  end)
end

for _, backend in ipairs(backends) do
  describe("udp of " .. backend.name, function()
    local io

    before_each(function() io = backend.new() end)
    after_each(function() io:free() end)

    it("says what to do when the port is taken", function()
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      local b, name, text = io:udp({ bind = a:addr() }, {})
      assert.is_nil(b)
      assert.equal("in_use", name)
      assert.equal(a:addr() .. ": address already in use; another program or another listener of this one uses it", text)
    end)

    it("says when the address is not this machine's", function()
      local b, _, text = io:udp({ bind = "192.0.2.1:0" }, {})
      assert.is_nil(b)
      assert.equal("192.0.2.1:0: no interface of this machine has this address", text)
    end)

    it("says that a scope is missing from a link-local address", function()
      local want = "[fe80::1]:5: a link-local address needs a scope; append the interface, such as fe80::1%eth0"
      for _, opts in ipairs { { remote = "[fe80::1]:5" }, { bind = "[fe80::1]:5" } } do
        local socket, name, text = io:udp(opts, {})
        assert.same({ nil, "unreachable", want }, { socket, name, text })
      end
    end)

    it("shares a port when asked to", function()
      local a = assert(io:udp({ bind = "127.0.0.1:0", reuse_port = 1 }, {}))
      assert(io:udp({ bind = a:addr(), reuse_port = 1 }, {}))
    end)

    it("frees the port as soon as it is closed", function()
      local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
      local at = a:addr()
      a:close()
      assert(io:udp({ bind = at }, {}))
    end)

    if backend.real then
      for _, errno in ipairs { "ENOMEM", "ENOBUFS" } do
        it(("sends fewer datagrams in a message when the system says %s to many, and more again later"):format(errno), function()
          local got = 0
          local b = assert(io:udp({ bind = "127.0.0.1:0", rcvbuf = 4 << 20 }, { batch = function(list) got = got + #list end }))
          local a = assert(io:udp({ bind = "127.0.0.1:0", sndbuf = 4 << 20 }, {}))
          local function send(n)
            for _ = 1, n do assert.is_true(a:send(("x"):rep(500), b:addr())) end
            io:run(20)
          end
          spec_io.refuse(9, errno)
          finally(function() spec_io.refuse() end)
          send(100)
          assert.equal(100, a:stats().out_pkts)
          assert.same({ 3, 8 }, { spec_io.refused() }) -- 64, 32 and 16 were too many
          spec_io.refuse(2, errno)
          send(100)
          assert.same({ 3, 1 }, { spec_io.refused() })
          assert.equal(200, a:stats().out_pkts)
          spec_io.refuse()
          for _ = 1, 80 do send(100) end
          local _, most = spec_io.refused()
          assert.equal(64, most)
          assert.same({ 0, 8200 }, { a:stats().out_dropped, got })
        end)
      end

      it("lets the system fragment a datagram that is too long for the path, and drops it if refused again", function()
        local got = {}
        local b = assert(io:udp({ bind = "127.0.0.1:0" }, {
          batch = function(list)
            for _, dgram in ipairs(list) do got[#got + 1] = #dgram[1] end
          end,
        }))
        local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
        finally(function() spec_io.refuse() end)
        for _, times in ipairs { 1, 2 } do
          spec_io.refuse(1, "EMSGSIZE", times, 1000)
          a:send(("x"):rep(1400), b:addr())
          a:send(("x"):rep(900), b:addr())
          io:run(20)
        end
        assert.same({ 1400, 900, 900 }, got)
        assert.equal(1, a:stats().out_dropped)
      end)

      it("marks datagrams with its DSCP, in v4 and v6", function()
        for _, host in ipairs { "127.0.0.1", "[::1]" } do
          local family = host == "[::1]" and "6" or ""
          local script = ([[python3 -c '
import socket, sys
six = "%s" == "6"
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
if six: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
else: s.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
s.bind(("::1" if six else "127.0.0.1", 0))
s.settimeout(5)
print(s.getsockname()[1], flush=True)
data, anc, flags, addr = s.recvmsg(100, 100)
print(anc[0][2][0], flush=True)']]):format(family)
          local pipe = assert(_G.io.popen(script))
          local port = pipe:read "l"
          local a = assert(io:udp({ bind = host .. ":0", dscp = 46 }, {}))
          a:send("x", host .. ":" .. port)
          io:run(5)
          assert.equal(tostring(46 << 2), pipe:read "l")
          pipe:close()
        end
      end)
    end
  end)
end
