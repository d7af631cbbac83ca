-- smux: the abort mark between two kts. A stream that is reset or cut ends with RST, never with an apparently orderly end.
local smux = require "spec_smux"
local ends = require "smux_ends"

local SYN, FIN, PSH, NOP = ends.SYN, ends.FIN, ends.PSH, ends.NOP
local frame, rst, upd = ends.frame, ends.rst, ends.upd
local HELLO = frame(2, NOP, ends.HELLO | ends.ABORT)
local RESET, REFUSED, CANCELED = -7, -8, -18

local pool

--- A client and a server that know the mark, joined, with one stream open: the client's end of it, then the server's.
local function pair(settings)
  settings = settings or {}
  settings.features = ends.ABORT | ends.HALF_CLOSE
  local c, e = ends.client(pool, settings), ends.new(pool, { features = settings.features, qpp = settings.qpp })
  local s = c:open()
  ends.exchange(c, e)
  c:heard()
  e:heard()
  return c, e, s, e.accepted[1]
end

local function kt_client(settings)
  settings = settings or {}
  settings.features = settings.features or ends.ABORT
  return ends.client(pool, settings)
end

before_each(function() pool = smux.pool(64) end)
after_each(function() collectgarbage() end)

describe("an aborted smux stream", function()
  it("breaks the other end as reset, with the code and the text", function()
    local c, e, s, t = pair()
    t:reset(REFUSED, "db:5432: connection refused")
    ends.exchange(c, e)
    assert.same({ "closed 3 reset" }, c:heard())
    assert.same({ "refused", "db:5432: connection refused" }, { s:why() })
    assert.is_false(s:eof())
    assert.equal(0, s:write "x")
    s:close()
    ends.exchange(c, e)
    assert.same({ 0, 0, 0 }, { c.m:streams(), e.m:streams(), pool:in_use() })
  end)

  it("gives the code's sentence where no text was sent", function()
    local c, e, s, t = pair()
    t:reset()
    ends.exchange(c, e)
    assert.same({ "canceled", "canceled" }, { s:why() })
  end)

  it("is also aborted from the client's end", function()
    local c, e, s, t = pair()
    s:reset(RESET)
    ends.exchange(c, e)
    assert.same({ "closed 3 reset" }, e:heard())
    assert.equal("reset", (t:why()))
  end)

  it("that was cut delivers all that was written, then breaks", function()
    local c, e, s, t = pair()
    t:write(("x"):rep(5000))
    t:cut(RESET, "the target reset it")
    ends.exchange(c, e)
    assert.same({ "readable 3", "closed 3 reset" }, c:heard())
    assert.equal(5000, #s:read())
    assert.is_false(s:eof())
    assert.same({ "reset", "the target reset it" }, { s:why() })
  end)

  it("that was cut waits for the peer's window like any data, and ends after it", function()
    local e, s = ends.serving(pool, { features = ends.ABORT })
    e:hear(HELLO, upd(3, 0, 0))
    e:said()
    s:write "last words"
    s:cut(RESET, "gone")
    assert.same({}, e:said())
    e:hear(upd(3, 0, 4))
    assert.same({ "PSH 3 last" }, e:said())
    e:hear(upd(3, 4, 100))
    assert.same({ "PSH 3  words", "RST 3 7 gone" }, e:said())
    assert.equal(0, e.m:streams())
  end)

  it("that was cut is ended by a heartbeat when the peer's reader has stalled since the cut, or since the heartbeat before", function()
    local e, s = ends.serving(pool, { features = ends.ABORT })
    e:hear(HELLO, upd(3, 0, 0))
    e:said()
    s:write(("x"):rep(300))
    s:cut(RESET, "gone")
    e.m:heartbeat()
    assert.same({ "NOP", "RST 3 7 gone" }, e:said())
    assert.same({ 0, 0 }, { e.m:streams(), pool:in_use() })
  end)

  it("that was cut gives a slow reader all the time it needs", function()
    local e, s = ends.serving(pool, { features = ends.ABORT })
    e:hear(HELLO, upd(3, 0, 1))
    e:said()
    s:write "12345"
    s:cut(RESET, "gone")
    for i = 1, 4 do
      e:said()
      e:hear(upd(3, i, 1))
      e:said()
      e.m:heartbeat()
      if i < 4 then assert.same({ "NOP" }, e:said()) end
    end
    assert.same({ "NOP" }, e:said())
    assert.same({ 0, 0 }, { e.m:streams(), pool:in_use() })
  end)

  it("that was cut is not hurried by a session that gets nothing through", function()
    local room = 0
    local e, s = ends.serving(pool, { features = ends.ABORT, room = function(want) return room and math.min(room, math.max(want, 1)) or math.max(want, 1) end })
    e:hear(HELLO)
    s:write "data"
    s:cut(RESET)
    for _ = 1, 3 do
      e.m:heartbeat()
      assert.same({}, e:said())
    end
    room = nil
    assert.same({ "HELLO 8", "NOP", "PSH 3 data", "RST 3 7 " }, e:said())
  end)

  it("that was cut waits without limit for a kcptun's reader, to which the end would look complete", function()
    local e, s = ends.serving(pool, { features = ends.ABORT })
    e:hear(upd(3, 0, 0))
    e:said()
    s:write "data"
    s:cut(RESET)
    for _ = 1, 3 do
      e.m:heartbeat()
      assert.same({ "NOP" }, e:said())
    end
    e:hear(upd(3, 0, 100))
    assert.same({ "PSH 3 data", "FIN 3" }, e:said())
  end)

  it("that was reset drops unsent data, and does not overtake sent data", function()
    local c, e, s, t = pair()
    t:write "sent"
    e.wire = (e:pump())
    t:write "never sent"
    t:reset(CANCELED)
    ends.exchange(c, e)
    assert.equal("sent", s:read())
    assert.equal("canceled", (s:why()))
  end)

  it("breaks after a half-close of its own direction, which stays complete", function()
    local c, e, s, t = pair()
    t:write "all"
    t:shutdown()
    ends.exchange(c, e)
    assert.equal("all", s:read())
    assert.is_true(s:eof())
    c:heard()
    t:reset(RESET)
    ends.exchange(c, e)
    assert.same({ "closed 3 reset" }, c:heard())
    assert.is_true(s:eof())
    assert.equal(0, s:write "x")
  end)

  it("breaks the end that had half-closed", function()
    local c, e, s, t = pair()
    s:shutdown()
    ends.exchange(c, e)
    assert.is_true(t:eof())
    t:reset(RESET)
    ends.exchange(c, e)
    assert.same({ "closed 3 reset" }, c:heard())
    assert.is_false(s:eof())
  end)

  it("is gone for a listener that comes later", function()
    local c, e = pair()
    local late = c.m:open()
    ends.exchange(c, e)
    e.accepted[2]:reset(REFUSED, "no")
    ends.exchange(c, e)
    assert.is_true(late:gone())
    assert.is_false(late:eof())
    assert.same({ "refused", "no" }, { late:why() })
  end)

  it("that is aborted by both ends at once is forgotten by both", function()
    local c, e, s, t = pair()
    s:reset(RESET)
    t:reset(RESET)
    ends.exchange(c, e)
    assert.same({ 0, 0, 0 }, { c.m:streams(), e.m:streams(), pool:in_use() })
  end)

  it("is aborted under QPP as well", function()
    local qpp = smux.qpp("key", 7)
    local c, e, s, t = pair { qpp = qpp }
    t:write "some data"
    t:cut(RESET, "in clear")
    ends.exchange(c, e)
    assert.equal("some data", s:read())
    assert.same({ "reset", "in clear" }, { s:why() })
  end)

  it("refuses a stream when the owner does not accept it", function()
    local c = kt_client { refuse = true }
    c:hear(HELLO, frame(2, SYN, 2))
    assert.same({ "HELLO 8", "RST 2 17 " }, c:said())
    assert.equal(0, c.m:streams())
  end)

  it("truncates the text to what fits, without splitting a character", function()
    local e, s = ends.serving(pool, { features = ends.ABORT })
    e:hear(HELLO)
    e:said()
    s:reset(REFUSED, ("é"):rep(200))
    local sent = e:said()
    assert.same({ "RST 3 8 " .. ("é"):rep(63) }, sent)
  end)

  it("that is young moves to another session with its data and its reason", function()
    local from, to = kt_client(), kt_client()
    local s = from:open()
    s:write "bye"
    s:cut(RESET, "why")
    from:pump()
    assert.equal(1, from.m:move_young(to.m))
    to:hear(HELLO)
    assert.same({ "HELLO 8", "SYN 3", "PSH 3 bye", "RST 3 7 why" }, to:said())
    to.m:settled(to.m:mark())
    assert.equal(0, pool:in_use())
  end)
end)

describe("a client that does not know yet whether the server supports aborts", function()
  local function waiting()
    local c = kt_client()
    local s = c:open()
    s:write "abc"
    assert.same({ "HELLO 8", "SYN 3", "PSH 3 abc" }, c:said())
    s:reset(RESET)
    assert.same({}, c:said())
    return c
  end

  it("sends RST once the hello arrives", function()
    local c = waiting()
    c:hear(HELLO)
    assert.same({ "RST 3 7 " }, c:said())
    assert.equal(0, c.m:streams())
  end)

  it("sends FIN once a hello arrives without that feature", function()
    local c = waiting()
    c:hear(frame(2, NOP, ends.HELLO | ends.HALF_CLOSE))
    assert.same({ "FIN 3" }, c:said())
  end)

  for what, bytes in pairs { ["a window update"] = upd(3, 3, 100), data = frame(2, PSH, 3, "x"), ["an end"] = frame(2, FIN, 3) } do
    it("sends FIN to a peer from which " .. what .. " came before any hello: it is a kcptun", function()
      local c = waiting()
      c:hear(bytes)
      assert.same({ "FIN 3" }, c:said())
      assert.equal(0, c.m:streams())
    end)
  end

  it("sends FIN at the second heartbeat after the peer got its own hello at the latest", function()
    local c = waiting()
    for _ = 1, 3 do -- the peer was never heard: nothing is known of it
      c.m:heartbeat()
      assert.same({ "NOP" }, c:said())
    end
    c.m:settled(c.m:mark())
    c.m:heartbeat()
    assert.same({ "NOP" }, c:said())
    c.m:heartbeat()
    assert.same({ "NOP", "FIN 3" }, c:said())
  end)

  it("does not take a probe for a sign that no hello comes", function()
    local c = waiting()
    for _ = 1, 3 do
      c.m:keepalive()
      assert.same({ "NOP" }, c:said())
    end
    c:hear(HELLO)
    assert.same({ "RST 3 7 " }, c:said())
  end)

  it("sends FIN when its session ends", function()
    local c = waiting()
    c.m:presume_foreign()
    assert.same({ "FIN 3" }, c:said())
  end)

  it("closes in order without waiting", function()
    local c = kt_client()
    c:open():close()
    assert.same({ "HELLO 8", "SYN 3", "FIN 3" }, c:said())
  end)

  it("lets a half-close wait on for the hello when heartbeats pass", function()
    local c = ends.client(pool, { features = ends.ABORT | ends.HALF_CLOSE })
    local s = c:open()
    s:shutdown()
    assert.same({ "HELLO 9", "SYN 3" }, c:said())
    c.m:heartbeat()
    c.m:heartbeat()
    assert.same({ "NOP" }, c:said())
    c:hear(frame(2, NOP, ends.HELLO | ends.HALF_CLOSE))
    assert.same({ "PSH 3 " }, c:said())
  end)
end)

describe("a peer that does not know aborts", function()
  for name, hello in pairs { ["a kcptun"] = "", ["an older kt"] = frame(2, NOP, ends.HELLO | ends.HALF_CLOSE) } do
    it("gets FIN from a server: " .. name, function()
      local e, s = ends.serving(pool, { features = ends.ABORT | ends.HALF_CLOSE })
      e:hear(hello)
      e:said()
      s:write "data"
      s:cut(RESET, "the target reset it")
      assert.same({ "PSH 3 data", "FIN 3" }, e:said())
    end)
  end

  it("breaks the session when it sends one", function()
    local e = ends.serving(pool, { features = ends.ABORT })
    local _, code, text = e.m:input(rst(3, 7))
    assert.same({ "protocol", "unknown smux command 5" }, { code, text })
  end)
end)

describe("a hostile RST", function()
  local function hit(bytes)
    local e, s = ends.serving(pool, { features = ends.ABORT })
    e:hear(HELLO)
    e:heard()
    return e, s, bytes and e.m:input(bytes)
  end

  it("with length 0 or above the maximum breaks the session", function()
    for _, len in ipairs { 0, 129, 65535 } do
      local e = hit()
      local took, code, text = e.m:input(string.pack("<BBI2I4", 2, ends.RST, len, 3))
      assert.is_nil(took)
      assert.same({ "protocol", "smux RST frame: unexpected length " .. len }, { code, text })
    end
  end)

  it("for an unknown stream is dropped with its body", function()
    local e, s = hit()
    e:hear(rst(99, 7, ("x"):rep(127)), frame(2, PSH, 3, "mine"))
    assert.equal("mine", s:read())
    assert.equal(1, e.m:streams())
  end)

  it("may arrive in pieces of any size", function()
    local e, s = hit()
    local bytes = frame(2, PSH, 3, "data") .. rst(3, 8, ("y"):rep(127))
    for i = 1, #bytes do e:hear(bytes:sub(i, i)) end
    assert.equal("data", s:read())
    assert.same({ "refused", ("y"):rep(127) }, { s:why() })
  end)

  it("with an unknown code counts as reset, and control characters are not passed on", function()
    for _, code in ipairs { 0, 200, 255 } do
      local e, s = hit()
      e:hear(rst(3, code, "a\27[2Jb\0c"))
      assert.equal("reset", (s:why()))
      assert.is_nil(select(2, s:why()):find "%c")
    end
  end)

  it("that comes twice, or after FIN, does nothing", function()
    local e, s = hit()
    e:hear(rst(3, 8, "first"), rst(3, 7, "second"))
    assert.same({ "closed 3 reset" }, e:heard())
    assert.same({ "refused", "first" }, { s:why() })
    local other, t = hit()
    other:hear(frame(2, FIN, 3), rst(3, 7))
    assert.same({ "readable 3" }, other:heard())
    assert.is_true(t:eof())
  end)

  it("holds no more memory than its text, and none once the stream is closed", function()
    local e, s = hit()
    e:hear(rst(3, 7, ("z"):rep(127)))
    assert.is_true(pool:in_use() <= 3)
    s:close()
    e:pump()
    assert.equal(0, pool:in_use())
  end)

  it("still breaks the stream when its text does not fit in memory", function()
    local e, s = hit()
    pool:fail_after(0)
    e:hear(rst(3, 8, "a text"))
    pool:fail_after(-1)
    assert.same({ "closed 3 reset" }, e:heard())
    assert.same({ "refused", "connection refused" }, { s:why() })
  end)

  it("behind the SYN in one batch leaves a stream that is gone", function()
    local e = ends.new(pool, { features = ends.ABORT })
    e:hear(HELLO, frame(2, SYN, 3), rst(3, 8, "never mind"))
    assert.same({ "hello 8", "accept 3", "closed 3 reset" }, e:heard())
  end)
end)
