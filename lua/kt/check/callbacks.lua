--- What the API does with a function that a script gives it, as the description says: an argument (listener:serve), or a key of the
--- table that is the argument (kt.pool { policy = … }).
local library = require "kt.api.library"

local callbacks = {}

local function described(keys, name)
  for _, key in ipairs(keys or {}) do
    if key.name == name then return key end
  end
end

--- The description of the value at a node inside the argument table of f; nil if there is none.
local function key_of(node, f, place)
  local path = {}
  while node.up and node.up.tag == "table" do
    table.insert(path, 1, node.item)
    node = node.up
  end
  local d = f.argument
  if not d or #path == 0 or node.up.args[place] ~= node then return nil end
  for _, item in ipairs(path) do
    if d.each then return { call = d.each } end
    if d.type == "list" then d = d.of else d = described(d.keys, item.key) end
    if not d then return nil end
  end
  return d
end

--- The call that a node is an argument of, or inside the table that is one; then the place of that argument.
local function call_around(node)
  while node.up and node.up.tag == "table" do node = node.up end
  local call = node.up
  if not call or call.tag ~= "call" then return nil end
  for place, arg in ipairs(call.args) do
    if arg == node then return call, place end
  end
end

--- The parameter's type, which may depend on the argument before it: of link:on, on the event.
local function type_of(p, before)
  local event = before and before.tag == "constant" and before.value
  return p.by and event and (p.by[event] or p.by.other) or p.type
end

--- What becomes of the function that the node is: { name = of the function that gets it, call = "fun(conn: conn)" or nil, waits = whether
--- it may wait, passes = whether it gets the arguments that follow, what = of it, for messages }. Nil if unknown.
function callbacks.of(types, node)
  local call, place = call_around(node)
  if not call then return nil end
  local f, before = types:called(call)
  if not f then
    local name, self = call.callee and types:library(call.callee), 0
    if call.base then name, self = "string." .. call.method, 1 end -- text:gsub(…): only strings have it
    local given = name and library.functions[name]
    if not given or given.place ~= place + self or call.args[place] ~= node then return nil end
    return { name = name, waits = given.waits, passes = given.passes, what = given.what }
  end
  if node.up == call then
    local nth = place - before
    local p = f.params and f.params[nth]
    if not p then return nil end
    local text = type_of(p, call.args[place - 1])
    return { name = f.name, call = text:find "^fun%(" and text or nil, waits = p.waits ~= false, passes = p.passes, what = p.what, api = true }
  end
  local d = key_of(node, f, place)
  return d and { name = f.name, call = d.call, waits = d.waits ~= false, what = d.what, api = true }
end

return callbacks
