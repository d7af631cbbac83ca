--- Splits Lua source into tokens { kind, text, line, column, value }, where kind is "name", "keyword", "string", "number" or "op", and
--- columns count bytes from 1. The source must compile, so errors are not handled.
local tokens = {}

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while]]):gmatch "%a+" do keywords[word] = true end

local numbers = { "^0[xX][%x.]+[pP][+-]?%d+", "^0[xX][%x.]+", "^%.?%d[%d.]*[eE][+-]?%d+", "^%.?%d[%d.]*" }
local operators = { "^%.%.%.", "^%.%.", "^[=~<>]=", "^::", "^//", "^<<", "^>>", "^[%p]" }

--- The value of a literal.
local function evaluate(text)
  local chunk = load("return " .. text, "=literal", "t", {})
  return chunk and chunk()
end

--- The kind and last position of the token at `at`; kind is nil for comments and anything else to skip.
local function next_token(source, at)
  local equals = source:match("^%-%-%[(=*)%[", at)
  if equals then return nil, select(2, assert(source:find("]" .. equals .. "]", at, true))) end
  if source:find("^%-%-", at) then return nil, (source:find("\n", at, true) or #source + 1) - 1 end
  equals = source:match("^%[(=*)%[", at)
  if equals then return "string", select(2, assert(source:find("]" .. equals .. "]", at, true))) end
  local quote = source:match("^[\"']", at)
  if quote then
    local last = at + 1
    while source:sub(last, last) ~= quote do last = last + (source:sub(last, last) == "\\" and 2 or 1) end
    return "string", last
  end
  local _, last = source:find("^[%a_][%w_]*", at)
  if last then return keywords[source:sub(at, last)] and "keyword" or "name", last end
  for _, number in ipairs(numbers) do
    _, last = source:find(number, at)
    if last then return "number", last end
  end
  for _, operator in ipairs(operators) do
    _, last = source:find(operator, at)
    if last then return "op", last end
  end
  return nil, at
end

function tokens.of(source)
  local out, at, line, start = {}, 1, 1, 1 -- start: of the line
  if source:find "^#" then at = (source:find("\n", 1, true) or #source + 1) end
  while at <= #source do
    local blank = source:match("^%s+", at)
    if blank then
      line = line + select(2, blank:gsub("\n", ""))
      local _, feed = blank:find "^.*\n"
      if feed then start = at + feed end
      at = at + #blank
    else
      local kind, last = next_token(source, at)
      local text = source:sub(at, last)
      if kind then
        local token = { kind = kind, text = text, line = line, column = at - start + 1 }
        if kind == "string" or kind == "number" then token.value = evaluate(text) end
        out[#out + 1] = token
      end
      line = line + select(2, text:gsub("\n", ""))
      local _, feed = text:find "^.*\n"
      if feed then start = at + feed end
      at = last + 1
    end
  end
  return out
end

return tokens
