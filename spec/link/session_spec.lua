-- Links and acceptors of kcptun's wire, both in this process, over real UDP on loopback.
local spec_link = require "spec_link"

local S = 1000000
local MS = 1000

describe("a link and an acceptor", function()
  local w, port, servers, echoing

  before_each(function()
    w = spec_link.new()
    port = w:free_port()
    servers, echoing = {}, {}
  end)
  after_each(function() w:free() end)

  local function with(defaults, more)
    local t = {}
    for k, v in pairs(defaults) do t[k] = v end
    for k, v in pairs(more or {}) do t[k] = v end
    return t
  end

  -- Short timeouts; small buffers, so that they fill up.
  local function settings(more)
    return with({ key = "k", crypt = "salsa20", mode = "fast3", dead_us = 1 * S, keepalive_us = 10 * S, sockbuf = 1 << 20 }, more)
  end

  --- An acceptor that echoes its streams (unless `accepted` claims a stream).
  local function accept(more)
    local server = assert(w:accept(settings(with({ at = "127.0.0.1:" .. port }, more))))
    servers[#servers + 1] = server
    return server
  end
  local function dial(more) return assert(w:link(settings(with({ at = "127.0.0.1:" .. port }, more)))) end

  local function echo(e)
    if e.stream:closed() then
      e.stream:reset()
      return false
    end
    e.waiting = e.waiting .. e.stream:read()
    e.waiting = e.waiting:sub(e.stream:write(e.waiting) + 1)
    if e.waiting == "" and e.stream:eof() then
      e.stream:close()
      return false
    end
    return true
  end

  local function serve()
    for _, server in ipairs(servers) do
      local stream = server:next()
      while stream do
        echoing[#echoing + 1] = { stream = stream, waiting = "" }
        stream = server:next()
      end
    end
    for i = #echoing, 1, -1 do
      if not echo(echoing[i]) then table.remove(echoing, i) end
    end
  end

  --- Runs the loop, serving, until fn() is true.
  local function await(what, fn, ms)
    assert.is_true(
      w:run(ms or 30000, function()
        serve()
        return fn()
      end),
      "waited in vain for " .. what
    )
  end

  local function result_of(opening)
    await("an open to end", function() return opening:called() > 0 end)
    return opening:stream()
  end
  local function open(link)
    local stream, _, text = result_of(assert(link:open()))
    return assert(stream, text)
  end

  --- Returns the bytes of a stream, up to `n` of them or to its end.
  local function receive(stream, n)
    local got, len = {}, 0
    await(n .. " bytes", function()
      local piece = stream:read(n - len)
      got[#got + 1] = piece
      len = len + #piece
      return len == n or stream:eof() or stream:closed()
    end)
    return table.concat(got)
  end
  local function ask(stream, text)
    assert.equal(#text, stream:write(text))
    return receive(stream, #text)
  end

  it("carry bytes there and back", function()
    accept()
    local stream = open(dial())
    assert.equal("hello", ask(stream, "hello"))
    assert.equal("again", ask(stream, "again"))
  end)

  it("dial only when a stream is asked for", function()
    local server = accept()
    local link = dial()
    local start = w:now()
    await("a while", function() return w:now() - start > 30 * MS end)
    assert.equal(0, link:counter "ActiveOpens")
    assert.equal(0, server:counter "InPkts")
    ask(open(link), "x")
    assert.equal(1, link:counter "ActiveOpens")
    assert.equal(1, server:counter "PassiveOpens")
  end)

  it("carry what was written before the first answer, and before the acceptor was there", function()
    local stream = open(dial { dead_us = 5 * S })
    assert.equal(5, stream:write "early")
    local start = w:now()
    await("a while", function() return w:now() - start > 50 * MS end)
    accept()
    assert.equal("early", receive(stream, 5))
  end)

  for _, way in ipairs {
    { "as kcptun by default", {} },
    { "with smux 1", { smux_version = 1 } },
    { "without compression and FEC", { compress = false, datashard = 0, parityshard = 0 } },
    { "with windows of one packet", { sndwnd = 1, rcvwnd = 1 }, 5000 },
    { "with the smallest mtu", { mtu = 128, crypt = "aes-128-gcm" }, 60000 },
    { "with tuncrypt", { tuncrypt = true } },
    { "with congestion control", { mode = "default" }, 60000 },
  } do
    it("carry many bytes, unchanged, " .. way[1], function()
      accept(way[2])
      local stream = open(dial(way[2]))
      local pieces = {}
      for i = 1, (way[3] or 1000000) // 10 do pieces[i] = ("%09d,"):format(i * 7919 % 1000000000) end
      local text = table.concat(pieces)
      local at, got, len = 1, {}, 0
      await("all of it", function()
        at = at + stream:write(text:sub(at, at + 99999))
        if at > #text and not stream.shut then stream:shutdown() end
        local piece = stream:read()
        got[#got + 1] = piece
        len = len + #piece
        return stream:eof()
      end, 30000)
      assert.equal(#text, len)
      assert.is_true(text == table.concat(got))
    end)
  end

  it("hold a writer back while its reader stalls, within the buffers, and release it afterwards", function()
    local server = accept { smux_buffer = 65536, stream_buffer = 65536, rcvwnd = 64, compress = false }
    local link = dial { sndwnd = 64, compress = false }
    servers = {} -- no echo
    local stream = open(link)
    stream:write "x"
    local slow
    await("the stream", function()
      slow = server:next()
      return slow
    end)
    local text, at, quiet = ("0123456789"):rep(200000), 1, w:now()
    await("the writer to be held back", function()
      local n = stream:write(text:sub(at, at + 9999))
      at = at + n
      if n > 0 then quiet = w:now() end
      return w:now() - quiet > 300 * MS
    end)
    -- a stream's window and send buffer, and both windows of KCP
    assert.is_true(at < 262144 + 65536 + 65536 + 2 * 64 * 1500, tostring(at))
    local last, len = at, 0
    await("all of it", function()
      at = at + stream:write(text:sub(at, at + 9999))
      len = len + #slow:read()
      return len == #text + 1
    end)
    assert.is_true(at > last)
  end)

  it("end one direction and keep the other open", function()
    local server = accept()
    servers = {}
    local stream, far = open(dial()), nil
    stream:write "request"
    stream:shutdown()
    await("the request's end", function()
      far = far or server:next()
      if far then far:read() end
      return far and far:eof()
    end)
    assert.is_true(far:half_close())
    far:write "answer"
    far:close()
    assert.equal("answer", receive(stream, 6))
    await("the end", function() return stream:eof() end)
  end)

  it("use sessions in rotation, up to the configured number", function()
    local server = accept()
    local link = dial { conn = 3 }
    local streams = {}
    for i = 1, 7 do
      streams[i] = open(link)
      ask(streams[i], "x")
      assert.equal(math.min(i, 3), link:counter "ActiveOpens")
    end
    assert.equal(3, server:counter "PassiveOpens")
    assert.equal(3, link:stats().sessions)
    assert.equal(7, link:stats().streams)
    assert.equal(7, link:counter "StreamsNow")
    assert.equal(7, server:counter "StreamsNow")
    for _, s in ipairs(streams) do s:close() end
    await("the streams to end", function() return link:counter "StreamsNow" == 0 and server:counter "StreamsNow" == 0 end)
    assert.equal(3, link:stats().sessions)
  end)

  describe("whose session expires", function()
    it("open another for the next stream, and serve the old one's to their end", function()
      accept()
      local link = dial { expire_us = 50 * MS, scavenge_us = 60 * S }
      local old = open(link)
      assert.equal("old", ask(old, "old"))
      local born = w:now()
      await("the expiry", function() return w:now() - born > 60 * MS end)
      local new = open(link)
      assert.equal("new", ask(new, "new"))
      assert.equal(2, link:counter "ActiveOpens")
      assert.equal("old", ask(old, "old"))
      assert.equal(2, link:stats().sessions)
      old:close()
      await("the old session to end", function() return link:stats().sessions == 1 end)
      assert.equal("new", ask(new, "new"))
    end)

    for _, scavenge in ipairs { 100, 0 } do it(("cut what still runs there after a scavenge time of %d ms"):format(scavenge), function()
      accept()
      local link = dial { expire_us = 50 * MS, scavenge_us = scavenge * MS }
      local old = open(link)
      ask(old, "old")
      local born = w:now()
      await("the expiry", function() return w:now() - born > 60 * MS end)
      local new = open(link)
      await("the old stream to be cut", function() return old:closed() end)
      assert.equal("closed", old:closed())
      assert.is_nil(new:closed())
      assert.equal("new", ask(new, "new"))
      assert.truthy(link:log():find("expired: cutting 1 streams", 1, true))
    end) end

    it("end an unused one at once", function()
      accept()
      local link = dial { expire_us = 50 * MS, scavenge_us = 60 * S }
      local old = open(link)
      ask(old, "old")
      old:close()
      await("its end", function() return link:stats().streams == 0 end)
      local born = w:now()
      await("the expiry", function() return w:now() - born > 60 * MS end)
      ask(open(link), "new")
      assert.equal(1, link:stats().sessions)
    end)
  end)

  describe("of which the acceptor restarts", function()
    --- Opens a stream, stops the acceptor, opens another stream, and starts the acceptor again.
    local function restart(server, link, old)
      servers = {}
      server:close()
      local young = open(link)
      young:write "young"
      local start = w:now()
      await("a while", function() return w:now() - start > 50 * MS end)
      assert.is_nil(old:closed())
      return young, accept()
    end

    it("move the young streams to a new session, and end the old ones with a reason", function()
      local server = accept()
      local link = dial { dead_us = 5 * S }
      local old = open(link)
      assert.equal("x", ask(old, "x"))
      local young
      young, server = restart(server, link, old)
      local start = w:now()
      assert.equal("young", receive(young, 5))
      assert.is_true(w:now() - start < 3 * S)
      assert.equal("restarted", old:closed())
      assert.equal(1, link:counter "SessionsRestarted")
      assert.equal(1, link:counter "StreamsMoved")
      assert.equal(2, link:counter "ActiveOpens")
      assert.equal(1, server:counter "StreamsAccepted")
      assert.equal("more", ask(young, "more"))
    end)

    it("do so again at the next restart", function()
      local server = accept()
      local link = dial { dead_us = 5 * S }
      local stream = open(link)
      for i = 1, 3 do
        assert.equal("x", ask(stream, "x"))
        local young
        young, server = restart(server, link, stream)
        assert.equal("young", receive(young, 5))
        assert.equal("restarted", stream:closed())
        assert.equal(i, link:counter "SessionsRestarted")
        stream = young
      end
      assert.equal(4, link:counter "ActiveOpens")
      assert.equal(1, link:stats().sessions)
    end)

    it("end old streams at once if no young one waits for the new session", function()
      local server = accept()
      local link = dial { dead_us = 5 * S }
      local old = open(link)
      ask(old, "x")
      servers = {}
      server:close()
      await("it to be gone", function() return server:counter "CurrEstab" == 0 end)
      old:write "into the void"
      accept()
      await("its end", function() return old:closed() end)
      assert.equal("restarted", old:closed())
      assert.equal(0, link:stats().sessions)
      assert.equal("new", ask(open(link), "new"))
    end)
  end)

  describe("over a path that changes", function()
    it("carry their streams on after the client's address has changed", function()
      local server = accept { dead_us = 5 * S }
      local relay = w:relay(port)
      local link = dial { at = "127.0.0.1:" .. relay:port(), dead_us = 5 * S }
      local stream = open(link)
      ask(stream, "x")
      relay:move()
      assert.equal("from elsewhere", ask(stream, "from elsewhere"))
      assert.equal(1, server:counter "PassiveOpens")
      assert.matches("session with 127%.0%.0%.1:%d+, conv %x+, continues at 127%.0%.0%.1:%d+", server:log())
      assert.equal("new", ask(open(link), "new"))
    end)

    it("give up on a peer that goes silent while it owes an answer", function()
      accept()
      local relay = w:relay(port)
      local link = dial { at = "127.0.0.1:" .. relay:port() }
      local stream = open(link)
      ask(stream, "x")
      relay:cut(true)
      stream:write "anybody there?"
      local start = w:now()
      await("its end", function() return stream:closed() end)
      local took = w:now() - start
      assert.is_true(took >= 1 * S and took < 3 * S, tostring(took))
      assert.equal("dead", stream:closed())
      assert.equal(1, link:counter "SessionsDead")
    end)

    it("end a young stream of a peer that went silent, since it may have been heard: no data is sent twice", function()
      accept()
      local relay = w:relay(port)
      local link = dial { at = "127.0.0.1:" .. relay:port() }
      relay:cut(true)
      local stream = open(link)
      stream:write "once"
      await("its end", function() return stream:closed() end)
      assert.equal("dead", stream:closed())
      assert.equal(0, link:counter "StreamsMoved")
      assert.equal(1, link:counter "ActiveOpens")
      relay:cut(false)
      assert.equal("next", ask(open(link), "next"))
    end)

    it("do not let a replayed session start from another address end a session", function()
      local server = accept()
      local relay, other = w:relay(port), w:relay(port)
      local link = dial { at = "127.0.0.1:" .. relay:port() }
      local stream = open(link)
      ask(stream, "x")
      ask(stream, "y") -- by now it has acknowledged something of the server's
      local errors = server:counter "InErrs"
      relay:replay(other)
      await("the replay to arrive", function() return server:counter "InErrs" > errors end)
      assert.equal("still here", ask(stream, "still here"))
      assert.equal(1, server:counter "PassiveOpens")
      assert.equal(0, (select(2, other:counts())))
    end)
  end)

  describe("with different keys", function()
    it("exchange nothing: packets are counted, not answered, and leave no state", function()
      local server = accept { key = "another" }
      local relay = w:relay(port)
      local link = dial { at = "127.0.0.1:" .. relay:port() }
      open(link):write "hello?"
      await("the datagrams to be counted", function() return server:counter "InCsumErrors" >= 5 end)
      assert.equal(0, server:counter "PassiveOpens")
      assert.equal(0, server:counter "OutPkts")
      assert.equal(0, server:stats().sessions)
      assert.equal(0, (select(2, relay:counts())))
      await("a word about it", function() return link:log():find("are key and crypt the same on both ends", 1, true) end)
    end)
  end)

  describe("that disagree about tuncrypt", function()
    it("report it to each open, when the link has it", function()
      accept()
      local link = dial { tuncrypt = true }
      for _ = 1, 2 do
        local stream, code, text = result_of(link:open())
        assert.is_nil(stream)
        assert.equal("mismatch", code)
        assert.equal("tuncrypt is on here but off at the server; set it the same on both ends", text)
      end
      assert.truthy(link:log():find("tuncrypt is on here but off at the server", 1, true))
      assert.equal(0, link:counter "StreamsOpened")
    end)

    it("refuse the first stream and report it to the next, when the acceptor has it", function()
      local server = accept { tuncrypt = true }
      local link = dial()
      local stream = open(link)
      stream:write "noise"
      await("its end", function() return stream:closed() or stream:gone() end)
      assert.truthy(server:log():find("tuncrypt is on here but off at the client; set it the same on both ends; its streams are refused", 1, true))
      local second, code = result_of(link:open())
      assert.is_nil(second)
      assert.equal("mismatch", code)
    end)
  end)

  describe("when the link is closed", function()
    it("end its streams with a reason, and leave nothing", function()
      local server = accept()
      local link = dial { conn = 2 }
      local streams = {}
      for i = 1, 5 do
        streams[i] = open(link)
        ask(streams[i], ("x"):rep(10000))
      end
      streams[1]:write(("y"):rep(60000))
      link:close()
      for _, s in ipairs(streams) do
        await("its end", function() return s:closed() end)
        assert.equal("closed", s:closed())
        assert.equal(0, s:write "x")
      end
      assert.equal(0, link:counter "CurrEstab")
      assert.equal(0, link:counter "StreamsNow")
      assert.equal(2, server:counter "CurrEstab") -- nothing tells it; it finds out
    end)

    it("keep what had arrived readable", function()
      local server = accept()
      servers = {}
      local link = dial()
      local stream, far = open(link), nil
      stream:write "x"
      await("the stream", function()
        far = far or server:next()
        return far
      end)
      far:write "an answer"
      await("the answer", function() return stream:heard() > 0 end)
      link:close()
      await("the end", function() return stream:closed() end)
      assert.equal("an answer", stream:read())
    end)

    it("cancel waiting opens, without a callback", function()
      local link = dial { at = "localhost:" .. port }
      local waiting = { link:open(), link:open() }
      link:close()
      local start = w:now()
      await("a while", function() return w:now() - start > 100 * MS end)
      assert.same({ 0, 0 }, { waiting[1]:called(), waiting[2]:called() })
      assert.equal(0, link:counter "ActiveOpens")
    end)

    it("cancel opens that have their stream, without a callbackback", function()
      accept()
      local link = dial()
      ask(open(link), "x")
      local ready = link:open()
      link:close()
      local start = w:now()
      await("a while", function() return w:now() - start > 20 * MS end)
      assert.equal(0, ready:called())
    end)
  end)

  describe("of which an open is cancelled", function()
    it("do not call back, whether it waited or had its stream", function()
      accept()
      local link = dial()
      local waiting = link:open()
      waiting:cancel()
      local stream = open(link)
      ask(stream, "x")
      local ready = link:open()
      ready:cancel()
      assert.equal("y", ask(stream, "y"))
      assert.same({ 0, 0 }, { waiting:called(), ready:called() })
      await("no stream to be left of it", function() return link:stats().streams == 1 end)
    end)
  end)

  describe("when the acceptor is closed", function()
    it("end its streams with a reason, and hand out no more", function()
      local server = accept()
      local link = dial()
      local stream = open(link)
      ask(stream, "x")
      local far = echoing[1].stream
      servers, echoing = {}, {}
      for _ = 1, 20 do open(link):write "x" end -- on their way; the binding aborts if one is handed out now
      server:close()
      await("its end", function() return far:closed() end)
      assert.equal("closed", far:closed())
      assert.equal(0, server:counter "CurrEstab")
      assert.equal(0, server:counter "StreamsNow")
    end)
  end)

  it("break a stream without a listener, and a splice made later sees it", function()
    local server = accept()
    servers = {}
    local relay = w:relay(port)
    local link = dial { at = "127.0.0.1:" .. relay:port() }
    open(link):write "x"
    local far
    await("the stream", function()
      far = far or server:next(true)
      return far
    end)
    await("its byte to arrive", function()
      local now = link:stats()
      return now.inflight == 0 and now.queued == 0
    end)
    server:close()
    local conn = w:fake()
    await("its end", function() return server:counter "CurrEstab" == 0 end)
    local splice = w:splice(far, conn)
    await("the splice's end", function() return splice:result() end)
    assert.same({ 1, 0, "reset" }, splice:result())
  end)

  it("deliver what a source brought before it broke", function()
    local server = accept()
    servers = {}
    local stream, conn = open(dial()), w:fake()
    stream:write "x"
    local far
    await("the stream", function()
      far = far or server:next()
      return far
    end)
    far:read()
    local splice = w:splice(conn, far)
    await("its first turn", function() return true end)
    local text = ("last words; "):rep(5000)
    conn:feed(text)
    conn:break_off "reset"
    assert.equal(text, receive(stream, #text))
    await("the end", function() return stream:closed() and splice:result() end)
    assert.same({ #text, 0, "reset" }, splice:result())
    assert.equal("reset", stream:closed())
    assert.is_false(stream:eof())
  end)

  describe("with a rate limit", function()
    it("hold it, beyond the burst, nearly", function()
      local server = accept { compress = false }
      servers = {}
      local rate = 400000
      local link = dial { rate = rate, compress = false }
      local stream = open(link)
      local text, at, got, far = ("x"):rep(100000), 0, 0, nil
      local start, first, from
      await("half a megabyte", function()
        at = at + stream:write(text)
        far = far or server:next()
        if far then got = got + #far:read() end
        start = start or w:now()
        if not first and got > 150000 then -- the burst is over
          first, from = w:now(), link:counter "OutBytes"
        end
        return got >= 550000
      end)
      local measured = (link:counter "OutBytes" - from) * S / (w:now() - first)
      assert.is_true(measured > rate * 0.7 and measured < rate * 1.2, ("%.0f bytes a second"):format(measured))
    end)

    it("do not give up on a peer that they could not probe", function()
      accept { compress = false, datashard = 0 }
      local link = dial { rate = 8000, compress = false, datashard = 0, dead_us = 1 * S }
      local stream = open(link)
      local text = ("x"):rep(60000)
      local at, got = 0, 0
      await("all of it", function()
        if at < 120000 then at = at + stream:write(text:sub(1, 120000 - at)) end
        got = got + #stream:read()
        return got == 120000 or stream:closed()
      end, 20000)
      assert.is_nil(stream:closed())
      assert.equal(0, link:counter "SessionsDead")
    end)
  end)
end)
