--- Checks the arguments of a call as far as they are constant or kt.check.infer knows them: positional ones, and the table that follows
--- them. Others are assumed to be correct in type and number.
local constants = require "kt.check.constants"
local non_constants = require "kt.check.non_constants"
local literals = require "kt.check.literals"
local plausible = require "kt.check.plausible"
local schema = require "kt.schema"
local standin = require "kt.check.standin"
local types = require "kt.check.types"

local arguments = {}

--- Whether an expression may yield any number of values.
local function may_be_many(node) return node ~= nil and (node.tag == "call" or node.tag == "vararg") end
arguments.may_be_many = may_be_many

--- The type of an expression, "number" and so on, or a kind of handle; nil if unknown. Then its value, if it is a constant.
local function kind_of(inferred, node)
  local value = constants.value(inferred, node)
  if not standin.is(value) then return type(value), value end
  return non_constants.kind_of(inferred, node)
end

--- Parses a parameter's type: "conn | stream" → { "conn", "stream" }; fun(…) → { "function" }; '"up" | "down"' → {}, { "up", "down" }
local function words_of(p)
  local words, values = {}, {}
  for word in p.type:gsub("fun%b()", "function"):gmatch "[^%s|]+" do
    local value = word:match '^"(.*)"$'
    if value then values[#values + 1] = value elseif word ~= words[#words] then words[#words + 1] = word end
  end
  return words, values
end

local function in_range(p, n) return (not p.min or n >= p.min) and (not p.max or n <= p.max) end

local function fits(word, p, kind, value)
  if word == "any" then return kind ~= "nothing" end
  local number = kind == "number" or kind == "integer"
  if word == "integer" and value ~= nil then return math.type(value) ~= nil and math.tointeger(value) ~= nil and in_range(p, value) end
  if word == "integer" or word == "number" then return number end
  return word == kind
end

local function expected(p, words)
  local out = {}
  for i, word in ipairs(words) do
    if word == "any" then
      out[i] = "a value"
    elseif word == "integer" then
      out[i] = "an integer" .. (p.min and p.max and (" (%d to %d)"):format(p.min, p.max) or "")
    else
      out[i] = types.article(word)
    end
  end
  return types.either(out)
end

--- The message and suggestion for a value that does not fit the parameter; nil if it fits. kind "nothing" means the argument is missing.
local function objection(p, nth, kind, value)
  local words, values = words_of(p)
  if values[1] and kind == "string" then
    if value == nil then return nil end
    for _, known in ipairs(values) do
      if known == value then return nil end
    end
    for i, known in ipairs(values) do values[i] = ('"%s"'):format(known) end
    return ("unknown %s %s"):format(p.name, schema.show(value)), schema.one_of(values)
  end
  if values[1] then words = { "string" } end
  local fine = p.optional and (kind == "nil" or kind == "nothing")
  for _, word in ipairs(words) do fine = fine or fits(word, p, kind, value) end
  if fine then return nil end
  local got = (kind == "nil" or kind == "nothing") and "no value" or types.article(kind)
  if value ~= nil and type(value) ~= "table" then got = schema.show(value) end
  return ("argument %d: expected %s, got %s"):format(nth, expected(p, words), got)
end

--- Checks the table, or the unit, against its description d.
local function check_described(inferred, arg, d, f, call, note)
  local value
  local path = f.path or f.name
  local function complain(at, m) note { token = call.file.tokens[at], path = m.path, message = m.message, suggestion = m.suggestion } end
  if arg then
    value = constants.value(inferred, arg)
    if value == nil and f.optional then return end
    if standin.is(value) then return non_constants.check_one(inferred, d, arg, path, function(m) complain(arg.at, m) end) end
  end
  local out, mistakes = schema.check(path, d, value)
  local t = arg and constants.table_of(inferred, arg)
  for _, m in ipairs(mistakes or {}) do
    complain(t and literals.place(t.file.tokens, t.at, literals.keys(schema.below(path, m.path))) or arg and arg.at or call.open, m)
  end
  if t then non_constants.check(inferred, d, t, path, function(m) complain(m.at, m) end) end
  if arg and (out ~= nil or not mistakes) then plausible.check(inferred, d, t or arg, path, note) end
end

--- Checks a positional unit against its description, if it is constant.
local function check_value(inferred, arg, d, f, note)
  local value = constants.value(inferred, arg)
  if standin.is(value) then return end
  local out, mistakes = schema.check(f.name, d, value)
  if out ~= nil then return plausible.check(inferred, d, arg, f.name, note) end
  for _, m in ipairs(mistakes) do
    note { token = arg.file.tokens[arg.at], path = m.path, message = m.message, suggestion = m.suggestion, placed = true }
  end
end

--- Checks the arguments from the nth on: of a type each, and then a table that p.options describes. The first of them must be there.
local function check_rest(inferred, list, nth, p, f, call, note, complain)
  if p.type == "any" then return end
  local last, more = list[#list], may_be_many(list[#list])
  for i = nth, more and #list - 1 or #list do
    local kind, value = kind_of(inferred, list[i])
    if i == #list and kind == "table" then
      last = nil
      if i > nth then return check_described(inferred, list[i], p.options, f, call, note) end
    elseif kind then
      local message, suggestion = objection(p, i, kind, value)
      if message then complain(list[i], message, p.instead and p.instead[kind] or suggestion) end
    end
  end
  if not more and (#list < nth or #list == nth and not last) then complain(nil, objection(p, nth, "nothing")) end
end

--- Checks the call of f. before: how many of its arguments stand before those of f. Calls note{ token, path, message, suggestion,
--- placed } for each mistake. placed: running the call reports the same mistake in different words.
function arguments.check(inferred, call, f, before, note)
  local list = table.move(call.args, before + 1, #call.args, 1, {})
  local more, nth = may_be_many(list[#list]), 1
  local function complain(arg, message, suggestion)
    note { token = call.file.tokens[arg and arg.at or call.open], path = f.name, message = message, suggestion = suggestion, placed = true }
  end
  for _, p in ipairs(f.params or {}) do
    if p.name == "..." then return check_rest(inferred, list, nth, p, f, call, note, complain) end
    local arg = list[nth]
    if not arg then
      if more or p.optional then break end
      return complain(nil, objection(p, nth, "nothing"))
    end
    local last = more and nth == #list -- of a call, which may give more values
    local kind, value = kind_of(inferred, arg)
    if not (p.optional and f.argument and kind == "table") then -- an optional parameter was omitted before the table
      local message, suggestion
      if kind then message, suggestion = objection(p, nth, kind, value) end
      if message then return complain(arg, message, suggestion or p.type:find "^f" and kind ~= "string" and non_constants.uncalled(arg) or nil) end
      if p.value then check_value(inferred, arg, p.value, f, note) end
      nth = nth + 1
    end
    if last then return end
  end
  local most = nth - (f.argument and 0 or 1)
  if #list > most and not (more and #list == most + 1) then
    return complain(list[most + 1], ("takes %s, got %d"):format(types.arguments(most), #list), "leave out what it does not use")
  end
  if not f.argument or more and nth >= #list or not list[nth] and f.optional then return end
  check_described(inferred, list[nth], f.argument, f, call, note)
end

--- Whether a method of `kind`, called with a dot, certainly lacks the handle as its first argument.
function arguments.lacks_self(inferred, call, kind)
  local first = call.args[1]
  if not first then return true end
  if may_be_many(first) and #call.args == 1 then return false end
  local given = kind_of(inferred, first)
  return given ~= nil and given ~= kind
end

return arguments
