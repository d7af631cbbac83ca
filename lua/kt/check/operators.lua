--- Checks operands: of what the API gives, only strings and numbers take part in arithmetic, comparisons and concatenation; errs may
--- also be concatenated. Tables of the script may have metamethods, and are not checked.
local infer = require "kt.check.infer"
local types = require "kt.check.types"

local operators = {}

local arithmetic = { ["+"] = true, ["-"] = true, ["*"] = true, ["/"] = true, ["//"] = true, ["%"] = true, ["^"] = true }
operators.arithmetic = arithmetic
local orders = { ["<"] = true, [">"] = true, ["<="] = true, [">="] = true }

local numbers = { number = true, integer = true }

--- Whether no value of that kind is an operand.
local function refused(one, op)
  if one.is == "plain" then return not numbers[one.name] and one.name ~= "string" and one.name ~= "table" end
  return one.is ~= "table" and not (one.name == "err" and op == "..")
end

local function advice(one, op)
  if one.name == "secret" then return "secret:export() gives its bytes" end
  if one.is == "handle" or one.is == "record" then
    return infer.field_of(one, "peer") and op == ".." and ("write %s.peer"):format(one.name) or "use one of its fields or methods"
  end
  return op == ".." and "write tostring(…)" or "use a number"
end

local function check_operand(side, one, op, note)
  if not one or not refused(one, op) then return end
  local function complain(at, path, message, suggestion)
    note { token = side.file.tokens[at], path = path, message = message, suggestion = suggestion }
  end
  if one.is == "method" or one.is == "api" then
    return complain(side.name_at or side.at, one.fn.name, ("a function used with %s"):format(op), "call it: " .. one.fn.signature)
  end
  local named = one.is == "handle" or one.is == "record"
  complain(side.at, named and one.name or side.file.tokens[side.past - 1].text, ("%s used with %s"):format(types.show(one), op), advice(one, op))
end

--- Numbers and strings are not in an order: far:stats().srtt > "1s".
local function check_order(node, left, right, note)
  local function mixed(a, b) return a and b and numbers[a.name] and b.is == "plain" and b.name == "string" end
  if not mixed(left, right) and not mixed(right, left) then return end
  note {
    token = node.file.tokens[node.at], path = node.op, message = ("%s compared with %s"):format(types.show(left), types.show(right)),
    suggestion = "kt.duration and kt.size read text with a unit, and tonumber reads a number",
  }
end

--- Checks a unary or binary operation. Calls note{ token, path, message, suggestion } for each mistake.
function operators.check(inferred, node, note)
  if node.tag == "unary" then
    local one = types.only(inferred:type(node.operand))
    if node.op == "-" or node.op == "#" and one and one.is ~= "list" and one.is ~= "declared" then check_operand(node.operand, one, node.op, note) end
    return
  end
  if not arithmetic[node.op] and not orders[node.op] and node.op ~= ".." then return end
  local left, right = types.only(inferred:type(node.left)), types.only(inferred:type(node.right))
  check_operand(node.left, left, node.op, note)
  check_operand(node.right, right, node.op, note)
  if orders[node.op] then check_order(node, left, right, note) end
end

return operators
