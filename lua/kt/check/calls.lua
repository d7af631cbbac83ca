--- Looks at the calls of the API that are written in a script, those in tasks too, which a check does not run: is there such
--- a function, and does the table that is written out there pass? What must be computed is taken to be right.
local api = require "kt.api"
local kinds = require "kt.check.kinds"
local literals = require "kt.check.literals"
local schema = require "kt.schema"
local standin = require "kt.check.standin"

local calls = {}

local text = literals.text

--- The name that `require "kt"` is given: mostly "kt".
local function name_of_kt(tokens)
  for i in ipairs(tokens) do
    if text(tokens, i) == "require" and text(tokens, i - 1) == "=" then
      local first = literals.argument(tokens, i + 1, 1)
      if first and tokens[first].value == "kt" and tokens[i - 2].kind == "name" then return tokens[i - 2].text end
    end
  end
end

--- Checks the argument of a call, whose arguments begin at i, as far as it is written out.
local function check_argument(tokens, i, f, note)
  if not f.argument then return end
  local params = f.params or {}
  local n = #params + 1
  local first, last = literals.argument(tokens, i, n)
  while not first and n > 1 and params[n - 1].optional do -- it may stand in the place of what was left out
    n = n - 1
    first, last = literals.argument(tokens, i, n)
    if first and text(tokens, first) ~= "{" then return end
  end
  if not first then return end
  local value = literals.value(tokens, first, last)
  if value == nil or standin.is(value) then return end
  local ok, mistakes = schema.check(f.path, f.argument, value)
  if ok ~= nil or not mistakes then return end
  for _, m in ipairs(mistakes) do
    local keys = literals.keys(m.path:match "^[^.]+%.(.+)$" or "")
    local line = text(tokens, first) == "{" and literals.line_of(tokens, first, keys) or tokens[first].line
    note { line = line, path = m.path, message = m.message, suggestion = m.suggestion }
  end
end

local function note_absent(note, line, path, name, names, what)
  local sentence = schema.absent(path, name, names, what)
  local at, message, suggestion = sentence:match "^(%S+): (.-); (.+)$"
  note { line = line, path = at, message = message, suggestion = suggestion }
end

--- The names below "kt" or "kt.log".
local function names_in(path)
  local names = {}
  for _, list in ipairs { api.functions, api.values } do
    for _, item in ipairs(list) do names[#names + 1] = item.name:match("^" .. path:gsub("%.", "%%.") .. "%.([%w_]+)$") end
  end
  table.sort(names)
  return names
end

local function check_function(tokens, i, note)
  local name, last = kinds.function_at(tokens, i)
  local f = api.functions[name]
  if f then return check_argument(tokens, last + 1, f, note) end
  if last == i then return end -- kt alone
  local path, own = name:match "^(.*)%.([^.]+)$"
  local names = names_in(path)
  for _, known in ipairs(names) do
    if known == own then return end
  end
  note_absent(note, tokens[i].line, path, own, names)
end

local function check_member(tokens, i, kind, note)
  local name, h = tokens[i + 2].text, api.handles[kind]
  local f = api.functions[kind .. ":" .. name]
  if f then return check_argument(tokens, i + 3, f, note) end
  local names = {}
  for _, m in ipairs(h.methods) do names[#names + 1] = m.name:match ":(.+)$" end
  for _, field in ipairs(h.fields) do
    names[#names + 1] = field.name
    if field.name == name then return end
  end
  table.sort(names)
  note_absent(note, tokens[i].line, kind, name, names, "field")
end

--- Calls note{ line, path, message, suggestion } for each mistake.
function calls.check(tokens, note)
  local kt = name_of_kt(tokens)
  if not kt then return end
  local holds = kinds.of_names(tokens, kt)
  for i, token in ipairs(tokens) do
    local before = text(tokens, i - 1)
    if token.kind == "name" and before ~= "." and before ~= ":" then
      local after, member = text(tokens, i + 1), tokens[i + 2]
      if token.text == kt then
        check_function(tokens, i, note)
      elseif holds[token.text] and (after == "." or after == ":") and member.kind == "name" then
        check_member(tokens, i, holds[token.text], note)
      end
    end
  end
end

return calls
