-- runtime/link/native/params: the parameters of a handshake (docs/wire.md section 4.1).
local hs = require "spec_native_handshake"
local bytes = require "bytes"
local hex, unhex, noise = bytes.hex, bytes.unhex, bytes.noise

local full = {
  present = (2 << 16) - 2, lowest = 1, highest = 3, time_ms = 1700000000000, aead = 3, instance = noise(16), max_data = (1 << 62) - 1,
  max_stream_data = 1 << 40, min_stream_data = 1 << 14, max_streams = 1 << 20, max_flows = 1 << 20, ack_delay_ms = 10000,
  survive_s = 2592000, parity = 5, keepalive_s = 2592000, device = noise(16), agent = ("a"):rep(64), error = 15, error_text = ("e"):rep(200),
}

local function read(text) return hs.params_read(unhex(text)) end

describe("parameters", function()
  it("survive writing and reading", function()
    assert.same(full, hs.params_read(hs.params_write(full)))
    local few = { present = 1 << 1 | 1 << 2 | 1 << 13, lowest = 1, highest = 1, time_ms = 5, error = 11 }
    local p = hs.params_read(hs.params_write(few))
    for k, v in pairs(few) do assert.equal(v, p[k]) end
  end)

  it("have the layout of the specification", function()
    local p = { present = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 7 | 1 << 11, lowest = 1, highest = 2, time_ms = 0x0102, aead = 3, max_streams = 100,
      agent = "kt" }
    local list = "01020102" .. "02080201000000000000" .. "030103" .. "07024064" .. "0b026b74"
    assert.equal(list, hex(hs.params_write(p)))
    assert.equal("004003" .. "000000" .. list, hex(hs.params_write(p, #list // 2 + 6)))
  end)

  it("are padded to any length that is wanted, where that leaves three bytes or more", function()
    local n = #hs.params_write(full)
    for size = 0, n + 2 do assert.equal(n, #hs.params_write(full, size)) end
    for size = n + 3, n + 400 do
      local text = hs.params_write(full, size)
      assert.equal(size, #text)
      assert.same(full, hs.params_read(text))
    end
  end)

  it("may hold types that are not known", function()
    assert.equal(1 << 3, read("0301031f0401020304" .. "40ff00" .. "c00000000000ffff0101").present)
  end)

  it("are refused out of order, twice, cut off, with a wrong length or out of range", function()
    for _, text in ipairs {
      "030103" .. "030103", "030103" .. "01020101", "40ff00" .. "40ff00", "0f00" .. "0000", -- order
      "03", "0302", "030203", "0102", "40", "0f0401", "034001", "03ffffffffffffffff", -- cut off
      "0103010101", "010101", "0207" .. ("00"):rep(7), "0209" .. ("00"):rep(9), "0300", "03020303", "040f" .. ("00"):rep(15), -- lengths
      "0500", "050240", "05020505", "06044040", "0509c0" .. ("00"):rep(8),
      "0704" .. "80100001", "0804" .. "80100001", "0902" .. "6711", "0904" .. "80002711", "0a04" .. "80278d01", -- ranges
      "060104" .. "0c0105", "0c0101", "0b4041" .. ("61"):rep(65), "0d00", "0d0140", "0d40ca" .. "01" .. ("61"):rep(201),
    } do
      assert.same({ nil, "protocol" }, { read(text) }, text)
    end
    for _, text in ipairs { "0704" .. "80100000", "0902" .. "6710", "0a04" .. "80278d00", "0b00", "0d0101", "0000", "00050102030405", "" } do
      assert.is_table((read(text)), text)
    end
  end)

  it("show no control characters in their texts", function()
    assert.equal("a?b?c?\xc3\xa9", read("0b08" .. "61016200" .. "637fc3a9").agent)
  end)

  it("survive any damage", function()
    local text = hs.params_write(full)
    for bit = 0, #text * 8 - 1 do hs.params_read(bytes.flip(text, bit)) end
    for n = 0, #text do hs.params_read(text:sub(1, n)) end
  end)
end)
