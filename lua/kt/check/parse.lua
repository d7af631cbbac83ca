--- Parses the tokens of a file into nodes and resolves its names. The source must compile, so errors are not handled.
---
--- The nodes are also in one list, each after those inside it, so that a pass over all nodes needs no recursion: an expression may be
--- a hundred thousand terms long.
---
--- A node is { tag, at, past, owner, up, item, target, file }: the positions of its first token and of the one after it, the function node
--- around it (nil in the main chunk), the node around it (nil in a statement), its item if that is a table, and the field that a statement sets
--- to it; returned: a `return` gives it. By tag:
---   name      var
---   constant  value (nil, a boolean, a number or a string)
---   vararg
---   function  params (variables), vararg, results (for each `return`, the list of its expressions), held (the variable set to it)
---   table     items: { key or nil, computed (the key's expression), value, at }; held
---   index     base, key (a string) or computed (an expression), name_at (the key's token)
---   call      callee, or base and method; args, open (position of the arguments), name_at (the method's token); statement: no value is used
---   binary    op, left, right        unary  op, operand        paren  inner
local scopes = require "kt.check.scopes"

local parse = {}

local binary = {
  ["or"] = { 1, 1 }, ["and"] = { 2, 2 }, ["<"] = { 3, 3 }, [">"] = { 3, 3 }, ["<="] = { 3, 3 }, [">="] = { 3, 3 }, ["~="] = { 3, 3 },
  ["=="] = { 3, 3 }, ["|"] = { 4, 4 }, ["~"] = { 5, 5 }, ["&"] = { 6, 6 }, ["<<"] = { 7, 7 }, [">>"] = { 7, 7 }, [".."] = { 9, 8 },
  ["+"] = { 10, 10 }, ["-"] = { 10, 10 }, ["*"] = { 11, 11 }, ["/"] = { 11, 11 }, ["//"] = { 11, 11 }, ["%"] = { 11, 11 },
  ["^"] = { 14, 13 },
}
local UNARY = 12
local unary = { ["not"] = true, ["-"] = true, ["#"] = true, ["~"] = true }
local constants = { ["true"] = true, ["false"] = false }
local block_ends = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true }

-- A parser: { i = position, scopes, owner = function node around }, and the fields of the file that it fills.

local function text(p, ahead)
  local token = p.tokens[p.i + (ahead or 0)]
  return token and token.kind ~= "string" and token.text
end

local function skip(p) p.i = p.i + 1 end

local function accept(p, t)
  if text(p) ~= t then return false end
  skip(p)
  return true
end

local function node(p, tag, at, fields)
  fields.tag, fields.at, fields.past, fields.owner, fields.file = tag, at, p.i, p.owner, p.file
  p.nodes[#p.nodes + 1] = fields
  return fields
end

local expression, block

local function list(p)
  local out = {}
  repeat out[#out + 1] = expression(p, 0) until not accept(p, ",")
  return out
end

local function name_here(p)
  local at = p.i
  local name = p.tokens[at].text
  skip(p)
  local var = p.scopes:find(name)
  local use = node(p, "name", at, { var = var })
  var.uses[#var.uses + 1] = use
  return use
end

--- The function whose parameters open here. at: the position of its first token. method: whether it has a self.
local function body(p, at, method)
  local fn = { tag = "function", at = at, owner = p.owner, file = p.file, params = {}, results = {} }
  p.owner = fn
  p.scopes:open()
  if method then p.scopes:declare("self").defs[1] = {} end
  skip(p)
  while text(p) ~= ")" do
    if accept(p, "...") then
      fn.vararg = true
    else
      local var = p.scopes:declare(p.tokens[p.i].text)
      var.at = p.i
      skip(p)
      fn.params[#fn.params + 1] = var
      var.defs[1] = { param = fn, nth = #fn.params }
    end
    accept(p, ",")
  end
  skip(p)
  block(p)
  skip(p)
  p.scopes:close()
  p.owner, fn.past = fn.owner, p.i
  p.nodes[#p.nodes + 1] = fn
  return fn
end

local function constructor(p)
  local at, items = p.i, {}
  skip(p)
  while not accept(p, "}") do
    local item = { at = p.i }
    if p.tokens[p.i].kind == "name" and text(p, 1) == "=" then
      item.key = p.tokens[p.i].text
      p.i = p.i + 2
    elseif accept(p, "[") then
      item.computed = expression(p, 0)
      item.key = item.computed.tag == "constant" and type(item.computed.value) == "string" and item.computed.value or nil
      p.i = p.i + 2
    end
    item.value = expression(p, 0)
    items[#items + 1] = item
    if not accept(p, ",") then accept(p, ";") end
  end
  local t = node(p, "table", at, { items = items })
  for _, item in ipairs(items) do item.value.up, item.value.item = t, item end
  return t
end

local function constant(p, value)
  skip(p)
  return node(p, "constant", p.i - 1, { value = value })
end

local function arguments(p)
  if p.tokens[p.i].kind == "string" then return { constant(p, p.tokens[p.i].value) } end
  if text(p) == "{" then return { constructor(p) } end
  skip(p)
  local args = text(p) == ")" and {} or list(p)
  skip(p)
  return args
end

local function call(p, at, fields)
  fields.open = p.i
  fields.args = arguments(p)
  local n = node(p, "call", at, fields)
  for _, arg in ipairs(fields.args) do arg.up = n end
  local of = fields.callee or fields.base
  of.up = n
  return n
end

--- A name or an expression in parentheses, with what follows it: .x, [x], :x(), ().
local function suffixed(p)
  local at, n = p.i
  if accept(p, "(") then
    local inner = expression(p, 0)
    skip(p)
    n = node(p, "paren", at, { inner = inner })
    inner.up = n
  else
    n = name_here(p)
  end
  while true do
    local t, token = text(p), p.tokens[p.i]
    local base = n
    if t == "." then
      p.i = p.i + 2
      n = node(p, "index", at, { base = base, key = p.tokens[p.i - 1].text, name_at = p.i - 1 })
      base.up = n
    elseif t == "[" then
      skip(p)
      local key = expression(p, 0)
      skip(p)
      n = node(p, "index", at, { base = base, computed = key, name_at = key.at })
      if key.tag == "constant" and type(key.value) == "string" then n.key = key.value end
      base.up, key.up = n, n
    elseif t == ":" then
      p.i = p.i + 2
      n = call(p, at, { base = base, method = p.tokens[p.i - 1].text, name_at = p.i - 1 })
    elseif t == "(" or t == "{" or token and token.kind == "string" then
      n = call(p, at, { callee = base })
    else
      return n
    end
  end
end

local function simple(p)
  local token, t, at = p.tokens[p.i], text(p), p.i
  if token.kind == "string" or token.kind == "number" then return constant(p, token.value) end
  if t == "nil" then return constant(p, nil) end
  if constants[t] ~= nil then return constant(p, constants[t]) end
  if t == "{" then return constructor(p) end
  if t == "function" then
    skip(p)
    return body(p, at)
  end
  if t == "..." then
    skip(p)
    return node(p, "vararg", at, {})
  end
  return suffixed(p)
end

function expression(p, limit)
  local at, left = p.i
  if unary[text(p)] then
    local op = text(p)
    skip(p)
    local operand = expression(p, UNARY)
    left = node(p, "unary", at, { op = op, operand = operand })
    operand.up = left
  else
    left = simple(p)
  end
  while true do
    local op = text(p)
    local power = binary[op]
    if not power or power[1] <= limit then return left end
    skip(p)
    local right = expression(p, power[2])
    local n = node(p, "binary", at, { op = op, left = left, right = right })
    left.up, right.up = n, n
    left = n
  end
end

--- Sets each of the targets (variables or index nodes) to a value of the list.
local function assign(p, targets, values)
  for i, target in ipairs(targets) do
    local def = {}
    if values then
      local n = math.min(i, #values)
      def = #values > 0 and { expr = values[n], nth = i - n + 1, owner = p.owner } or { empty = true }
    end
    if target.tag == "index" then
      target.set = true
      p.sets[#p.sets + 1] = { target = target, def = def }
      if def.nth == 1 then def.expr.target = target end
    else
      target.defs[#target.defs + 1] = def
      if def.nth == 1 and (def.expr.tag == "function" or def.expr.tag == "table") then def.expr.held = target end
    end
  end
end

local function local_names(p)
  local names = {}
  repeat
    local name = { at = p.i, name = p.tokens[p.i].text }
    skip(p)
    if accept(p, "<") then p.i = p.i + 2 end
    names[#names + 1] = name
  until not accept(p, ",")
  return names
end

local function declare_all(p, names)
  local vars = {}
  for i, n in ipairs(names) do
    vars[i] = p.scopes:declare(n.name)
    vars[i].at, vars[i].owner, vars[i].group = n.at, p.owner, vars
  end
  return vars
end

--- Marks a use of a name as an assignment, which is not a read.
local function written(p, use)
  local uses = use.var.uses
  uses[#uses] = nil
  use.written = true
  if use.var.global then p.global_sets[#p.global_sets + 1] = use end
  return use.var
end

local statements = {}

local function scoped_block(p)
  p.scopes:open()
  local last = block(p)
  p.scopes:close()
  return last
end

statements["if"] = function(p)
  local test, clauses = {}, 0
  repeat
    skip(p)
    clauses = clauses + 1
    if text(p, -1) ~= "else" then
      test.condition = expression(p, 0)
      test.condition.tested = true
      skip(p)
    end
    test.last = scoped_block(p)
  until text(p) == "end"
  skip(p)
  test.past = p.i
  if clauses == 1 then p.tests[#p.tests + 1] = test end
end

statements["while"] = function(p)
  skip(p)
  expression(p, 0).tested = true
  skip(p)
  scoped_block(p)
  skip(p)
end

statements["do"] = function(p)
  skip(p)
  scoped_block(p)
  skip(p)
end

statements["repeat"] = function(p)
  skip(p)
  p.scopes:open()
  block(p)
  skip(p)
  expression(p, 0).tested = true
  p.scopes:close()
end

statements["for"] = function(p)
  skip(p)
  local names = local_names(p)
  local loop = { numeric = accept(p, "=") }
  if not loop.numeric then skip(p) end
  loop.exprs = list(p)
  p.loops[#p.loops + 1] = loop
  skip(p)
  p.scopes:open()
  for i, var in ipairs(declare_all(p, names)) do var.defs[1] = { loop = loop, nth = i } end
  scoped_block(p)
  p.scopes:close()
  skip(p)
end

statements["function"] = function(p)
  local at = p.i
  skip(p)
  local first = p.i
  local target, method = name_here(p), false
  while text(p) == "." or text(p) == ":" do
    method = text(p) == ":"
    p.i = p.i + 2
    local base = target
    target = node(p, "index", first, { base = base, key = p.tokens[p.i - 1].text, name_at = p.i - 1 })
    base.up = target
  end
  if target.tag == "name" then target = written(p, target) end
  assign(p, { target }, { body(p, at, method) })
end

statements["local"] = function(p)
  local at = p.i
  skip(p)
  if accept(p, "function") then
    local var = p.scopes:declare(p.tokens[p.i].text)
    skip(p)
    assign(p, { var }, { body(p, at) })
    return
  end
  local names = local_names(p)
  local values = accept(p, "=") and list(p) or {}
  assign(p, declare_all(p, names), values)
end

statements["return"] = function(p)
  skip(p)
  local t = text(p)
  local values = p.i > #p.tokens or block_ends[t] or t == ";"
  values = values and {} or list(p)
  for _, value in ipairs(values) do value.returned = true end
  accept(p, ";")
  local results = p.owner and p.owner.results or p.results
  results[#results + 1] = values
end

statements["goto"] = function(p) p.i = p.i + 2 end
statements["::"] = function(p) p.i = p.i + 3 end
statements["break"] = skip
statements[";"] = skip

--- Returns the call that the statement is; nil if it is another one.
local function statement(p)
  local known = statements[text(p)]
  if known then
    known(p)
    return nil
  end
  local first = suffixed(p)
  if first.tag == "call" then
    first.statement = true
    return first
  end
  local targets = { first.tag == "name" and written(p, first) or first }
  while accept(p, ",") do
    local target = suffixed(p)
    targets[#targets + 1] = target.tag == "name" and written(p, target) or target
  end
  skip(p)
  assign(p, targets, list(p))
end

--- Returns the call that the last statement is; nil if it is another one.
function block(p)
  local last
  while p.tokens[p.i] and not block_ends[text(p)] do last = statement(p) end
  return last
end

--- Parses a file: { tokens, nodes, loops = `for` statements { exprs, numeric }, tests = `if` statements without else { condition, last = the
--- call that its last statement is or nil, past = the position after it }, sets = assignments to fields { target, def }, globals =
--- variables by name, global_sets = the name nodes that assign one, names = a set of all variables, results = for each `return` of the main
--- chunk, its expressions }.
function parse.of(tokens)
  local file = { tokens = tokens, nodes = {}, loops = {}, tests = {}, sets = {}, globals = {}, global_sets = {}, results = {}, names = {} }
  local p = setmetatable({ i = 1, file = file, scopes = scopes.new(file.globals, file.names) }, { __index = file })
  p.scopes:open()
  while tokens[p.i] do block(p) end
  return file
end

return parse
