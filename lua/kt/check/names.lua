--- Finds wrong names: those that nothing defines, globals that tasks would share by mistake, and modules that are not there.
local api = require "kt.api"
local callbacks = require "kt.check.callbacks"
local core = require "kt.core"
local kinds = require "kt.check.types"
local schema = require "kt.schema"

local names = {}

--- The closest of `known`; nil for names of one or two letters, which are close to everything.
function names.suggest(name, known)
  return #name > 2 and schema.suggest(name, known) or nil
end

--- Whether an expression is the table of globals, also through a local variable.
local function is_globals(types, node)
  local name = types:library(node)
  return name == "_G" or name == "_ENV"
end

--- Calls each(name, place) for each assignment of a global in a file, also by _G or rawset. place: a node, whose `owner` is the function
--- around it. name is nil if it is computed.
local function each_set(types, file, each)
  for _, use in ipairs(file.global_sets) do each(use.var.name, use) end
  for _, one in ipairs(file.sets) do
    if is_globals(types, one.target.base) then each(one.target.key, one.target) end
  end
  for _, node in ipairs(file.nodes) do
    local raw = node.tag == "call" and node.callee and node.args[1] and types:library(node.callee) == "rawset"
    if raw and is_globals(types, node.args[1]) then
      local key = node.args[2]
      each(key and key.tag == "constant" and type(key.value) == "string" and key.value or nil, node)
    end
  end
end

--- The globals that the files set: { [name] = whether a main chunk does }, or nil if they set some by computed names.
local function globals_of(types)
  local set, computed = {}, false
  for _, file in ipairs(types.files) do
    each_set(types, file, function(name, place)
      if name then set[name] = set[name] or not place.owner else computed = true end
    end)
  end
  return not computed and set or nil
end

--- Calls note(token, name, known names) for each use of a name in a file that neither the files nor `world` (the globals) define.
function names.undefined(types, file, world, note)
  local set = globals_of(types)
  if not set then return end
  local known = {}
  for _, from in ipairs { world, file.names, set } do
    for name in next, from do known[#known + 1] = name end
  end
  table.sort(known)
  for _, node in ipairs(file.nodes) do
    local name = node.tag == "name" and not node.written and node.var.global and node.var.name
    if name and name ~= "_ENV" and set[name] == nil and rawget(world, name) == nil then note(file.tokens[node.at], name, known) end
  end
end

--- Calls note(token, name) for each global that a function of a file sets and no main chunk. At run time that is an error in a task, but
--- for rawset.
function names.shared(types, file, world, note)
  local set = globals_of(types)
  if not set then return end
  each_set(types, file, function(name, place)
    if place.owner and set[name] == false and rawget(world, name) == nil then note(file.tokens[place.name_at or place.at], name) end
  end)
end

--- The sentence about a shared global; that of globals.c.
function names.shared_text(name)
  return ("global '%s' is shared by all connections; write: local %s"):format(name, name)
end

local libraries = { string = true, table = true, math = true, utf8 = true, coroutine = true, os = true, io = true, debug = true }
local tests = { ["and"] = true, ["or"] = true, ["not"] = true, ["=="] = true, ["~="] = true }

--- Finds fields that Lua's libraries do not have, "string.uper". Not those that a script sets, or asks for before it uses them.
function names.library(types, file, world, note)
  local asked, wrong = {}, {}
  for _, node in ipairs(file.nodes) do
    local key = node.key or node.method
    local of = node.tag == "index" and key and types:library(node.base)
    if node.tag == "call" and node.base then
      local one = kinds.only(types:type(node.base))
      local secret = api.functions["secret:" .. key] -- what is described as a string may be one
      of = one == kinds.plain "string"[1] and not secret and "string"
    end
    local has = of and libraries[of] and rawget(world, of)
    if has and has[key] == nil and not types.sets[key] then
      local up = node.up
      if node.tag == "index" and (not up or node.tested or tests[up.op]) then asked[key] = true end
      wrong[#wrong + 1] = { node = node, of = of, key = key, has = has }
    end
  end
  for _, one in ipairs(wrong) do
    if not asked[one.key] then
      local known = {}
      for name in next, one.has do known[#known + 1] = name end
      table.sort(known)
      local path, message, suggestion = schema.absence(one.of, one.key, known)
      note { token = file.tokens[one.node.name_at], path = path, message = message, suggestion = suggestion }
    end
  end
end

--- Finds modules that tasks require and that are not there; those of the main chunk show when it runs. exists(name): whether one is.
function names.modules(types, file, exists, note)
  for _, node in ipairs(file.nodes) do
    local given = node.tag == "call" and node.owner and node.callee and types:library(node.callee) == "require" and node.args[1]
    local name = given and given.tag == "constant" and given.value
    local caught = name and callbacks.of(types, node.owner)
    if type(name) == "string" and name ~= "kt" and not exists(name) and not (caught and caught.name == "pcall") then
      local path = name:gsub("%.", "/")
      local folders = "beside the script" .. (core.module_path() and " or in the folder of --path" or "")
      note {
        token = file.tokens[node.at], path = "require", message = ('no such module: "%s"'):format(name),
        suggestion = name:find "^kt%." and 'use require "kt"' or ("expected %s.lua or %s/init.lua %s"):format(path, path, folders),
      }
    end
  end
end

return names
