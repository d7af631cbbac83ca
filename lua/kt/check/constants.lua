--- The value of an expression as far as it is constant: a literal, an operation on constants, a local variable that is set once, to a
--- constant, and tables of these. A stand-in replaces anything else.
local scopes = require "kt.check.scopes"
local standin = require "kt.check.standin"

local constants = {}

local DEEP = 50 -- expressions that depend on each other; beyond, they count as unknown
local LONGEST = 4096 -- bytes of a string that is put together

local operators = {
  ["+"] = function(a, b) return a + b end, ["-"] = function(a, b) return a - b end, ["*"] = function(a, b) return a * b end,
  ["/"] = function(a, b) return a / b end, ["//"] = function(a, b) return a // b end, ["%"] = function(a, b) return a % b end,
  ["^"] = function(a, b) return a ^ b end, ["<<"] = function(a, b) return a << b end, [">>"] = function(a, b) return a >> b end,
  ["&"] = function(a, b) return a & b end, ["|"] = function(a, b) return a | b end, ["~"] = function(a, b) return a ~ b end,
  [".."] = function(a, b) return #a + #b <= LONGEST and a .. b or nil end,
}

local known = setmetatable({}, { __mode = "k" }) -- node → its value; nil and false are not kept here

local of_tag = {}

--- The value of an expression other than a table; nil if it is nil or unknown.
local function scalar(node, depth)
  if known[node] ~= nil then return known[node] end
  local compute = depth < DEEP and of_tag[node.tag]
  local value = compute and compute(node, depth + 1)
  if value ~= nil then known[node] = value end
  return value
end

function of_tag.constant(node) return node.value end
function of_tag.paren(node, depth) return scalar(node.inner, depth) end

function of_tag.name(node, depth)
  local value = scopes.only_value(node.var)
  return value and scalar(value, depth) or nil
end

function of_tag.unary(node, depth)
  local value = node.op == "-" and scalar(node.operand, depth)
  return math.type(value) and -value or nil
end

function of_tag.binary(node, depth)
  local compute = operators[node.op]
  local left = compute and scalar(node.left, depth)
  local right = left and scalar(node.right, depth)
  if not left or not right then return nil end
  local ok, value = pcall(compute, left, right) -- 1 // 0, or a string
  return ok and value or nil
end

local passed = setmetatable({}, { __mode = "k" }) -- variable → what only_passed returns

--- Whether a variable, which holds a table, is only passed to functions of the API that take one.
local function only_passed(inferred, var)
  if passed[var] ~= nil then return passed[var] end
  passed[var] = false
  for _, use in ipairs(var.uses) do
    local f = use.up and use.up.tag == "call" and use.up.base ~= use and use.up.callee ~= use and inferred:called(use.up)
    if not f or not f.argument then return false end
  end
  passed[var] = true
  return true
end

--- The table constructor that an expression is. In a function, also the one in a local variable, if the script cannot change that table;
--- tables of the main chunk are checked when it runs.
function constants.table_of(inferred, node)
  while node.tag == "paren" do node = node.inner end
  if node.tag == "table" then return node end
  local held = node.tag == "name" and node.owner and scopes.only_value(node.var)
  return held and held.tag == "table" and only_passed(inferred, node.var) and held or nil
end

local tables = setmetatable({}, { __mode = "k" }) -- node of a constructor → its value

--- The value of an expression; nil for `nil`.
function constants.value(inferred, node)
  if node.tag == "constant" then return node.value end
  local t = constants.table_of(inferred, node)
  if not t then
    local value = scalar(node, 0)
    return value == nil and standin.new() or value
  end
  if tables[t] then return tables[t] end
  local out, nth = {}, 0
  tables[t] = out
  for _, item in ipairs(t.items) do
    local key = item.key
    if not key and not item.computed then
      nth = nth + 1
      key = nth
    end
    if key then out[key] = constants.value(inferred, item.value) end
  end
  return out
end

return constants
