--- Finds comparisons that are never true: a handle with a string, and a field with a value that it never has, such as an err.code that
--- does not exist.
local api = require "kt.api"
local infer = require "kt.check.infer"
local schema = require "kt.schema"
local types = require "kt.check.types"

local compare = {}

--- The codes of all errs: the API's, and those that the script makes. Nil if it makes some whose code is computed.
function compare.codes(inferred)
  local codes = {}
  for i, code in ipairs(api.codes) do codes[i] = code.name end
  for _, file in ipairs(inferred.files) do
    for _, node in ipairs(file.nodes) do
      local f = node.tag == "call" and inferred:called(node)
      if f and f.name == "kt.err" then
        local given, code = node.args[1], nil
        for _, item in ipairs(given and given.items or {}) do
          if item.key == "code" then code = item.value end
        end
        if not code or code.tag ~= "constant" then return nil end
        codes[#codes + 1] = code.value
      elseif node.tag == "name" and not (node.up and node.up.tag == "call") and types.only(inferred:type(node)) == types.api(api.functions["kt.err"])[1] then
        return nil -- it may be called by other names
      end
    end
  end
  return codes
end

--- The field that an expression reads: its holder and its description.
local function field_of(inferred, node)
  node = infer.behind(node)
  if node.tag ~= "index" or not node.key then return nil end
  local holder = types.holder(inferred:type(node.base))
  local described = holder and infer.field_of(holder, node.key)
  if described then return holder, described end
end

local function contains(list, value)
  for _, one in ipairs(list) do
    if one == value then return true end
  end
  return false
end

local kinds_of_value = { "nil", "number", "string", "boolean", "table", "function", "thread", "userdata" }
local results = { type = kinds_of_value, ["math.type"] = { "integer", "float" } }

--- Reports comparisons with a string that type() or math.type() never returns.
local function check_type(inferred, node, constant, note)
  local call = infer.behind(node)
  local name = call.tag == "call" and call.callee and inferred:library(call.callee)
  local values = name and results[name]
  if not values or type(constant.value) ~= "string" or contains(values, constant.value) then return end
  note {
    token = constant.file.tokens[constant.at], path = name, message = ("is never %s"):format(schema.show(constant.value)),
    suggestion = schema.one_of(values),
  }
end

local function check_values(inferred, codes, node, constant, note)
  local holder, described = field_of(inferred, node)
  if not described or type(constant.value) ~= "string" or not (described.values or described.codes) then return end
  if described.codes and not codes then return end
  local values = table.move(described.values or {}, 1, #(described.values or {}), 1, {})
  if described.codes then table.move(codes, 1, #codes, #values + 1, values) end
  if contains(values, constant.value) then return end
  local near = schema.suggest(constant.value, values)
  for i, value in ipairs(values) do values[i] = schema.show(value) end
  note {
    token = constant.file.tokens[constant.at], path = holder.name .. "." .. described.name, message = ("is never %s"):format(schema.show(constant.value)),
    suggestion = near and ("did you mean %s?"):format(schema.show(near))
      or described.codes and "kt help err lists the codes" or schema.one_of(values),
  }
end

--- The value that an expression is compared with, for messages; nil if it may be anything, or is nil or false, which `and` may give.
local function shown(inferred, node)
  if node.tag == "constant" then return node.value and schema.show(node.value) or nil end
  local one = types.only(inferred:type(node))
  return one and one.is == "plain" and types.show(one) or nil
end

local function check_handle(inferred, node, other, note)
  local one = types.only(inferred:type(node))
  local value = one and shown(inferred, other)
  if not value then return end
  local token = other.file.tokens[node.at]
  if one.is == "method" then
    local call = one.fn.name .. "()"
    note { token = token, path = one.fn.name, message = "a method that is compared without a call", suggestion = "write " .. call }
  elseif one.is == "handle" or one.is == "record" then
    note {
      token = token, path = one.name, message = ("%s is never equal to %s"):format(types.show(one), value),
      suggestion = one.name == "secret" and "use kt.crypto.equal(secret, ...)"
        or infer.field_of(one, "code") and ("compare err.code: err.code == %s"):format(other.tag == "constant" and value or "…") or "compare one of its fields",
    }
  end
end

--- A MAC that is compared in a time that tells where it differs, a hint.
local function check_mac(inferred, node, other, note)
  local call = infer.behind(node)
  local f = call.tag == "call" and inferred:called(call)
  if not f or not f.mac or other.tag == "constant" then return end
  note {
    token = node.file.tokens[node.at], path = f.name, message = "compared in a time that tells where the two differ",
    suggestion = "write kt.crypto.equal(a, b)", hint = true,
  }
end

--- A number compared with a string: response.status == "200".
local function check_plain(node, left, right, note)
  local function kind(one) return one and one.is == "plain" and (one.name == "integer" and "number" or one.name) end
  local a, b = kind(left), kind(right)
  if not a or not b or a == b or node.left.value == false or node.right.value == false then return end -- `and` may give false
  note {
    token = node.file.tokens[node.at], path = node.op, message = ("%s is never equal to %s"):format(types.show(left), types.show(right)),
    suggestion = "convert one of them, or compare with another value",
  }
end

local equality = { ["=="] = true, ["~="] = true }

--- Checks a comparison. codes: from compare.codes. Calls note{ token, path, message, suggestion } for a mistake.
function compare.check(inferred, codes, node, note)
  if not equality[node.op] then return end
  local left, right = types.only(inferred:type(node.left)), types.only(inferred:type(node.right))
  if left and left == right and left.is == "handle" and left.name == "secret" then
    note {
      token = node.file.tokens[node.at], path = "secret", message = "two secrets are equal only if they are the same handle",
      suggestion = "write kt.crypto.equal(a, b)",
    }
  end
  check_plain(node, left, right, note)
  for _, pair in ipairs { { node.left, node.right }, { node.right, node.left } } do
    if pair[2].tag == "constant" then
      check_values(inferred, codes, pair[1], pair[2], note)
      check_type(inferred, pair[1], pair[2], note)
    end
    check_handle(inferred, pair[1], pair[2], note)
    check_mac(inferred, pair[1], pair[2], note)
  end
end

return compare
