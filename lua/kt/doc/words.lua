--- Phrases for API descriptions, shared by `kt help`, the reference and the type definitions.
local named = require "kt.api.key_types"
local units = require "kt.units"

local words = {}

words.context = {
  declare = "the main chunk",
  task = "tasks",
  any = "the main chunk and tasks",
  -- in specs:
  spec = "anywhere in a spec",
  body = "the body of a spec",
  waits = "the body of a spec and tasks",
}

--- A value as a script would write it.
function words.value(key, value)
  if type(value) == "table" then return "{}" end
  if type(value) ~= "number" then return type(value) == "string" and ('"%s"'):format(value) or tostring(value) end
  local written = units.write(key.type, value)
  if written then return ('"%s"'):format(written) end
  return ("%g"):format(value):find "e" and ("%d"):format(value) or ("%g"):format(value)
end

--- The type and range of a key's value.
function words.kind(key)
  local name = key.type == "handle" and key.kind or named[key.type] and named[key.type].words or key.type
  if key.type == "enum" then
    local values = {}
    for i, v in ipairs(key.values) do values[i] = ('"%s"'):format(v) end
    return "one of " .. table.concat(values, ", ") .. (key.fn and "; or a function" or "")
  end
  if key.fn then name = name .. "; or a function" end
  if key.keys and key.type ~= "table" then name = name .. " or table" end
  if key.type == "list" then return "list of " .. (key.of.bare and key.of.bare .. " or table" or words.kind(key.of)) end
  if key.off then name = name .. (key.on and ", true or false" or " or false") end
  local range = units.range(key, function(value) return words.value(key, value) end)
  return range and name .. ", " .. range or name
end

--- "required", 'default "5s"', or nil.
function words.default(key)
  if key.required then return "required" end
  local default = key.default
  if default == nil then default = key.manual end
  if default ~= nil and type(default) ~= "table" then return "default " .. words.value(key, default) end
end

--- Calls each(path, key, depth) for every key of an argument, parents before nested keys ("kcp.mtu"). Skips the keys inside a key
--- with `as`, which another function describes.
function words.keys(argument, each, path, depth)
  for _, key in ipairs(argument.keys or {}) do
    local at = (path and path .. "." or "") .. key.name
    each(at, key, depth or 0)
    local list = key.type == "list"
    if not key.as then words.keys(list and key.of or key, each, list and at .. "[]" or at, (depth or 0) + 1) end
  end
end

--- How a unit is written; nil if `name` is not a unit.
function words.unit(name) return units.expected[name] end

--- The parameters of a function in order, the argument with its keys last: { name, type, doc, optional, argument }.
function words.params(f)
  local out = {}
  for _, p in ipairs(f.params or {}) do out[#out + 1] = p end
  if f.argument then
    local table_like = f.argument.type == "table"
    local p = {
      name = table_like and "options" or f.argument.type, type = f.argument.type, optional = f.optional, argument = f.argument,
      doc = table_like and "The options." or (f.argument.expected or words.unit(f.argument.type)):gsub("^%l", string.upper) .. ".",
    }
    out[#out + 1] = p
  end
  return out
end

return words
