-- What a kcptun link can be told: defaults, modes, ranges, and the sentences for what is out of them.
local link = require "spec_link"

local function wrong(settings)
  local ok, code, text = link.check(settings)
  assert.is_nil(ok)
  assert.equal("config", code)
  return text
end

describe("the settings of a link", function()
  it("are today's kcptun's by default", function()
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
      assert.same({ 0, 0, 4194304, 61 }, { c.ratelimit, c.dscp, c.sockbuf, c.qpp_count })
    end
  end)

  it("are in order by default", function() assert.is_true(link.check {}) end)

  it("follow a mode's name", function()
    assert.same({ 0, 40, 2, 1 }, link.mode("normal", "fast3"))
    assert.same({ 0, 30, 2, 1 }, link.mode("fast", "fast3"))
    assert.same({ 1, 20, 2, 1 }, link.mode "fast2")
    assert.same({ 1, 10, 2, 1 }, link.mode "fast3")
    assert.same({ 0, 40, 0, 0 }, link.mode("default", "fast3"))
  end)

  it("stay as they are with manual", function() assert.same({ 1, 10, 2, 1 }, link.mode("manual", "fast3")) end)

  it("do not know other modes", function()
    assert.is_nil(link.mode "fast4")
    assert.is_nil(link.mode "")
  end)

  -- name in the sentence, field, lowest, highest
  local ranges = {
    { "mtu", "mtu", 128, 1500 },
    { "sndwnd", "sndwnd", 1, 65535 },
    { "rcvwnd", "rcvwnd", 1, 65535 },
    { "interval", "interval_ms", 10, 5000 },
    { "resend", "resend", 0, 255 },
    { "QPPCount", "qpp_count", 1, 4096 },
    { "smuxver", "smux_version", 1, 2 },
    { "framesize", "frame_size", 1, 65535 },
    { "conn", "conn", 1, 1024 },
    { "dscp", "dscp", 0, 63 },
    { "sockbuf", "sockbuf", 0, 1 << 30 },
    { "ratelimit", "ratelimit", 0, 1 << 40 },
  }
  for _, r in ipairs(ranges) do
    local name, field, low, high = table.unpack(r)
    it(("take %s from %d to %d"):format(name, low, high), function()
      assert.is_true(link.check { [field] = low })
      assert.is_true(link.check { [field] = high })
      assert.equal(("%s: %d is out of range, want %d to %d"):format(name, high + 1, low, high), wrong { [field] = high + 1 })
      if low > 0 then
        assert.equal(("%s: %d is out of range, want %d to %d"):format(name, low - 1, low, high), wrong { [field] = low - 1 })
      end
    end)
  end

  local times = {
    { "keepalive", "keepalive_us", 1, 30 },
    { "suspect peer timeout", "suspect_us", 1, 60 },
    { "dead peer timeout", "dead_us", 1, 60 },
    { "autoexpire", "expire_us", 0, 315360000 },
    { "scavengettl", "scavenge_us", 0, 315360000 },
  }
  for _, r in ipairs(times) do
    local name, field, low, high = table.unpack(r)
    it(("take %s from %d s to %d s"):format(name, low, high), function()
      assert.is_true(link.check { [field] = low * 1000000 })
      assert.is_true(link.check { [field] = high * 1000000 })
      local text = wrong { [field] = high * 1000000 + 1000000 }
      assert.truthy(text:find("^" .. name .. ": .* s is out of range, want " .. low .. " s to " .. high .. " s$"), text)
    end)
  end

  it("say times in seconds", function()
    assert.equal("keepalive: 0.5 s is out of range, want 1 s to 30 s", wrong { keepalive_us = 500000 })
    assert.equal("dead peer timeout: 90 s is out of range, want 1 s to 60 s", wrong { dead_us = 90000000 })
  end)

  it("take a negative dscp for what it is", function()
    assert.equal("dscp: -1 is out of range, want 0 to 63", wrong { dscp = -1 })
  end)

  it("take smuxbuf and streambuf within their ranges, and streambuf not above smuxbuf", function()
    assert.is_true(link.check { smux_buffer = 65536, stream_buffer = 8192 })
    assert.is_true(link.check { smux_buffer = 65536, stream_buffer = 65536 })
    assert.equal("smuxbuf: 65535 is out of range, want 65536 to 2147483648", wrong { smux_buffer = 65535 })
    assert.equal("streambuf: 8191 is out of range, want 8192 to 2147483647", wrong { stream_buffer = 8191 })
    assert.equal("maxstreams: 0 is out of range, want 1 to 65535", wrong { max_streams = 0 })
    assert.equal("memory: 1048575 is out of range, want 1048576 to 1099511627776", wrong { memory = 1048575 })
    assert.equal("maxsessions: 1048577 is out of range, want 1 to 1048576", wrong { max_sessions = 1048577 })
    assert.equal("streambuf: 65537 is more than smuxbuf (65536)", wrong { smux_buffer = 65536, stream_buffer = 65537 })
  end)

  it("take up to 255 shards in all, and none", function()
    assert.is_true(link.check { datashard = 200, parityshard = 55 })
    assert.is_true(link.check { datashard = 0, parityshard = 0 })
    assert.is_true(link.check { datashard = 255, parityshard = 0 })
    assert.equal("datashard + parityshard: 200 + 56 is more than 255", wrong { datashard = 200, parityshard = 56 })
    assert.equal("datashard: 256 is out of range, want 0 to 255", wrong { datashard = 256 })
  end)
end)
