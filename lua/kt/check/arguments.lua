--- Checks the arguments of a call as far as they are literals or kt.check.infer knows them: positional ones, and the table that follows
--- them. Others are assumed to be correct in type and number.
local literals = require "kt.check.literals"
local plausible = require "kt.check.plausible"
local schema = require "kt.schema"
local standin = require "kt.check.standin"
local types = require "kt.check.types"

local arguments = {}

--- Whether an expression may yield any number of values.
local function may_be_many(node) return node ~= nil and (node.tag == "call" or node.tag == "vararg") end
arguments.may_be_many = may_be_many

local tables = { record = true, list = true, table = true, kt = true }

--- The type of an expression, "number" and so on, or a kind of handle; nil if unknown. Then its value, if it is a literal.
local function kind_of(inferred, node)
  local value = literals.value(node.file.tokens, node.at, node.past)
  if not standin.is(value) then return type(value), value end
  local one = types.only(inferred:type(node))
  if not one then return nil end
  if one.is == "handle" or one.is == "plain" then return one.name end
  return tables[one.is] and "table" or "function"
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

local function article(word) return (word:find "^[aeiou]" and "an " or "a ") .. word end

local function expected(p, words)
  local out = {}
  for i, word in ipairs(words) do
    if word == "any" then
      out[i] = "a value"
    elseif word == "integer" then
      out[i] = "an integer" .. (p.min and p.max and (" (%d to %d)"):format(p.min, p.max) or "")
    else
      out[i] = article(word)
    end
  end
  local last = table.remove(out)
  return #out == 0 and last or table.concat(out, ", ") .. " or " .. last
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
  local fit = p.optional and (kind == "nil" or kind == "nothing")
  for _, word in ipairs(words) do fit = fit or fits(word, p, kind, value) end
  if fit then return nil end
  local got = (kind == "nil" or kind == "nothing") and "no value" or article(kind)
  if value ~= nil and type(value) ~= "table" then got = schema.show(value) end
  return ("argument %d: expected %s, got %s"):format(nth, expected(p, words), got)
end

--- Checks the table, or the unit, against its description.
local function check_described(arg, f, call, note)
  local value
  if arg then
    value = literals.value(arg.file.tokens, arg.at, arg.past)
    if value == nil and f.optional or standin.is(value) then return end
  end
  local out, mistakes = schema.check(f.path, f.argument, value)
  if out ~= nil or not mistakes then
    if arg then plausible.check(f.argument, arg, f.path, note) end
    return
  end
  for _, m in ipairs(mistakes) do
    local at = arg and arg.at or call.open
    if arg and arg.tag == "table" then at = literals.place(arg.file.tokens, arg.at, literals.keys(schema.below(f.path, m.path))) end
    note { token = call.file.tokens[at], path = m.path, message = m.message, suggestion = m.suggestion }
  end
end

--- Checks a positional unit against its description, if it is a literal.
local function check_value(arg, d, f, note)
  local value = literals.value(arg.file.tokens, arg.at, arg.past)
  if standin.is(value) then return end
  local out, mistakes = schema.check(f.name, d, value)
  if out ~= nil then return plausible.check(d, arg, f.name, note) end
  for _, m in ipairs(mistakes) do
    note { token = arg.file.tokens[arg.at], path = m.path, message = m.message, suggestion = m.suggestion, placed = true }
  end
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
    if p.name == "..." then return end
    local arg = list[nth]
    if not arg then
      if more or p.optional then break end
      return complain(nil, objection(p, nth, "nothing"))
    elseif more and nth == #list then
      return
    end
    local kind, value = kind_of(inferred, arg)
    if not (p.optional and f.argument and kind == "table") then -- an optional parameter was omitted before the table
      local message, suggestion
      if kind then message, suggestion = objection(p, nth, kind, value) end
      if message then return complain(arg, message, suggestion) end
      if p.value then check_value(arg, p.value, f, note) end
      nth = nth + 1
    end
  end
  if not f.argument or more and nth >= #list or not list[nth] and f.optional then return end
  check_described(list[nth], f, call, note)
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
