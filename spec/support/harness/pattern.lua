-- Streams of bytes that are cheap to make and to check, of any length: each byte follows from the stream's seed and its position. Half of
-- the blocks are noise, half compress well. Each block contains its number, which shows where a piece was lost, repeated or moved.
local pattern = {}

local BLOCK = 64 * 1024
local KINDS = 16

local function noise(bytes, seed)
  local words, x = {}, seed * 2 + 1
  for i = 1, bytes // 8 do
    x = x ~ (x << 13)
    x = x ~ (x >> 7)
    x = x ~ (x << 17)
    words[i] = string.pack("<i8", x)
  end
  return table.concat(words)
end

local bodies = {}
for i = 0, KINDS - 1 do
  local some = i % 2 == 0 and noise(BLOCK, 7919 * i + 1) or noise(64, 7919 * i + 1):rep(BLOCK // 64)
  bodies[i] = some:sub(17)
end

local function block(seed, index)
  return string.pack("<i8i8", seed, index) .. bodies[(seed + index) % KINDS]
end

--- Iterates over the blocks of a stream of `total` bytes.
function pattern.blocks(seed, total)
  local index, left = -1, total
  return function()
    if left == 0 then return nil end
    index = index + 1
    local data = block(seed, index)
    if left < BLOCK then data = data:sub(1, left) end
    left = left - #data
    return data
  end
end

--- Returns a function that takes the chunks of a stream, fails at the first wrong byte, and returns the number of bytes so far.
function pattern.checker(seed)
  local at = 0
  local index, expected
  return function(chunk)
    local from = 1
    while from <= #chunk do
      if index ~= at // BLOCK then
        index = at // BLOCK
        expected = block(seed, index)
      end
      local start = at % BLOCK
      local n = math.min(BLOCK - start, #chunk - from + 1)
      if expected:sub(start + 1, start + n) ~= chunk:sub(from, from + n - 1) then
        error(("wrong bytes between %d and %d of stream %d"):format(at, at + n, seed), 2)
      end
      at, from = at + n, from + n
    end
    return at
  end
end

return pattern
