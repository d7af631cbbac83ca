--- Finds results of calls that may fail and are used without looking whether they did, and handles that are opened and dropped. These are
--- hints: the script may know better.
local infer = require "kt.check.infer"
local constants = require "kt.check.constants"
local operators = require "kt.check.operators"
local scopes = require "kt.check.scopes"
local standin = require "kt.check.standin"
local types = require "kt.check.types"

local results = {}

-- Functions of Lua's library whose first argument must not be nil, apart from those of `string`.
local firsts = { ipairs = true, pairs = true, next = true, ["table.concat"] = true, ["table.unpack"] = true, ["table.sort"] = true }

--- Whether a call fails if this argument is nil.
local function needs_argument(inferred, call, node)
  local place
  for i, arg in ipairs(call.args) do
    if arg == node then place = i end
  end
  if not place then return false end
  local f, before = inferred:called(call)
  if not f then
    local name = place == 1 and call.callee and inferred:library(call.callee)
    return name and (firsts[name] or name:find "^string%." ~= nil) or false
  end
  local p = f.params and f.params[place - before]
  return p ~= nil and not p.optional and p.name ~= "..." and not p.type:find "any" and not p.type:find "nil"
end

--- Whether a use of a value fails if it is nil.
local function needs_value(inferred, node)
  local up = node.up
  if not up then return false end
  if up.base == node then return true end
  if up.tag == "call" then return needs_argument(inferred, up, node) end
  return up.tag == "unary" and up.op == "#" or up.tag == "binary" and (up.op == ".." or operators.arithmetic[up.op]) or false
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

local of_content = { invalid = true, limit = true, auth = true } -- codes of failures that only the arguments decide

--- Whether a call of f may fail. It does not if only the arguments decide that, and they are constant: kt.duration "5s".
local function may_fail(inferred, f, call)
  if not types.may_fail(f) then return false end
  for _, code in ipairs(f.fails or {}) do
    if not of_content[code] then return true end
  end
  for _, arg in ipairs(call.args) do
    if standin.is(constants.value(inferred, arg)) then return true end
  end
  return #call.args == 0
end

--- The kind of handle that a call gives, of those that belong to a task.
local function owned(of)
  for _, one in ipairs(of or {}) do
    if one.is == "handle" and one.has.owned then return one.name end
  end
end

--- The kind of handle that a call of f, which is a statement, opens and drops. For kt.first, the kind that one of its tasks returns.
local function dropped(inferred, f, call)
  if f.name ~= "kt.first" then return owned(inferred:value(call, 1)) end
  for _, arg in ipairs(call.args) do
    local task = infer.behind(arg)
    local by = task.tag == "call" and inferred:called(task)
    local kind = by and by.name == "kt.spawn" and task.args[1] and owned(inferred:outcome(task.args[1], 1))
    if kind then return kind end
  end
end

local function hint_dropped(f, call, kind, note)
  note {
    token = call.file.tokens[call.at], path = f.name, message = ("the %s that it returns is not used, and stays open until it is collected"):format(kind),
    suggestion = ("write: local %s, err = …"):format(kind), hint = true,
  }
end

--- The kind of a handle that a table of the script has, of those that belong to a task; nil if it has none.
local function inside(inferred, of)
  for _, one in ipairs(of or {}) do
    for _, item in ipairs(one.is == "table" and one.node.items or {}) do
      local kind = owned(inferred:type(item.value))
      if kind then return kind end
    end
  end
end

--- A handle in a table that goes to another task, which does not get the handle.
local function check_handed(inferred, f, call, note)
  local of
  if f.name == "queue:push" then of = call.args[1] and inferred:type(call.args[1])
  elseif f.name == "kt.spawn" then of = call.args[1] and inferred:outcome(call.args[1], 1) end
  local kind = inside(inferred, of)
  if not kind then return end
  note {
    token = call.file.tokens[call.at], path = f.name, message = ("the %s in the table stays with its task, and closes with it"):format(kind), hint = true,
    suggestion = f.name == "kt.spawn" and ("return the %s itself, before other values"):format(kind) or ("push the %s itself"):format(kind),
  }
end

--- The name that a condition tests for nil: not s, s == nil.
local function absent(condition)
  if condition.tag == "unary" and condition.op == "not" and condition.operand.tag == "name" then return condition.operand end
  local is = condition.tag == "binary" and condition.op == "==" and condition.right.tag == "constant" and condition.right.value == nil
  return is and condition.left.tag == "name" and condition.left or nil
end

--- The call whose first value a local variable is, if the statement that declares it sets it and nothing else does.
local function call_of(var)
  local value = var and var.group and scopes.only_value(var)
  return value and value.tag == "call" and value or nil
end

--- Hints at the use of a result after an `if not s then … end` after which execution continues. Calls of the API are known to continue.
local function check_test(inferred, test, note)
  local name = test.last and inferred:called(test.last) and absent(test.condition)
  local var = name and name.var
  local call = call_of(var)
  local f = call and inferred:called(call)
  if not f or not may_fail(inferred, f, call) then return end
  for _, use in ipairs(var.uses) do
    if use.at >= test.past then
      if use.owner == name.owner and needs_value(inferred, use) then
        note {
          token = use.file.tokens[use.at], path = f.name,
          message = ("%s is nil here if it failed: execution continues after the `if` for that"):format(var.name),
          suggestion = "end its block with return", hint = true,
        }
      end
      return
    end
  end
end

--- Calls note{ token, path, message, suggestion, hint } for each call of a file whose result is used unchecked, or dropped.
function results.check(inferred, file, note)
  for _, test in ipairs(file.tests) do check_test(inferred, test, note) end
  for _, node in ipairs(file.nodes) do
    local f = node.tag == "call" and inferred:called(node)
    local kind = f and node.statement and dropped(inferred, f, node)
    if kind then hint_dropped(f, node, kind, note) end
    if f then check_handed(inferred, f, node, note) end
    if f and needs_value(inferred, node) and may_fail(inferred, f, node) then hint(f, node, note) end
    local var = node.tag == "name" and node.var.uses[1] == node and node.var
    local call = call_of(var)
    if call and node.owner == var.owner and needs_value(inferred, node) and not looked_at(var, node.at) then
      f = inferred:called(call)
      if f and may_fail(inferred, f, call) then hint(f, node, note) end
    end
  end
end

return results
