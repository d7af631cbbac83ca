--- Checks how a script uses the API, also in tasks, which `kt check` does not run: that functions and fields exist, that they are called
--- with the right syntax and arguments, and that read-only names are not assigned.
local api = require "kt.api"
local arguments = require "kt.check.arguments"
local callbacks = require "kt.check.callbacks"
local compare = require "kt.check.compare"
local core = require "kt.core"
local formats = require "kt.check.formats"
local infer = require "kt.check.infer"
local schema = require "kt.schema"
local standin = require "kt.check.standin"
local types = require "kt.check.types"

local calls = {}

-- The state of a walk through a file: { inferred, file, note }.

local function complain(walk, at, path, message, suggestion, placed)
  walk.note { token = walk.file.tokens[at], path = path, message = message, suggestion = suggestion, placed = placed }
end

--- The same for a complete message, "kt.lisen: no such function; did you mean kt.listen?".
local function complain_of(walk, at, sentence)
  local path, message, suggestion = sentence:match "^(%S+): (.+); (.+)$"
  complain(walk, at, path, message, suggestion)
end

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
  if node.set then return complain_of(walk, at, schema.unchangeable(one.path, key)) end
  local names = names_in(one.path)
  if one.path == "kt.env" then return end
  if not contains(names, key) then return complain_of(walk, at, schema.absent(one.path, key, names)) end
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
    complain_of(walk, at, schema.absent(holder.name, key, names, "field"))
  end
end

--- A name read from a list, or from a method or a function that is not called.
local function check_misused(walk, node, one, key)
  local at = node.name_at
  if one.is == "list" then
    complain(walk, at, key, "a field of a list", ("write [1].%s, or loop over the list with ipairs"):format(key))
  elseif one.is == "method" then
    complain(walk, at, one.fn.name, "a method used as a field", ("call it: %s().%s"):format(one.fn.name, key))
  elseif one.is == "api" and not node.set then
    complain(walk, at, one.fn.name, "a function used as a table", "call it: " .. one.fn.signature)
  end
end

--- x.key, or x:key(), whose value is known. Of several alternatives one must have it.
local function check_access(walk, node, key)
  local of = walk.inferred:type(node.base)
  if not of or #of == 0 then return end
  local one = types.only(of)
  if one and one.is == "kt" then return check_kt(walk, node, one, key) end
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

local function check_call(walk, node)
  local f, before = walk.inferred:called(node)
  formats.check(walk.inferred, node, walk.note)
  if node.callee then
    local one = types.only(walk.inferred:type(node.callee))
    if one and one.is == "handle" and node.callee.tag ~= "index" then complain(walk, node.at, one.name, "called as a function", "call one of its methods") end
  end
  if not f then return end
  local callee = node.callee and types.only(walk.inferred:type(node.callee))
  if callee and callee.is == "method" and arguments.lacks_self(walk.inferred, node, callee.kind) then
    return complain(walk, node.callee.name_at or node.at, f.name, "called with a dot", "write it with a colon", true)
  end
  if f.context == "declare" and in_task(walk, node) then complain_of(walk, node.at, core.declare_only(f.name)) end
  arguments.check(walk.inferred, node, f, before, walk.note)
end

local relational = { ["<"] = true, [">"] = true, ["<="] = true, [">="] = true, ["+"] = true, ["-"] = true, ["*"] = true, ["/"] = true, [".."] = true,
  ["//"] = true, ["%"] = true, ["^"] = true }

--- A handle used as a value: "x" .. conn, #conn, conn(). Of errs, joining with a string is allowed.
local function check_handle(walk, side, one, op)
  if not one or one.is ~= "handle" or one.name == "err" and op == ".." then return end
  local suggestion = infer.field_of(one, "peer") and op == ".." and ("write %s.peer"):format(one.name) or "use one of its fields or methods"
  if one.name == "secret" then suggestion = "secret:export() gives its bytes" end
  complain(walk, side.at, one.name, ("%s used with %s"):format(types.show(one), op), suggestion)
end

--- A method or a handle in arithmetic: far.stats > 5.
local function check_operands(walk, node)
  if not relational[node.op] then return end
  for _, side in ipairs { node.left, node.right } do
    local one = types.only(walk.inferred:type(side))
    check_handle(walk, side, one, node.op)
    if one and (one.is == "method" or one.is == "api") then
      complain(walk, side.name_at or side.at, one.fn.name, ("a function used with %s"):format(node.op), "call it: " .. one.fn.signature)
    end
  end
end

--- Checks one file. codes: from compare.codes. Calls note{ token, path, message, suggestion, placed } for each mistake.
function calls.check(inferred, file, codes, note)
  local walk = { inferred = inferred, file = file, note = note }
  for _, node in ipairs(file.nodes) do
    if node.tag == "index" then
      if node.key then check_access(walk, node, node.key) end
    elseif node.tag == "call" then
      if node.base then check_access(walk, node, node.method) end
      check_call(walk, node)
    elseif node.tag == "binary" then
      compare.check(inferred, codes, node, note)
      check_operands(walk, node)
    elseif node.tag == "unary" and (node.op == "#" or node.op == "-") then
      check_handle(walk, node.operand, types.only(inferred:type(node.operand)), node.op)
    end
  end
end

return calls
