--- How the API uses a function that a script gives it, by its description: an argument (listener:serve), or a key of the
--- table that is the argument (kt.pool { policy = … }).
local library = require "kt.api.library"
local scopes = require "kt.check.scopes"

local callbacks = {}

local function described(keys, name)
  for _, key in ipairs(keys or {}) do
    if key.name == name then return key end
  end
end

--- The description of the value at a path inside the argument table of f; nil if there is none.
local function key_of(f, path)
  local d = f.argument
  if not d or #path == 0 then return nil end
  for _, key in ipairs(path) do
    if d.each then return { call = d.each, reply = d.reply } end
    if d.type == "list" then d = d.of else d = described(d.keys, key) end
    if not d then return nil end
  end
  return d
end

--- The table constructor that a variable holds, if it holds nothing else.
local function held_by(node)
  local value = node.tag == "name" and scopes.only_value(node.var)
  return value and value.tag == "table" and value or nil
end

local passed = setmetatable({}, { __mode = "k" }) -- variable → its only use in a table or as an argument; false if there is none, or more

local function only_use(var)
  if passed[var] ~= nil then return passed[var] end
  local found = false
  for _, use in ipairs(var.uses) do
    local up = use.up
    if up and (up.tag == "table" or up.tag == "call" and up.callee ~= use and up.base ~= use) then
      if found then
        found = false
        break
      end
      found = use
    end
  end
  passed[var] = found
  return found
end

local DEEP = 20 -- tables in each other

--- The call that gets a node: as an argument, or inside a table that is one, which a local variable may hold. Then the place of the
--- argument, its node, and the path from there to the given node: its keys, false where one is not named.
local function call_around(node)
  local path = {}
  for _ = 1, DEEP do
    local up = node.up
    if not up and node.target then -- t.key = function
      table.insert(path, 1, node.target.key or false)
      node = held_by(node.target.base)
    elseif not up then
      node = node.tag == "table" and node.held and not node.held.global and #node.held.defs == 1 and only_use(node.held)
    elseif up.tag == "table" then
      table.insert(path, 1, node.item.key or false)
      node = up
    elseif up.tag == "call" then
      for place, arg in ipairs(up.args) do
        if arg == node then return up, place, node, path end
      end
      return nil
    else
      return nil
    end
    if not node then return nil end
  end
end

--- The parameter's type, which may depend on the argument before it: of link:on, on the event.
local function type_of(p, before)
  local event = before and before.tag == "constant" and before.value
  return p.by and event and (p.by[event] or p.by.other) or p.type
end

--- How the API or Lua's library uses a function that a script gives it, by the function's node; nil if unknown. { name = of the function that
--- gets it, call = its type, "fun(conn: conn)", or nil, waits = whether it may wait, passes = whether it gets the arguments that follow,
--- elements = whether it gets those of the list that is the first argument, what = its name in messages, reply = the description of a
--- table that it returns }.
function callbacks.of(types, node)
  local call, place, arg, path = call_around(node)
  if not call then return nil end
  local f, before = types:called(call)
  if not f then
    local name, self = call.callee and types:library(call.callee), 0
    if call.base then name, self = "string." .. call.method, 1 end -- text:gsub(…): only strings have it
    local given = name and library.functions[name]
    if not given or given.place ~= place + self or arg ~= node then return nil end
    return { name = name, waits = given.waits, passes = given.passes, elements = given.elements, what = given.what }
  end
  if arg == node then
    local nth = place - before
    local p = f.params and f.params[nth]
    if not p then return nil end
    local text = type_of(p, call.args[place - 1])
    return { name = f.name, call = text:find "^fun%(" and text or nil, waits = p.waits ~= false, passes = p.passes, what = p.what, api = true }
  end
  local d = key_of(f, path)
  return d and { name = f.name, call = d.call, reply = d.reply, waits = d.waits ~= false, what = d.what, api = true }
end

return callbacks
