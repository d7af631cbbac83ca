-- Less parity than a session began with: any decoder still works, because seqids and code stay the same.
local fec = require "spec_fec"
local bytes = require "bytes"

local PARITY = 0xf2
local FULL = 8 -- groups that are always sent in full

local function is_parity(packet) return string.unpack("<I2", packet, 5) == PARITY end

--- Sends a group of noise; returns its packets as they leave, and the KCP packets in them.
local function group(encoder, data, seed)
  local out, inside = {}, {}
  for i = 1, data do
    local kcp = bytes.noise(30 + (seed * 31 + i * 17) % 200, seed * 100 + i)
    local packet, parity = encoder:data(kcp)
    inside[i] = kcp
    out[#out + 1] = packet
    table.move(parity, 1, #parity, #out + 1, out)
  end
  return out, inside
end

local function parity_of(packets)
  local out = {}
  for _, p in ipairs(packets) do
    if is_parity(p) then out[#out + 1] = p end
  end
  return out
end

describe("a limit on parity", function()
  it("does not change seqids, data or the parity that is still sent", function()
    local whole, limited = fec.encoder(10, 3), fec.encoder(10, 3)
    for g = 1, FULL + 6 do
      local n = ({ 1, 0, 2, 3, 0, 1 })[g - FULL] or 3
      limited:limit(n)
      local a, b = group(whole, 10, g), group(limited, 10, g)
      if g <= FULL then n = 3 end
      assert.equal(n, #parity_of(b), "group " .. g)
      for i = 1, #b do assert.equal(a[i], b[i]) end
    end
    whole:close()
    limited:close()
  end)

  it("takes effect with the next group, not within one", function()
    local e = fec.encoder(4, 2)
    for g = 1, FULL do group(e, 4, g) end
    e:data("one")
    e:limit(1)
    e:data("two")
    e:data("three")
    local _, parity = e:data("four")
    assert.equal(2, #parity)
    assert.equal(1, #parity_of((group(e, 4, 99))))
    e:close()
  end)

  it("does not apply to the first groups, from which a peer with other settings learns", function()
    local e, d = fec.encoder(10, 3), fec.decoder(20, 5)
    e:limit(1)
    for g = 1, FULL do
      local packets = group(e, 10, g)
      assert.equal(3, #parity_of(packets))
      for _, p in ipairs(packets) do d:input(p) end
    end
    local s = d:stats()
    assert.same({ 10, 3, 1 }, { s.cur_data, s.cur_parity, s.retuned })
    e:close()
    d:close()
  end)

  it("lets a decoder rebuild one packet per parity packet of a group, while the limit keeps changing", function()
    local rng = 12345
    local function draw(n)
      rng = (rng * 6364136223846793005 + 1442695040888963407)
      return (rng >> 33) % n
    end
    local e, d = fec.encoder(10, 3), fec.decoder(10, 3)
    local recovered = 0
    for g = 1, 400 do
      local n = g <= FULL and 3 or draw(4)
      e:limit(n)
      local packets, inside = group(e, 10, g)
      -- as many are lost as can be rebuilt, anywhere in the group
      local lost, left = {}, n
      while left > 0 do
        local i = 1 + draw(10)
        if not lost[i] then
          lost[i] = true
          left = left - 1
        end
      end
      local got = {}
      for i, p in ipairs(packets) do
        if i > 10 or not lost[i] then
          for _, out in ipairs((d:input(p))) do got[#got + 1] = out end
        end
      end
      local seen = {}
      for _, out in ipairs(got) do
        seen[out[1]] = true
        if out.recovered then recovered = recovered + 1 end
      end
      assert.equal(10, #got, "group " .. g)
      for _, kcp in ipairs(inside) do assert.is_true(seen[kcp]) end
    end
    local s = d:stats()
    assert.same({ 0, 0, 0 }, { s.errors, s.retuned, s.lost_groups })
    assert.equal(recovered, s.recovered)
    assert.is_true(recovered > 300)
    e:close()
    d:close()
  end)
end)
