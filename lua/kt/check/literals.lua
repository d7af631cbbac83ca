--- Finds the places of arguments and of the keys of tables in a script's tokens.
local literals = {}

local opens = { ["{"] = true, ["("] = true, ["["] = true, ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }
local closes = { ["}"] = true, [")"] = true, ["]"] = true, ["end"] = true, ["until"] = true }

local function text(tokens, i)
  local token = tokens[i]
  return token and token.kind ~= "string" and token.text
end
literals.text = text
literals.opens, literals.closes = opens, closes

--- The position after the bracket or block that opens at i.
function literals.past(tokens, i)
  local depth = 0
  repeat
    local t = text(tokens, i)
    depth = depth + (opens[t] and 1 or closes[t] and -1 or 0)
    i = i + 1
  until depth <= 0 or not tokens[i]
  return i
end

--- The end of the expression that begins at i: the position of the separator or closing token after it.
local function past_value(tokens, i)
  while tokens[i] do
    local t = text(tokens, i)
    if t == "," or t == ";" or closes[t] then return i end
    i = opens[t] and literals.past(tokens, i) or i + 1
  end
  return i
end

--- The key of the table entry at i and the position of its value. Nil for a positional entry or a computed key.
local function key_at(tokens, i)
  if tokens[i].kind == "name" and text(tokens, i + 1) == "=" then return tokens[i].text, i + 2 end
  if text(tokens, i) == "[" and tokens[i + 1].kind == "string" and text(tokens, i + 2) == "]" and text(tokens, i + 3) == "=" then
    return tokens[i + 1].value, i + 4
  end
end

--- Walks the entries of the table that opens at i: each(key or nil, start of value, end of value, start of entry).
local function entries(tokens, i, each)
  i = i + 1
  while tokens[i] and text(tokens, i) ~= "}" do
    local key, value = key_at(tokens, i)
    local last = past_value(tokens, value or i)
    each(key, value or i, last, i)
    i = last
    if text(tokens, i) ~= "}" then i = i + 1 end
  end
end

--- The start and end of the n-th argument of the call whose arguments begin at i; nil if there is none.
function literals.argument(tokens, i, n)
  if tokens[i] and (tokens[i].kind == "string" or text(tokens, i) == "{") then
    if n == 1 then return i, literals.past(tokens, i) end
    return nil
  end
  if text(tokens, i) ~= "(" then return nil end
  i = i + 1
  while true do
    local last = past_value(tokens, i)
    if last == i then return nil end
    n = n - 1
    if n == 0 then return i, last end
    if text(tokens, last) ~= "," then return nil end
    i = last + 1
  end
end

--- Splits a mistake's path, relative to its table, into keys: "links[2].weight" → { "links", 2, "weight" }.
function literals.keys(path)
  local keys = {}
  for part in path:gmatch "[^.]+" do
    local name, index = part:match "^(.-)%[(%d+)%]$"
    keys[#keys + 1] = name or part
    keys[#keys + 1] = index and math.tointeger(tonumber(index))
  end
  return keys
end

--- The position of the key at `path` in the table that opens at i; if the key is not in the source, that of the innermost enclosing
--- table.
function literals.place(tokens, i, path)
  local at = i
  for _, name in ipairs(path) do
    local inner
    local nth = 0
    if not i then break end
    entries(tokens, i, function(key, first, _, entry)
      if not key and text(tokens, entry) ~= "[" then
        nth = nth + 1
        key = nth
      end
      if key ~= name then return end
      at = entry
      inner = text(tokens, first) == "{" and first
    end)
    i = inner
  end
  return at
end

return literals
