-- smux: frames, turns, errors (specified in runtime/link/kcptun/smux.h).
local smux = require "spec_smux"
local ends = require "smux_ends"

local SYN, FIN, PSH, NOP, UPD = ends.SYN, ends.FIN, ends.PSH, ends.NOP, ends.UPD
local frame = ends.frame

local pool

local function client(settings) return ends.client(pool, settings) end
local function server(settings) return ends.new(pool, settings or {}) end
local function serving(settings) return ends.serving(pool, settings) end

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
  it("alternate frame by frame", function()
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

  it("put an abrupt FIN before other streams' data and drop the rest", function()
    local c = client()
    local a, b = c:open(), c:open()
    c:said()
    b:write "bbbb"
    a:write "aaaa"
    a:reset()
    assert.same({ "FIN 3", "PSH 5 bbbb" }, c:said())
  end)

  it("send nothing for a stream that was reset before its SYN left", function()
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
    assert.is_true(smux.stream_size <= 304)
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
    assert.equal("expected smux version 1, got 2: set smuxver the same on both ends",
      refusal({ version = 1 }, frame(2, SYN, 3)))
    assert.equal("expected smux version 2, got 1: set smuxver the same on both ends",
      refusal({ version = 2 }, frame(1, SYN, 3)))
  end)

  it("name nocomp when the first byte is none of smux's", function()
    assert.equal("expected smux version 2, got byte 0xff: set nocomp the same on both ends",
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
      assert.equal(("smux %s frame: unexpected length 1"):format(name), refusal({}, frame(2, cmd, 3, "x")))
    end)
  end

  it("come for a window update that is not 8 bytes long", function()
    assert.equal("smux UPD frame: unexpected length 7", refusal({}, frame(2, UPD, 3, ("x"):rep(7))))
    assert.equal("smux UPD frame: unexpected length 0", refusal({}, frame(2, UPD, 3)))
  end)

  it("leave what came before them", function()
    local e = server()
    assert.is_nil((e.m:input(frame(2, SYN, 3) .. frame(2, PSH, 3, "good") .. "\xff")))
    e.m:dispatch()
    assert.equal("good", e.accepted[1]:read())
  end)
end)
