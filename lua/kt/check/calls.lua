--- Checks how a script uses the API, also in tasks, which `kt check` does not run: that functions and fields exist, that they are called
--- with the right syntax and arguments, and that read-only names are not assigned.
local api = require "kt.api"
local arguments = require "kt.check.arguments"
local callbacks = require "kt.check.callbacks"
local compare = require "kt.check.compare"
local core = require "kt.core"
local formats = require "kt.check.formats"
local infer = require "kt.check.infer"
local operators = require "kt.check.operators"
local schema = require "kt.schema"
local standin = require "kt.check.standin"
local suggest = require("kt.check.names").suggest
local types = require "kt.check.types"

local calls = {}

-- The state of a walk through a file: { inferred, file, note }.

local function complain(walk, at, path, message, suggestion, placed)
  walk.note { token = walk.file.tokens[at], path = path, message = message, suggestion = suggestion, placed = placed }
end

--- A key as messages show it.
local function named(key) return key:find "^[%a_][%w_]*$" and key or schema.show(key) end

--- The names below "kt", or a table in it.
local function names_in(path)
  local names = {}
  for _, list in ipairs { api.functions, api.values } do
    for _, item in ipairs(list) do names[#names + 1] = item.name:match("^" .. path:gsub("%.", "%%.") .. "%.([%w_]+)$") end
  end
  table.sort(names)
  return names
end

local function contains(list, name)
  for _, one in ipairs(list) do
    if one == name then return true end
  end
  return false
end

--- A member of the kt table, or of one in it.
local function check_kt(walk, node, one, key)
  local at = node.name_at
  if node.set then return complain(walk, at, schema.constancy(one.path, key)) end
  local names = names_in(one.path)
  if one.path == "kt.env" then return end
  if not contains(names, key) then return complain(walk, at, schema.absence(one.path, key, names)) end
  if node.method then complain(walk, at, one.path .. "." .. key, "called with a colon", "write it with a dot") end
end

--- Whether the script sets that field anywhere: it may then add it to the plain table that a record is.
local function is_set(walk, key) return walk.inferred.sets[key] ~= nil end

--- A field or a method of a handle or a record. described: the field, if it exists; f: the method.
local function check_member(walk, node, holder, key, described, f)
  local name, at = holder.name .. "." .. key, node.name_at
  if node.set and holder.is == "handle" then return complain(walk, at, name, standin.NOT_SET) end
  if f or node.set then return end
  if described then
    local called = node.method or node.up and node.up.callee == node
    if called and described.type ~= "any" and not described.type:find "fun" then
      complain(walk, at, name, "not a method", "it is a field; read it without a call", true)
    end
  elseif holder.is == "handle" or not is_set(walk, key) then
    local names = {}
    for _, m in ipairs(holder.has.methods or {}) do names[#names + 1] = m.name:match ":(.+)$" end
    for _, field in ipairs(holder.has.fields) do names[#names + 1] = field.name end
    table.sort(names)
    complain(walk, at, schema.absence(holder.name, key, names, "field"))
  end
end

--- The keys that a table constructor gives. Nil if the table may have `key`, from the constructor or because the script sets it.
local function keys_without(walk, node, t, key)
  if node.set or is_set(walk, key) or walk.inferred:any_key_of(t) then return nil end
  local names = {}
  for _, item in ipairs(t.items) do
    if item.key == key then return nil end
    names[#names + 1] = item.key
  end
  return names
end

--- The keys of a table that a function of the API makes of another, as kt.args does.
local function check_declared(walk, node, one, key)
  local names = keys_without(walk, node, one.node, key)
  if not names then return end
  table.sort(names)
  complain(walk, node.name_at, schema.absence(one.by, key, names, "key"))
end

--- A key that the script never gives its own table, and that is close to one that it does.
local function check_own(walk, node, t, key)
  local names = keys_without(walk, node, t, key)
  if not names or not walk.inferred:is_closed(t) then return end
  for name in next, walk.inferred.sets do names[#names + 1] = name end
  local near = suggest(key, names)
  if near then complain(walk, node.name_at, named(key), "the table has no such key", ("did you mean %s?"):format(near)) end
end

local fieldless = { number = true, integer = true, boolean = true, thread = true }

--- Whether a value of that type has no such field, whatever it is.
local function is_fieldless(walk, node, one, key)
  if one.is ~= "plain" then return one.is == "function" end
  if one.name ~= "string" then return fieldless[one.name] end
  return node.tag == "index" and not string[key] and not is_set(walk, key) and not api.functions["secret:" .. key]
end

--- A name read from what has no names: a list, a method or a function that is not called, a number.
local function check_misused(walk, node, one, key)
  local at = node.name_at
  if is_fieldless(walk, node, one, key) then
    local module = walk.inferred:module_of(node.base)
    if module then return complain(walk, at, named(key), ("%s returns nothing"):format(module.path), "end it with return, and the table of what it offers") end
    complain(walk, at, named(key), ("a field of %s"):format(types.show(one)), ("%s has none"):format(types.show(one)))
  elseif one.is == "list" then
    complain(walk, at, named(key), "a field of a list", ("write [1].%s, or loop over the list with ipairs"):format(key))
  elseif one.is == "method" then
    complain(walk, at, one.fn.name, "a method used as a field", ("call it: %s().%s"):format(one.fn.name, key))
  elseif one.is == "api" and not node.set then
    complain(walk, at, one.fn.name, "a function used as a table", "call it: " .. one.fn.signature)
  end
end

--- f().x of a function that returns nothing. In the main chunk that shows when it runs.
local function check_nothing(walk, node)
  local f = node.owner and node.base.tag == "call" and walk.inferred:called(node.base)
  if f and not f.returns then complain(walk, node.name_at, f.name, "returns nothing", "call the next method in a statement of its own") end
end

--- t[err]: no two errs are the same key.
local function check_key(walk, key)
  local one = types.only(walk.inferred:type(key))
  if one and one.is == "handle" and one.name == "err" then complain(walk, key.at, "err", "used as a key, and each failure makes another", "write err.code") end
end

--- x.key, or x:key(), whose value is known. Of several alternatives one must have it.
local function check_access(walk, node, key)
  local of = walk.inferred:type(node.base)
  if of and #of == 0 then return check_nothing(walk, node) end
  if not of then return end
  local one = types.only(of)
  if one and one.is == "kt" then return check_kt(walk, node, one, key) end
  if one and one.is == "declared" then return check_declared(walk, node, one, key) end
  if one and one.is == "table" then return check_own(walk, node, one.node, key) end
  if one and one.is ~= "handle" and one.is ~= "record" then return check_misused(walk, node, one, key) end
  local first
  for _, holder in ipairs(of) do
    if holder.is ~= "handle" and holder.is ~= "record" then return end
    local described, f = infer.field_of(holder, key), api.functions[holder.name .. ":" .. key]
    if one or not (described or f) then first = first or { holder, described, f } else return end
  end
  check_member(walk, node, first[1], key, first[2], first[3])
end

--- Whether a call is in a function that the API calls, or inside one, and so does not run in the main chunk.
local function in_task(walk, node)
  local fn = node.owner
  while fn do
    local given = callbacks.of(walk.inferred, fn)
    if given and given.api then return true end
    fn = fn.owner
  end
  return false
end

--- Reports calls of values that are not functions. Fields of handles and records are checked where they are read.
local function check_callee(walk, callee, one)
  if not one or callee.tag == "index" and types.holder(walk.inferred:type(callee.base)) then return end
  if one.is == "kt" then
    local names = names_in(one.path)
    local advice = #names > 0 and schema.one_of(names):gsub("^expected", "it has") or ("write %s.NAME"):format(one.path)
    complain(walk, callee.at, one.path, "a table called as a function", advice)
  elseif one.is == "handle" then
    complain(walk, callee.at, one.name, "called as a function", "call one of its methods")
  elseif one.is == "record" or one.is == "list" or one.is == "plain" and one.name ~= "function" and one.name ~= "table" then
    local last = walk.file.tokens[callee.past - 1].text
    complain(walk, callee.at, last == ")" and "(…)" or last, ("%s called as a function"):format(types.show(one)), "read it without a call")
  end
end

--- A listener or acceptor that a task makes and drops.
local function check_served(walk, node, f)
  local one = node.statement and node.owner and types.only(walk.inferred:value(node, 1))
  local serve = one and one.is == "handle" and f.context == "any" and not node.base and one.name ~= "link" and api.functions[one.name .. ":serve"]
  if serve then complain(walk, node.at, f.name, "has no handler", "add :" .. serve.signature:match "^%l+:(.-) →") end
end

local function check_call(walk, node)
  local f, before = walk.inferred:called(node)
  formats.check(walk.inferred, node, walk.note)
  if node.callee then
    local one = types.only(walk.inferred:type(node.callee))
    check_callee(walk, node.callee, one)
  end
  if not f then return end
  local callee = node.callee and types.only(walk.inferred:type(node.callee))
  if callee and callee.is == "method" and arguments.lacks_self(walk.inferred, node, callee.kind) then
    return complain(walk, node.callee.name_at or node.at, f.name, "called with a dot", "write it with a colon", true)
  end
  check_served(walk, node, f)
  if f.context == "declare" and in_task(walk, node) then complain(walk, node.at, core.declare_only(f.name):match "^(%S+): (.+); (.+)$") end
  arguments.check(walk.inferred, node, f, before, walk.note)
end

--- A method that is given to a function that will call it without its handle: kt.after("5s", conn.close).
local function check_passed(walk, call)
  for place, arg in ipairs(call.args) do
    local one = arg.tag == "index" and types.only(walk.inferred:type(arg))
    local given = one and one.is == "method" and callbacks.of(walk.inferred, arg)
    local has = true
    if given and given.passes then
      has = not arguments.lacks_self(walk.inferred, { args = table.move(call.args, place + 1, #call.args, 1, {}) }, one.kind)
    elseif given and given.call then
      local first = types.holder(types.parameters(given.call)[1] or nil)
      has = first ~= nil and first.name == one.kind
    end
    if not has then
      complain(walk, arg.name_at, one.fn.name, ("given to %s without its %s"):format(given.name, one.kind), given.passes
        and ("write %s(…, %s)"):format(given.name, one.kind) or ("write function() %s:%s() end"):format(one.kind, arg.key))
    end
  end
end

--- Parameters that the API never gives a value.
local function check_parameters(walk, fn)
  local given = #fn.params > 0 and callbacks.of(walk.inferred, fn)
  if not given or not given.api or not given.call or given.call:find("| fun", 1, true) then return end
  local most = #types.parameters(given.call)
  for nth = most + 1, #fn.params do
    local var = fn.params[nth]
    if #var.uses > 0 then
      local message = ("the function gets %s: %s is always nil"):format(types.arguments(most), var.name)
      return complain(walk, var.at, given.name, message, "use a variable from outside of the function")
    end
  end
end

--- A key that a table constructor has twice.
local function check_keys(walk, node)
  local seen = {}
  for _, item in ipairs(node.items) do
    if item.key and seen[item.key] then
      complain(walk, item.at, named(item.key), "given twice in one table, and the last one counts", "leave out one")
    end
    seen[item.key or false] = true
  end
end

--- Checks one file. codes: from compare.codes. Calls note{ token, path, message, suggestion, placed } for each mistake.
function calls.check(inferred, file, codes, note)
  local walk = { inferred = inferred, file = file, note = note }
  for _, node in ipairs(file.nodes) do
    if node.tag == "index" then
      if node.key then check_access(walk, node, node.key) else check_key(walk, node.computed) end
    elseif node.tag == "call" then
      if node.base then check_access(walk, node, node.method) end
      check_call(walk, node)
      check_passed(walk, node)
    elseif node.tag == "binary" then
      compare.check(inferred, codes, node, note)
      operators.check(inferred, node, note)
    elseif node.tag == "unary" then
      operators.check(inferred, node, note)
    elseif node.tag == "function" then
      check_parameters(walk, node)
    elseif node.tag == "table" then
      check_keys(walk, node)
    end
  end
end

return calls
