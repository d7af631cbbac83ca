--- Checks values that are not constant against the description of the argument that they are in, by what kt.check.infer says of their types.
local constants = require "kt.check.constants"
local named = require "kt.api.key_types"
local schema = require "kt.schema"
local standin = require "kt.check.standin"
local types = require "kt.check.types"

local non_constants = {}

--- The kinds of values that a type of the API has: { string = true, ... }.
local function kinds(text)
  local out = {}
  for one in text:gsub("%b<>", ""):gmatch "[%a_]+[%[%]]*" do
    out[one:find "%[%]$" and "table" or one] = true
  end
  out.integer, out.number = out.integer or out.number, out.number or out.integer
  return out
end

-- The kinds of values that each type of a description takes; one that is not here takes all. A handle takes those of its `kind`.
local takes = {
  string = kinds "string", enum = kinds "string", integer = kinds "integer", boolean = kinds "boolean", ["function"] = kinds "function",
  list = kinds "table", table = kinds "table", handle = {},
}
for name, row in pairs(named) do takes[name] = kinds(row.lua) end

local tables = { record = true, list = true, table = true, kt = true }

--- The kind of an expression's value: "number" and so on, the kind of a handle, or "nothing" for the call of a function that returns
--- nothing. Nil if unknown.
function non_constants.kind_of(inferred, node)
  local of = inferred:type(node)
  if of and #of == 0 and node.tag == "call" then return "nothing" end
  local one = types.only(of)
  if not one then return nil end
  if one.is == "handle" or one.is == "plain" then return one.name end
  return tables[one.is] and "table" or "function"
end

--- The advice for a value where a function is expected: nil unless it comes from a call.
function non_constants.uncalled(node) return node.tag == "call" and not node.base and "give the function itself, without ()" or nil end

local function fits(d, kind)
  local known = takes[d.type]
  if not known or known[kind] then return true end
  return d.kind == kind or d.bare == kind or (d.off or d.on) and kind == "boolean" or d.fn and kind == "function" or d.keys and kind == "table" or false
end

--- Checks a value against its description, unless it is constant: kt.schema checks those. Calls note{ path, message, suggestion }.
function non_constants.check_one(inferred, d, node, path, note)
  if not standin.is(constants.value(inferred, node)) then return end
  local kind = non_constants.kind_of(inferred, node)
  if not kind or fits(d, kind) or kind == "nothing" and d.type ~= "function" then return end
  local _, mistakes = schema.check(path, d, kind ~= "nothing" and standin.sample(kind) or nil)
  for _, m in ipairs(mistakes or {}) do
    note { path = path, message = m.message, suggestion = m.suggestion or d.type == "function" and non_constants.uncalled(node) or nil }
  end
end

--- Checks what a table constructor holds against the description of the table. Calls note{ at, path, message, suggestion }; at: the position of
--- the key.
function non_constants.check(inferred, d, node, path, note)
  for i, item in ipairs(node.items) do
    local inner, place = nil, path
    if d.type == "list" and not item.key then
      inner, place = d.of, ("%s[%d]"):format(path, i)
    end
    for _, key in ipairs(item.key and d.keys or {}) do
      if key.name == item.key then inner, place = key, path .. "." .. key.name end
    end
    if inner and item.value.tag == "table" then
      non_constants.check(inferred, inner, item.value, place, note)
    elseif inner then
      non_constants.check_one(inferred, inner, item.value, place, function(m)
        m.at = item.at
        note(m)
      end)
    end
  end
end

return non_constants
