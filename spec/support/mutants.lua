--- Scripts with random mistakes: some tokens are deleted, repeated, swapped or replaced. Only mutants that still compile are returned. The
--- same seed gives the same mutants.
local tokens = dofile "lua/kt/check/tokens.lua"

local mutants = {}

--- A separate generator, because math.random is shared with the rest of the process. Returns a function of n: a number from 1 to n.
local function numbers(seed)
  local state = seed
  return function(n)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return ((state >> 33) % n) + 1
  end
end

--- Words that have a meaning for kt check.
local words = { "kt", "nil", "(", ")", "{", "}", "[", "]", ":", ".", ",", ";", "=", "...", "()", "{}", '""', "0", "-1", "function",
  "end", "require", "pcall", "link", "coroutine.yield()", "<close>", "#", "local" }

local function pick(list, random) return list[random(#list)] end

local closing = { ["("] = ")", ["{"] = "}", ["["] = "]" }

--- Empties the first brackets from `at` on, so that a call loses its arguments, or a table its entries.
local function empty(list, at)
  while list[at] and not closing[list[at]] do at = at + 1 end
  local open, depth = list[at], 0
  while list[at + 1] do
    local text = list[at + 1]
    if text == closing[open] and depth == 0 then return end
    depth = depth + (text == open and 1 or text == closing[open] and -1 or 0)
    table.remove(list, at + 1)
  end
end

--- Changes one place in the list of tokens.
local function change(list, random)
  local at, how = random(#list), random(7)
  if how == 1 then
    table.remove(list, at)
  elseif how == 2 then
    table.insert(list, at, list[at])
  elseif how == 3 then
    local other = random(#list)
    list[at], list[other] = list[other], list[at]
  elseif how == 4 then
    list[at] = pick(list, random)
  elseif how == 5 then
    list[at] = pick(words, random)
  elseif how == 6 then
    empty(list, at)
  else
    for _ = 1, random(8) do
      if list[at] then table.remove(list, at) end
    end
  end
end

--- The texts of the tokens, including line breaks.
local function texts(source)
  local list, line = {}, 1
  for _, token in ipairs(tokens.of(source)) do
    if token.line > line then list[#list + 1] = ("\n"):rep(token.line - line) end
    list[#list + 1] = token.text
    line = token.line + select(2, token.text:gsub("\n", ""))
  end
  return list
end

--- Returns n mutants of the source.
function mutants.of(source, n, seed)
  local random, original, out = numbers(seed), texts(source), {}
  while #out < n do
    local list = table.move(original, 1, #original, 1, {})
    for _ = 1, random(3) do change(list, random) end
    local text = table.concat(list, " ")
    if load(text, "=mutant", "t") then out[#out + 1] = text end
  end
  return out
end

return mutants
