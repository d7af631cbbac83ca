--- Answers the control socket's questions to a running script (runtime/script/core/ask.h): each function runs in a task of its own.
local core = require "kt.core"
local snapshot = require "kt.snapshot"

local control = {}

--- { max = rows of conns }; already as JSON
function control.status(args) return nil, snapshot.json(args.max or 1000) end

--- { conn = id }
function control.close(args)
  if core.close_pipe(args.conn, "closed by kt close") then return true end
  error(core.err("not_found", ("no conn or stream %d"):format(args.conn)), 0)
end

-- ---- eval ----

local DEPTH, ROWS, TEXT, WHOLE = 4, 100, 2000, 60000

local function quoted(text)
  local cut = #text > TEXT and ("... (%d bytes)"):format(#text) or ""
  return ("%q"):format(snapshot.printable(text:sub(1, TEXT))):gsub("\\\n", "\\n") .. cut
end

local function by_kind(a, b)
  local x, y = type(a), type(b)
  if x ~= y then return x == "number" or (y ~= "number" and x < y) end
  if x == "number" or x == "string" then return a < b end
  return false
end

local show

local function show_key(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then return key end
  return "[" .. show(key, 0) .. "]"
end

local function show_rows(value, depth, seen)
  if next(value) == nil then return "{}" end
  if seen[value] then return "{...}" end
  if depth == 0 then return "{ ... }" end
  seen[value] = true
  local keys, rows, n = {}, {}, rawlen(value)
  for key in next, value do keys[#keys + 1] = key end
  table.sort(keys, by_kind)
  local size = 0
  for i, key in ipairs(keys) do
    if i > ROWS or size > WHOLE then
      rows[#rows + 1] = ("... (%d more)"):format(#keys - i + 1)
      break
    end
    local row = show(rawget(value, key), depth - 1, seen)
    if not (math.type(key) == "integer" and key >= 1 and key <= n) then row = show_key(key) .. " = " .. row end
    rows[#rows + 1] = row
    size = size + #row
  end
  seen[value] = nil
  local line = "{ " .. table.concat(rows, ", ") .. " }"
  if #line <= 100 and not line:find "\n" then return line end
  return "{\n  " .. table.concat(rows, ",\n"):gsub("\n", "\n  ") .. "\n}"
end

--- A value as Lua would write it, cut off where it is deep or long.
function show(value, depth, seen)
  if type(value) == "string" then return (quoted(value)) end
  if type(value) == "table" and not getmetatable(value) then return show_rows(value, depth, seen) end
  return snapshot.printable(tostring(value))
end

--- A print that adds lines to a list until it is closed or full, and then prints as the script does.
local function collector(lines, script_print)
  local size = 0
  return function(...)
    if lines.closed or size > WHOLE then return script_print(...) end
    local words = table.pack(...)
    for i = 1, words.n do words[i] = snapshot.printable(tostring(words[i])) end
    lines[#lines + 1] = table.concat(words, "\t"):sub(1, WHOLE)
    size = size + #lines[#lines]
  end
end

--- Adds values to the lines printed before.
local function add_values(lines, ...)
  lines.closed = true
  local out = { table.unpack(lines) }
  for i = 1, select("#", ...) do out[#out + 1] = show((select(i, ...)), DEPTH, {}) end
  return out
end

--- An expression, or statements; they see the script's globals, and kt.
local function compile(code, lines)
  local globals = core.script_world()
  local env = setmetatable({ kt = require "kt", print = collector(lines, globals.print) }, { __index = globals, __newindex = globals })
  local chunk = core.chunk("return " .. code, env)
  if chunk then return chunk end
  local statements, wrong = core.chunk(code, env)
  if not statements then error(core.err("invalid", wrong), 0) end
  return statements
end

--- { code = text } → a list of the lines that it prints, and of its values, as text
function control.eval(args)
  local lines = {}
  return core.json.array(add_values(lines, compile(args.code, lines)()))
end

-- ---- the answer ----

--- Returns true and JSON; or false, the name of a code, and a sentence.
return function(command, text)
  local ok, result = pcall(function()
    local value, json = control[command](core.json.decode(text))
    return json or core.json.encode(value)
  end)
  if ok then return true, result end
  if type(result) == "userdata" and core.kind_of(result) == "err" then return false, result.code, result.text end
  return false, "failed", tostring(result)
end
