--- Makes lua/meta/kt.lua and lua/meta/kt/sim.lua: the APIs as type definitions for the Lua language server.
local words = require "kt.doc.words"

local types = {}

local api -- the one that is written

local plain = {
  flag = "boolean", secret = "string|kt.secret", endpoint = "string", duration = "kt.duration", size = "kt.size",
  rate = "kt.rate", share = "kt.share", name_server = "string",
  moment = "kt.sim.moment", host = "kt.sim.host|string", strings = "string|string[]", map = "table<string, string|number>",
}

--- "conn | nil" → "kt.conn|nil": the kinds and records of kt get their prefix.
local function typed(text)
  return (text:gsub("%s*|%s*", "|"):gsub('%f[%w_."][%l_]+%f[^%w_:"]', function(word)
    return (api.handles[word] or api.records[word]) and api.class .. "." .. word or api.plain and plain[word] or nil
  end))
end

local function of_key(key, class)
  if key.type == "handle" then return api.class .. "." .. key.kind end
  if key.type == "list" then return ("(%s)[]"):format(of_key(key.of, class)) end
  if key.type == "table" then
    return (key.bare and api.class .. "." .. key.bare .. "|" or "") .. class .. (key.off and (key.on and "|boolean" or "|false") or "")
  end
  if key.type == "enum" then
    local values = {}
    for i, v in ipairs(key.values) do values[i] = ('"%s"'):format(v) end
    return table.concat(values, "|") .. (key.fn and "|function" or "")
  end
  return (plain[key.type] or key.type) .. (key.keys and "|" .. class or "") .. (key.off and "|false" or "")
end

local function one_line(text) return (text:gsub("%s*\n%s*", " ")) end

--- "kt.link" → "kt.link_options", "link:open" → "kt.link.open_options"
local function class_of(f)
  return api.class .. "." .. f.name:gsub("^" .. api.root .. "%.", ""):gsub(":", ".") .. "_options"
end

--- The class of an argument's table, after those of the tables in it. from: the class whose inner classes are its own, if it is
--- described there (`as`).
local function add_class(out, name, argument, from)
  from = from or name
  for _, key in ipairs(argument.keys) do
    local inner = key.type == "list" and key.of or key
    if inner.keys and from == name then
      add_class(out, name .. "." .. key.name, inner, key.as and class_of { name = key.as })
    end
  end
  out[#out + 1] = "---@class (exact) " .. name
  for _, key in ipairs(argument.keys) do
    local default = words.default(key)
    local kind = key.type ~= "enum" and key.type ~= "table" and (key.min or key.max or key.below) and words.kind(key)
    local notes = {}
    if kind then notes[#notes + 1] = kind end
    if default and default ~= "required" then notes[#notes + 1] = default end
    out[#out + 1] = ("---@field %s%s %s %s%s"):format(key.name, key.required and "" or "?", of_key(key, from .. "." .. key.name),
      one_line(key.doc), #notes > 0 and " (" .. table.concat(notes, "; ") .. ")" or "")
  end
  out[#out + 1] = ""
end

local function add_function(out, f)
  if f.argument and f.argument.keys then add_class(out, class_of(f), f.argument) end
  out[#out + 1] = "--- " .. one_line(f.doc)
  out[#out + 1] = "---"
  out[#out + 1] = "--- Where: " .. words.context[f.context] .. "."
  if f.fails then out[#out + 1] = "--- Fails with: " .. table.concat(f.fails, ", ") .. "." end
  if f.example then out[#out + 1] = "--- ```lua\n--- " .. f.example:gsub("\n", "\n--- ") .. "\n--- ```" end
  local names = {}
  for i, p in ipairs(words.params(f)) do
    local kind = p.argument and of_key(p.argument, class_of(f)) or typed(p.type)
    out[#out + 1] = ("---@param %s%s %s %s"):format(p.name, p.optional and "?" or "", kind, one_line(p.doc))
    names[i] = p.name
  end
  for kind in (f.returns or ""):gmatch "[^,]+" do
    local t = typed(kind:match "^%s*(.-)%s*$")
    out[#out + 1] = "---@return " .. (t == api.class .. ".err" and t .. "? err" or t:gsub("^([%l_.]+%.([%l_]+))|nil$", "%1? %2"))
  end
  out[#out + 1] = ("function %s(%s) end"):format(f.name, table.concat(names, ", "))
  out[#out + 1] = ""
end

local function add_fields(out, fields)
  for _, field in ipairs(fields) do
    out[#out + 1] = ("---@field %s %s %s"):format(field.name, typed(field.type), one_line(field.doc))
  end
end

--- The text of lua/meta/kt.lua (kt.api), or lua/meta/kt/sim.lua (kt.sim.api).
function types.text(which)
  api = which
  local class, root = api.class, api.root
  local out = { "---@meta " .. api.meta, ("-- Made by scripts/generate from %s; changes go there."):format(api.file), "" }
  for _, unit in ipairs(api.units) do
    out[#out + 1] = ("---@alias %s.%s string|number %s"):format(class, unit, words.unit(unit))
  end
  out[#out + 1] = ""
  for _, r in ipairs(api.records) do
    out[#out + 1] = ("--- %s\n---@class %s.%s"):format(one_line(r.doc), class, r.name)
    add_fields(out, r.fields)
    out[#out + 1] = ""
  end
  for _, h in ipairs(api.handles) do
    out[#out + 1] = ("--- %s\n---@class %s.%s%s"):format(one_line(h.doc), class, h.name, h.like and ": " .. class .. "." .. h.like or "")
    add_fields(out, h.fields)
    out[#out + 1] = ("local %s = {}\n"):format(h.name)
    for _, m in ipairs(h.methods) do add_function(out, m) end
  end
  out[#out + 1] = "---@class " .. class
  for _, v in ipairs(api.values) do
    if v.type ~= "table" then
      out[#out + 1] = ("---@field %s %s %s"):format(v.name:match "[^.]+$", v.type, one_line(v.doc))
    end
  end
  out[#out + 1] = ("local %s = {}\n"):format(root)
  for _, v in ipairs(api.values) do
    if v.type == "table" then out[#out + 1] = ("--- %s\n%s = {}\n"):format(one_line(v.doc), v.name) end
  end
  for _, f in ipairs(api.functions) do
    if api.is_free(f) then add_function(out, f) end
  end
  out[#out + 1] = "return " .. root
  return table.concat(out, "\n") .. "\n"
end

return types
