-- runtime/link/native's handshake: both ends of it, without sockets, and what strangers, replays and old clocks get out of it
-- (docs/wire.md section 4).
local hs = require "spec_native_handshake"
local native = require "spec_native"
local crypto = require "spec_noise"
local bytes = require "bytes"
local noise = bytes.noise

local S = 1000000
local LIGHT = os.getenv "KT_SPEC_LIGHT"
local psk, client_key, server_key = noise(32, 1), noise(32, 2), noise(32, 3)
local CODE = { protocol = 1, refused = 2, limit = 7, version = 10, clock = 11, busy = 12 }

local modes = {
  P = { client = { psk = psk }, server = { psk = psk } },
  K = { client = { own = client_key, server_public = crypto.public(server_key) }, server = { own = server_key } },
  ["K with a shared key"] = {
    client = { own = client_key, server_public = crypto.public(server_key), psk = psk },
    server = { own = server_key, psk = psk },
  },
}

local function with(base, more)
  local t = {}
  for _, from in ipairs { base, more or {} } do
    for k, v in pairs(from) do t[k] = v end
  end
  return t
end

local function ends(mode, client, server)
  return hs.client(with(modes[mode].client, client)), hs.server(with(modes[mode].server, server))
end

--- An initiation of mode P that is right but for its parameters: made by hand, with a new key each time.
local made = 0
local function initiation(payload, cookie)
  made = made + 1
  local n = crypto.noise { pattern = "NNpsk0", initiator = true, prologue = "kt wire 1P", psk = psk }
  local message = n:write(noise(32, 1000 + made), payload)
  return native.wrap(native.header_keys(psk), "initiation", noise(8, made), (cookie or ("\0"):rep(16)) .. message), n
end

--- The same with parameters from a table, padded to an initiation's length.
local function with_params(p) return initiation(hs.params_write(with({ time_ms = 1700000000000 }, p), 1200 - 29 - 16 - 48)) end

--- The parameters of the answer to it.
local function answer(n, out) return assert(hs.params_read(assert(n:read((native.unwrap(native.header_keys(psk), out)))))) end

for mode in pairs(modes) do
  describe("a handshake in mode " .. mode, function()
    it("gives both ends the same keys, and each the other's parameters", function()
      local c, s = ends(mode, { params = { max_data = 1 << 40, agent = "kt 1", instance = noise(16, 4), survive_s = 600 } },
        { params = { max_streams = 77, ack_delay_ms = 25, instance = noise(16, 5) } })
      local result, out, at_server = s:input(c:initiate())
      assert.equal("agreed", result)
      local done, at_client = c:input(out)
      assert.equal("agreed", done)
      assert.same({ at_client.tx, at_client.rx }, { at_server.rx, at_server.tx })
      assert.not_equal(at_client.tx, at_client.rx)
      assert.same({ 1, 1, "aes-256-gcm", "aes-256-gcm" }, { at_client.version, at_server.version, at_client.aead, at_server.aead })
      assert.same({ 1 << 40, "kt 1", noise(16, 4), 600, 1700000000000 },
        { at_server.peer.max_data, at_server.peer.agent, at_server.peer.instance, at_server.peer.survive_s, at_server.peer.time_ms })
      assert.same({ 77, 25, noise(16, 5) }, { at_client.peer.max_streams, at_client.peer.ack_delay_ms, at_client.peer.instance })
      if mode ~= "P" then
        assert.equal(crypto.public(client_key), at_server.public)
        assert.equal(crypto.public(server_key), at_client.public)
      end
      assert.same({}, c:drops())
      assert.same({}, s:drops())
      local keys = c:header_keys()
      assert.equal(keys, s:header_keys())
      for from, to in pairs { [at_client] = at_server, [at_server] = at_client } do
        local datagram = native.tx(from.aead, keys, from.tx):seal(0, 0, "frames", 0)
        assert.equal("frames", (native.rx(to.aead, keys, to.rx):open(0, datagram, 0)))
        assert.is_nil((native.rx(from.aead, keys, from.rx):open(0, datagram, 0)))
      end
    end)

    it("leads to other keys each time", function()
      local seen = {}
      local c, s = ends(mode)
      for _ = 1, 20 do
        local _, _, agreed = s:input(c:initiate())
        assert.is_nil(seen[agreed.tx] or seen[agreed.rx])
        seen[agreed.tx], seen[agreed.rx] = true, true
      end
    end)

    it("is completed by a response to any of the last 16 initiations", function()
      local c, s = ends(mode)
      local outs = {}
      for i = 1, 17 do
        local result, out = s:input(c:initiate())
        assert.equal("agreed", result)
        outs[i] = out
      end
      assert.equal("nothing", (c:input(outs[1])))
      assert.equal("agreed", (c:input(outs[2])))
      assert.equal("nothing", (c:input(outs[3]))) -- it is over
      assert.same({ unknown = 2 }, c:drops())
    end)

    it("is not answered with another key", function()
      local c = hs.client(with(modes[mode].client, mode == "K" and { server_public = crypto.public(noise(32, 9)) } or { psk = noise(32, 9) }))
      local s = hs.server(modes[mode].server)
      local state = s:state()
      for _ = 1, 1000 do assert.equal("dropped", (s:input(c:initiate()))) end
      assert.equal(state, s:state())
    end)
  end)
end

describe("handshake datagrams", function()
  it("look like random bytes, although most of an initiation is padding", function()
    local c, s = ends "P"
    local all, total = {}, 0
    for i = 1, 256 do all[i] = 0 end
    for _ = 1, 1000 do
      local datagram = c:initiate()
      local _, out = s:input(datagram)
      s:proven()
      native.count(all, datagram)
      native.count(all, out)
      total = total + #datagram + #out
    end
    local sum = 0
    for i = 1, 256 do sum = sum + (all[i] - total / 256) ^ 2 end
    local chi_square = sum * 256 / total
    assert.is_true(chi_square > 190 and chi_square < 331, chi_square) -- as in native_packet_spec.lua
  end)
end)

describe("an initiation", function()
  it("has 1,200 to 1,232 bytes, every other one the least", function()
    for mode in pairs(modes) do
      local c = ends(mode)
      local lengths, different = {}, 0
      for i = 1, 60 do
        local n = #c:initiate()
        assert.is_true(n >= 1200 and n <= 1232)
        if i % 2 == 0 then assert.equal(1200, n) end
        if not lengths[n] then different = different + 1 end
        lengths[n] = true
      end
      assert.is_true(different > 10)
    end
  end)

  it("is sent again after a quarter, a half, one and then every two seconds", function()
    local c = ends "P"
    local pauses = {}
    for i = 1, 6 do
      c:initiate()
      pauses[i] = c:pause()
    end
    assert.same({ 250000, 500000, 1000000, 2000000, 2000000, 2000000 }, pauses)
  end)

  it("that was damaged in any bit, cut or lengthened is neither answered nor remembered", function()
    for mode in pairs(modes) do
      local c, s = ends(mode)
      local datagram, state = c:initiate(), s:state()
      for bit = 0, #datagram * 8 - 1, LIGHT and 11 or 1 do assert.equal("dropped", (s:input(bytes.flip(datagram, bit)))) end
      for n = 0, #datagram - 1 do assert.equal("dropped", (s:input(datagram:sub(1, n)))) end
      for n = 1, 40 do assert.equal("dropped", (s:input(datagram .. noise(n)))) end
      assert.equal(state, s:state())
      assert.equal("agreed", (s:input(datagram)))
    end
  end)

  it("that is random is neither answered nor remembered", function()
    local _, s = ends "P"
    local state = s:state()
    local n = LIGHT and 2000 or 100000
    local all = noise(n + 1200)
    for i = 1, n do assert.equal("dropped", (s:input(all:sub(i, i + 1199)))) end
    assert.equal(state, s:state())
  end)

  it("by someone who has the header keys alone is not answered, and leaves nothing behind but load", function()
    for mode, m in pairs(modes) do
      local _, s = ends(mode)
      for i = 1, 64 do
        local forged = native.wrap(s:header_keys(), "initiation", noise(8, i), noise(1171, i))
        assert.equal("dropped", (s:input(forged)))
      end
      assert.same({ forged = 64 }, s:drops())
      assert.equal("agreed", (s:input(hs.client(m.client):initiate())))
    end
  end)

  it("is taken once", function()
    local c, s = ends "P"
    local datagram = c:initiate()
    assert.equal("agreed", (s:input(datagram)))
    local state = s:state()
    for i = 1, 1000 do
      assert.equal("dropped", (s:input(datagram, "10.0.0." .. i % 200, i)))
      if i % 100 == 0 then s:wait(3600 * S) end
    end
    assert.same({ replayed = 1000 }, s:drops())
    assert.equal(state:sub(-1), s:state():sub(-1))
  end)

  it("is answered once by a server that has restarted, and with nothing that its sender can use", function()
    local c = ends "P"
    local datagram = c:initiate()
    for _, later in ipairs { 0, 3600 * S } do
      local s = hs.server(with(modes.P.server, { seed = 7 + later }))
      s:wait(later)
      assert.equal(later == 0 and "agreed" or "answered", (s:input(datagram)))
      assert.equal("dropped", (s:input(datagram)))
    end
  end)

  it("must come with a clock that is at most 120 s off; else the client says by how much", function()
    for _, case in ipairs {
      { -121, "this machine's clock is 121 s behind the server's; they may differ by at most 120 s" }, { -120 }, { 0 }, { 120 },
      { 3600, "this machine's clock is 3600 s ahead of the server's; they may differ by at most 120 s" },
      { -1700000000, "this machine's clock is 1700000000 s behind the server's; they may differ by at most 120 s" },
    } do
      local c, s = ends("P", { wall = 1700000000 * S + case[1] * S })
      local result, out = s:input(c:initiate())
      if case[2] then
        assert.equal("answered", result)
        assert.same({ "failed", case[2], "auth" }, { c:input(out) })
        assert.same({ refused = 1 }, s:drops())
      else
        assert.equal("agreed", result)
      end
    end
  end)

  it("for another version is answered with the server's", function()
    for _, case in ipairs { { 2, 3, false }, { 0, 0, false }, { 1, 9, true }, { 0, 1, true } } do
      local _, s = ends "P"
      local datagram, n = with_params { lowest = case[1], highest = case[2] }
      local result, out = s:input(datagram)
      assert.equal(case[3] and "agreed" or "answered", result)
      local p = answer(n, out)
      assert.same({ 1, 1, case[3] and 0 or CODE.version }, { p.lowest, p.highest, p.error })
    end
  end)

  it("with parameters that break the rules is answered with an error, for its sender holds the key", function()
    local needed = (2 << 10) - 2 | 1 << 12
    local cases = {}
    for _, bit in ipairs { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12 } do cases[#cases + 1] = { present = needed & ~(1 << bit) } end
    cases[#cases + 1] = { present = needed | 1 << 13, error = 2 }
    cases[#cases + 1] = { lowest = 2, highest = 1 }
    for _, case in ipairs(cases) do
      local _, s = ends "P"
      local datagram, n = with_params(case)
      local result, out = s:input(datagram)
      assert.equal("answered", result)
      assert.equal(CODE.protocol, answer(n, out).error)
    end
    local _, s = ends "P"
    local datagram, n = initiation(noise(1107))
    local result, out = s:input(datagram)
    assert.equal("answered", result)
    assert.equal(CODE.protocol, answer(n, out).error)
    assert.same({ parameters = 1, refused = 1 }, s:drops())
  end)
end)

describe("the AEAD of a link", function()
  it("is AES-256-GCM where both ends have it fast, and ChaCha20-Poly1305 elsewhere", function()
    for _, case in ipairs { { 3, 3, "aes-256-gcm" }, { 2, 3, "chacha20-poly1305" }, { 3, 2, "chacha20-poly1305" }, { 1, 3, "aes-256-gcm" } } do
      local c, s = ends("P", { params = { aead = case[1] } }, { params = { aead = case[2] } })
      local _, out, at_server = s:input(c:initiate())
      local _, at_client = c:input(out)
      assert.same({ case[3], case[3] }, { at_client.aead, at_server.aead })
    end
    local c, s = ends("P", { params = { aead = 1 } }, { params = { aead = 2 } })
    local _, out = s:input(c:initiate())
    assert.same({ "failed", "refused by the server: no AEAD in common", "mismatch" }, { c:input(out) })
  end)
end)

describe("a server", function()
  it("asks who may come in, by key, address and parameters", function()
    local asked = {}
    local c, s = ends("K", { params = { agent = "kt 1" } }, { ask = function(hello) asked[#asked + 1] = hello end })
    assert.equal("agreed", (s:input(c:initiate(), "192.0.2.7", 4711)))
    assert.equal(1, #asked)
    assert.same({ crypto.public(client_key), "192.0.2.7:4711", "kt 1" }, { asked[1].public, asked[1].from, asked[1].agent })
  end)

  it("tells a client that it refuses why", function()
    for _, case in ipairs {
      { CODE.refused, "no key of yours is known here", "refused by the server: no key of yours is known here", "refused" },
      { CODE.refused, "", "refused by the server", "refused" },
      { CODE.busy, "", "the server accepts no more links at the moment", "again" },
      { CODE.limit, "2 links each", "the server accepts no more links at the moment: 2 links each", "limit" },
      { CODE.refused, "two\nlines\0", "refused by the server: two?lines", "refused" },
      { CODE.refused, ("x"):rep(300), "refused by the server: " .. ("x"):rep(200), "refused" },
      { 999, "", "refused by the server", "closed" },
      { CODE.version, "", "the server speaks version 1 to 1 of this wire, this end version 1; update the older one", "unsupported" },
    } do
      for _, mode in ipairs { "P", "K" } do
        local c, s = ends(mode, nil, { ask = function() return case[1], case[2] end })
        local result, out, agreed = s:input(c:initiate())
        assert.same({ "answered", nil }, { result, agreed })
        assert.same({ "failed", case[3], case[4] }, { c:input(out) })
        assert.same({ refused = 1 }, s:drops())
      end
    end
  end)

  it("answers with lengths that vary", function()
    local c, s = ends "P"
    local lengths, different = {}, 0
    for _ = 1, 50 do
      local _, out = s:input(c:initiate())
      assert.is_true(#out < 400)
      if not lengths[#out] then different = different + 1 end
      lengths[#out] = true
    end
    assert.is_true(different > 20)
  end)

  it("takes nothing but initiations", function()
    local c, s = ends "P"
    local _, out = s:input(c:initiate())
    local keys = s:header_keys()
    for _, datagram in ipairs { out, native.wrap(keys, "control", noise(8), "\2" .. noise(8)), native.wrap(keys, "initiation", noise(8), noise(1100)) } do
      assert.equal("dropped", (s:input(datagram)))
    end
    assert.same({ malformed = 3 }, s:drops())
  end)
end)

describe("a client", function()
  it("takes no response that was damaged, cut, or is of another handshake", function()
    for mode in pairs(modes) do
      local c, s = ends(mode)
      local _, out = s:input(c:initiate())
      for bit = 0, #out * 8 - 1 do assert.equal("nothing", (c:input(bytes.flip(out, bit)))) end
      for n = 0, #out - 1 do assert.equal("nothing", (c:input(out:sub(1, n)))) end
      local other = ends(mode, { seed = 99 })
      local _, elsewhere = s:input(other:initiate())
      assert.equal("nothing", (c:input(elsewhere)))
      assert.equal("agreed", (c:input(out)))
    end
  end)

  it("takes no response by someone who has the header keys alone, and still takes the true one", function()
    local c, s = ends "K"
    local datagram = c:initiate()
    local _, out = s:input(datagram)
    local id = native.peek(c:header_keys(), datagram).id
    for i = 1, 1000 do assert.equal("nothing", (c:input(native.wrap(c:header_keys(), "response", id, noise(60 + i % 200, i))))) end
    assert.same({ forged = 1000 }, c:drops())
    assert.equal("agreed", (c:input(out)))
  end)

  it("says so if the response breaks the rules", function()
    local good = { present = (2 << 10) - 2 | 1 << 12, aead = 1, time_ms = 1 }
    for _, wrong in ipairs { { present = 6 }, { lowest = 2, highest = 2 }, { aead = 3 }, { aead = 4 }, { aead = 2 }, {} } do
      local c = hs.client { psk = psk, params = { aead = 1 } }
      local datagram = c:initiate()
      local n = crypto.noise { pattern = "NNpsk0", initiator = false, prologue = "kt wire 1P", psk = psk }
      assert.truthy(n:read(native.unwrap(c:header_keys(), datagram):sub(17)))
      local message = n:write(noise(32), hs.params_write(with(good, wrong)))
      local out = native.wrap(c:header_keys(), "response", native.peek(c:header_keys(), datagram).id, message)
      if next(wrong) then
        assert.same({ "failed", "the server's response is malformed", "protocol" }, { c:input(out) })
      else
        assert.equal("agreed", (c:input(out)))
      end
    end
  end)

  it("refuses a server's key that no one can hold", function()
    assert.has_error(function() hs.client { own = client_key, server_public = ("\0"):rep(32) } end,
      "the server's public key is not a valid X25519 key")
  end)
end)

describe("a flood", function()
  --- A server of mode P that is under load.
  local function loaded(server)
    local s = hs.server(with(modes.P.server, server))
    for i = 1, 65 do s:input(native.wrap(s:header_keys(), "initiation", noise(8, i), noise(1171, i))) end
    return s
  end

  it("makes a server ask for a cookie, with which the client gets through", function()
    local s, c = loaded(), ends "P"
    local first = c:initiate()
    local result, out = s:input(first, "192.0.2.7", 4711)
    assert.equal("answered", result)
    assert.is_true(#out < #first)
    assert.equal("cookie", (c:input(out)))
    local again, response = s:input(c:initiate(), "192.0.2.7", 4711)
    assert.equal("agreed", again)
    assert.equal("agreed", (c:input(response)))
    assert.equal(1, s:drops().cookie)
  end)

  it("of a million replays, damaged copies and random datagrams draws no answer, and leaves nothing in memory", function()
    for mode in pairs { P = 1, K = 1 } do
      local c, s = ends(mode)
      local first, n = c:initiate(), os.getenv "KT_SPEC_LIGHT" and 10000 or 250000
      assert.equal("agreed", (s:input(first)))
      local state = s:state()
      assert.same({ dropped = n, answers = 0 }, s:storm(first, n))
      assert.equal(state, s:state())
      assert.is_true(s:drops().replayed >= n // 5)
    end
  end)

  it("leaves nothing in the memory of a server that waits for cookies", function()
    local s, c = loaded(), ends "P"
    s:input(c:initiate()) -- makes the secrets
    local state = s:state()
    for i = 1, 1000 do assert.equal("answered", (s:input(c:initiate(), "192.0.2." .. i % 250, i))) end
    assert.equal(state, s:state())
  end)

  it("is not helped by a cookie of another address or port, or one that is older than four minutes", function()
    local s, c = loaded(), ends "P"
    local function load()
      for i = 1, 65 do s:input(native.wrap(s:header_keys(), "initiation", noise(8, i), noise(1171, i)), "192.0.2.7", 4711) end
    end
    local _, out = s:input(c:initiate(), "192.0.2.7", 4711)
    assert.equal("cookie", (c:input(out)))
    assert.equal("answered", (s:input(c:initiate(), "192.0.2.8", 4711)))
    assert.equal("answered", (s:input(c:initiate(), "192.0.2.7", 4712)))
    for _, wait in ipairs { 110, 60 } do
      s:wait(wait * S)
      c:wait(wait * S)
      load()
      assert.equal("agreed", (s:input(c:initiate(), "192.0.2.7", 4711)))
    end
    s:wait(80 * S)
    c:wait(80 * S)
    load()
    assert.equal("answered", (s:input(c:initiate(), "192.0.2.7", 4711)))
  end)

  it("is over when no more than 64 handshakes a second come to nothing", function()
    local s, c = loaded(), ends "P"
    assert.equal("answered", (s:input(c:initiate())))
    s:wait(S) -- it counts the second before, too
    assert.equal("answered", (s:input(c:initiate())))
    s:wait(S)
    assert.equal("agreed", (s:input(c:initiate())))
  end)

  it("is not what clients are that come in by the hundred and prove themselves", function()
    local s = hs.server(modes.P.server)
    for i = 1, 300 do
      assert.equal("agreed", (s:input(ends("P", { seed = i }):initiate())))
      s:proven()
    end
    assert.same({}, s:drops())
  end)

  it("of forged cookies does not make a client send more", function()
    local c = ends "P"
    local sent = 0
    for i = 1, 1000 do
      local id = native.peek(c:header_keys(), c:initiate()).id
      if c:input(native.wrap(c:header_keys(), "control", id, "\1" .. noise(16, i))) == "cookie" then sent = sent + 1 end
      c:wait(1000)
    end
    assert.equal(4, sent)
  end)

  it("of other control datagrams does nothing to a client", function()
    local c = ends "P"
    local id = native.peek(c:header_keys(), c:initiate()).id
    for _, body in ipairs { "\1", "\1" .. noise(15), "\1" .. noise(17), "\2" .. noise(8), "\0" .. noise(16), noise(100) } do
      assert.equal("nothing", (c:input(native.wrap(c:header_keys(), "control", id, body))))
    end
    assert.same({ malformed = 6 }, c:drops())
  end)
end)

describe("a server that has restarted", function()
  --- A data packet of an association that the server does not know.
  local function lost(s, path, n)
    return native.tx("aes-256-gcm", s:header_keys(), noise(32, 5)):seal(path or 0, 0, noise(n or 9), 0)
  end

  it("tells a client which connection it does not know, in a datagram no longer than the client's", function()
    local c, s = ends "P"
    local packet = lost(s, 3)
    local out = s:unknown(packet)
    assert.equal(38, #packet)
    assert.equal(38, #out)
    assert.equal(native.cid(s:header_keys(), noise(32, 5), 3), c:is_unknown(out))
    assert.is_nil(s:unknown(lost(s, 0, 8)))
  end)

  it("says so at most ten times a second, never the same bytes, and only in its first ten minutes", function()
    local _, s = ends "P"
    local outs, n = {}, 0
    for _ = 1, 1000 do
      local out = s:unknown(lost(s))
      if out then
        assert.is_nil(outs[out])
        outs[out], n = true, n + 1
      end
      s:wait(S // 1000)
    end
    assert.equal(10, n)
    s:wait(598 * S)
    assert.truthy(s:unknown(lost(s)))
    s:wait(S)
    assert.is_nil(s:unknown(lost(s)))
  end)

  it("says nothing to a stranger, whose datagrams have no connection id of this key", function()
    local _, s = ends "P"
    local n = LIGHT and 2000 or 100000
    local all = noise(n + 140)
    for i = 1, n do assert.is_nil(s:unknown(all:sub(i, i + 39 + i % 100))) end
    assert.is_nil(s:unknown(native.wrap(s:header_keys(), "control", noise(8), noise(40))))
    local other = hs.server { psk = noise(32, 9) }
    for path = 0, 7 do assert.is_nil(s:unknown(lost(other, path))) end
  end)

  it("is not believed without mac1", function()
    local c, s = ends "P"
    local out = s:unknown(lost(s))
    for bit = 0, #out * 8 - 1 do assert.is_nil(c:is_unknown(bytes.flip(out, bit))) end
    assert.is_nil(c:is_unknown(native.wrap(c:header_keys(), "control", noise(8), "\2" .. noise(7))))
  end)
end)
