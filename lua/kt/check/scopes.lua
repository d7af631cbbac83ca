--- The names that are visible at a place in a file, while kt.check.parse reads it.
---
--- A variable is { name, global, defs, uses, function_depth }. defs: what it is set to, in order: { expr, nth } (the nth value of an
--- expression), { param = function node, nth }, { loop = for statement, nth }, or {} if unknown. uses: the nodes that read it.
local scopes = {}
scopes.__index = scopes

--- globals: the file's global variables by name; names: a set of the names of all variables. Both are filled.
function scopes.new(globals, names)
  return setmetatable({ stack = {}, globals = globals, names = names }, scopes)
end

function scopes:open() self.stack[#self.stack + 1] = {} end
function scopes:close() self.stack[#self.stack] = nil end

local function variable(name) return { name = name, defs = {}, uses = {} } end

--- A new local variable, visible from here to the end of the block.
function scopes:declare(name)
  local var = variable(name)
  self.stack[#self.stack][name] = var
  self.names[name] = true
  return var
end

--- The variable of that name here; a global one if no local has it. Global names depend on a local _ENV, if there is one.
function scopes:find(name)
  local stack = self.stack
  for i = #stack, 1, -1 do
    if stack[i][name] then return stack[i][name] end
    if stack[i]._ENV then return { name = name, defs = { {} }, uses = {}, elsewhere = true } end
  end
  local var = self.globals[name]
  if not var then
    var = variable(name)
    var.global = true
    self.globals[name] = var
  end
  return var
end

--- The expression that a local variable is set to, if nothing else ever sets it; nil if there is none. Also nil for a further value of a
--- call: `b` of local a, b = f().
function scopes.only_value(var)
  local def = not var.global and #var.defs == 1 and var.defs[1]
  return def and def.nth == 1 and def.expr or nil
end

return scopes
