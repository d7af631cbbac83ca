-- Settings of a conversation that change while it runs: no data is lost, and they apply from then on.
local bytes = require "bytes"
local wire = require "kcp_wire"

local function finished(...)
  for _, e in ipairs { ... } do
    e:check()
    assert.equal(0, e:restart().contradictions)
    assert.equal(0, e:blocks())
    e:close()
  end
end

describe("settings that change under way", function()
  local there, back = bytes.noise(600000, 11), bytes.noise(600000, 12)

  --- Other settings for one of the ends, now and then, drawn from the seed.
  local function changes(a, b, seed)
    local random = wire.random(seed)
    local function draw(n) return math.floor(random() * n) end
    local count = 0
    return function(now)
      if now % 7 ~= 0 or random() < 0.5 then return end
      count = count + 1
      local e = random() < 0.5 and a or b
      assert(e:tune {
        snd_wnd = 1 << draw(12), rcv_wnd = 1 << draw(12), nodelay = random() < 0.5, interval_ms = 10 + draw(90),
        resend = draw(5), reno = random() < 0.5, ack_nodelay = random() < 0.3,
      })
      e:check()
    end, function() return count end
  end

  it("lose and repeat no byte, for any settings and any packet order", function()
    for seed = 1, 12 do
      local a = wire.engine { start_snd = 0xfffffff0, start_rcv = 0x7ffffff0 }
      local b = wire.engine { start_snd = 0x7ffffff0, start_rcv = 0xfffffff0 }
      local change, count = changes(a, b, seed)
      local got_a, got_b = wire.converse(a, b, there:sub(1, 50000 * seed), back:sub(1, 30000 * seed), {
        seed = seed, loss = 0.01 * seed, dup = 0.02, delay_ms = 15, jitter_ms = 20, limit_ms = 6000000, read = change })
      assert.is_true(got_b == there:sub(1, 50000 * seed) and got_a == back:sub(1, 30000 * seed), "seed " .. seed)
      assert.is_true(count() > 10)
      finished(a, b)
    end
  end)

  it("are refused where kt_kcp_new would refuse them, without changing anything", function()
    local e = wire.engine { snd_wnd = 4 }
    for _, wrong in ipairs { { snd_wnd = 0 }, { rcv_wnd = 65536 }, { interval_ms = 9 } } do
      assert.same({ nil, "invalid" }, { e:tune(wrong) })
    end
    assert.equal(4 * e:mss(), e:room())
    finished(e)
  end)
end)

describe("a send window", function()
  it("that shrinks below its contents accepts nothing until they have drained", function()
    local e = wire.engine { snd_wnd = 100, mtu = 124 }
    assert.equal(10000, e:write(("x"):rep(20000)))
    assert(e:tune { snd_wnd = 10 })
    e:check()
    assert.equal(0, e:room())
    assert.equal(0, e:write("y"))
    local sent = 0
    for una = 0, 100 do
      assert(e:input(wire.segment(wire.ACK, { sn = una - 1, una = una, wnd = 512 }), 1000 * una))
      for _, sn in ipairs(wire.sns(e:flush(1000 * una), wire.PUSH)) do
        if sn >= sent then sent = sn + 1 end
      end
      assert.is_true(sent - una <= 32)
      e:check()
      assert.equal(math.max(0, 10 - (100 - una)) * 100, e:room())
    end
    assert.equal(100, sent)
    finished(e)
  end)

  it("that grows is used at once", function()
    local e = wire.engine { snd_wnd = 4, mtu = 124 }
    assert(e:input(wire.segment(wire.WINS, { wnd = 512 }), 0))
    e:write(("x"):rep(4000))
    assert.equal(4, #wire.sns(e:flush(0), wire.PUSH))
    assert(e:tune { snd_wnd = 40, rcv_wnd = 512 })
    e:write(("x"):rep(4000))
    assert.equal(36, #wire.sns(e:flush(0), wire.PUSH))
    assert(e:input(wire.segment(wire.ACK, { sn = 39, una = 40 }), 1000))
    finished(e)
  end)

  it("under another controller starts from the bytes in flight", function()
    local e = wire.engine { snd_wnd = 64, mtu = 124 }
    assert(e:input(wire.segment(wire.WINS, { wnd = 512 }), 0))
    e:write(("x"):rep(6400))
    assert.equal(64, #wire.sns(e:flush(0), wire.PUSH))
    assert(e:tune { snd_wnd = 64, reno = true })
    assert.equal(64, e:stats().cwnd)
    assert(e:tune { snd_wnd = 64, reno = true, nodelay = true })
    assert.equal(64, e:stats().cwnd)
    assert(e:tune { snd_wnd = 32 })
    assert.equal(32, e:stats().cwnd)
    assert(e:input(wire.segment(wire.ACK, { sn = 63, una = 64 }), 1000))
    finished(e)
  end)
end)

describe("a receive window", function()
  local function push(e, sn, text) return assert(e:input(wire.segment(wire.PUSH, { sn = sn, data = text or "0123456789" }), 0)) end

  it("that shrinks still accepts what was advertised to the peer, and nothing beyond", function()
    local e = wire.engine { rcv_wnd = 100 }
    push(e, 99)
    assert(e:tune { rcv_wnd = 8 })
    e:check()
    push(e, 98)
    push(e, 100)
    assert.equal(1, e:stats().beyond)
    for sn = 0, 97 do push(e, sn) end
    e:check()
    -- eight of them fill the new window; the others wait in their places
    local n = 0
    while n < 1000 do
      local got = e:read()
      assert.is_true(#got > 0)
      n = n + #got
      e:check()
    end
    assert.equal(1000, n)
    push(e, 108)
    assert.equal(2, e:stats().beyond)
    push(e, 107)
    assert.equal(2, e:stats().beyond)
    for sn = 100, 106 do push(e, sn) end
    assert.equal(80, #e:read())
    finished(e)
  end)

  it("that changes is advertised to the peer at once", function()
    local e = wire.engine { rcv_wnd = 100 }
    for _, wnd in ipairs { 8, 300 } do
      assert(e:tune { rcv_wnd = wnd })
      assert.equal(0, e:due(0))
      local told = wire.segments(e:flush(0), wire.WINS)
      assert.same({ 1, wnd }, { #told, told[1].wnd })
    end
    assert(e:tune { rcv_wnd = 300, nodelay = true })
    assert.is_nil(e:due(0))
    finished(e)
  end)

  it("that opens accepts the segments that waited beyond it", function()
    local e = wire.engine { rcv_wnd = 4 }
    for sn = 0, 5 do push(e, sn) end
    assert.equal(0, wire.segments(e:flush(0), wire.ACK)[1].wnd)
    assert(e:tune { rcv_wnd = 64 })
    e:check()
    assert.equal(60, #e:read(100))
    finished(e)
  end)
end)

describe("an answer to WASK", function()
  it("is a WINS of a peer that has our conversation", function()
    local e = wire.engine()
    e:probe()
    e:flush(0)
    assert.equal(1, e:stats().unanswered)
    assert(e:input(wire.segment(wire.WINS, { una = 5 }), 0)) -- of another one
    assert.same({ 0, 1 }, { e:stats().answers, e:stats().unanswered })
    assert(e:input(wire.segment(wire.WINS), 0))
    assert.same({ 1, 0 }, { e:stats().answers, e:stats().unanswered })
    finished(e)
  end)

  it("is no WINS after a PUSH, which pads its packet", function()
    local e = wire.engine()
    e:probe()
    e:flush(0)
    assert(e:input(wire.segment(wire.PUSH, { data = "x" }) .. wire.segment(wire.WINS), 0))
    assert.same({ 0, 1 }, { e:stats().answers, e:stats().unanswered })
    assert.equal("x", e:read(1))
    finished(e)
  end)
end)
