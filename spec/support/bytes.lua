-- Byte strings for specs: hex in both directions, repeatable noise, flipped bits.
local bytes = {}

--- "00 ff" as two bytes; anything but hex digits is skipped.
function bytes.unhex(text)
  return (text:gsub("%X", ""):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

function bytes.hex(s)
  return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

--- first, first + 1, … last.
function bytes.range(first, last)
  local t = {}
  for b = first, last do t[#t + 1] = string.char(b) end
  return table.concat(t)
end

--- n bytes of noise, the same every time for one seed.
function bytes.noise(n, seed)
  local x, t = (seed or 1) * 2654435769 + 1, {}
  for i = 1, n do
    x = x * 6364136223846793005 + 1442695040888963407
    t[i] = string.char(x >> 56 & 0xff)
  end
  return table.concat(t)
end

--- A seeded generator, so that a spec does not depend on those that ran before: rng(n) is in 1..n.
function bytes.generator(seed)
  return function(n)
    seed = seed * 6364136223846793005 + 1442695040888963407
    return (seed >> 33) % n + 1
  end
end

--- s with one bit flipped; bit 0 is the lowest of the first byte.
function bytes.flip(s, bit)
  local at = bit // 8 + 1
  return s:sub(1, at - 1) .. string.char(s:byte(at) ~ 1 << bit % 8) .. s:sub(at + 1)
end

function bytes.xor(a, b)
  local t = {}
  for i = 1, math.min(#a, #b) do t[i] = string.char(a:byte(i) ~ b:byte(i)) end
  return table.concat(t)
end

--- SHA-1 (RFC 3174) in hex, because some test vectors of the wire are digests.
function bytes.sha1(s)
  local function rotate(x, n) return (x << n | x >> (32 - n)) & 0xffffffff end
  local h = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 }
  local padded = s .. "\x80" .. ("\0"):rep((55 - #s) % 64) .. (">I8"):pack(#s * 8)
  for at = 1, #padded, 64 do
    local w = { (">" .. ("I4"):rep(16)):unpack(padded, at) }
    for i = 17, 80 do w[i] = rotate(w[i - 3] ~ w[i - 8] ~ w[i - 14] ~ w[i - 16], 1) end
    local a, b, c, d, e = table.unpack(h)
    for i = 1, 80 do
      local f, k
      if i <= 20 then f, k = b & c | ~b & d, 0x5a827999
      elseif i <= 40 then f, k = b ~ c ~ d, 0x6ed9eba1
      elseif i <= 60 then f, k = b & c | b & d | c & d, 0x8f1bbcdc
      else f, k = b ~ c ~ d, 0xca62c1d6 end
      a, b, c, d, e = rotate(a, 5) + (f & 0xffffffff) + e + k + w[i] & 0xffffffff, a, rotate(b, 30), c, d
    end
    for i, v in ipairs { a, b, c, d, e } do h[i] = h[i] + v & 0xffffffff end
  end
  return ("%08x%08x%08x%08x%08x"):format(table.unpack(h))
end

return bytes
