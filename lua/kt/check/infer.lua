--- Finds out what the expressions of a script may be (kt.check.types), where simple flow shows it: through local variables, fields of
--- the script's own tables, parameters and results of its functions, and modules beside it.
---
--- It ignores the order of statements: a variable is what all its assignments give it together, and unknown if one of them is. What
--- depends on itself is unknown. So a type is never wrong, unless a script changes its tables in ways that do not show.
local api = require "kt.api"
local callbacks = require "kt.check.callbacks"
local constants = require "kt.check.constants"
local scopes = require "kt.check.scopes"
local standin = require "kt.check.standin"
local types = require "kt.check.types"

local infer = {}
infer.__index = infer

local DEEP = 150 -- expressions that depend on each other; beyond, they count as unknown

--- files: those of kt.check.parse. module(name) → the file that `require` loads, or nil.
function infer.new(files, module)
  local self = setmetatable({ files = files, module = module, known = {}, depth = 0, globals = {}, sets = {}, any_key = {} }, infer)
  for _, file in ipairs(files) do
    for name, var in next, file.globals do
      self.globals[name] = self.globals[name] or {}
      table.move(var.defs, 1, #var.defs, #self.globals[name] + 1, self.globals[name])
    end
    for _, set in ipairs(file.sets) do
      local key = set.target.key
      local list = key and self.sets[key] or not key and self.any_key or {}
      if key then self.sets[key] = list end
      list[#list + 1] = set
    end
  end
  return self
end

--- Computes a fact about `of` once. While it is being computed, it is unknown.
local function once(self, of, what, compute, ...)
  local known = self.known[of]
  if not known then
    known = {}
    self.known[of] = known
  end
  if known[what] ~= nil then return known[what] or nil end
  if self.depth == DEEP then return nil end
  known[what] = false
  self.depth = self.depth + 1
  local found = compute(self, of, ...)
  self.depth = self.depth - 1
  known[what] = found or false
  return found
end

--- The name of the part of Lua's library that an expression is, "ipairs", "string" or "string.format", also through local variables; nil if
--- it is none, or the script may have replaced it.
function infer:library(node)
  for _ = 1, DEEP do
    if node.tag ~= "name" or node.var.global then break end
    node = scopes.only_value(node.var)
    if not node then return nil end
  end
  if node.tag == "name" then
    local var = node.var
    return var.global and #(self.globals[var.name] or {}) == 0 and var.name or nil
  end
  local base = node.tag == "index" and node.key and node.base
  local of = base and base.tag == "name" and self:library(base)
  if of == "_G" then return #(self.globals[node.key] or {}) == 0 and not self.sets[node.key] and node.key or nil end
  return of and of .. "." .. node.key or nil
end

--- The types of parameters of a call, from the nth on: `first` is the position of the first argument to count.
local function argument(self, call, nth)
  local args = call.args
  if nth <= #args then return self:value(args[nth], 1) end
  return #args > 0 and self:value(args[#args], nth - #args + 1) or {}
end

local function union_of(list, each)
  local out = {}
  for _, one in ipairs(list) do
    out = types.union(out, each(one))
    if not out then return nil end
  end
  return out
end

local function definition(self, def)
  if def.expr then return self:value(def.expr, def.nth) end
  if def.param then return self:parameter(def.param, def.nth) end
  if def.loop then return self:loop(def.loop, def.nth) end
  return def.empty and {} or nil
end

local function variable(self, var)
  local defs = var.global and self.globals[var.name] or var.defs
  if var.elsewhere or #defs == 0 then return nil end
  return union_of(defs, function(def) return definition(self, def) end)
end

--- The type of a result of a call of the API.
local function api_result(self, f, call, nth)
  local given = call.args[1]
  local declared = nth == 1 and f.keys_of_argument and given and constants.table_of(self, given)
  if declared then return types.declared(declared, f.name) end
  if nth == 1 and f.instead and given and given.tag == "table" then
    return types.named(standin.kind_of(f, function(key)
      for _, item in ipairs(given.items) do
        if item.key == key then return true end
      end
    end))
  end
  return types.results(f)[nth] or (nth > #types.results(f) and f.returns == nil and {} or nil)
end

local function result(self, fn, nth)
  return union_of(fn.results, function(values)
    if #values == 0 then return {} end
    local n = math.min(nth, #values)
    return self:value(values[n], nth - n + 1)
  end)
end

--- The module that an expression requires, if it returns nothing.
function infer:module_of(node)
  node = node.tag == "name" and scopes.only_value(node.var) or node
  local name = node.tag == "call" and node.callee and self:library(node.callee) == "require" and node.args[1] and constants.value(self, node.args[1])
  local file = type(name) == "string" and self.module(name)
  return file and #file.results == 0 and file or nil
end

local function library_result(self, name, call, nth)
  if name == "assert" then return argument(self, call, nth) end
  if name == "tostring" or name == "type" or name == "string.format" then return nth == 1 and types.plain "string" or {} end
  local given = name == "require" and call.args[1] and constants.value(self, call.args[1])
  if type(given) ~= "string" then return nil end
  if nth > 1 then return {} end
  if given == "kt" then return types.kt "kt" end
  local file = self.module(given)
  if file and #file.results == 0 then return types.plain "boolean" end -- require returns true
  return file and union_of(file.results, function(values)
    if not values[1] then return types.plain "boolean" end
    return self:value(values[1], 1)
  end)
end

local function call_result(self, call, nth)
  local function of_one(one)
    if one.is == "api" or one.is == "method" then return api_result(self, one.fn, call, nth) end
    return one.is == "function" and once(self, one.node, nth, result, nth) or nil
  end
  local name = call.callee and self:library(call.callee)
  if name then return library_result(self, name, call, nth) end
  local of
  if call.base then of = self:member(call.base, call.method) else of = self:type(call.callee) end
  return of and union_of(of, of_one)
end

--- The type of the nth value that a call of a function returns.
function infer:outcome(node, nth)
  local one = types.only(self:type(node))
  if not one then return nil end
  if one.is == "api" or one.is == "method" then return types.results(one.fn)[nth] end
  return one.is == "function" and once(self, one.node, nth, result, nth) or nil
end

--- The expression behind parentheses and local variables that are set once.
function infer.behind(node)
  while node.tag == "paren" do node = node.inner end
  return node.tag == "name" and scopes.only_value(node.var) or node
end

--- The type of the nth value of an expression.
function infer:value(node, nth)
  if node.tag == "call" then return once(self, node, nth, call_result, nth) end
  if node.tag == "vararg" then
    local given = node.owner and self:parameter(node.owner, #node.owner.params + nth)
    return given and #given > 0 and given or nil
  end
  return nth == 1 and self:type(node) or nth > 1 and {} or nil
end

--- For a function that is a field of a table in a local variable: the variable, and the field's key, nil if it is computed. Nothing for any
--- other function, and if the variable may hold another table.
local function table_of(fn)
  local target, up = fn.target, fn.up
  local var = target and target.base.tag == "name" and target.base.var or up and up.tag == "table" and up.held
  local value = var and scopes.only_value(var)
  if value and value.tag == "table" then return var, (target or fn.item).key end
end

--- The union of what each(call, place) says of each use of a function: as the callee (place 0) or as an argument of a call. held(node)
--- is asked for a use in a table. Nil if the function may also be used elsewhere.
local function each_use(fn, each, held)
  local function of_use(node)
    local up = node.up
    if up and up.tag == "call" then
      if up.callee == node then return each(up, 0) end
      for place, arg in ipairs(up.args) do
        if arg == node then return each(up, place) end
      end
    end
    return up and up.tag == "table" and held(node) or nil
  end
  local var = fn.held
  if not var then
    local of, key = table_of(fn)
    if not of then return of_use(fn) end
    local found, passed = {}, nil
    for _, use in ipairs(of.uses) do
      local read = use.up
      if not read or read.tag ~= "index" or read.base ~= use then
        passed = held(fn)
        if not passed then return nil end
      elseif not read.set then
        if not key or not read.key then return nil end
        if read.key == key then found[#found + 1] = read end
      end
    end
    local read = #found > 0 and union_of(found, of_use) or #found == 0 and passed or nil
    return read and types.union(read, passed or {})
  end
  if var.global or #var.defs ~= 1 or #var.uses == 0 then return nil end
  return union_of(var.uses, of_use)
end

--- The type of the function's nth parameter, from the calls of it.
local function parameter(self, fn, nth)
  return each_use(fn, function(call, place)
    if place == 0 then return argument(self, call, nth) end
    local given = callbacks.of(self, call.args[place])
    if not given then return nil end
    if given.passes then return argument(self, call, place + nth) end
    if given.elements then return self:elements(self:type(call.args[1])) end
    local known = given.call and types.parameters(given.call)[nth]
    return known or nil
  end, function(node)
    local given = callbacks.of(self, node)
    return given and given.call and types.parameters(given.call)[nth] or nil
  end)
end

function infer:parameter(fn, nth) return once(self, fn, "parameter" .. nth, parameter, nth) end

--- The type of a loop's nth variable.
function infer:loop(loop, nth)
  local first = loop.exprs[1]
  if loop.numeric then
    for _, expr in ipairs(loop.exprs) do
      if types.only(self:type(expr)) ~= types.plain "integer"[1] then return nil end
    end
    return types.plain "integer"
  end
  local name = first.tag == "call" and first.callee and self:library(first.callee)
  if name ~= "ipairs" and name ~= "pairs" or not first.args[1] then return nil end
  local of = self:elements(self:type(first.args[1]))
  if not of or nth > 2 then return nil end
  if nth == 2 then return of end
  return name == "ipairs" and types.plain "integer" or nil
end

--- Whether a script's own table is only read and passed to the API, wherever it is held.
local function only_read(self, node)
  local function reads(use)
    local up = use.up
    if not up then return false end
    if up.tag == "index" then return up.base == use and not up.set end
    if up.tag == "unary" then return true end
    if up.tag ~= "call" or up.callee == use or up.base == use then return false end
    local name = up.callee and self:library(up.callee)
    return name == "ipairs" or name == "pairs" or name == "table.sort" or self:called(up) ~= nil
  end
  if not node.held then return reads(node) end
  if node.held.global or #node.held.defs ~= 1 then return false end
  for _, use in ipairs(node.held.uses) do
    if not reads(use) then return false end
  end
  return true
end

function infer:read_only(node) return once(self, node, "read only", only_read) end

--- Whether a script's own table is in a local variable, and only there: its keys are what the constructor and assignments give it. A module may
--- return it.
local function closed(self, node)
  local var = node.held
  if not var or var.global or #var.defs ~= 1 then return false end
  for _, use in ipairs(var.uses) do
    local up = use.up
    local name = up and up.tag == "call" and up.callee and up.callee ~= use and self:library(up.callee)
    local fine = not up and use.returned or up and (up.tag == "index" and up.base == use or up.tag == "unary" or up.tag == "call" and up.base == use)
    if not fine and name ~= "ipairs" and name ~= "pairs" then return false end
  end
  return true
end

function infer:is_closed(node) return once(self, node, "closed", closed) end

local function made_elements(self, node)
  if not self:read_only(node) then return nil end
  return union_of(node.items, function(item)
    if item.key or item.computed then return nil end
    return self:type(item.value)
  end)
end

--- The type of a list's elements; nil if it may not be a list.
function infer:elements(list)
  return list and union_of(list, function(one)
    if one.is == "list" then return one.of end
    if one.is ~= "table" then return nil end
    if #one.node.items == 0 and one.node.up and one.node.up.tag == "binary" then return {} end -- for _, v in ipairs(list or {})
    return once(self, one.node, "elements", made_elements)
  end)
end

--- Whether the script sets keys of its table that are computed.
local function has_any_key(self, node)
  for _, item in ipairs(node.items) do
    if item.computed and not item.key then return true end
  end
  for _, set in ipairs(self.any_key) do
    for _, one in ipairs(self:type(set.target.base) or {}) do
      if one.node == node then return true end
    end
  end
  return false
end

function infer:any_key_of(node) return once(self, node, "any key", has_any_key) end

local function field(self, node, key)
  if self:any_key_of(node) then return nil end
  local out = {}
  for _, item in ipairs(node.items) do
    if item.key == key then out = types.union(out, self:type(item.value)) end
  end
  for _, set in ipairs(self.sets[key] or {}) do
    local base = self:type(set.target.base)
    local may = base == nil
    for _, one in ipairs(base or {}) do may = may or one.node == node end
    if may then out = types.union(out, definition(self, set.def)) end
  end
  return out and #out > 0 and out or nil
end

--- The field of a handle or a record, or nil.
function infer.field_of(holder, key)
  for _, described in ipairs(holder.has.fields) do
    if described.name == key then return described end
  end
end

local number, integer = types.plain "number"[1], types.plain "integer"[1]

local of_tag = {}

local of_word = { boolean = "boolean", integer = "integer", string = "string", number = "number", duration = "number", size = "number", rate = "number" }

--- The type of a value of kt.args, by its declaration.
local function declared_field(self, node, key)
  for _, item in ipairs(node.items) do
    if item.key == key and item.value.tag == "table" then
      local given = {}
      for _, inner in ipairs(item.value.items) do given[inner.key or false] = inner.value end
      local default = given.default and constants.value(self, given.default)
      local word = of_word[given.type and constants.value(self, given.type) or math.type(default) == "integer" and "integer" or type(default)]
      return word and types.plain(word) or not given.default and types.plain "string" or nil
    end
  end
end

local function member_of(self, one, key)
  if one.is == "kt" then
    local path = one.path .. "." .. key
    if api.functions[path] then return types.api(api.functions[path]) end
    for _, value in ipairs(api.values) do
      if value.name == path then return value.type == "table" and types.kt(path) or types.of(value.type) end
    end
  elseif one.is == "handle" or one.is == "record" then
    local method = api.functions[one.name .. ":" .. key]
    if method then return types.method(method, one.name) end
    local described = infer.field_of(one, key)
    return described and types.of(described.type)
  elseif one.is == "declared" then
    return declared_field(self, one.node, key)
  elseif one.is == "table" then
    return once(self, one.node, "." .. key, field, key)
  end
end

--- The type of a member of what an expression gives.
function infer:member(base, key)
  local of = self:type(base)
  return of and #of > 0 and union_of(of, function(one) return member_of(self, one, key) end) or nil
end

local function arithmetic(self, node)
  local left, right = types.only(self:type(node.left)), types.only(self:type(node.right))
  if left ~= number and left ~= integer or right ~= number and right ~= integer then return nil end
  local whole = left == integer and right == integer
  if node.op == "+" or node.op == "-" or node.op == "*" or node.op == "%" then return whole and { integer } or { number } end
  if node.op == "//" and whole then return { integer } end
  return node.op == "/" and not whole and { number } or nil -- what else may have a fraction, or not
end

function of_tag.name(self, node) return once(self, node.var, "var", variable) end
function of_tag.paren(self, node) return self:type(node.inner) end
function of_tag.call(self, node) return self:value(node, 1) end
function of_tag.vararg(self, node) return self:value(node, 1) end
of_tag["function"] = function(_, node) return types.made(node) end
function of_tag.table(_, node) return types.made(node) end

function of_tag.constant(_, node)
  local value = node.value
  if value == nil then return {} end
  if math.type(value) then return math.tointeger(value) and { integer } or { number } end
  return types.plain(type(value))
end

function of_tag.index(self, node)
  if node.key then return self:member(node.base, node.key) end
  local key = types.only(self:type(node.computed))
  return (key == integer or key == number) and self:elements(self:type(node.base)) or nil
end

function of_tag.unary(self, node)
  if node.op == "not" then return types.plain "boolean" end
  local of = types.only(self:type(node.operand))
  if node.op == "#" then return of and (of.is ~= "table" or self:read_only(of.node)) and { integer } or nil end
  return (of == number or of == integer) and { of } or nil
end

local compares = { ["=="] = true, ["~="] = true, ["<"] = true, [">"] = true, ["<="] = true, [">="] = true }

function of_tag.binary(self, node)
  if compares[node.op] then return types.plain "boolean" end
  if node.op == "and" then return self:type(node.right) end
  if node.op == "or" then return types.union(self:type(node.left), self:type(node.right)) end
  if node.op ~= ".." then return arithmetic(self, node) end
  for _, side in ipairs { node.left, node.right } do
    local of = types.only(self:type(side))
    if not of or of.is ~= "plain" then return nil end
  end
  return types.plain "string"
end

local function compute(self, node) return of_tag[node.tag](self, node) end

--- The type of an expression; nil if unknown.
function infer:type(node)
  if not of_tag[node.tag] then return nil end
  return once(self, node, "type", compute)
end

--- The function of the API that is called; then how many of the arguments stand before its own (1 for link.open(far)). Nil if unknown.
function infer:called(call)
  if call.base then
    local holder = types.holder(self:type(call.base))
    return holder and api.functions[holder.name .. ":" .. call.method], 0
  end
  local one = types.only(self:type(call.callee))
  if one and one.is == "api" then return one.fn, 0 end
  if one and one.is == "method" then return one.fn, 1 end
end

return infer
