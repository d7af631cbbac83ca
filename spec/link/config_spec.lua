-- The settings of kcptun's wire: defaults, modes, ranges, and the messages for values out of range.
package.path = "./lua/?.lua;" .. package.path
local link = require "spec_link"

local function wrong(settings)
  local ok, code, text = link.check(settings)
  assert.is_nil(ok)
  assert.equal("config", code)
  return text
end

describe("the settings of a link", function()
  it("default to those of current kcptun", function()
    local client, server = link.defaults(true), link.defaults(false)
    assert.equal("it's a secrect", client.key)
    assert.equal("aes", client.crypt)
    assert.same({ 128, 512 }, { client.sndwnd, client.rcvwnd })
    assert.same({ 1024, 1024 }, { server.sndwnd, server.rcvwnd })
    for _, c in ipairs { client, server } do
      assert.same({ 0, 30, 2, 1 }, { c[1], c[2], c[3], c[4] })
      assert.same({ 1350, 10, 3 }, { c.mtu, c.datashard, c.parityshard })
      assert.same({ 2, 4194304, 2097152, 8192 }, { c.smux_version, c.smux_buffer, c.stream_buffer, c.frame_size })
      assert.same({ 10000000, 5000000, 30000000 }, { c.keepalive_us, c.suspect_us, c.dead_us })
      assert.same({ 1, 0, 600000000 }, { c.conn, c.expire_us, c.scavenge_us })
      assert.same({ 0, 0, 4194304, 61 }, { c.rate, c.dscp, c.sockbuf, c.qpp_count })
    end
  end)

  it("are valid by default", function() assert.is_true(link.check {}) end)

  it("follow a mode's name", function()
    assert.same({ 0, 40, 2, 1 }, link.mode("normal", "fast3"))
    assert.same({ 0, 30, 2, 1 }, link.mode("fast", "fast3"))
    assert.same({ 1, 20, 2, 1 }, link.mode "fast2")
    assert.same({ 1, 10, 2, 1 }, link.mode "fast3")
    assert.same({ 0, 40, 0, 0 }, link.mode("default", "fast3"))
  end)

  it("stay as they are with manual", function() assert.same({ 1, 10, 2, 1 }, link.mode("manual", "fast3")) end)

  it("reject other modes", function()
    assert.is_nil(link.mode "fast4")
    assert.is_nil(link.mode "")
  end)

  -- name in the message, field, lowest, highest
  local ranges = {
    { "kcp.mtu", "mtu", 128, 1500 },
    { "kcp.sndwnd", "sndwnd", 1, 65535 },
    { "kcp.rcvwnd", "rcvwnd", 1, 65535 },
    { "kcp.interval", "interval_ms", 10, 5000 },
    { "kcp.resend", "resend", 0, 255 },
    { "qpp.pads", "qpp_count", 1, 4096 },
    { "smux.version", "smux_version", 1, 2 },
    { "smux.frame", "frame_size", 1, 65535 },
    { "sessions", "conn", 1, 1024 },
    { "dscp", "dscp", 0, 63 },
    { "sockbuf", "sockbuf", 0, 1 << 30 },
    { "rate", "rate", 0, 1 << 40 },
  }
  for _, r in ipairs(ranges) do
    local name, field, low, high = table.unpack(r)
    it(("take %s from %d to %d"):format(name, low, high), function()
      assert.is_true(link.check { [field] = low })
      assert.is_true(link.check { [field] = high })
      assert.equal(("%s: expected %d to %d, got %d"):format(name, low, high, high + 1), wrong { [field] = high + 1 })
      if low > 0 then
        assert.equal(("%s: expected %d to %d, got %d"):format(name, low, high, low - 1), wrong { [field] = low - 1 })
      end
    end)
  end

  local times = {
    { "smux.keepalive", "keepalive_us", 1, 30 },
    { "suspect_after", "suspect_us", 1, 60 },
    { "dead_after", "dead_us", 1, 60 },
    { "expire", "expire_us", 0, 315360000 },
    { "scavenge", "scavenge_us", 0, 315360000 },
  }
  for _, r in ipairs(times) do
    local name, field, low, high = table.unpack(r)
    it(("take %s from %d s to %d s"):format(name, low, high), function()
      assert.is_true(link.check { [field] = low * 1000000 })
      assert.is_true(link.check { [field] = high * 1000000 })
      local text = wrong { [field] = high * 1000000 + 1000000 }
      assert.truthy(text:find("^" .. name .. ": expected " .. low .. " s to " .. high .. " s, got .* s$"), text)
    end)
  end

  it("say times in seconds", function()
    assert.equal("smux.keepalive: expected 1 s to 30 s, got 0.5 s", wrong { keepalive_us = 500000 })
    assert.equal("dead_after: expected 1 s to 60 s, got 90 s", wrong { dead_us = 90000000 })
  end)

  it("take smuxbuf and streambuf within their ranges, and streambuf not above smuxbuf", function()
    assert.is_true(link.check { smux_buffer = 65536, stream_buffer = 8192 })
    assert.is_true(link.check { smux_buffer = 65536, stream_buffer = 65536 })
    assert.equal("smux.buffer: expected 65536 to 2147483648, got 65535", wrong { smux_buffer = 65535 })
    assert.equal("smux.stream_buffer: expected 8192 to 2147483647, got 8191", wrong { stream_buffer = 8191 })
    assert.equal("max_streams: expected 1 to 65535, got 0", wrong { max_streams = 0 })
    assert.equal("max_buffered: expected 1048576 to 1099511627776, got 1048575", wrong { max_buffered = 1048575 })
    assert.equal("max_sessions: expected 1 to 1048576, got 1048577", wrong { max_sessions = 1048577 })
    assert.equal("smux.stream_buffer: expected at most smux.buffer (65536), got 65537", wrong { smux_buffer = 65536, stream_buffer = 65537 })
  end)

  it("take up to 255 shards in all, and none", function()
    assert.is_true(link.check { datashard = 200, parityshard = 55 })
    assert.is_true(link.check { datashard = 0, parityshard = 0 })
    assert.is_true(link.check { datashard = 255, parityshard = 0 })
    assert.equal("fec.parity: expected data + parity of at most 255, got 256", wrong { datashard = 200, parityshard = 56 })
    assert.equal("fec.data: expected 0 to 255, got 256", wrong { datashard = 256 })
  end)

  it("have no cipher that crypto does not know, and lack none", function()
    local values
    for _, row in ipairs(require("kt.api.kcptun").names) do values = row.path == "crypt" and row.values or values end
    local known = require("spec_crypto").methods()
    table.sort(values)
    table.sort(known)
    assert.same(known, values)
  end)
end)
