-- Limits as a value (link/limits.h): arithmetic on the caller's clock.
local link = require "spec_link"
local ports = require "harness.ports"

local SECOND = 1000000

describe("limits", function()
  local l
  before_each(function() l = link.limits(1 * SECOND, 3 * SECOND) end)

  it("allow everything until they are set", function()
    l:moved("in", 1 << 40, 3 * SECOND)
    assert.is_nil(l:room("in", 3 * SECOND))
    assert.is_nil(l:room("out", 3 * SECOND))
    assert.is_nil(l:deadline())
    assert.is_nil(l:expired(1 << 62))
    assert.same({ 0, 0, 0, 0 }, { l:terms() })
  end)

  it("tell what was set, and are removed by zeros", function()
    l:set({ rate_in = 1, rate_out = 2, idle_us = 3, total_us = 4 }, 3 * SECOND)
    assert.same({ 1, 2, 3, 4 }, { l:terms() })
    l:set({}, 3 * SECOND)
    assert.same({ 0, 0, 0, 0 }, { l:terms() })
    assert.is_nil(l:room("in", 3 * SECOND))
    assert.is_nil(l:deadline())
  end)

  it("have a rate for each direction", function()
    l:set({ rate_in = 80000 }, 3 * SECOND)
    l:moved("out", 1 << 30, 3 * SECOND)
    assert.is_nil(l:room("out", 3 * SECOND))
    l:moved("in", 4000, 3 * SECOND)
    assert.equal(6000, l:room("in", 3 * SECOND))
    assert.equal(10000, l:room("in", 4 * SECOND))
  end)

  it("keep what a bucket holds when only other limits change", function()
    l:set({ rate_in = 80000 }, 3 * SECOND)
    l:moved("in", 10000, 3 * SECOND)
    l:set({ rate_in = 80000, rate_out = 5, idle_us = 1 }, 3 * SECOND)
    assert.equal(0, l:room("in", 3 * SECOND))
  end)

  it("count idle from the last byte in either direction, or from their making", function()
    l:set({ idle_us = 2 * SECOND }, 4 * SECOND)
    assert.equal(5 * SECOND, l:deadline())
    l:moved("out", 1, 4 * SECOND)
    assert.equal(6 * SECOND, l:deadline())
    l:moved("in", 1, 5 * SECOND)
    assert.is_nil(l:expired(7 * SECOND - 1))
    assert.equal("idle", l:expired(7 * SECOND))
  end)

  it("count the total from the beginning, whatever moves", function()
    l:set({ total_us = 4 * SECOND, idle_us = 10 * SECOND }, 3 * SECOND)
    l:moved("in", 1, 4 * SECOND)
    assert.equal(5 * SECOND, l:deadline())
    assert.is_nil(l:expired(5 * SECOND - 1))
    assert.equal("total", l:expired(5 * SECOND))
    assert.equal("total", l:expired(60 * SECOND))
  end)
end)

describe("a stream's policy", function()
  it("reaches it through the end-to-end layer", function()
    local w = link.new()
    local port = ports.free "udp"
    local at = "127.0.0.1:" .. port
    local acceptor = assert(w:accept { at = at, key = "k", tuncrypt = true })
    local far = assert(w:link { at = at, key = "k", tuncrypt = true })
    local opening = far:open()
    local p
    assert.is_true(w:run(5000, function()
      p = p or opening:stream()
      return p
    end))
    assert.equal("ok", p:set(1, 99))
    assert.same({ 1, 99 }, { p:policy() })
    assert.equal("invalid", p:set(8, 99))
    p:close()
    far:close()
    acceptor:close()
    w:free()
  end)
end)
