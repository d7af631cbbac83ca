-- Forward error correction (docs/wire-kcptun.md, section 5; vectors: 15.4).
local byte_strings = require "bytes"
local fec = require "spec_fec"

local generator, hex, unhex = byte_strings.generator, byte_strings.hex, byte_strings.unhex
local DATA, PARITY, OOB = 0xf1, 0xf2, 0xf3

local function fec_packet(seqid, type, shard) return string.pack("<I4I2", seqid, type) .. shard end

local function seqid(packet) return (string.unpack("<I4", packet)) end

local function is_parity(packet) return string.unpack("<I2", packet, 5) == PARITY end

-- KCP packet i (from 0) of the vectors: 4 + i bytes, 10 11 12 … , 20 21 22 …
local function vector_packet(i)
  local bytes = {}
  for k = 0, 3 + i do bytes[#bytes + 1] = string.char((0x10 * (i + 1) + k) & 0xff) end
  return table.concat(bytes)
end

-- The packets that leave for one group of these KCP packets, all at the same time.
local function group(encoder, packets, now)
  local out = {}
  for _, p in ipairs(packets) do
    local packet, parity = encoder:data(p, now)
    out[#out + 1] = packet
    table.move(parity, 1, #parity, #out + 1, out)
  end
  return out
end

local function random_bytes(rng, n)
  local t = {}
  for i = 1, n do t[i] = string.char(rng(256) - 1) end
  return table.concat(t)
end

local function random_group(rng, data, most)
  local packets = {}
  for i = 1, data do packets[i] = random_bytes(rng, 24 + rng(most - 24)) end
  return packets
end

-- The packets that a decoder hands over for these: a list, and sets of regular and of recovered ones.
local function feed(decoder, packets)
  local all, regular, recovered = {}, {}, {}
  for _, p in ipairs(packets) do
    for _, got in ipairs(decoder:input(p)) do
      all[#all + 1] = got[1]
      local set = got.recovered and recovered or regular
      set[got[1]] = (set[got[1]] or 0) + 1
    end
  end
  return all, regular, recovered
end

-- Calls f with every way to choose k of 1..n, as a set.
local function choose(n, k, f, from, chosen)
  chosen = chosen or {}
  if k == 0 then return f(chosen) end
  for i = from or 1, n - k + 1 do
    chosen[i] = true
    choose(n, k - 1, f, i + 1, chosen)
    chosen[i] = nil
  end
end

local function without(packets, missing)
  local rest = {}
  for i, p in ipairs(packets) do
    if not missing[i] then rest[#rest + 1] = p end
  end
  return rest
end

local function reversed(list)
  local r = {}
  for i = #list, 1, -1 do r[#r + 1] = list[i] end
  return r
end

local vectors = {
  {2, 1, [[00000000f100060010111213
           01000000f10007002021222324
           02000000f20004007071727348]]},
  {3, 2, [[00000000f100060010111213
           01000000f10007002021222324
           02000000f1000800303132333435
           03000000f2000900000102031035
           04000000f2002a004d4c4f4e85be]]},
  {10, 3, [[00000000f100060010111213
            01000000f10007002021222324
            02000000f1000800303132333435
            03000000f100090040414243444546
            04000000f1000a005051525354555657
            05000000f1000b00606162636465666768
            06000000f1000c0070717273747576777879
            07000000f1000d00808182838485868788898a
            08000000f1000e00909192939495969798999a9b
            09000000f1000f00a0a1a2a3a4a5a6a7a8a9aaabac
            0a000000f200b00024252627e6a53cab65ee09fb45
            0b000000f200b1009b9a999868adf1bd577f6acbe9
            0c000000f20065003d3c3f3ec00853d5188d695b8a]]},
}
for _, v in ipairs(vectors) do
  local packets = {}
  for line in v[3]:gmatch("%S+") do packets[#packets + 1] = unhex(line) end
  v.data, v.parity, v.packets, v.name = v[1], v[2], packets, v[1] .. "+" .. v[2]
  v.kcp = {}
  for i = 0, v.data - 1 do v.kcp[i + 1] = vector_packet(i) end
end

describe("the FEC matrix", function()
  local function rows(data, parity)
    local all, list = fec.parity_rows(data, parity), {}
    for k = 0, parity - 1 do list[k + 1] = hex(all:sub(k * data + 1, (k + 1) * data)) end
    return table.concat(list, " / ")
  end

  it("has kcptun's parity rows", function()
    assert.equal("0302", rows(2, 1))
    assert.equal("010101 / 0f0806", rows(3, 2))
    assert.equal("8196afb8d2c4fee80302 / 9681b8afc4d2e8fe0203 / bfd6620a066fdfb70504", rows(10, 3))
    assert.equal("01", rows(1, 1))
  end)

  local function sha1(s)
    local name = os.tmpname()
    local f = assert(io.open(name, "wb"))
    f:write(s)
    f:close()
    local pipe = assert(io.popen("sha1sum " .. name))
    local digest = pipe:read("a"):match("^%x+")
    pipe:close()
    os.remove(name)
    return digest
  end

  it("has kcptun's parity rows for big groups too, by their SHA-1", function()
    local function sum(data, parity) return sha1(fec.parity_rows(data, parity)) end
    assert.equal("bf8b4530d8d246dd74ac53a13471bba17941dff7", sum(1, 1))
    assert.equal("77cf7d4e7aa218fd182ebf70adbaf101a3599b3b", sum(5, 5))
    assert.equal("028fa27b4da07b6f982d8daacb9657f8cceca357", sum(20, 10))
    assert.equal("7c15bfb1a37cd37926cac241afd01745b93e3989", sum(70, 30))
  end)
end)

describe("the FEC encoder", function()
  for _, v in ipairs(vectors) do
    it("sends kcptun's packets byte for byte with " .. v.name, function()
      local out = group(fec.encoder(v.data, v.parity), v.kcp)
      for i, p in ipairs(v.packets) do assert.equal(hex(p), hex(out[i])) end
      assert.equal(#v.packets, #out)
    end)
  end

  it("starts the next group at the next seqid, with clean sums", function()
    local e = fec.encoder(10, 3)
    group(e, vectors[3].kcp)
    local out = group(e, vectors[3].kcp)
    assert.equal("0d000000f100060010111213", hex(out[1]))
    for i, p in ipairs(out) do
      assert.equal(12 + i, seqid(p))
      assert.equal(hex(vectors[3].packets[i]:sub(5)), hex(p:sub(5)))
    end
  end)

  it("keeps no bytes of a longer group before it", function()
    local e = fec.encoder(3, 2)
    group(e, {("x"):rep(1400), ("y"):rep(1300), ("z"):rep(1492)})
    local out = group(e, vectors[2].kcp)
    for i, p in ipairs(out) do assert.equal(hex(vectors[2].packets[i]:sub(5)), hex(p:sub(5))) end
  end)

  it("sends parity when less than 500 ms went by before the packet that completes the group", function()
    local e = fec.encoder(2, 1)
    e:data("a", 1000000)
    local _, parity = e:data("b", 1499999)
    assert.equal(1, #parity)
  end)

  it("sends no parity after 500 ms, but spends its seqids", function()
    local e = fec.encoder(2, 1)
    e:data("a", 1000000)
    local _, parity = e:data("b", 1500000)
    assert.equal(0, #parity)
    assert.equal(3, seqid((e:data("c", 1500000))))
    local _, again = e:data("d", 1500000)
    assert.equal(5, seqid(again[1]))
  end)

  it("considers only the gap before the last packet of a group", function()
    local e = fec.encoder(3, 2)
    e:data("a", 0)
    e:data("b", 9000000)
    local _, parity = e:data("c", 9000001)
    assert.equal(2, #parity)
  end)

  it("counts the gap from the group before when a group has one data packet", function()
    local e = fec.encoder(1, 1)
    local _, first = e:data("a", 7000000)
    local _, late = e:data("b", 7500000)
    local _, soon = e:data("c", 7500001)
    assert.same({1, 0, 1}, {#first, #late, #soon})
  end)

  it("starts over at paws, the largest multiple of the group's size", function()
    for _, v in ipairs(vectors) do
      local n = v.data + v.parity
      local e = fec.encoder(v.data, v.parity)
      e:seek(0xffffffff // n - 1)
      local last = group(e, v.kcp)
      assert.equal(0xffffffff // n * n - 1, seqid(last[#last]))
      assert.equal(0, seqid((e:data("x"))))
    end
    local e = fec.encoder(10, 3)
    e:seek(0xffffffff // 13 - 1)
    local last = group(e, vectors[3].kcp)
    assert.equal(0xfffffff6, seqid(last[13]))
  end)

  it("refuses parameters out of range", function()
    for _, bad in ipairs {{0, 1}, {1, 0}, {0, 0}, {255, 1}, {1, 255}, {200, 56}, {-1, 3}, {3, -1}} do
      assert.error_matches(function() fec.encoder(bad[1], bad[2]) end, "invalid")
    end
    fec.encoder(254, 1):close()
    fec.encoder(1, 254):close()
  end)
end)

describe("the FEC decoder", function()
  for _, v in ipairs(vectors) do
    for lost = 1, v.parity do
      it(("recovers every packet with %s for any %d lost packets of a group"):format(v.name, lost), function()
        choose(#v.packets, lost, function(missing)
          local d = fec.decoder(v.data, v.parity)
          local _, regular, recovered = feed(d, without(v.packets, missing))
          for i, p in ipairs(v.kcp) do
            assert.equal(missing[i] and 1 or nil, recovered[p])
            assert.equal(not missing[i] and 1 or nil, regular[p])
          end
          assert.equal(0, d:stats().errors)
          d:close()
        end)
      end)
    end

    it("hands over no wrong packet with " .. v.name .. " when too many are lost", function()
      choose(#v.packets, v.parity + 1, function(missing)
        local d = fec.decoder(v.data, v.parity)
        local _, _, recovered = feed(d, without(v.packets, missing))
        assert.is_nil(next(recovered))
        d:close()
      end)
    end)
  end

  it("accepts a group in any order", function()
    for _, v in ipairs(vectors) do
      choose(#v.packets, v.parity, function(missing)
        local d = fec.decoder(v.data, v.parity)
        local _, regular, recovered = feed(d, reversed(without(v.packets, missing)))
        for i, p in ipairs(v.kcp) do
          assert.is_true((regular[p] or recovered[p]) ~= nil)
          if missing[i] then assert.equal(1, recovered[p]) end
        end
        d:close()
      end)
    end
  end)

  it("hands over a data packet at once and marks it regular", function()
    local d = fec.decoder(3, 2)
    assert.same({{vectors[2].kcp[1], recovered = false}}, d:input(vectors[2].packets[1]))
  end)

  it("hands over the packet itself before the ones it helps to rebuild, which come in order", function()
    local v = vectors[2]
    local d = fec.decoder(3, 2)
    d:input(v.packets[4])
    d:input(v.packets[5])
    assert.same({
      {v.kcp[2], recovered = false},
      {v.kcp[1], recovered = true},
      {v.kcp[3], recovered = true},
    }, d:input(v.packets[2]))
  end)

  it("passes on all bytes of a data packet, ignoring its size field", function()
    local d = fec.decoder(3, 2)
    for _, size in ipairs {0, 1, 2, 5, 6, 7, 0xffff} do
      local got = d:input(fec_packet(0, DATA, string.pack("<I2", size) .. "abcd"))
      assert.equal("abcd", got[1][1])
    end
  end)

  it("recovers real-sized packets of random lengths for small and large groups", function()
    local rng = generator(11)
    for _, p in ipairs {{1, 1}, {2, 1}, {10, 3}, {20, 5}, {5, 5}, {70, 30}, {128, 127}, {254, 1}, {1, 254}} do
      local data, parity = p[1], p[2]
      local e, d = fec.encoder(data, parity), fec.decoder(data, parity)
      for _ = 1, 3 do
        local kcp = random_group(rng, data, 1492)
        local packets = group(e, kcp)
        local missing, left = {}, parity
        while left > 0 do
          local i = rng(data + parity)
          if not missing[i] then missing[i], left = true, left - 1 end
        end
        local _, regular, recovered = feed(d, without(packets, missing))
        for i, k in ipairs(kcp) do assert.equal(1, missing[i] and recovered[k] or regular[k]) end
      end
      assert.equal(0, d:stats().errors)
    end
  end)

  it("does not count a duplicate as another packet of the group", function()
    local v = vectors[2]
    local d = fec.decoder(3, 2)
    local _, _, recovered = feed(d, {v.packets[1], v.packets[4], v.packets[4], v.packets[4], v.packets[1]})
    assert.is_nil(next(recovered))
    _, _, recovered = feed(d, {v.packets[5]})
    assert.same({[v.kcp[2]] = 1, [v.kcp[3]] = 1}, recovered)
    _, _, recovered = feed(d, v.packets)
    assert.is_nil(next(recovered))
  end)

  it("still completes a group three behind the newest, but not one four behind", function()
    for behind = 3, 4 do
      local e, d = fec.encoder(2, 1), fec.decoder(2, 1)
      local old = group(e, {"old one", "old two"})
      feed(d, {old[1]})
      for _ = 1, behind do feed(d, group(e, {"new", "newer"})) end
      local _, _, recovered = feed(d, {old[3]})
      assert.equal(behind == 3 and 1 or nil, recovered["old two"])
    end
  end)

  it("counts a group that it gives up with data missing", function()
    local e, d = fec.encoder(2, 1), fec.decoder(2, 1)
    feed(d, {group(e, {"a", "b"})[1]})
    for _ = 1, 3 do feed(d, group(e, {"c", "d"})) end
    assert.equal(0, d:stats().lost_groups)
    feed(d, {(e:data("e"))})
    assert.equal(1, d:stats().lost_groups)
  end)

  it("counts the packets it received", function()
    local d = fec.decoder(10, 3)
    feed(d, without(vectors[3].packets, {[2] = true, [5] = true}))
    local s = d:stats()
    assert.same({8, 3, 2, 0, 0}, {s.data, s.parity, s.recovered, s.errors, s.lost_groups})
  end)

  it("works across the wrap of seqids, in and out of order", function()
    for _, p in ipairs {{2, 1}, {3, 2}, {10, 3}} do
      local data, parity = p[1], p[2]
      local rng = generator(data)
      local e, d = fec.encoder(data, parity), fec.decoder(data, parity)
      e:seek(0xffffffff // (data + parity) - 3)
      local groups = {}
      for i = 1, 6 do
        local kcp = random_group(rng, data, 200)
        groups[i] = {kcp = kcp, packets = group(e, kcp)}
      end
      assert.equal(0, seqid(groups[4].packets[1]))
      feed(d, without(groups[1].packets, {true}))
      feed(d, without(groups[2].packets, {[2] = true}))
      -- the group before the wrap is completed after the one behind it
      local late = table.remove(groups[3].packets)
      local _, _, recovered = feed(d, without(groups[3].packets, {true}))
      if parity == 1 then assert.is_nil(next(recovered)) end
      feed(d, without(groups[4].packets, {true}))
      feed(d, {late})
      feed(d, without(groups[5].packets, {true}))
      feed(d, without(groups[6].packets, {true}))
      local s = d:stats()
      assert.same({6, 0, 0}, {s.recovered, s.errors, s.retuned})
    end
  end)

  it("does not file a seqid at or above paws, but passes its data on", function()
    local d = fec.decoder(10, 3)
    local got = d:input(fec_packet(0xfffffff7, DATA, "\6\0abcd"))
    assert.equal("abcd", got[1][1])
    d:input(fec_packet(0xffffffff, PARITY, "\6\0abcd"))
    assert.equal(2, d:stats().errors)
    -- had the newest group moved there, group 0 would be its successor, and these would still do
    local _, _, recovered = feed(d, without(vectors[3].packets, {true}))
    assert.equal(1, recovered[vectors[3].kcp[1]])
    assert.same({10, 3}, {d:stats().cur_data, d:stats().cur_parity})
  end)

  it("comes back after a wild jump of the seqid", function()
    local e, d = fec.encoder(2, 1), fec.decoder(2, 1)
    feed(d, group(e, {"a", "b"}))
    d:input(fec_packet(0x60000000 // 3 * 3, DATA, "\3\0x"))
    local recovered_any
    for i = 1, 40 do
      local _, _, recovered = feed(d, without(group(e, {"c" .. i, "d" .. i}), {true}))
      recovered_any = recovered_any or next(recovered)
    end
    assert.is_not_nil(recovered_any)
    local _, _, recovered = feed(d, without(group(e, {"e", "f"}), {true}))
    assert.equal(1, recovered.e)
  end)

  it("does not use more memory for wild seqids", function()
    local function pages() return tonumber(io.open("/proc/self/statm"):read("l"):match("^%d+")) end
    local rng = generator(5)
    local d = fec.decoder(128, 127)
    local shard = "\100\0" .. ("x"):rep(98)
    local before
    for i = 1, 6000 do
      local id = (rng(0x7fffffff) * 2) % (0xffffffff // 255)
      d:input(fec_packet(id * 255, DATA, shard))
      if i == 1000 then
        collectgarbage()
        before = pages()
      end
    end
    collectgarbage()
    assert.is_true(pages() - before < 4096) -- one buffer of this group's size has 48 pages; 5000 packets came
  end)

  it("keeps no more than its limit with parameters that the peer chose, and still passes data on", function()
    local d, e = fec.decoder(10, 3), fec.encoder(200, 2)
    for _ = 1, 3 do feed(d, group(e, random_group(generator(1), 200, 60))) end
    assert.same({200, 2}, {d:stats().cur_data, d:stats().cur_parity})
    for _, limit in ipairs {0, 1000, 50000, 400000, 700000} do
      d:limit(limit)
      local kept = 0
      for _ = 1, 8 do
        for i, packet in ipairs(group(e, random_group(generator(1), 200, 60))) do
          if i ~= 7 and i < 201 then assert.equal(1, #d:input(packet)) end
          assert.is_true(d:held() <= limit)
          kept = math.max(kept, d:held())
        end
      end
      assert.equal(limit >= 400000, kept > 300000) -- a group needs 200 * 1536 bytes: below that, keeping any is of no use
      for i, packet in ipairs(group(e, random_group(generator(1), 200, 60))) do
        if i ~= 7 then d:input(packet) end
      end
      assert.equal(limit < 400000 and 0 or limit < 700000 and 1 or 2, d:stats().recovered)
    end
    d:limit(0)
    assert.equal(0, d:held())
  end)

  it("gives up the oldest unfinished group at its limit, and all but the newest when it is trimmed", function()
    local d, e, groups = fec.decoder(2, 1), fec.encoder(2, 1), {}
    for i = 1, 8 do groups[i] = group(e, {"a" .. i, "b" .. i}) end
    local function finish(i)
      local _, _, recovered = feed(d, {groups[i][3]})
      return recovered["b" .. i]
    end
    d:limit(5 * 1536 + 100) -- two groups and the tables
    for i = 1, 4 do d:input(groups[i][1]) end
    assert.same({nil, nil, 1, 1}, {finish(1), finish(2), finish(3), finish(4)})
    assert.equal(2, d:stats().lost_groups)
    d:limit(1 << 20)
    for i = 5, 8 do d:input(groups[i][1]) end
    d:trim()
    assert.equal(1536, d:held())
    assert.same({nil, nil, nil, 1}, {finish(5), finish(6), finish(7), finish(8)})
  end)

  it("lets bare KCP packets straight through", function()
    local d = fec.decoder(10, 3)
    local bare = unhex "4433221151000002e8030000000000000000000005000000" .. "hello"
    assert.same({{bare, recovered = false}}, d:input(bare))
    local s = d:stats()
    assert.same({0, 0, 0}, {s.data, s.parity, s.errors})
  end)

  it("counts and ignores out-of-band packets", function()
    local d = fec.decoder(10, 3)
    local got, err = d:input(unhex "fffffffff3000a004433221170696e67")
    assert.same({}, got)
    assert.is_nil(err)
    assert.equal(1, d:stats().oob)
    assert.equal(0, d:stats().errors)
  end)

  describe("given wrong lengths", function()
    it("counts a truncated or oversized packet as malformed", function()
      local d = fec.decoder(2, 1)
      for _, type in ipairs {DATA, PARITY, OOB} do
        for n = 0, 7 do
          local got, err = d:input(fec_packet(0, type, "\6\0abcd"):sub(1, n))
          assert.same({}, got)
          assert.equal("protocol", err)
        end
        local got, err = d:input(fec_packet(0, type, ("x"):rep(1495)))
        assert.same({}, got)
        assert.equal("protocol", err)
      end
      assert.equal(27, d:stats().errors)
    end)

    it("takes packets of the largest size", function()
      local d = fec.decoder(2, 1)
      local out = group(fec.encoder(2, 1), {("x"):rep(1492), "y"})
      local _, _, recovered = feed(d, {out[2], out[3]})
      assert.equal(1, recovered[("x"):rep(1492)])
    end)

    it("drops a data packet longer than its group's parity, from the group only", function()
      local d = fec.decoder(2, 1)
      d:input(fec_packet(2, PARITY, "\6\0abcd"))
      local got = d:input(fec_packet(0, DATA, "\7\0abcde"))
      assert.same({{"abcde", recovered = false}}, got)
      assert.equal(1, d:stats().errors)
    end)

    it("drops parity shorter than its group's data", function()
      local d = fec.decoder(2, 1)
      d:input(fec_packet(0, DATA, "\7\0abcde"))
      assert.same({}, d:input(fec_packet(2, PARITY, "\6\0abcd")))
      assert.equal(1, d:stats().errors)
    end)

    it("drops parity of another length than its group's first", function()
      local d = fec.decoder(3, 2)
      d:input(fec_packet(3, PARITY, "\6\0abcd"))
      d:input(fec_packet(4, PARITY, "\6\0abcde"))
      assert.equal(1, d:stats().errors)
      -- with both filed, this would be the third packet of three and the group be rebuilt
      assert.same({{"a", recovered = false}}, d:input(fec_packet(0, DATA, "\3\0a")))
    end)

    -- With 1+1 the parity is the data shard itself, so any "rebuilt" shard can be served up.
    it("hands over a rebuilt packet only if its size lies within the shard", function()
      for size = 0, 12 do
        local d = fec.decoder(1, 1)
        local shard = string.pack("<I2", size) .. ("abcdefgh"):sub(1, math.max(0, size - 2))
        shard = shard .. ("\0"):rep(10 - #shard)
        local got = d:input(fec_packet(1, PARITY, shard:sub(1, 10)))
        if size < 2 or size > 10 then
          assert.same({}, got)
          assert.equal(1, d:stats().errors)
        elseif size == 2 then
          assert.same({}, got)
          assert.equal(0, d:stats().errors)
        else
          assert.same({{("abcdefgh"):sub(1, size - 2), recovered = true}}, got)
        end
      end
    end)

    it("hands over no rebuilt packet whose padding is not zero", function()
      local d = fec.decoder(1, 1)
      assert.same({}, d:input(fec_packet(1, PARITY, "\4\0abX")))
      assert.equal(1, d:stats().errors)
    end)
  end)

  it("refuses parameters out of range", function()
    for _, bad in ipairs {{0, 1}, {1, 0}, {255, 1}, {200, 56}, {-1, 3}} do
      assert.error_matches(function() fec.decoder(bad[1], bad[2]) end, "invalid")
    end
  end)
end)

describe("auto-tuning", function()
  -- Sends `groups` groups, each packet lost with probability loss; what came out must have been sent.
  -- Returns how many data packets were lost, and how many the decoder has recovered in its life.
  local function run(d, e, data, groups, loss, rng, length)
    local lost = 0
    for _ = 1, groups do
      local kcp = {}
      for i = 1, data do kcp[i] = random_bytes(rng, length or 24 + rng(60)) end
      local sent, missing = {}, {}
      for _, p in ipairs(kcp) do sent[p] = true end
      local packets = group(e, kcp)
      for i, p in ipairs(packets) do
        if rng(1000) <= loss * 1000 then
          missing[i] = true
          if not is_parity(p) then lost = lost + 1 end
        end
      end
      for _, got in ipairs((feed(d, without(packets, missing)))) do assert.is_true(sent[got]) end
    end
    return lost, d:stats().recovered
  end

  local function parameters(d)
    local s = d:stats()
    return s.cur_data .. "+" .. s.cur_parity
  end

  for _, p in ipairs {{1, 1}, {2, 1}, {10, 3}, {20, 5}, {70, 30}} do
    it(("finds %d+%d from nothing, and recovers from then on"):format(p[1], p[2]), function()
      local d, e, rng = fec.decoder(0, 0), fec.encoder(p[1], p[2]), generator(p[1])
      run(d, e, p[1], p[1] < 10 and 8 or 3, 0, rng)
      assert.equal(p[1] .. "+" .. p[2], parameters(d))
      local kcp = random_group(rng, p[1], 90)
      local _, _, recovered = feed(d, without(group(e, kcp), {true}))
      assert.equal(1, recovered[kcp[1]])
      assert.equal(p[1] == 1 and 0 or 1, d:stats().retuned)
    end)
  end

  it("follows the peer from 10+3 to 20+5 and back", function()
    local d, rng = fec.decoder(1, 1), generator(3)
    for _, p in ipairs {{10, 3}, {20, 5}, {10, 3}, {1, 1}, {2, 1}} do
      run(d, fec.encoder(p[1], p[2]), p[1], 40, 0, rng)
      assert.equal(p[1] .. "+" .. p[2], parameters(d))
    end
  end)

  it("finds the peer's parameters with 10 % of the packets lost, and then recovers most of what is lost", function()
    for seed = 1, 5 do
      for _, p in ipairs {{10, 3}, {20, 5}} do
        local d, e, rng = fec.decoder(0, 0), fec.encoder(p[1], p[2]), generator(seed)
        run(d, e, p[1], 60, 0.1, rng)
        assert.equal(p[1] .. "+" .. p[2], parameters(d))
        local before = d:stats().recovered
        local lost, after = run(d, e, p[1], 100, 0.05, rng)
        assert.is_true((after - before) > 0.8 * lost, ("seed %d: %d of %d"):format(seed, after - before, lost))
      end
    end
  end)

  -- Packets of one conv and one length: parity then looks like data, conv and size and all.
  it("never hands over parity as data while the parameters are wrong", function()
    for _, start in ipairs {{0, 0}, {1, 1}, {2, 1}, {10, 3}, {20, 5}} do
      for seed = 1, 5 do
        local d, e, rng = fec.decoder(start[1], start[2]), fec.encoder(8, 4), generator(seed)
        run(d, e, 8, 30, 0.1, rng, 40)
        assert.equal("8+4", parameters(d))
        assert.equal(0, d:stats().errors)
      end
    end
  end)

  it("hands data over throughout", function()
    local d, e = fec.decoder(0, 0), fec.encoder(10, 3)
    for i = 1, 100 do
      local packet = e:data("packet " .. i)
      assert.same({{"packet " .. i, recovered = false}}, d:input(packet))
    end
  end)

  it("does not mistake skipped parity for a longer run of data", function()
    local d, e = fec.decoder(0, 0), fec.encoder(4, 2)
    local now = 0
    for i = 1, 400 do
      now = now + (i % 12 == 4 and 600000 or 1000) -- one group in three ends late
      local packet, parity = e:data("packet " .. i, now)
      d:input(packet)
      feed(d, parity)
    end
    assert.equal("4+2", parameters(d))
    assert.equal(1, d:stats().retuned)
  end)

  it("keeps its parameters when a stray packet contradicts them, and still recovers", function()
    local d, e, rng = fec.decoder(10, 3), fec.encoder(10, 3), generator(9)
    run(d, e, 10, 10, 0, rng)
    d:input(fec_packet(0, PARITY, "\6\0abcd"))
    d:input(fec_packet(12, DATA, "\6\0abcd"))
    run(d, e, 10, 3, 0, rng)
    local kcp = random_group(rng, 10, 90)
    local _, _, recovered = feed(d, without(group(e, kcp), {true}))
    assert.equal(1, recovered[kcp[1]])
    assert.equal("10+3", parameters(d))
    assert.equal(0, d:stats().retuned)
  end)

  it("trusts the parameters again after a long calm when loss leaves nothing to tune by", function()
    local d, e, rng = fec.decoder(10, 3), fec.encoder(10, 3), generator(33)
    d:input(fec_packet(0, PARITY, "\6\0abcd"))
    for i = 1, 12 do -- the first packet of every group is lost, so no run of data is ever seen whole
      local kcp = random_group(rng, 10, 60)
      local _, _, recovered = feed(d, without(group(e, kcp), {true}))
      if i == 1 then assert.is_nil(recovered[kcp[1]]) end
      if i >= 7 then assert.equal(1, recovered[kcp[1]]) end
    end
    assert.same({10, 3, 0}, {d:stats().cur_data, d:stats().cur_parity, d:stats().retuned})
  end)

  it("tunes after packets that came out of order", function()
    local d, e, rng = fec.decoder(0, 0), fec.encoder(10, 3), generator(21)
    local packets = {}
    for _ = 1, 15 do
      for _, p in ipairs(group(e, random_group(rng, 10, 60))) do packets[#packets + 1] = p end
    end
    for i = 1, #packets - 4 do
      local j = i + rng(4)
      packets[i], packets[j] = packets[j], packets[i]
    end
    feed(d, packets)
    assert.equal("10+3", parameters(d))
  end)
end)

describe("peeking at a body", function()
  local kcp = unhex "4433221151000002e8030000070000000300000005000000" .. "hello"

  it("finds conv, sn and una in data and in bare KCP packets", function()
    assert.same({0x11223344, 7, 3}, {fec.peek(kcp)})
    assert.same({0x11223344, 7, 3}, {fec.peek((fec.encoder(10, 3):data(kcp)))})
  end)

  it("finds the conv of an out-of-band packet, and sn and una 0", function()
    assert.same({0x11223344, 0, 0}, {fec.peek(unhex "fffffffff3000a004433221170696e67")})
  end)

  it("finds nothing in parity or in packets that are too short", function()
    local data = fec.encoder(10, 3):data(kcp)
    assert.same({}, {fec.peek(vectors[1].packets[3] .. kcp)})
    for n = 0, 31 do assert.same({}, {fec.peek(data:sub(1, n))}) end
    for n = 0, 23 do assert.same({}, {fec.peek(kcp:sub(1, n))}) end
    for n = 0, 11 do assert.same({}, {fec.peek((unhex "fffffffff3000a0044332211"):sub(1, n))}) end
  end)
end)
