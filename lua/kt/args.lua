--- kt.args: the script's arguments, parsed by a table that declares them, which is also its --help.
---
--- A mistake in the table is the script's and raises at its line; a mistake in the arguments is the user's and names the flag.
local core = require "kt.core"
local misuse = require "kt.misuse"
local schema = require "kt.schema"
local units = require "kt.units"

local args = { checking = false } -- whether `kt check` runs the script: then nothing is printed, and nothing required

local WIDTH = 30 -- of the column of flags

--- Types by name: the word for a value in the help, and the reader: text → value, or nil and the expected form.
local types = {
  string = { "TEXT", function(text) return text end },
  integer = { "N", function(text) return math.tointeger(tonumber(text)), "an integer" end },
  number = { "N", function(text)
    local n = tonumber(text)
    return n and n == n and n or nil, "a number"
  end },
  boolean = { nil, function(text)
    if text == "true" or text == "false" then return text == "true" end
    return nil, "true or false"
  end },
  duration = { "TIME", units.duration }, size = { "SIZE", units.size }, rate = { "RATE", units.rate },
}
local names = {}
for name in next, types do names[#names + 1] = name end
table.sort(names)

local keys = { default = true, help = "string", required = "boolean", type = "string", name = "string" }

local function misfit(path, fmt, ...) misuse("kt.args%s: %s", path, fmt:format(...)) end

--- The type of a default value; nil if it cannot be one.
local function type_of(default)
  return math.type(default) == "integer" and "integer" or type(default) == "number" and "number"
    or (type(default) == "string" or type(default) == "boolean") and type(default) or nil
end

--- Checks one declaration and completes it. Returns { key, shown, kind, reader, default, help, required }.
local function declare(key, d)
  local path = math.type(key) and ("[%d]"):format(key) or "." .. tostring(key)
  if type(d) ~= "table" then misfit(path, "expected a table such as { default = 8388, help = \"…\" }, got %s", schema.show(d)) end
  for name, value in next, d do
    local kind = keys[name]
    if not kind then
      misfit(path, "unknown key %s; expected one of default, help, name, required, type", schema.show(name))
    elseif kind ~= true and type(value) ~= kind then
      misfit(path .. "." .. name, "expected a %s, got %s", kind, schema.show(value))
    end
  end
  if d.required and d.default ~= nil then misfit(path, "has both required and default; leave one out") end
  local kind = d.type or d.default == nil and "string" or type_of(d.default)
  if not types[kind] then misfit(path .. ".type", "%s", schema.one_of(names)) end
  local out = { key = key, kind = kind, reader = types[kind][2], help = d.help or "", required = d.required, default = d.default }
  if d.default ~= nil and type(d.default) ~= "boolean" then
    local value, expected = out.reader(d.default)
    if value == nil then misfit(path .. ".default", "expected %s, got %s", expected, schema.show(d.default)) end
    out.default, out.written = value, tostring(d.default)
  end
  if kind == "boolean" and out.default == nil then out.default = false end
  if math.type(key) then
    out.shown = (d.name or "arg" .. key):upper()
  else
    out.shown = "--" .. key:gsub("_", "-")
    out.value = types[kind][1]
  end
  return out
end

--- The declarations: operands in order, and flags sorted by name and by what the user writes.
local function read(spec)
  local operands, flags, by_name = {}, {}, {}
  for i = 1, rawlen(spec) do
    operands[i] = declare(i, spec[i])
    if operands[i].required and i > 1 and not operands[i - 1].required then
      misfit(("[%d]"):format(i), "required, after one that is not; put required operands first")
    end
  end
  for key, d in next, spec do
    if not (math.type(key) and operands[key]) then
      if type(key) ~= "string" or not key:find "^%a[%w_]*$" or key == "help" then
        misfit("", "expected names of flags (letters, digits and _; not help), got %s", schema.show(key))
      end
      local flag = declare(key, d)
      flags[#flags + 1], by_name[flag.shown] = flag, flag
    end
  end
  table.sort(flags, function(a, b) return a.shown < b.shown end)
  return operands, flags, by_name
end

local function default_text(d)
  if d.required then return " (required)" end
  if d.default == nil or d.default == false then return "" end
  return (" (default %s)"):format(d.written or tostring(d.default))
end

local function usage(operands, flags)
  local first = { "usage: kt run", core.script_name() .. ".lua", #flags > 0 and "[FLAG...]" or nil }
  for _, d in ipairs(operands) do first[#first + 1] = d.required and d.shown or "[" .. d.shown .. "]" end
  local out = { table.concat(first, " "), "" }
  local function row(left, help) out[#out + 1] = ("  %-" .. WIDTH .. "s %s"):format(left, (help:gsub("^ ", ""))):gsub("%s+$", "") end
  for _, d in ipairs(operands) do row(d.shown, d.help .. default_text(d)) end
  for _, d in ipairs(flags) do row(d.shown .. (d.value and " " .. d.value or ""), d.help .. default_text(d)) end
  row("--help", "show this help")
  return table.concat(out, "\n") .. "\n"
end

--- A mistake of the user's.
local function wrong(fmt, ...) error(fmt:format(...) .. "; --help lists the arguments", 0) end

local function store(out, d, text)
  local value, expected = d.reader(text)
  if value == nil then wrong("%s: expected %s, got %s%s", d.shown, expected, schema.show(text), units.missing(d.kind, text)) end
  out[d.key] = value
end

local function unknown(name, flags)
  local known = { "--help" }
  for _, d in ipairs(flags) do known[#known + 1] = d.shown end
  local near = schema.suggest(name, known)
  wrong("%s: unknown flag%s", name, near and ("; did you mean %s?"):format(near) or "")
end

--- Parses the arguments into a table of values by key.
local function parse(list, operands, flags, by_name)
  local out, at, operand, only_operands = {}, 1, 0, false
  while list[at] do
    local text = list[at]
    local name, value = text:match "^(%-%-[^=]+)=(.*)$"
    name = name or text
    if text == "--" and not only_operands then
      only_operands = true
    elseif only_operands or text:sub(1, 1) ~= "-" or text == "-" then
      operand = operand + 1
      if not operands[operand] then wrong("%s: unexpected argument", text) end
      store(out, operands[operand], text)
    elseif (name == "--help" or name == "-h") and not args.checking then
      core.stdout(usage(operands, flags))
      core.exit(0)
    else
      local d = by_name[(name:gsub("_", "-"))] or unknown(name, flags)
      if d.kind == "boolean" and not value then
        out[d.key] = true
      else
        if not value then
          at = at + 1
          value = list[at] or wrong("%s: expected a value", d.shown)
        end
        store(out, d, value)
      end
    end
    at = at + 1
  end
  return out
end

--- kt.args. list: the script's arguments.
function args.read(spec, list)
  if type(spec) ~= "table" then misfit("", "expected a table of arguments, got %s", schema.show(spec)) end
  local operands, flags, by_name = read(spec)
  local out = parse(list, operands, flags, by_name)
  for _, of in ipairs { operands, flags } do
    for _, d in ipairs(of) do
      if out[d.key] == nil then out[d.key] = d.default end
      if out[d.key] == nil and d.required and not args.checking then wrong("%s: missing", d.shown) end
    end
  end
  return out
end

return args
