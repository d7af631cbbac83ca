--- Finds results of calls that may fail and are used without looking whether they did. These are hints: the script may know better.
local types = require "kt.check.types"

local results = {}

local operators = { [".."] = true, ["+"] = true, ["-"] = true, ["*"] = true, ["/"] = true, ["//"] = true, ["%"] = true, ["^"] = true }

--- Whether a use of a value fails if it is nil.
local function needs_value(node)
  local up = node.up
  if not up then return false end
  if up.base == node then return true end
  return up.tag == "unary" and up.op == "#" or up.tag == "binary" and operators[up.op] == true
end

local function hint(f, node, note)
  note {
    token = node.file.tokens[node.at], path = f.name, message = "the result is nil if it fails, and is used unchecked",
    suggestion = node.tag == "name" and ("write: if not %s then … end"):format(node.var.name) or "keep it in a local and check that, or write assert(…)",
    hint = true,
  }
end

--- Whether another variable of the same `local`, such as err, is read before a position.
local function looked_at(var, at)
  for _, other in ipairs(var.group or {}) do
    if other ~= var and other.uses[1] and other.uses[1].at < at then return true end
  end
  return false
end

--- Calls note{ token, path, message, suggestion, hint } for each call of a file whose result is used so.
function results.check(inferred, file, note)
  for _, node in ipairs(file.nodes) do
    local f = node.tag == "call" and inferred:called(node)
    if f and types.may_fail(f) and needs_value(node) then hint(f, node, note) end
    local var = node.tag == "name" and not node.var.global and node.var.uses[1] == node and node.var
    local def = var and #var.defs == 1 and var.group and var.defs[1]
    if def and def.nth == 1 and def.expr and def.expr.tag == "call" and node.owner == var.owner and needs_value(node) and not looked_at(var, node.at) then
      f = inferred:called(def.expr)
      if f and types.may_fail(f) then hint(f, node, note) end
    end
  end
end

return results
