-- smux: windows, back-pressure, hello, half-close.
local smux = require "spec_smux"
local ends = require "smux_ends"

local SYN, FIN, PSH, NOP = ends.SYN, ends.FIN, ends.PSH, ends.NOP
local frame, upd = ends.frame, ends.upd
local HELLO = frame(2, NOP, ends.HELLO | ends.HALF_CLOSE)

local pool

local function client(settings) return ends.client(pool, settings) end
local function server(settings) return ends.new(pool, settings or {}) end
local function serving(settings) return ends.serving(pool, settings) end

before_each(function() pool = smux.pool(1024) end)
after_each(function() collectgarbage() end)

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

  it("carry the count mod 2^32", function()
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

  it("continues as far as an update allows", function()
    local e, s = serving()
    write_all(e, s)
    e:hear(upd(3, 262144, 100000))
    assert.equal(100000, write_all(e, s))
    e:hear(upd(3, 262144 + 50000, 100000))
    assert.equal(50000, write_all(e, s))
    e:hear(upd(3, 262144 + 50000, 10))
    assert.equal(0, write_all(e, s))
  end)

  it("is unbounded in version 1", function()
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

  it("is not held up by another stream's window", function()
    local e = server()
    e:hear(frame(2, SYN, 3), frame(2, SYN, 5), upd(3, 0, 0))
    e.accepted[1]:write "held"
    e.accepted[2]:write "free"
    assert.same({ "PSH 5 free" }, e:said())
  end)
end)

describe("smux back-pressure", function()
  it("accepts no more than the session's buffer, and continues after a read", function()
    local e, s = serving { version = 1, session_buffer = 100 }
    local bytes = frame(1, PSH, 3, ("a"):rep(150)) .. frame(1, PSH, 3, "b")
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
    local e, s = serving { version = 1, session_buffer = 100 }
    local bytes = frame(1, PSH, 3, ("a"):rep(150))
    local took = e.m:input(bytes)
    s:close()
    assert.equal(1, e.resumes)
    assert.equal(#bytes - took, e.m:input(bytes:sub(took + 1)))
    assert.equal(0, e.m:buffered())
  end)

  it("limits the frames handled in a batch", function()
    local e = serving { version = 1 }
    local bytes = frame(1, NOP, 0):rep(3) .. frame(1, SYN, 5) .. frame(1, SYN, 7)
    e.m:budget(4)
    local took = e.m:input(bytes)
    assert.equal(32, took)
    assert.is_true(e.m:spent())
    assert.equal(0, e.m:input(bytes:sub(took + 1)))
    e.m:budget(1)
    assert.equal(8, e.m:input(bytes:sub(took + 1)))
    assert.equal(0, e.resumes)
  end)

  it("finishes the body of a frame that has begun, even past the batch's limit", function()
    local e, s = serving()
    e.m:budget(1)
    assert.equal(13, e.m:input(frame(2, PSH, 3, "hello") .. frame(2, PSH, 3, "more")))
    assert.equal("hello", s:read())
  end)

  it("does not stop frames without payload", function()
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

  it("wakes a writer that got no memory", function()
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

  it("holds at most one block per stream for small frames", function()
    local e = serving()
    for _ = 1, 500 do e:hear(frame(2, PSH, 3, "x")) end
    assert.equal(1, pool:in_use())
  end)
end)

describe("smux hello", function()
  local both = { features = ends.HALF_CLOSE }
  local function copy(t) return { features = t.features } end

  it("precedes a client's first frame, once", function()
    local c = client(copy(both))
    assert.same({}, c:said())
    c:open()
    assert.same({ "HELLO 1", "SYN 3" }, c:said())
    c:open()
    c.m:keepalive()
    assert.same({ "NOP", "SYN 5" }, c:said())
  end)

  it("precedes a client's first keepalive", function()
    local c = client(copy(both))
    c.m:keepalive()
    assert.same({ "HELLO 1", "NOP" }, c:said())
  end)

  it("is answered by a server, which never sends it first", function()
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

  it("is never sent by an end without features", function()
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

  it("is held back until close for a peer that sent no hello", function()
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

  it("is not sent to a peer whose hello lacks it", function()
    local c = client { features = 1 }
    local s = c:open()
    s:shutdown()
    c:said()
    c:hear(frame(2, NOP, ends.HELLO | 2))
    assert.same({}, c:said())
  end)

  it("is not accepted from a peer that sent no hello", function()
    local e, s = serving { features = 1 }
    e:hear(frame(2, PSH, 3, ""), frame(2, PSH, 3, "hello"))
    assert.equal("hello", s:read())
    assert.is_false(s:eof())
  end)

  it("accepts no more data of that direction", function()
    local e, s = serving { features = 1 }
    e:hear(HELLO, frame(2, PSH, 3, "a"), frame(2, PSH, 3, ""), frame(2, PSH, 3, "b"))
    assert.equal("a", s:read())
    assert.is_true(s:eof())
    assert.equal(0, e.m:buffered())
  end)
end)
