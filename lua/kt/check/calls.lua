--- Checks how a script uses the API, also in tasks, which `kt check` does not run: that functions exist, that they are called with
--- the right syntax and literal arguments, and that read-only names are not assigned. Computed values are assumed to be correct.
local api = require "kt.api"
local arguments = require "kt.check.arguments"
local core = require "kt.core"
local kinds = require "kt.check.kinds"
local literals = require "kt.check.literals"
local schema = require "kt.schema"
local standin = require "kt.check.standin"

local calls = {}

local text = literals.text

--- The variable that holds `require "kt"`; usually "kt".
local function name_of_kt(tokens)
  for i in ipairs(tokens) do
    if text(tokens, i) == "require" and text(tokens, i - 1) == "=" then
      local first = literals.argument(tokens, i + 1, 1)
      if first and tokens[first].value == "kt" and tokens[i - 2].kind == "name" then return tokens[i - 2].text end
    end
  end
end

-- The state of a walk through a file: { tokens, holds = kinds of variables, note, later = code before this position does not run in
-- the main chunk }.

local function complain(walk, i, path, message, suggestion, placed)
  walk.note { line = walk.tokens[i].line, path = path, message = message, suggestion = suggestion, placed = placed }
end

--- The same for a complete message, "kt.lisen: no such function; did you mean kt.listen?".
local function complain_of(walk, i, sentence)
  local path, message, suggestion = sentence:match "^(%S+): (.+); (.+)$"
  complain(walk, i, path, message, suggestion)
end

--- The names below "kt", or a table in it.
local function names_in(path)
  local names = {}
  for _, list in ipairs { api.functions, api.values } do
    for _, item in ipairs(list) do names[#names + 1] = item.name:match("^" .. path:gsub("%.", "%%.") .. "%.([%w_]+)$") end
  end
  table.sort(names)
  return names
end

--- Whether the name from i to last is assigned.
local function is_set(tokens, i, last) return text(tokens, last + 1) == "=" or text(tokens, i - 1) == "function" end

local check_member

--- Checks the call of f whose arguments begin at i, if there is a call, and method calls on its result.
local function check_call(walk, i, f)
  local tokens = walk.tokens
  local past = kinds.past_arguments(tokens, i)
  if not past then return end
  if f.context == "declare" and i < walk.later then complain_of(walk, i, core.declare_only(f.name)) end
  arguments.check(tokens, i, f, walk.holds, walk.note)
  walk.later = math.max(walk.later, arguments.past_functions(tokens, i) or 0) -- functions passed as arguments run later
  local kind = kinds.of_call(tokens, i, f)
  if kind and text(tokens, past) == ":" then check_member(walk, past, kind) end
end

local function check_function(walk, i)
  local tokens = walk.tokens
  local name, last = kinds.function_at(tokens, i)
  local f = api.functions[name]
  if is_set(tokens, i, last) then
    if last > i then complain_of(walk, i, schema.unchangeable(name:match "^(.*)%.([^.]+)$")) end
  elseif f then
    check_call(walk, last + 1, f)
  elseif last == i then -- kt alone
    local method = text(tokens, i + 1) == ":" and api.functions["kt." .. tokens[i + 2].text]
    if method then complain(walk, i, method.name, "called with a colon", "write it with a dot") end
  else
    local path, own = name:match "^(.*)%.([^.]+)$"
    local names = names_in(path)
    for _, known in ipairs(names) do
      if known == own then return end
    end
    complain_of(walk, i, schema.absent(path, own, names))
  end
end

--- Checks the field or method after the dot or colon at i, on a value of type `kind`.
function check_member(walk, i, kind)
  local tokens = walk.tokens
  local dot, name, h = text(tokens, i) == ".", tokens[i + 1].text, api.handles[kind]
  local f = api.functions[kind .. ":" .. name]
  if dot and is_set(tokens, i - 1, i + 1) then return complain(walk, i, kind .. "." .. name, standin.NOT_SET) end
  if f and not dot then return check_call(walk, i + 2, f) end
  if f then
    if kinds.past_arguments(tokens, i + 2) and arguments.lacks_self(tokens, i + 2, kind, walk.holds) then
      complain(walk, i, f.name, "called with a dot", "write it with a colon", true)
    end
    return
  end
  local names = {}
  for _, m in ipairs(h.methods) do names[#names + 1] = m.name:match ":(.+)$" end
  for _, field in ipairs(h.fields) do
    names[#names + 1] = field.name
    if field.name == name then
      if not dot then complain(walk, i, kind .. "." .. name, "not a method", "it is a field; read it without a call", true) end
      return
    end
  end
  table.sort(names)
  complain_of(walk, i, schema.absent(kind, name, names, "field"))
end

--- Calls note{ line, path, message, suggestion, placed } for each mistake.
function calls.check(tokens, note)
  local kt = name_of_kt(tokens)
  if not kt then return end
  local walk = { tokens = tokens, holds = kinds.of_names(tokens, kt), note = note, later = 0 }
  for i, token in ipairs(tokens) do
    local before = text(tokens, i - 1)
    if token.kind == "name" and before ~= "." and before ~= ":" then
      local after, member = text(tokens, i + 1), tokens[i + 2]
      if token.text == kt then
        check_function(walk, i)
      elseif walk.holds[token.text] and (after == "." or after == ":") and member.kind == "name" then
        check_member(walk, i + 1, walk.holds[token.text])
      end
    end
  end
end

return calls
