--- Wraps the whole API for `kt check`: a call that fails records its mistake and returns a stand-in, so that the main chunk
--- continues. Errors that the script catches with pcall are left to it.
local api = require "kt.api"
local core = require "kt.core"
local suggest = require("kt.check.names").suggest
local schema = require "kt.schema"
local sources = require "kt.check.sources"
local standin = require "kt.check.standin"

local guard = { EXIT = {} } -- os.exit raises EXIT, which ends the main chunk

local caught = 0 -- depth of nested pcall and xpcall calls of the script
local list -- the notes

--- "script.lua:3: text" → file, line, text
local function placed(text)
  local file, line, rest = text:match "^([^:\n]+):(%d+): (.*)$"
  if file then return sources.file(file), math.tointeger(line), rest end
end

--- The column of a name in a line, "open" of "link:open", if it is there once.
local function column_of(file, line, path)
  local name, column = path and path:match "[%w_]+$", nil
  for _, token in ipairs(name and sources.tokens(file) or {}) do
    if token.line == line and token.text == name and token.kind == "name" then
      if column then return nil end
      column = token.column
    end
  end
  return column
end

--- The script's current file and line.
local function here()
  local file, line = placed(core.where() .. "x")
  return file or sources.path, line or 0
end

--- Records an error that the script raised. where: its position, if the text does not begin with one; column: of it, if known.
function guard.note_error(text, where, path, column)
  text = text:gsub("\n  called from.*", "")
  local file, line, rest = placed(text)
  if not file then
    file, line, rest = placed(where .. text)
  elseif text:sub(1, #where) ~= where then
    path = nil -- it was not raised by this call
  end
  rest = rest or text
  local own, after = rest:match "^([%a_][%w_]*[.:][%w_.:]-): (.+)$"
  if own then path, rest = own, after end
  local message, suggestion = rest:match "^(.-); (.+)$"
  file, line = file or sources.path, line or 0
  list:add { file = file, line = line, column = column or column_of(file, line, path), path = path, message = message or rest, suggestion = suggestion }
end

--- Records mistakes found by the schema, each at the line of its key.
local function note_mistakes(name, mistakes)
  local file, line = here()
  for _, m in ipairs(mistakes) do
    local at, column = sources.place_of(file, line, name, schema.below(api.functions[name].path, m.path))
    list:add {
      file = file, line = at, column = column, path = m.path, message = m.message, suggestion = m.suggestion,
    }
  end
end

local function instead(f, args)
  local kind = standin.kind_of(f, function(key) return type(args[1]) == "table" and rawget(args[1], key) ~= nil end)
  if kind == "secret" then return core.secret "stand-in" end -- functions that take a secret need a real one
  if f and not f.returns then return nil end
  return standin.new(kind)
end

local function outcome(name, args, ok, ...)
  if ok then return ... end
  local wrong = ...
  local refused = type(wrong) == "table" and wrong.refused == guard and wrong
  if caught > 0 then error(refused and refused.text or wrong, 0) end
  local f = api.functions[name]
  if refused then
    note_mistakes(name, refused.mistakes)
  elseif (f and f.context == "task") or not standin.among(args, args.n) then
    guard.note_error(tostring(wrong), core.where(), name) -- otherwise a stand-in may have caused it
  end
  return instead(f, args)
end

--- The wrapped function.
local function guarded(name, fn)
  return function(...)
    return outcome(name, table.pack(...), pcall(fn, ...))
  end
end

local function guard_table(path, t)
  for name, value in next, t do
    if type(value) == "function" then t[name] = guarded(path .. "." .. name, value) end
  end
end

--- Records that `path` has no such name, and returns a stand-in for the value.
local function missing(path, name, names, what)
  if caught > 0 then error(core.where() .. schema.absent(path, name, names, what), 0) end
  guard.note_error(schema.absent(path, name, names, what), core.where())
  return standin.new()
end

--- Wraps a kind of handle: its methods are guarded, and reading an unknown field is recorded.
local function guard_handle(kind, h)
  local index, newindex, methods = h.meta.__index, h.meta.__newindex, {}
  local names = table.move(h.fields, 1, #h.fields, #h.methods + 1, table.move(h.methods, 1, #h.methods, 1, {}))
  table.sort(names)
  function h.meta.__index(self, key)
    if methods[key] then return methods[key] end
    local ok, value = pcall(index, self, key)
    if not ok then return missing(kind, tostring(key), names, "field") end
    if type(value) ~= "function" then return value end
    methods[key] = guarded(kind .. ":" .. tostring(key), value)
    return methods[key]
  end
  h.meta.__newindex = guarded(kind, newindex)
end

--- Records undefined globals, and tracks when the script is inside its own pcall.
local function guard_globals(quiet)
  local world, meta = core.script_world()
  local undefined = meta.__index
  local told = {} -- a loop would report the same line repeatedly
  function guard.note_undefined(name, names, where, column)
    if told[where .. name] then return end
    told[where .. name] = true
    local _, text = pcall(undefined, world, name)
    local near = suggest(name, names)
    local file, line = placed(where .. "x")
    guard.note_error(text .. (near and ("; did you mean %s?"):format(near) or ""), where, nil, column or file and column_of(file, line, name))
  end
  function meta.__index(_, name)
    if caught > 0 then
      local _, text = pcall(undefined, world, name)
      error(core.where() .. text, 0)
    end
    local names = {}
    for known in next, world do names[#names + 1] = known end
    guard.note_undefined(tostring(name), names, core.where())
    return standin.new()
  end
  local function counted(call)
    local function done(...)
      caught = caught - 1
      return ...
    end
    return function(...)
      caught = caught + 1
      return done(call(...))
    end
  end
  world.pcall, world.xpcall = counted(world.pcall), counted(world.xpcall)
  world.require = guarded("require", world.require)
  if rawget(world, "os") then
    function world.os.exit() error(guard.EXIT, 0) end -- the process must not end before it reports
  end
  if quiet then
    function world.print(...)
      local words = table.pack(...)
      for i = 1, words.n do words[i] = tostring(words[i]) end
      core.stderr(table.concat(words, "\t") .. "\n")
    end
  end
end

--- Installs the guards; mistakes go to `notes`. quiet: send the script's output to standard error.
function guard.begin(notes, quiet)
  list = notes
  schema.unknown = standin.is
  local kind_of = schema.kind
  function schema.kind(value) return standin.sampled(value) or kind_of(value) end
  function schema.refuse(where, what, mistakes)
    error({ refused = guard, mistakes = mistakes, text = where .. schema.text(what, mistakes) }, 0)
  end
  function schema.not_there(_, ...) return missing(...) end
  function schema.not_set(_, ...) guard.note_error(schema.unchangeable(...), core.where()) end
  function standin.missing(kind, name, names) return missing(kind, name, names, "field") end
  function standin.set(kind, name)
    guard.note_error(("%s.%s: %s"):format(kind, name, standin.NOT_SET), core.where())
  end
  function standin.called(f)
    if f.context == "task" then guard.note_error(core.task_only(f.name), core.where()) end
  end
  require("kt.args").checking = true
  for _, name in ipairs { "kt.pool", "kt.watch", "kt.cache", "kt.limit_count" } do require(name) end -- so that their handles are guarded too
  for path, t in next, core.api do guard_table(path, t) end
  for kind, h in next, core.handles() do guard_handle(kind, h) end
  guard_globals(quiet)
end

return guard
