-- smux: frames, streams, windows, half-close, back-pressure (docs: runtime/link/kcptun/smux.h).
local smux = require "spec_smux"
local ends = require "smux_ends"

local SYN, FIN, PSH, NOP, UPD = ends.SYN, ends.FIN, ends.PSH, ends.NOP, ends.UPD
local frame, upd = ends.frame, ends.upd
local HELLO = ends.frame(2, NOP, ends.HELLO | ends.HALF_CLOSE)

local pool

local function client(settings)
  settings = settings or {}
  settings.client = true
  return ends.new(pool, settings)
end

local function server(settings) return ends.new(pool, settings or {}) end

--- A server with stream 3 open, as a kcptun client would have it.
local function serving(settings)
  local e = server(settings)
  local v = settings and settings.version or 2
  e:hear(frame(v, SYN, 3))
  e:heard()
  return e, e.accepted[1]
end

before_each(function() pool = smux.pool(1024) end)

after_each(function() collectgarbage() end)

describe("smux on the wire", function()
  for version, want in pairs {
    "0100000003000000 010205000300000068656c6c6f 0101000003000000 0103000000000000",
    "0200000003000000 020205000300000068656c6c6f 0201000003000000 0203000000000000",
  } do
    it(("frames the spec's vector, version %d"):format(version), function()
      local c = client { version = version }
      local s = c:open()
      s:write "hello"
      s:close()
      local bytes = c:pump()
      c.m:keepalive()
      bytes = bytes .. c:pump()
      assert.equal(want:gsub(" ", ""), ends.hex(bytes))
    end)

    it(("parses the spec's vector at every split, version %d"):format(version), function()
      local bytes = ends.unhex(want)
      for at = 0, #bytes do
        local e = server { version = version }
        e:hear(bytes:sub(1, at))
        e:hear(bytes:sub(at + 1))
        local s = e.accepted[1]
        assert.equal(3, s:id())
        assert.equal("hello", s:read())
        assert.is_true(s:eof())
      end
    end)

    it(("parses the spec's vector byte by byte, version %d"):format(version), function()
      local e = server { version = version }
      for byte in ends.unhex(want):gmatch "." do e:hear(byte) end
      assert.equal("hello", e.accepted[1]:read())
      assert.is_true(e.accepted[1]:eof())
    end)
  end

  it("frames the spec's window update after the first read", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, "hello"))
    s:read()
    assert.equal("02040800030000000500000000002000", ends.hex((e:pump())))
  end)

  it("takes ids 3, 5, 7 as a client and 2, 4, 6 as a server", function()
    local c, s = client(), server()
    assert.same({ 3, 5, 7 }, { c:open():id(), c:open():id(), c:open():id() })
    assert.same({ 2, 4, 6 }, { s:open():id(), s:open():id(), s:open():id() })
  end)

  it("steps around ids of its own kind that the peer has opened", function()
    local c = client()
    c:hear(frame(2, SYN, 3), frame(2, SYN, 5))
    assert.equal(7, c:open():id())
  end)

  it("cuts data into frames of the set size", function()
    local c = client { frame_size = 100 }
    c:open():write(("x"):rep(250))
    assert.same({ "SYN 3", "PSH 3 #100", "PSH 3 #100", "PSH 3 #50" }, c:said())
  end)

  it("cuts a frame to what two blocks of the buffer hold", function()
    local c = client { frame_size = 65535 }
    local data = {}
    for i = 1, 5000 do data[i] = string.char(i % 251) end
    c:open():write(table.concat(data))
    local bytes, frames = c:pump()
    for _, f in ipairs(frames) do assert.is_true(#f <= 8 + 2 * 1024) end
    local e = server()
    e:hear(bytes)
    assert.equal(table.concat(data), e.accepted[1]:read())
  end)

  it("offers frames in the sizes that the transport has room for", function()
    local room = 0
    local c = client { room = function(want) return math.min(room, math.max(want, 1)) end }
    c:open():write(("x"):rep(30))
    assert.same({}, c:said())
    room = 12
    assert.same({ "SYN 3", "PSH 3 xxxxxxxxxxxx", "PSH 3 xxxxxxxxxxxx", "PSH 3 xxxxxx" }, c:said())
  end)

  it("carries every byte value through QPP and back", function()
    local qpp = smux.qpp("it's a secrect", 61)
    local c, e = client { qpp = qpp }, server { qpp = qpp }
    local data = {}
    for i = 0, 39 do data[#data + 1] = string.char(i) end
    data = table.concat(data)
    local s = c:open()
    s:write(data:sub(1, 5))
    s:write(data:sub(6))
    local bytes = c:pump()
    assert.equal("e94f150bd5923394a725f3907d0b58ff0bda58fdb121d5ff7ef7800488a9937aa769e2cf9bff0f7f",
      ends.hex(bytes:sub(17)))
    for byte in bytes:gmatch "." do e:hear(byte) end
    assert.equal(data, e.accepted[1]:read())
    e.accepted[1]:write "and back"
    ends.exchange(c, e)
    assert.equal("and back", s:read())
  end)
end)

describe("smux turns", function()
  it("go frame by frame", function()
    local c = client { frame_size = 4 }
    local a, b, d = c:open(), c:open(), c:open()
    a:write "aaaaaaaaaaaa"
    b:write "bbbb"
    d:write "dddddddd"
    assert.same({ "SYN 3", "SYN 5", "SYN 7", "PSH 3 aaaa", "PSH 5 bbbb", "PSH 7 dddd", "PSH 3 aaaa",
      "PSH 7 dddd", "PSH 3 aaaa" }, c:said())
  end)

  it("are kept when the transport is full in between", function()
    local credit = 0
    local c = client { frame_size = 4, room = function(want)
      if credit == 0 then return 0 end
      credit = credit - 1
      return math.max(want, 1)
    end }
    c:open():write "aaaaaaaa"
    c:open():write "bbbbbbbb"
    local all = {}
    for _ = 1, 10 do
      credit = 1
      for _, f in ipairs(c:said()) do all[#all + 1] = f end
    end
    assert.same({ "SYN 3", "SYN 5", "PSH 3 aaaa", "PSH 5 bbbb", "PSH 3 aaaa", "PSH 5 bbbb" }, all)
  end)

  it("let a window update go before all data", function()
    local e, s = serving()
    local other = e:open()
    e:said()
    other:write "data"
    s:write "data"
    e:hear(frame(2, PSH, 3, "x"))
    s:read()
    assert.same({ "UPD 3 1/2097152", "PSH 2 data", "PSH 3 data" }, e:said())
  end)

  it("put FIN after the data that was written before close", function()
    local c = client { frame_size = 4 }
    local a, b = c:open(), c:open()
    a:write "aaaaaa"
    b:write "bbbbbb"
    a:close()
    assert.same({ "SYN 3", "SYN 5", "PSH 3 aaaa", "PSH 5 bbbb", "PSH 3 aa", "PSH 5 bb", "FIN 3" }, c:said())
  end)

  it("put an abrupt FIN before other streams' data and leave the rest unsaid", function()
    local c = client()
    local a, b = c:open(), c:open()
    c:said()
    b:write "bbbb"
    a:write "aaaa"
    a:reset()
    assert.same({ "FIN 3", "PSH 5 bbbb" }, c:said())
  end)

  it("leave no trace of a stream that was reset before its SYN left", function()
    local c = client()
    local s = c:open()
    s:write "x"
    s:reset()
    assert.same({}, c:said())
    assert.equal(0, c.m:streams())
    assert.equal(0, c.count)
  end)

  it("wake the owner once for any number of writes", function()
    local c = client()
    local s = c:open()
    for _ = 1, 100 do s:write "x" end
    assert.equal(1, c.wakes)
    c:pump()
    s:write "x"
    s:write "x"
    assert.equal(2, c.wakes)
  end)

  it("cost nothing to a stream that is idle", function()
    local asked = 0
    local c = client { room = function(want)
      asked = asked + 1
      return math.max(want, 1)
    end }
    for _ = 1, 100 do c:open() end
    c:pump()
    asked = 0
    c:pump()
    assert.equal(0, asked)
    assert.equal(0, pool:in_use())
    assert.is_true(smux.stream_size <= 256)
  end)
end)

describe("smux streams", function()
  it("tell of arrivals once a batch, and not of what was left there", function()
    local e, s = serving()
    e.m:input(frame(2, PSH, 3, "a") .. frame(2, PSH, 3, "b"))
    assert.same({}, e:heard())
    e.m:dispatch()
    assert.same({ "readable 3" }, e:heard())
    e.m:dispatch()
    assert.same({}, e:heard())
    assert.equal("ab", s:peek())
    assert.equal("ab", s:read())
  end)

  it("keep what arrives before anyone listens", function()
    local e = server()
    e.on_accept = function() end
    e:hear(frame(2, SYN, 3), frame(2, PSH, 3, "early"))
    assert.same({ "accept 3" }, e:heard())
    e:watch(e.accepted[1])
    assert.equal("early", e.accepted[1]:read())
  end)

  it("take a second SYN for a live id as nothing", function()
    local e = serving()
    e:hear(frame(2, SYN, 3))
    assert.same({}, e:heard())
    assert.equal(1, e.m:streams())
  end)

  it("that nobody knows have their frames dropped", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 99, ("x"):rep(3000)), frame(2, FIN, 99), upd(99, 7, 7), frame(2, PSH, 3, "mine"))
    assert.equal("mine", s:read())
    assert.equal(0, e.m:buffered())
    assert.equal(1, e.m:streams())
  end)

  it("are refused with FIN where nobody accepts", function()
    local c = client { refuse = true }
    c:hear(frame(2, SYN, 2), frame(2, PSH, 2, "hello"))
    assert.same({ "FIN 2" }, c:said())
    assert.equal(0, c.m:streams())
    assert.equal(0, c.m:buffered())
  end)

  it("take no more than their send buffer and say when there is room", function()
    local full = true
    local c = client { room = function(want) return full and 0 or math.max(want, 1) end }
    local s = c:open()
    assert.equal(65536, s:write(("x"):rep(70000)))
    assert.equal(0, s:write "x")
    c:pump()
    assert.same({}, c:heard())
    full = false
    c:pump()
    c.m:settled(c.m:mark())
    c:pump()
    assert.same({ "writable 3" }, c:heard())
    assert.equal(65536, s:write(("x"):rep(65536)))
    c:pump()
    assert.same({}, c:heard())
  end)

  it("read to the end after the peer's FIN, and are gone for writing", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, "last"), frame(2, FIN, 3))
    assert.same({ "readable 3" }, e:heard())
    assert.is_false(s:eof())
    assert.is_true(s:gone())
    assert.equal(0, s:write "x")
    assert.equal("last", s:read())
    assert.is_true(s:eof())
    e:pump()
    assert.same({}, e:heard())
    s:close()
    assert.same({ "FIN 3" }, e:said())
    assert.equal(0, e.m:streams())
  end)

  it("confess what the peer's FIN made undeliverable, once all was read", function()
    local e, s = serving { room = function(want) return want == 0 and 1 or 0 end }
    s:write "too late"
    e:hear(frame(2, PSH, 3, "last"), frame(2, FIN, 3))
    assert.same({ "readable 3" }, e:heard())
    assert.equal("last", s:read())
    e:pump()
    assert.same({ "closed 3 reset" }, e:heard())
    e:pump()
    assert.same({}, e:heard())
  end)

  it("tell a writer that waits of the peer's FIN", function()
    local e, s = serving()
    e:hear(upd(3, 0, 0))
    assert.equal(65536, s:write(("x"):rep(65537)))
    e:pump()
    e:hear(frame(2, FIN, 3))
    assert.same({ "readable 3", "writable 3", "closed 3 reset" }, e:heard())
    assert.equal(0, pool:in_use())
  end)

  it("drop what comes after close, charged to nobody", function()
    local e, s = serving()
    s:close()
    assert.same({ "FIN 3" }, e:said())
    e:hear(frame(2, PSH, 3, "late"), frame(2, FIN, 3))
    assert.equal(0, e.m:buffered())
    assert.equal(0, pool:in_use())
    assert.same({}, e:heard())
  end)

  it("give back what was not read when they are closed", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, ("x"):rep(5000)))
    assert.equal(5000, e.m:buffered())
    s:close()
    assert.equal(0, e.m:buffered())
    assert.equal(0, pool:in_use())
  end)

  it("credit what they drop while closing, so that the peer can go on", function()
    local e, s = serving { stream_buffer = 1000 }
    e:hear(upd(3, 0, 0))
    s:write "stuck"
    s:close()
    e:hear(frame(2, PSH, 3, ("x"):rep(600)))
    assert.same({ "UPD 3 600/1000" }, e:said())
    e:hear(upd(3, 0, 1000))
    assert.same({ "PSH 3 stuck", "FIN 3" }, e:said())
  end)

  it("count until their FIN has left", function()
    local full = false
    local e = server { room = function(want) return full and 0 or math.max(want, 1) end }
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5))
    assert.equal(2, e.count)
    full = true
    e.accepted[1]:close()
    e:pump()
    assert.equal(2, e.count)
    full = false
    e:pump()
    assert.equal(1, e.count)
    e.accepted[2]:reset()
    e:pump()
    assert.equal(0, e.count)
    assert.is_true(e.m:idle())
  end)

  for first = 1, 3 do
    for second = 1, 3 do
      if second ~= first then
        it(("can be closed in the order %d, %d, %d"):format(first, second, 6 - first - second), function()
          local c, e = client(), server()
          local streams = { c:open(), c:open(), c:open() }
          for i, s in ipairs(streams) do s:write(("x"):rep(i * 2000)) end
          ends.exchange(c, e)
          for _, i in ipairs { first, second, 6 - first - second } do
            streams[i]:close()
            ends.exchange(c, e)
            e.accepted[i]:close()
            ends.exchange(c, e)
          end
          c.m:settled(c.m:mark())
          assert.equal(0, c.m:streams())
          assert.equal(0, e.m:streams())
          assert.equal(0, pool:in_use())
        end)
      end
    end
  end
end)

describe("smux callbacks", function()
  it("may close their own stream", function()
    local e = server()
    e.on_accept = function(s) s:listen { readable = function() s:close() end } end
    e:hear(frame(2, SYN, 3), frame(2, PSH, 3, "x"), frame(2, FIN, 3))
    assert.same({ "FIN 3" }, e:said())
    assert.equal(0, pool:in_use())
  end)

  it("may close another stream that has events due", function()
    local e = server()
    local calls = 0
    e.on_accept = function(s)
      s:listen { readable = function()
        calls = calls + 1
        for _, other in ipairs(e.accepted) do
          if other ~= s then other:reset() end
        end
      end }
    end
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5))
    e:hear(frame(2, PSH, 3, "x"), frame(2, PSH, 5, "x"))
    assert.equal(1, calls)
  end)

  it("may open streams, pump and dispatch", function()
    local e = server()
    e.on_accept = function()
      e:open():write "hi"
      e.m:pump()
      e.m:dispatch()
    end
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5))
    assert.same({ "SYN 2", "PSH 2 hi", "SYN 4", "PSH 4 hi" }, e:said())
  end)

  for _, event in ipairs { "readable", "writable", "closed" } do
    it(("may free the smux from %s, and the others hear of it"):format(event), function()
      local e = server()
      local heard = {}
      e.on_accept = function(s)
        local function free()
          if e.freed then return end
          e.freed = true
          e.m:free()
        end
        s:listen {
          readable = event == "readable" and free or nil,
          writable = event == "writable" and free or nil,
          closed = function(code)
            heard[#heard + 1] = s:id() .. " " .. code
            if event == "closed" then free() end
          end,
        }
      end
      e:hear(frame(2, SYN, 3), frame(2, SYN, 5), frame(2, SYN, 7))
      if event == "writable" then
        e.accepted[1]:write(("x"):rep(65537))
        e.m:pump()
      elseif event == "closed" then
        e:hear(upd(3, 1, 1)) -- more than was sent
      else
        e:hear(frame(2, PSH, 3, "x"))
      end
      table.sort(heard)
      assert.same({ event == "closed" and "3 protocol" or "3 dead", "5 dead", "7 dead" }, heard)
      for _, s in ipairs(e.accepted) do s:close() end
      assert.equal(0, pool:in_use())
    end)
  end

  it("may free the smux from accept, with streams nobody has seen yet", function()
    local e = server()
    e.on_accept = function() e.m:free() end
    e.m:input(frame(2, SYN, 3) .. frame(2, SYN, 5) .. frame(2, PSH, 5, "x"))
    e.m:dispatch()
    assert.same({ "accept 3" }, e:heard())
    e.accepted[1]:close()
    assert.equal(0, pool:in_use())
  end)
end)

describe("a smux that is freed", function()
  it("breaks its streams with the code, but leaves them what had arrived", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, "keep"))
    e:heard()
    e.m:free()
    assert.same({ "closed 3 dead" }, e:heard())
    assert.equal(0, s:write "x")
    assert.equal("keep", s:read())
    assert.is_false(s:eof())
    s:close()
    assert.equal(0, pool:in_use())
  end)

  it("tells of arrivals before it tells of the end", function()
    local e = serving()
    e.m:input(frame(2, PSH, 3, "keep"))
    e.m:free()
    assert.same({ "readable 3", "closed 3 dead" }, e:heard())
  end)

  it("says nothing to streams that the peer had ended", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, "all"), frame(2, FIN, 3))
    e:heard()
    e.m:free()
    assert.same({}, e:heard())
    assert.equal("all", s:read())
    assert.is_true(s:eof())
  end)

  it("shows itself by gone to who listens too late", function()
    local e = server()
    e.on_accept = function() end
    e:hear(frame(2, SYN, 3))
    local s = e.accepted[1]
    assert.is_false(s:gone())
    e.m:free()
    assert.is_true(s:gone())
  end)

  it("drops what streams had to send, closed ones included", function()
    local c = client { room = function() return 0 end }
    local a, b = c:open(), c:open()
    a:write(("x"):rep(9000))
    b:write(("x"):rep(9000))
    a:close()
    c.m:free()
    assert.equal(0, pool:in_use())
    b:close()
  end)
end)

describe("smux window updates", function()
  it("come at the first read and then each half buffer", function()
    local e, s = serving { stream_buffer = 1000 }
    e:hear(frame(2, PSH, 3, ("x"):rep(1000)))
    s:read(1)
    assert.same({ "UPD 3 1/1000" }, e:said())
    s:read(499)
    assert.same({}, e:said())
    s:read(1)
    assert.same({ "UPD 3 501/1000" }, e:said())
    s:read(499)
    assert.same({}, e:said())
  end)

  it("do not exist in version 1", function()
    local e, s = serving { version = 1 }
    e:hear(frame(1, PSH, 3, "hello"))
    s:read()
    assert.same({}, e:said())
  end)

  it("are not sent to a peer that has finished", function()
    local e, s = serving()
    e:hear(frame(2, PSH, 3, "hello"), frame(2, FIN, 3))
    s:read()
    assert.same({}, e:said())
  end)

  it("say the count mod 2^32", function()
    local e, s = serving()
    s:counters(0, 0xfffffffe)
    e:hear(frame(2, PSH, 3, "hello"))
    s:read()
    assert.same({ "UPD 3 3/2097152" }, e:said())
  end)
end)

describe("a smux stream's sending", function()
  local function sent(e)
    local n = 0
    local _, frames = e:pump()
    for _, f in ipairs(frames) do
      if f:byte(2) == PSH then n = n + #f - 8 end
    end
    return n
  end

  local function write_all(e, s)
    local total, n = 0
    repeat
      while s:write(("x"):rep(65536)) > 0 do end
      n = sent(e)
      total = total + n
    until n == 0
    return total
  end

  it("stops at 256 KiB before the first update", function()
    local e, s = serving()
    assert.equal(262144, write_all(e, s))
  end)

  it("goes on as far as an update lets it", function()
    local e, s = serving()
    write_all(e, s)
    e:hear(upd(3, 262144, 100000))
    assert.equal(100000, write_all(e, s))
    e:hear(upd(3, 262144 + 50000, 100000))
    assert.equal(50000, write_all(e, s))
    e:hear(upd(3, 262144 + 50000, 10))
    assert.equal(0, write_all(e, s))
  end)

  it("has no bounds in version 1", function()
    local e, s = serving { version = 1 }
    for _ = 1, 10 do
      assert.equal(65536, s:write(("x"):rep(65536)))
      assert.equal(65536, sent(e))
    end
  end)

  it("counts over the end of 2^32", function()
    local e, s = serving()
    s:counters(0xffffff00, 0)
    assert.equal(262144, write_all(e, s))
    e:hear(upd(3, 0x1ff, 1000)) -- 767 of 262144 consumed
    assert.equal(0, write_all(e, s))
    e:hear(upd(3, (0xffffff00 + 262144) & 0xffffffff, 1000))
    assert.equal(1000, write_all(e, s))
  end)

  it("breaks when the peer consumed more than it was sent", function()
    local e, s = serving()
    s:write "12345"
    e:pump()
    e:hear(upd(3, 6, 1000))
    assert.same({ "closed 3 protocol" }, e:heard())
    assert.equal(0, s:write "x")
    s:close()
    assert.same({ "FIN 3" }, e:said())
  end)

  it("is held up by nobody else's window", function()
    local e = server()
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5), upd(3, 0, 0))
    e.accepted[1]:write "held"
    e.accepted[2]:write "free"
    assert.same({ "PSH 5 free" }, e:said())
  end)
end)

describe("smux back-pressure", function()
  it("takes no more than the session's buffer, and goes on after a read", function()
    local e, s = serving { session_buffer = 100 }
    local bytes = frame(2, PSH, 3, ("a"):rep(150)) .. frame(2, PSH, 3, "b")
    local took = e.m:input(bytes)
    assert.equal(108, took)
    assert.equal(100, e.m:buffered())
    assert.equal(0, e.m:input(bytes:sub(took + 1)))
    e.m:dispatch()
    assert.equal(0, e.resumes)
    s:read(1)
    assert.equal(1, e.resumes)
    took = took + e.m:input(bytes:sub(took + 1))
    assert.equal(109, took)
    s:read()
    assert.equal(2, e.resumes)
    assert.equal(#bytes - took, e.m:input(bytes:sub(took + 1)))
    assert.equal(("a"):rep(49) .. "b", s:read())
    assert.equal(2, e.resumes)
  end)

  it("is lifted by closing the stream that is in the way", function()
    local e, s = serving { session_buffer = 100 }
    local bytes = frame(2, PSH, 3, ("a"):rep(150))
    local took = e.m:input(bytes)
    s:close()
    assert.equal(1, e.resumes)
    assert.equal(#bytes - took, e.m:input(bytes:sub(took + 1)))
    assert.equal(0, e.m:buffered())
  end)

  it("lets pass what is not payload", function()
    local e, s = serving { session_buffer = 10 }
    e:hear(frame(2, PSH, 3, ("a"):rep(10)))
    e:hear(frame(2, SYN, 5), frame(2, NOP, 0), upd(3, 0, 5), frame(2, FIN, 3))
    assert.equal(("a"):rep(10), s:read())
    assert.is_true(s:eof())
  end)

  it("holds when memory runs out, until the next keepalive", function()
    local e, s = serving()
    pool:fail_after(0)
    local bytes = frame(2, PSH, 3, "hello")
    assert.equal(8, e.m:input(bytes))
    pool:fail_after()
    assert.equal(0, e.resumes)
    e.m:keepalive()
    assert.equal(1, e.resumes)
    assert.equal(5, e.m:input("hello"))
    assert.equal("hello", s:read())
  end)

  it("tells a writer that got no memory to try again", function()
    local e, s = serving()
    pool:fail_after(0)
    assert.equal(0, s:write "hello")
    pool:fail_after()
    assert.equal(0, e.wakes)
    e:pump()
    assert.same({ "writable 3" }, e:heard())
    s:write "hello"
    assert.same({ "PSH 3 hello" }, e:said())
  end)

  it("does not let small frames hold more than a block a stream", function()
    local e = serving()
    for _ = 1, 500 do e:hear(frame(2, PSH, 3, "x")) end
    assert.equal(1, pool:in_use())
  end)
end)

describe("smux hello", function()
  local both = { features = ends.HALF_CLOSE }
  local function copy(t) return { features = t.features } end

  it("goes before a client's first frame, and once", function()
    local c = client(copy(both))
    assert.same({}, c:said())
    c:open()
    assert.same({ "HELLO 1", "SYN 3" }, c:said())
    c:open()
    c.m:keepalive()
    assert.same({ "NOP", "SYN 5" }, c:said())
  end)

  it("goes before a client's first keepalive", function()
    local c = client(copy(both))
    c.m:keepalive()
    assert.same({ "HELLO 1", "NOP" }, c:said())
  end)

  it("is answered by a server, which never says it first", function()
    local e = server { features = 3 }
    e.m:keepalive()
    assert.same({ "NOP" }, e:said())
    e:hear(HELLO)
    assert.same({ "hello 1" }, e:heard())
    assert.equal(1, e.m:peer())
    assert.equal(2, e.wakes)
    assert.same({ "HELLO 3" }, e:said())
    e:hear(HELLO)
    assert.same({}, e:said())
    assert.same({}, e:heard())
  end)

  it("is never said by an end without features", function()
    local e = server()
    e:hear(HELLO)
    assert.same({}, e:said())
    assert.equal(1, e.m:peer())
  end)

  it("is not in a plain NOP, or one with another id", function()
    local e = server(copy(both))
    e:hear(frame(2, NOP, 0), frame(2, NOP, 3), frame(2, NOP, 0x6b750001))
    assert.is_nil(e.m:peer())
    assert.same({}, e:said())
  end)
end)

describe("smux half-close", function()
  local function pair()
    local c, e = client { features = 1 }, server { features = 1 }
    local s = c:open()
    ends.exchange(c, e)
    c:heard()
    e:heard()
    return c, e, s, e.accepted[1]
  end

  it("ends one direction and leaves the other open", function()
    local c, e, s, t = pair()
    assert.is_true(s:half_close())
    assert.is_true(t:half_close())
    s:write "request"
    s:shutdown()
    assert.equal(0, s:write "more")
    ends.exchange(c, e)
    assert.equal("request", t:read())
    assert.is_true(t:eof())
    assert.is_false(t:gone())
    t:write "reply"
    ends.exchange(c, e)
    assert.equal("reply", s:read())
    assert.is_false(s:eof())
  end)

  it("goes in order after the data, and once", function()
    local c, _, s = pair()
    s:write "abc"
    s:shutdown()
    s:shutdown()
    assert.same({ "PSH 3 abc", "PSH 3 " }, c:said())
    s:close()
    assert.same({ "FIN 3" }, c:said())
  end)

  it("of both directions leaves the stream to be closed by its owners", function()
    local c, e, s, t = pair()
    s:shutdown()
    t:shutdown()
    ends.exchange(c, e)
    assert.same({ "readable 3" }, c:heard())
    assert.same({ "readable 3" }, e:heard())
    assert.is_true(s:eof() and t:eof())
    assert.equal(1, c.m:streams())
    s:close()
    assert.same({ "FIN 3" }, c:said())
    t:close()
    assert.same({ "FIN 3" }, e:said())
  end)

  it("is held back from a peer that said no hello until close", function()
    local c = client { features = 1 }
    local s = c:open()
    s:write "abc"
    s:shutdown()
    assert.is_false(s:half_close())
    assert.same({ "HELLO 1", "SYN 3", "PSH 3 abc" }, c:said())
    s:close()
    assert.same({ "FIN 3" }, c:said())
  end)

  it("that was held back goes out when hello comes", function()
    local c = client { features = 1 }
    local s = c:open()
    s:shutdown()
    c:said()
    c:hear(HELLO)
    assert.is_true(s:half_close())
    assert.same({ "PSH 3 " }, c:said())
  end)

  it("is not said to a peer whose hello lacks it", function()
    local c = client { features = 1 }
    local s = c:open()
    s:shutdown()
    c:said()
    c:hear(frame(2, NOP, ends.HELLO | 2))
    assert.same({}, c:said())
  end)

  it("is not believed of a peer that said no hello", function()
    local e, s = serving { features = 1 }
    e:hear(frame(2, PSH, 3, ""), frame(2, PSH, 3, "hello"))
    assert.equal("hello", s:read())
    assert.is_false(s:eof())
  end)

  it("lets nothing of that direction in any more", function()
    local e, s = serving { features = 1 }
    e:hear(HELLO, frame(2, PSH, 3, "a"), frame(2, PSH, 3, ""), frame(2, PSH, 3, "b"))
    assert.equal("a", s:read())
    assert.is_true(s:eof())
    assert.equal(0, e.m:buffered())
  end)
end)

describe("smux errors", function()
  local function refusal(settings, bytes)
    local e = server(settings)
    local took, code, text = e.m:input(bytes)
    assert.is_nil(took)
    assert.equal("protocol", code)
    assert.is_nil((e.m:input "x")) -- for good
    return text
  end

  it("name smuxver when the other version comes", function()
    assert.equal("smux version 2 where 1 is expected: set smuxver the same on both ends",
      refusal({ version = 1 }, frame(2, SYN, 3)))
    assert.equal("smux version 1 where 2 is expected: set smuxver the same on both ends",
      refusal({ version = 2 }, frame(1, SYN, 3)))
  end)

  it("name nocomp when the first byte is none of smux's", function()
    assert.equal("byte 0xff where smux version 2 is expected: set nocomp the same on both ends",
      refusal({}, "\xff"))
  end)

  it("come for an unknown command", function()
    assert.equal("unknown smux command 5", refusal({}, frame(2, 5, 3)))
  end)

  it("come for a window update in version 1", function()
    assert.matches("window update in smux version 1", refusal({ version = 1 }, frame(1, UPD, 3, ("x"):rep(8))))
  end)

  for name, cmd in pairs { SYN = SYN, FIN = FIN, NOP = NOP } do
    it(("come for a %s with a length"):format(name), function()
      assert.equal(("a smux %s frame of length 1"):format(name), refusal({}, frame(2, cmd, 3, "x")))
    end)
  end

  it("come for a window update that is not 8 bytes long", function()
    assert.equal("a smux UPD frame of length 7", refusal({}, frame(2, UPD, 3, ("x"):rep(7))))
    assert.equal("a smux UPD frame of length 0", refusal({}, frame(2, UPD, 3)))
  end)

  it("come for a peer that opens too many streams", function()
    local e = server { refuse = true, room = function() return 0 end }
    local syns = {}
    for i = 1, 65536 do syns[i] = frame(2, SYN, i * 2 + 1) end
    e:hear(table.concat(syns))
    local took, code, text = e.m:input(frame(2, SYN, 1))
    assert.same({ nil, "protocol", "the peer opened more than 65536 streams" }, { took, code, text })
    assert.same({ nil, "limit" }, { (e.m:open()), (select(2, e.m:open())) })
  end)

  it("leave what came before them", function()
    local e = server()
    assert.is_nil((e.m:input(frame(2, SYN, 3) .. frame(2, PSH, 3, "good") .. "\xff")))
    e.m:dispatch()
    assert.equal("good", e.accepted[1]:read())
  end)
end)
