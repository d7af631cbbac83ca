-- The test vectors in docs/wire.md section 11 are what the code makes of their inputs.
local hs = require "spec_native_handshake"
local native = require "spec_native"
local crypto = require "spec_noise"
local parity = require "spec_native_parity"
local bytes = require "bytes"
local hex, range = bytes.hex, bytes.range

local ZERO = ("\0"):rep(16)
local names, made = {}, {}

local function vector(name, value)
  names[#names + 1], made[name] = name, hex(value)
  return value
end

local function key(first) return range(first, first + 31) end

local params = { lowest = 1, highest = 1, time_ms = 1800000000000, max_data = 1 << 20, max_stream_data = 1 << 18, min_stream_data = 1 << 14,
  max_streams = 100, max_flows = 16, ack_delay_ms = 25, survive_s = 600, agent = "kt" }

local function with(more)
  local t = {}
  for k, v in pairs(params) do t[k] = v end
  for k, v in pairs(more) do t[k] = v end
  return hs.params_write(t)
end

local initiation = vector("parameters of the initiation", with { aead = 3, instance = range(0xc0, 0xcf) })
local response = vector("parameters of the response", with { aead = 1, instance = range(0xd0, 0xdf) })
local refusal = vector("parameters of a refusal", with { present = 1 << 1 | 1 << 2 | 1 << 13, error = 2, error_text = "no" })
local ID = range(0xa0, 0xa7)

--- A handshake; the names of its values begin with the mode. Returns both directions' secrets.
local function handshake(mode, keys, client, server)
  local pattern = mode == "P" and "NNpsk0" or "IKpsk2"
  local function new(opts)
    return crypto.noise { pattern = pattern, prologue = "kt wire 1" .. mode, psk = mode == "P" and key(0) or ZERO .. ZERO,
      initiator = opts.initiator, static = opts.static, remote = opts.remote }
  end
  local i = new { initiator = true, static = client, remote = server and crypto.public(server) }
  local r = new { static = server }
  local m1 = vector(mode .. ": noise message 1", i:write(key(0x20), initiation))
  vector(mode .. ": initiation", native.wrap(keys, "initiation", ID, ZERO .. m1))
  assert(r:read(m1))
  local m2 = vector(mode .. ": noise message 2", r:write(key(0x40), response))
  vector(mode .. ": response", native.wrap(keys, "response", ID, m2))
  assert(i:read(m2))
  local first, second = i:split()
  return vector(mode .. ": secret, client to server", first), vector(mode .. ": secret, server to client", second)
end

--- The header keys of a mode.
local function header_keys(mode, psk, server_public)
  local keys = native.header_keys(psk, server_public)
  vector(mode .. ": mask key", keys:sub(1, 16))
  vector(mode .. ": header key", keys:sub(17))
  return keys
end

local keys = header_keys("P", key(0))
local secret = handshake("P", keys)
handshake("K", header_keys("K", ZERO .. ZERO, crypto.public(key(0x80))), key(0x60), key(0x80))
do
  local r = crypto.noise { pattern = "NNpsk0", prologue = "kt wire 1P", psk = key(0) }
  assert(r:read(bytes.unhex(made["P: noise message 1"])))
  vector("P: refusal", native.wrap(keys, "response", ID, r:write(key(0x40), refusal)))
end
vector("P: cookie", native.wrap(keys, "control", ID, "\1" .. range(0xb0, 0xbf)))

local packet_key, next_secret = native.packet_keys(secret)
vector("epoch 0: key", packet_key)
for path = 0, 1 do vector("cid of path " .. path, native.cid(keys, secret, path)) end
local PING = "\1" .. ("\0"):rep(8)
vector("epoch 0, path 0, number 0, AES-256-GCM", native.tx("aes-256-gcm", keys, secret):seal(0, 0, PING, 0))
vector("epoch 0, path 0, number 0, ChaCha20-Poly1305", native.tx("chacha20-poly1305", keys, secret):seal(0, 0, PING, 0))
vector("epoch 1: secret", next_secret)
vector("epoch 1: key", (native.packet_keys(next_secret)))
do
  local tx = native.tx("aes-256-gcm", keys, secret)
  tx:seal(1, 0, PING, 0)
  tx:acked(1, 0, 0)
  vector("epoch 1, path 1, number 4294967301, AES-256-GCM", tx:seal(1, (1 << 32) + 5, PING, 600000000))
end
vector("unknown, of path 0", native.wrap(keys, "control", native.cid(keys, secret, 0), "\2" .. range(0xe0, 0xe7)))

do -- packets 500 and 502
  local o = parity.out()
  o:stats(950, 50, 0, 48)
  o:add(500, PING, true, 100000, 0)
  o:add(502, "\x0b" .. "\1\0\5" .. "hello", true, 100000, 0)
  vector("parity 0", o:write(1400, 50000))
  vector("parity 1", o:write(1400, 50000))
end

describe("docs/wire.md", function()
  it("has the test vectors that the code makes", function()
    local found, count = {}, 0
    local file = assert(io.open "docs/wire.md")
    local section = file:read("a"):match "\n## 11%. Test vectors\n(.*)"
    file:close()
    for name, value in (section .. "\n\n"):gmatch "    (%C-) =\n([%x\n ]-)\n\n" do
      found[name], count = value:gsub("%s", ""), count + 1
    end
    assert.equal(#names, count)
    for _, name in ipairs(names) do assert.equal(made[name], found[name], name) end
  end)

  it("has packets among them that open", function()
    local rx = native.rx("aes-256-gcm", keys, secret)
    assert.same({ PING, 0 }, { rx:open(0, bytes.unhex(made["epoch 0, path 0, number 0, AES-256-GCM"]), 0) })
    -- The window's first packet of the path tells how far its numbers are.
    local late = bytes.unhex(made["epoch 1, path 1, number 4294967301, AES-256-GCM"])
    assert.same({ nil, "auth" }, { rx:open(1, late, 600000000) })
    rx = native.rx("aes-256-gcm", keys, secret)
    local tx = native.tx("aes-256-gcm", keys, secret)
    for _, number in ipairs { 1 << 31, 1 << 32 } do assert.truthy(rx:open(1, tx:seal(1, number, "x", 0), 0)) end
    assert.same({ PING, (1 << 32) + 5 }, { rx:open(1, late, 600000000) })
  end)
end)

if os.getenv "KT_WRITE_VECTORS" then -- prints them as docs/wire.md has them
  for _, name in ipairs(names) do
    print("\n    " .. name .. " =")
    for at = 1, #made[name], 96 do print("    " .. made[name]:sub(at, at + 95)) end
  end
end
