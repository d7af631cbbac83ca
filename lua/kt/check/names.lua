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

--- The globals that the files set: { [name] = whether a main chunk does }, or nil if they set some by computed names.
local function globals_of(files)
  local set = {}
  for _, file in ipairs(files) do
    for _, use in ipairs(file.global_sets) do set[use.var.name] = set[use.var.name] or not use.owner end
    for _, one in ipairs(file.sets) do
      local base = one.target.base
      if base.tag == "name" and base.var.global and (base.var.name == "_G" or base.var.name == "_ENV") then
        if not one.target.key then return nil end
        set[one.target.key] = true
      end
    end
  end
  return set
end

--- Calls note(token, name, known names) for each use of a name in a file that neither the files nor `world` (the globals) define.
function names.undefined(files, file, world, note)
  local set = globals_of(files)
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

--- Calls note(token, name) for each global that a function of a file sets and no main chunk. At run time that is an error in a task.
function names.shared(files, file, world, note)
  local set = globals_of(files)
  if not set then return end
  for _, use in ipairs(file.global_sets) do
    local name = use.var.name
    if use.owner and set[name] == false and rawget(world, name) == nil then note(file.tokens[use.at], name) end
  end
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
      local path, message, suggestion = schema.absent(one.of, one.key, known):match "^(%S+): (.+); (.+)$"
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
