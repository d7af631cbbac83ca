-- The simulated world itself: time, order, chance, and what it says of worlds that go wrong.
local spec_io = require "spec_io"
local spec_sim = require "spec_sim"

local MS, S = 1000, 1000000

describe("a simulated world", function()
  local w, ios

  before_each(function()
    w = spec_sim.new { seed = 1 }
    ios = {}
  end)
  after_each(function()
    for _, io in ipairs(ios) do io:free() end
    w:free()
  end)

  local function process(host, name)
    local io = spec_io.new(assert(w:process(host, name)), w)
    ios[#ios + 1] = io
    return io
  end

  it("jumps to the next event: an hour takes no time", function()
    local io = process(w:host "a")
    local fired = 0
    local function tick()
      fired = fired + 1
      io:timer(io:now() + 10 * S, tick)
    end
    tick()
    local before = os.clock()
    assert.equal("time", w:run(3600 * S))
    assert.is_true(os.clock() - before < 0.5)
    assert.is_true(fired >= 359 and fired <= 361, fired)
    assert.equal(3600 * S, w:now())
  end)

  it("does what is due at one instant in the order in which it was asked", function()
    local order = {}
    for i = 1, 50 do w:at(5 * MS, function() order[#order + 1] = i end) end
    w:at(1 * MS, function() order[#order + 1] = 0 end)
    assert.equal("quiet", w:run())
    for i = 0, 50 do assert.equal(i, order[i + 1]) end
  end)

  it("ends early when nothing can happen any more, standing at the time that was asked", function()
    assert.equal("quiet", w:run(10 * S))
    assert.equal(10 * S, w:now())
    assert.equal("quiet", w:run())
    assert.equal(10 * S, w:now())
  end)

  it("runs until a condition holds, and stands at the instant of it", function()
    local seen
    w:at(3 * S, function() seen = true end)
    w:at(4 * S, function() end)
    assert.equal("done", w:run(10 * S, function() return seen end))
    assert.equal(3 * S, w:now())
  end)

  it("does not go back in time, and does not run inside itself", function()
    w:run(5 * S)
    local r, name, text = w:run(4 * S)
    assert.is_nil(r)
    assert.equal("invalid", name)
    assert.matches("time does not go back", text)
    w:at(6 * S, function() r, name, text = w:run(7 * S) end)
    w:run(8 * S)
    assert.is_nil(r)
    assert.equal("invalid", name)
    assert.matches("runs already", text)
  end)

  it("does now what is asked for a time that has passed", function()
    w:run(5 * S)
    local at
    w:at(1, function() at = w:now() end)
    w:run()
    assert.equal(5 * S, at)
  end)

  it("tells all processes the same time, also when one deals with another's handles", function()
    local a, b = process(w:host "a"), process(w:host "b")
    local when
    a:timer(a:now() + 2 * S, function()
      assert.equal(a:now(), b:now())
      b:timer(b:now() + 1 * S, function() when = w:now() end)
      b:turn(function() assert.equal(2 * S, w:now() // S * S) end)
    end)
    w:run(10 * S)
    assert.is_true(when >= 3 * S and when < 3 * S + 2 * MS, when)
  end)

  it("names the process that keeps time from going on", function()
    local io = process(w:host "stuck", "client.lua")
    process(w:host "fine")
    local function again() io:timer(io:now(), again) end
    w:at(1500 * MS, again)
    local r, name, text = w:run(10 * S)
    assert.is_nil(r)
    assert.equal("limit", name)
    assert.matches("^livelock at 1%.50%d+ s: client%.lua on host stuck had %d+ turns", text)
    assert.is_nil((w:run(20 * S)))
  end)

  it("names the process whose turn does not end", function()
    local io = process(w:host "stuck", "server.lua")
    local hooks = 0
    local function again()
      hooks = hooks + 1
      io:turn(again)
    end
    io:turn(again)
    local _, name, text = w:run(1 * S)
    assert.equal("limit", name)
    assert.matches("a turn of server%.lua on host stuck does not end", text)
  end)

  it("lets a process do a great deal at one instant", function()
    local io = process(w:host "busy")
    local n = 0
    local function again()
      n = n + 1
      if n < 20000 then io:timer(io:now(), again) end
    end
    again()
    assert.equal("quiet", w:run(1 * S))
    assert.equal(20000, n)
  end)

  it("passes an error of a callback on", function()
    local io = process(w:host "a")
    io:timer(io:now() + 1 * S, function() error "oh no" end)
    w:run(2 * S, function() return not pcall(io.check, io) end)
    w:at(w:now() + 1, function() error "of the world" end)
    assert.has_error(function() w:run(5 * S) end)
  end)

  it("refuses hosts that cannot be", function()
    assert(w:host("a", { "10.9.9.9" }))
    local function refused(want, ...)
      local h, name, text = w:host(...)
      assert.is_nil(h)
      assert.equal(want, name)
      return text
    end
    assert.equal("host a: there is one of that name", refused("in_use", "a"))
    assert.equal("host b: 10.9.9.9:0 is the address of host a", refused("in_use", "b", { "10.9.9.9" }))
    assert.matches("given twice", refused("in_use", "b", { "10.1.1.1", "10.1.1.1" }))
    assert.matches("cannot be a host's address", refused("invalid", "b", { "127.0.0.1" }))
    assert.matches("1 to 63 characters", refused("invalid", ""))
    assert(w:host("b", { "10.1.1.1" })) -- what was refused left nothing behind
  end)

  it("refuses links that cannot be, naming the figure", function()
    local a, b = w:host "a", w:host "b"
    local function refused(opts)
      local r, name, text = w:link(a, b, opts)
      assert.is_nil(r)
      assert.equal("invalid", name)
      return text
    end
    assert.equal("loss is 1.5; want 0 to 1", refused { loss = 1.5 })
    assert.equal("loss is -nan; want 0 to 1", (refused { loss = 0 / 0 }):gsub("is nan", "is -nan"))
    assert.equal("duplicate is -1; want 0 to 1", refused { duplicate = -1 })
    assert.matches("the first burst would never end", refused { burst_enter = 0.1 })
    assert.matches("^rate is 10 bit/s", refused { rate_bps = 10 })
    assert.matches("^mtu is 20", refused { mtu = 20 })
    assert.matches("^delay is %d+ us; want at most a day", refused { delay_us = 1e12 })
    assert(w:link(a, b, {}))
    local _, name = w:link(b, a, {})
    assert.equal("in_use", name)
    _, name = w:link(a, a, {})
    assert.equal("invalid", name)
  end)

  it("has the wall clock go with time, and jump alone", function()
    local h = w:host "a"
    local io = process(h)
    local wall, now = io:wall(), io:now()
    w:run(5 * S)
    assert.equal(wall + 5 * S, io:wall())
    w:jump(h, -3600 * S)
    assert.equal(wall + 5 * S - 3600 * S, io:wall())
    assert.equal(now + 5 * S, io:now())
    assert.equal("2026", os.date("!%Y", wall // S))
  end)
end)

describe("chance in a simulated world", function()
  it("is the same for one seed, name and purpose, and another for any other", function()
    local seen = {}
    for _, stream in ipairs { { 1, "a", "b" }, { 2, "a", "b" }, { 1, "ab", "" }, { 1, "", "ab" }, { 1, "a", "c" }, { 1, "b", "b" } } do
      local text = spec_sim.random(stream[1], stream[2], stream[3], 8)
      assert.equal(text, spec_sim.random(stream[1], stream[2], stream[3], 8))
      assert.is_nil(seen[text])
      seen[text] = true
    end
  end)

  it("is the same on every machine", function()
    assert.equal("d686f12267beaa53", spec_sim.random(42, "near>far", "loss", 1):sub(1, 16))
  end)

  it("of a process does not depend on what others draw, nor on their being there", function()
    local function first(others)
      local w = spec_sim.new { seed = 9 }
      local ios = {}
      for i = 1, others do
        ios[i] = spec_io.new(w:process(w:host("other" .. i)), w)
        ios[i]:random(100 * i)
      end
      local io = spec_io.new(w:process(w:host "me"), w)
      local drawn = io:random(32)
      for _, other in ipairs(ios) do other:free() end
      io:free()
      w:free()
      return drawn
    end
    assert.equal(first(0), first(3))
  end)

  it("of a line does not depend on its other ills", function()
    local function lost(opts)
      local w = spec_sim.new { seed = 4 }
      local a, b = w:host "a", w:host "b"
      opts.loss = 0.1
      w:link(a, b, opts)
      w:trace()
      local near, far = spec_io.new(w:process(a), w), spec_io.new(w:process(b), w)
      assert(far:udp({ bind = "0.0.0.0:5" }, {}))
      local s = assert(near:udp({}, {}) or near:udp({ bind = "0.0.0.0:0" }, {}))
      for i = 1, 200 do
        s:send(("%03d"):format(i), w:addr(b) .. ":5")
        w:run(w:now() + 1000)
      end
      near:free()
      far:free()
      local sums, all = {}, w:traced()
      for sum in all:gmatch "dropped by loss [^\n]*(%x+)\n" do sums[#sums + 1] = sum end
      w:free()
      return sums
    end
    local plain = lost {}
    assert.is_true(#plain > 8 and #plain < 40)
    assert.same(plain, lost { duplicate = 0.3, corrupt = 0.2, jitter_us = 300, reorder = 0.1, delay_us = 5000 })
  end)
end)
