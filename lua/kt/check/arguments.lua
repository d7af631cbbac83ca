--- Checks the arguments of a call as far as they are literals: positional ones, and the table that follows them. Computed
--- arguments are assumed to be correct in type and number.
local literals = require "kt.check.literals"
local schema = require "kt.schema"
local standin = require "kt.check.standin"

local arguments = {}

local text = literals.text

--- Whether the expression between first and last (exclusive) may yield any number of values: a call or "...".
local function may_be_many(tokens, first, last)
  local t = text(tokens, last - 1)
  if text(tokens, first) == "function" and literals.past(tokens, first) == last then return false end
  if tokens[last - 1].kind == "string" then return last - first > 1 and text(tokens, last - 2) ~= ".." end -- f "x"
  if t == "}" then return not (text(tokens, first) == "{" and literals.past(tokens, first) == last) end -- f {}
  return t == ")" or t == "..."
end

--- The arguments of the call that opens at i, as { first, last }, and whether the last may yield several values or none.
function arguments.list(tokens, i)
  local list = {}
  for n = 1, math.maxinteger do
    local first, last = literals.argument(tokens, i, n)
    if not first then break end
    list[n] = { first = first, last = last }
  end
  local final = list[#list]
  return list, final ~= nil and may_be_many(tokens, final.first, final.last)
end

--- The type of an expression, "number" and so on, or a kind of handle; nil if unknown. Then its value, if it is a literal. holds: the
--- kinds of variables, from check.kinds.
function arguments.kind(tokens, at, holds)
  local token = tokens[at.first]
  if text(tokens, at.first) == "function" and literals.past(tokens, at.first) == at.last then return "function" end
  if token.kind == "name" and at.last == at.first + 1 then return holds[token.text] or nil end
  local value = literals.value(tokens, at.first, at.last)
  if not standin.is(value) then return type(value), value end
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
  if word == "integer" then return math.type(value) ~= nil and math.tointeger(value) ~= nil and in_range(p, value) end
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
      out[i] = (word:find "^[aeiou]" and "an " or "a ") .. word
    end
  end
  local last = table.remove(out)
  return #out == 0 and last or table.concat(out, ", ") .. " or " .. last
end

--- The message and suggestion for a value that does not fit the parameter; nil if it fits. kind "nothing" means the argument is missing.
local function objection(p, nth, kind, value)
  local words, values = words_of(p)
  if values[1] and kind == "string" then
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
  local got = (kind == "nil" or kind == "nothing") and "no value" or "a " .. kind
  if kind == "string" or kind == "number" or kind == "boolean" then got = schema.show(value) end
  return ("argument %d: expected %s, got %s"):format(nth, expected(p, words), got)
end

--- Checks the table, or the unit, against its description.
local function check_described(tokens, at, f, call, note)
  local value
  if at then
    value = literals.value(tokens, at.first, at.last)
    if value == nil and f.optional or standin.is(value) then return end
  end
  local out, mistakes = schema.check(f.path, f.argument, value)
  if out ~= nil or not mistakes then return end
  for _, m in ipairs(mistakes) do
    local line = at and tokens[at.first].line or call
    if at and text(tokens, at.first) == "{" then line = literals.line_of(tokens, at.first, literals.keys(schema.below(f.path, m.path))) end
    note { line = line, path = m.path, message = m.message, suggestion = m.suggestion }
  end
end

--- Checks the call of f whose arguments begin at i. holds: the kinds of variables. Calls note{ line, path, message, suggestion,
--- placed } for each mistake. placed: running the call reports the same mistake in different words.
function arguments.check(tokens, i, f, holds, note)
  local list, more = arguments.list(tokens, i)
  local line, nth = tokens[i].line, 1
  local function complain(message, suggestion)
    note { line = line, path = f.name, message = message, suggestion = suggestion, placed = true }
  end
  for _, p in ipairs(f.params or {}) do
    if p.name == "..." then return end
    local at = list[nth]
    if not at then
      if more or p.optional then break end
      return complain(objection(p, nth, "nothing"))
    elseif more and nth == #list then
      return
    elseif not (p.optional and f.argument and text(tokens, at.first) == "{") then -- an optional parameter was omitted before the table
      local kind, value = arguments.kind(tokens, at, holds)
      local message, suggestion
      if kind then message, suggestion = objection(p, nth, kind, value) end
      if message then return complain(message, suggestion) end
      nth = nth + 1
    end
  end
  if not f.argument or more and nth >= #list or not list[nth] and f.optional then return end
  check_described(tokens, list[nth], f, line, note)
end

--- The end of the last function literal among the arguments of the call that opens at i; nil if there is none.
function arguments.past_functions(tokens, i)
  local past
  for _, at in ipairs((arguments.list(tokens, i))) do
    if text(tokens, at.first) == "function" then past = at.last end
  end
  return past
end

--- Whether a method of `kind`, called with a dot, certainly lacks the handle as its first argument.
function arguments.lacks_self(tokens, i, kind, holds)
  local list, more = arguments.list(tokens, i)
  if not list[1] then return true end
  if more and #list == 1 then return false end
  local first = arguments.kind(tokens, list[1], holds)
  return first ~= nil and first ~= kind
end


return arguments
