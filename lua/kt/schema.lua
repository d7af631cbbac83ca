--- Checks a value against a description, fills in defaults, and reports all mistakes at once.
---
--- A description is a table with `type` and the fields of that type:
---   string, boolean, function, any
---   flag        true, false, 1 or 0 → boolean
---   integer     min, max
---   enum        values; fn: a function is accepted too, also by keys; meant: maps other common names, in lower case, to values
---   handle      kind: a handle of that kind
---   list        of: the description of each element
---   duration, size, rate, share   units (kt.units) → numbers; min, and max or below, in seconds and bytes
---   table       keys: a list of descriptions, each with a `name`
---               check(value, raw, mistake): rules between keys; it calls mistake(key, message, suggestion)
---               elsewhere: maps keys that belong to another table to { message, suggestion }
---               fixed: { name = true }: keys of the constructor that cannot be changed later
--- Every description may have `default`, `required`, `doc`, `expected` (how errors describe the value), and `off` (false is
--- accepted). A table may also have
---   on          true means {}
---   bare        a kind of handle, and the key for it: a handle alone stands for { [bare] = handle }
---   as          for the documentation: the function that describes the same keys
---   called      the function whose argument it is
---   main        the key that a string in place of the table was meant for, if no required key tells
--- A description of another type with `keys` also accepts a table with those keys.
--- Other modules add types to schema.types (kt/init.lua: endpoint, secret): a function(description, value) that returns the
--- value to keep, or nil, a message, and a suggestion if it has one.
---
--- A mistake is { path, message, suggestion }: "link.kcp.sndwind", "unknown key", "did you mean sndwnd?" or nil.
local units = require "kt.units"

local schema = { types = {} }

--- The kind of a handle ("link"), or nil for other values. kt/init.lua replaces it.
function schema.kind() return nil end

--- A value as messages quote it.
local function show(value)
  if type(value) == "string" then
    if #value > 40 then value = value:sub(1, 37) .. "..." end
    return '"' .. value:gsub("[%c\"\\]", function(c) return ("\\%d"):format(c:byte()) end) .. '"'
  end
  if value == nil then return "nil" end
  if value ~= value then return "NaN" end
  if value == math.huge or value == -math.huge then return value > 0 and "math.huge" or "-math.huge" end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  local kind = schema.kind(value) or type(value)
  return (kind:find "^[aeiou]" and "an " or "a ") .. kind
end
schema.show = show

--- Edit distance with transpositions: the number of typing slips between two words.
function schema.distance(a, b)
  local before, last = {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last = last, row
  end
  return last[#b]
end

local WORD_MAX = 64 -- bytes; a longer word is not a name, and slow to compare

--- The closest name, or nil if none is close enough to be a typo.
function schema.suggest(name, names)
  if #name > WORD_MAX then return nil end
  local best, least
  for _, candidate in ipairs(names) do
    local d = schema.distance(name:lower(), candidate:lower())
    local nearer = not least or d < least or d == least and #candidate > #best -- dropped letters are more common than added ones
    if nearer and d <= math.max(1, math.min(#name, #candidate) // 3) then
      best, least = candidate, d
    end
  end
  return best
end

--- "expected X, got Y", for a value that does not fit.
local function unfit(expected, value) return ("expected %s, got %s"):format(expected, show(value)) end
schema.unfit = unfit

--- "expected a", or "expected one of a, b, c".
local function one_of(names)
  return (#names == 1 and "expected " or "expected one of ") .. table.concat(names, ", ")
end
schema.one_of = one_of

local function in_range(d, value, raw, write)
  if (d.min and value < d.min) or (d.max and value > d.max) or (d.below and value >= d.below) then
    return nil, unfit(units.range(d, write), raw)
  end
  return value
end

local function of_type(name, article)
  return function(_, value)
    if type(value) == name then return value end
    return nil, unfit(article .. " " .. name, value)
  end
end

local function with_unit(unit, name)
  local function write(number) return units.write(unit, number) or number .. name end
  return function(d, value)
    local number, expected, too_much = units[unit](value)
    if too_much and (d.max or d.below) then expected = units.range(d, write) end -- narrower than what kt.units allows
    if not number then return nil, unfit(expected, value) .. units.missing(unit, value) end
    return in_range(d, number, value, write)
  end
end

local types = schema.types
types.string = of_type("string", "a")
types["function"] = of_type("function", "a")
function types.any(_, value) return value end
types.duration = with_unit("duration", " s")
types.size = with_unit("size", " bytes")
types.rate = with_unit("rate", " bytes per second")
types.share = with_unit("share", "")

function types.boolean(_, value)
  if type(value) == "boolean" then return value end
  return nil, unfit("true or false", value)
end

function types.flag(_, value)
  if type(value) == "boolean" then return value end
  if value == 0 or value == 1 then return value == 1 end
  return nil, unfit("true or false", value)
end

function types.integer(d, value)
  local n = math.type(value) and math.tointeger(value)
  if n then return in_range(d, n, value, tostring) end
  local range = units.range(d, tostring)
  return nil, unfit(range and ("an integer (%s)"):format(range) or "an integer", value)
end

function types.handle(d, value)
  if schema.kind(value) == d.kind then return value end
  return nil, unfit("a " .. d.kind, value)
end

function types.enum(d, value)
  if d.fn and type(value) == "function" then return value end
  for _, known in ipairs(d.values) do
    if value == known then return value end
  end
  local near = type(value) == "string" and (d.meant and d.meant[value:lower()] or schema.suggest(value, d.values))
  local values = {}
  for i, known in ipairs(d.values) do values[i] = ('"%s"'):format(known) end
  return nil, "unknown value " .. show(value),
    near and ('did you mean "%s"?'):format(near) or one_of(values) .. (d.fn and ", or a function" or "")
end

-- The name of the table, one level down, that has this key.
local function belongs_in(d, key)
  for _, sub in ipairs(d.keys) do
    for _, inner in ipairs(sub.keys or {}) do
      if inner.name == key then return sub.name end
    end
  end
end

local function names_of(d)
  local names = {}
  for i, k in ipairs(d.keys) do names[i] = k.name end
  return names
end

--- The message and the suggestion for a key that is not in the description.
local function unknown_key(d, key)
  if type(key) ~= "string" then return "unexpected positional value", "write name = value" end
  local elsewhere = d.elsewhere and d.elsewhere[key]
  if elsewhere then return elsewhere[1], elsewhere[2] end
  if d.fixed and d.fixed[key] then return "cannot be changed later", one_of(names_of(d)) end
  local inside = belongs_in(d, key)
  if inside then return "unknown key", ("it goes inside %s: %s = { %s = ... }"):format(inside, inside, key) end
  local names = names_of(d)
  local near = schema.suggest(key, names)
  return "unknown key", near and ("did you mean %s?"):format(near) or one_of(names)
end

local function note(mistakes, path, message, suggestion)
  mistakes[#mistakes + 1] = { path = path, message = message, suggestion = suggestion }
end

local check

local function holds_unknown(t)
  for _, value in next, t do
    if schema.unknown(value) then return true end
  end
  return false
end

local function check_table(path, d, value, mistakes)
  local out, known = {}, {}
  for _, key in ipairs(d.keys) do
    known[key.name] = true
    out[key.name] = check(path .. "." .. key.name, key, rawget(value, key.name), mistakes)
  end
  local unknown = {}
  for key in next, value do
    if not known[key] then unknown[#unknown + 1] = key end
  end
  table.sort(unknown, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(unknown) do
    local at = type(key) == "string" and "." .. key or "[" .. tostring(key) .. "]"
    note(mistakes, path .. at, unknown_key(d, key))
  end
  if d.check and not holds_unknown(value) then
    d.check(out, value, function(key, ...) note(mistakes, path .. "." .. key, ...) end)
  end
  return out
end

--- How to write the table for a string given in its place, if it can be told which key was meant: the one that d names as `main`, or
--- the only required one that takes a string.
local function spelled(d, value)
  local meant = type(value) == "string" and d.called and d.main or nil
  for _, key in ipairs(type(value) == "string" and d.called and d.keys or {}) do
    if not d.main and key.required and (key.type == "string" or key.type == "endpoint" or key.type == "endpoints") then
      if meant then return nil end
      meant = key.name
    end
  end
  return meant and ("write %s { %s = %s }"):format(d.called, meant, show(value)) or nil
end

local function check_list(path, d, value, mistakes)
  local out, n = {}, rawlen(value)
  for i = 1, n do out[i] = check(("%s[%d]"):format(path, i), d.of, rawget(value, i), mistakes) end
  for key in next, value do
    if not math.type(key) or key < 1 or key > n or key % 1 ~= 0 then
      note(mistakes, path .. "." .. tostring(key), "unexpected key in a list", "write the elements in order: { a, b }")
    end
  end
  return out
end

function check(path, d, value, mistakes)
  if value == nil then
    if d.required then note(mistakes, path, "missing; expected " .. (d.expected or "a " .. d.type)) end
    value = d.default
    if value == nil then return nil end
  end
  if schema.unknown(value) then return value end
  if d.bare and schema.kind(value) == d.bare then value = { [d.bare] = value } end
  if d.type == "list" and type(value) == "table" then return check_list(path, d, value, mistakes) end
  if d.type == "list" then
    note(mistakes, path, unfit("a list", value))
    return nil
  end
  if value == false and d.off then return false end
  if d.type == "table" then
    if value == true and d.on then value = {} end
    if type(value) == "table" then return check_table(path, d, value, mistakes) end
    note(mistakes, path, unfit(("%sa table%s"):format(d.bare and "a " .. d.bare .. " or " or "",
      d.off and d.on and ", true or false" or d.off and " or false" or ""), value), spelled(d, value))
    return nil
  end
  if d.keys and type(value) == "table" then return check_table(path, d, value, mistakes) end
  local out, wrong, suggestion = types[d.type](d, value)
  if wrong then note(mistakes, path, wrong, suggestion) end
  return out
end

--- Whether a value stands for an unknown one, which is not checked. Only `kt check` has such values.
function schema.unknown() return false end

--- Returns the value with units converted and defaults filled in, or nil and the list of mistakes.
function schema.check(path, description, value)
  local mistakes = {}
  local out
  if value == nil then
    note(mistakes, path, ("expected %s, got no value"):format(description.expected or "a " .. description.type))
  else
    out = check(path, description, value, mistakes)
  end
  if #mistakes > 0 then return nil, mistakes end
  return out
end

--- A mistake as one line.
function schema.line(mistake)
  return mistake.path .. ": " .. mistake.message .. (mistake.suggestion and "; " .. mistake.suggestion or "")
end

--- Mistakes as one text: a single one on its line, several as a list under `what`.
function schema.text(what, mistakes)
  if #mistakes == 1 then return schema.line(mistakes[1]) end
  local lines = {}
  for i, mistake in ipairs(mistakes) do lines[i] = schema.line(mistake) end
  return ("%s: %d mistakes\n  %s"):format(what, #mistakes, table.concat(lines, "\n  "))
end

--- A name in `path`, as a script writes it.
local function inside(path, name) return path .. (name:find "^[%a_][%w_]*$" and "." .. name or ("[%s]"):format(show(name))) end

--- For a name that `path` lacks: its place, what is wrong, and what to do. names: those it has; what: "function" by default.
function schema.absence(path, name, names, what)
  local near = schema.suggest(name, names)
  return inside(path, name), "no such " .. (what or "function"),
    near and ("did you mean %s?"):format(inside(path, near)) or #names == 0 and "there is none" or one_of(names)
end

--- The same as one sentence.
function schema.absent(...) return ("%s: %s; %s"):format(schema.absence(...)) end

--- For a script that assigns to a name in `path`, likewise.
function schema.constancy(path, name) return inside(path, name), path .. " is read-only", "use a local instead" end

function schema.unchangeable(...) return ("%s: %s; %s"):format(schema.constancy(...)) end

--- A mistake's path relative to `path`: "link:set", "link:set.kcp.mtu" → "kcp.mtu".
function schema.below(path, full) return (full:sub(#path + 1):gsub("^%.", "")) end

-- `kt check` replaces the three functions below: it collects mistakes instead of raising them.

--- Raises the message of schema.absent.
function schema.not_there(where, ...)
  error(where .. schema.absent(...), 0)
end

--- Raises the message of schema.unchangeable.
function schema.not_set(where, ...)
  error(where .. schema.unchangeable(...), 0)
end

--- Raises the mistakes in the argument of `what`.
function schema.refuse(where, what, mistakes)
  error(where .. schema.text(what, mistakes), 0)
end

return schema
