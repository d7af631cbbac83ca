-- A shaper: a pipe around a pipe (link/shaper.h). The inner pipe is a fake whose other end the spec plays; time is real.
local link = require "spec_link"

local MS = 1000

describe("a shaper", function()
  local w, inner, p, s

  before_each(function()
    w = link.new()
    inner = w:fake()
    p, s = w:shaper(inner)
  end)
  after_each(function() w:free() end)

  local function await(fn) assert.is_true(w:run(3000, fn), "it did not come") end
  local function wait(ms)
    local start = w:now()
    await(function() return w:now() - start > ms * MS end)
  end

  it("passes bytes, ends and breaks on unchanged", function()
    inner:feed("in")
    assert.equal("in", p:read())
    assert.equal(3, p:write("out"))
    assert.equal("out", inner:take())
    assert.is_false(p:eof())
    inner:finish()
    assert.is_true(p:eof())
    p:shutdown()
    assert.is_true(inner:shut())
    inner:break_off "reset"
    await(function() return p:closed() end)
    assert.equal("reset", p:closed())
    assert.equal(0, p:write("more"))
    p:close()
    assert.equal("closed", inner:ended())
  end)

  it("closes, resets and cuts the inner pipe in the same way", function()
    p:cut()
    assert.equal("cut reset", inner:ended())
    inner = w:fake()
    p = w:shaper(inner)
    p:reset()
    assert.equal("reset canceled", inner:ended())
  end)

  it("continues the figures of the inner pipe", function()
    inner:feed("12345")
    p:read()
    p:write("123")
    local around = w:shaper(p)
    inner:feed("67")
    assert.equal("67", around:read())
    around:write("45678")
    assert.same({ 7, 8 }, { around:figures() })
    around:close()
  end)

  it("around what broke before shows at once what had arrived", function()
    local broken = w:fake()
    broken:feed(("x"):rep(1 << 20))
    broken:break_off "reset"
    local around, set = w:shaper(broken, true)
    set:set { rate_in = 1 }
    assert.equal(1 << 20, #around:read())
    assert.equal(0, around:write("more"))
    around:close()
  end)

  it("reads no more than its rate, and signals when more is available", function()
    s:set { rate_in = 100000 }
    inner:feed(("x"):rep(1 << 20))
    local start, n = w:now(), 0
    local readable = p:heard()
    await(function()
      n = n + #p:read()
      return w:now() - start > 1000 * MS
    end)
    local seconds = (w:now() - start) / 1e6
    assert.is_true(n <= 100000 * seconds + 100000 / 8 + 1000, n)
    assert.is_true(n >= 100000 * seconds * 0.7, n)
    assert.equal((1 << 20) - n, (inner:waiting()))
    local events = p:heard() - readable
    assert.is_true(events > 5 and events < 200, events) -- some 50 a second: it neither sleeps nor spins
  end)

  it("accepts no more than its rate, and signals when it has room", function()
    s:set { rate_out = 100000 }
    local start, n, writable = w:now(), 0, 0
    assert.is_true(p:write(("x"):rep(50000)) < 50000)
    await(function()
      local _, now = p:heard()
      if now > writable then
        writable = now
        n = n + p:write(("x"):rep(50000))
      end
      inner:take()
      return w:now() - start > 1000 * MS
    end)
    local seconds = (w:now() - start) / 1e6
    assert.is_true(n <= 100000 * seconds + 100000 / 8 + 1000, n)
    assert.is_true(n >= 100000 * seconds * 0.7, n)
    assert.is_true(writable < 200, writable)
  end)

  it("lets a writer that waits for the inner pipe wait for that", function()
    inner = w:fake(10)
    p, s = w:shaper(inner)
    s:set { rate_out = 1 << 30 }
    assert.equal(10, p:write(("x"):rep(20)))
    wait(60)
    assert.equal(0, (select(2, p:heard())))
    inner:take()
    assert.equal(1, (select(2, p:heard())))
  end)

  it("continues at once when the rate is lifted", function()
    s:set { rate_in = 1 }
    inner:feed(("x"):rep(100000))
    assert.equal(1024, #p:read())
    assert.equal(0, #p:read())
    local readable = p:heard()
    s:set {}
    await(function() return p:heard() > readable end)
    assert.equal(98976, #p:read())
  end)

  it("is not gone, nor at its end, before all was shown", function()
    s:set { rate_in = 10000 }
    inner:feed(("x"):rep(3000))
    inner:finish(true)
    local n = #p:read()
    assert.is_true(n < 3000)
    assert.equal("", p:read())
    assert.same({ false, false }, { p:gone(), p:eof() })
    await(function()
      n = n + #p:read()
      return n == 3000
    end)
    assert.same({ true, true }, { p:gone(), p:eof() })
  end)

  it("shows what came before a break at once", function()
    s:set { rate_in = 1 }
    inner:feed(("x"):rep(100000))
    p:read()
    inner:break_off "dead"
    await(function() return p:closed() end)
    assert.equal(98976, #p:read())
  end)

  it("tells a late listener why it broke", function()
    p:ignore()
    inner:break_off "dead"
    wait(10)
    local other = w:fake()
    local splice = w:splice(p, other)
    await(function() return splice:result() end)
    assert.equal("dead", splice:result()[3])
  end)

  it("breaks when nothing moved for the idle limit, and resets the inner pipe", function()
    s:set { idle_us = 100 * MS }
    local start, last, fed = w:now(), w:now(), 0
    await(function()
      if fed < 20 and w:now() - last >= 10 * MS then
        last = w:now()
        fed = fed + 1
        if fed % 2 == 0 then p:write("x") else
          inner:feed("y")
          p:read()
        end
      end
      return p:closed()
    end)
    assert.equal("idle", p:closed())
    assert.is_true(w:now() - start >= 300 * MS)
    assert.equal("reset idle", inner:ended())
    assert.same({ 0, "", false, false }, { p:write("z"), p:read(), p:eof(), p:gone() })
    p:close()
  end)

  it("breaks after the total, counted from when it was made", function()
    wait(50)
    s:set { total_us = 60 * MS }
    local start = w:now()
    await(function() return p:closed() end)
    assert.equal("total", p:closed())
    assert.is_true(w:now() - start < 1000 * MS)
    assert.equal("reset total", inner:ended())
  end)

  it("ends a splice that uses it, which reports the reason", function()
    local other = w:fake()
    local splice = w:splice(p, other, { idle_us = 10000 * MS })
    wait(10)
    s:set { total_us = 1 }
    await(function() return splice:result() end)
    assert.equal("total", splice:result()[3])
    assert.truthy(other:ended())
  end)

  it("slows a splice that uses it, and then releases it", function()
    local other = w:fake()
    w:splice(p, other)
    s:set { rate_in = 1 }
    wait(10)
    inner:feed(("x"):rep(50000))
    wait(60)
    assert.is_true(#other:take() <= 1025)
    s:set {}
    local n = 0
    await(function()
      n = n + #other:take()
      return n >= 48975
    end)
  end)

  it("is a link's stream only if its inner pipe is one", function()
    assert.equal("unsupported", p:set(0, 16))
    assert.is_nil(p:policy())
  end)
end)

describe("a stream's policy", function()
  it("reaches it through a shaper and the end-to-end layer", function()
    local w = link.new()
    local port = w:free_port()
    local at = "127.0.0.1:" .. port
    local acceptor = assert(w:accept { at = at, key = "k", tuncrypt = true })
    local far = assert(w:link { at = at, key = "k", tuncrypt = true })
    local opening = far:open()
    local stream
    assert.is_true(w:run(5000, function()
      stream = stream or opening:stream()
      return stream
    end))
    local p = w:shaper(stream)
    assert.equal("ok", p:set(1, 99))
    assert.same({ 1, 99 }, { p:policy() })
    assert.equal("invalid", p:set(8, 99))
    p:close()
    far:close()
    acceptor:close()
    w:free()
  end)
end)
