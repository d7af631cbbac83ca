--- kt check: runs a script's main chunk without opening anything, and reports all mistakes.
local calls = require "kt.check.calls"
local core = require "kt.core"
local globals = require "kt.check.globals"
local guard = require "kt.check.guard"
local json = require "kt.json"
local notes = require "kt.check.notes"
local shared = require "kt.check.shared"
local sources = require "kt.check.sources"
local yields = require "kt.check.yields"

local format, path = ...

local SHOWN = 100 -- findings printed without --json

local found = notes.new()
local told = {} -- the calls that running the script has reported

--- Records a finding in the code of a file, unless running the same call has reported it in other words.
local function note_seen(file, m)
  m.file = file
  if not (m.placed and told[notes.place(m)]) then found:add(m) end
end

-- These two check the code of a file, whether it ran or not.
local function look_at_calls(file)
  calls.check(sources.tokens(file), function(m) note_seen(file, m) end)
end
local function look_at_names(file)
  globals.check(sources.tokens(file), core.script_world(), function(line, name, names)
    guard.note_undefined(name, names, ("%s:%d: "):format(file, line))
  end)
end

--- Looks for globals that tasks of these files would share.
local function look_at_shared(files)
  local declared, finds, world = {}, {}, core.script_world()
  for i, file in ipairs(files) do finds[i] = shared.find(sources.tokens(file), declared) end
  for i, file in ipairs(files) do
    for _, m in ipairs(finds[i]) do
      if not declared[m.name] and rawget(world, m.name) == nil then
        guard.note_error(shared.text(m.name), ("%s:%d: "):format(file, m.line))
      end
    end
  end
end

local unchecked = {} -- messages about parts of the check that failed

--- Runs one part of the check. If it fails, the findings of the other parts are still reported.
local function part(what, fn, ...)
  local ok, wrong, stopped = core.run_slice(core.raised, fn, ...)
  if not ok then
    unchecked[#unchecked + 1] = ("%s: %s"):format(what, stopped and "took too long" or wrong .. "; please report this")
  end
end

--- Runs the guarded main chunk with the script's arguments.
local function run(chunk, ...)
  local where = ""
  local ok, err = core.run_slice(function(e)
    where = core.where()
    return e
  end, chunk, ...)
  core.grant_memory()
  if not ok and err ~= guard.EXIT then
    guard.note_error(core.raised(err), where)
    return
  end
  for _, fault in ipairs(core.unready()) do
    -- If the script declares nothing because its declarations have mistakes, those are reported already.
    if fault.path then
      guard.note_error(("%s:%d: %s: %s"):format(fault.file, fault.line, fault.path, fault.text), "")
    elseif found.count == 0 then
      guard.note_error(fault.text, "")
    end
  end
end

local function report()
  local list = found:sorted()
  if format == "json" then
    core.stdout(json.list(list, { "file", "line", "path", "message", "suggestion" }))
  else
    for i = 1, math.min(#list, SHOWN) do core.stdout(notes.line(list[i]) .. "\n") end
    if #list > SHOWN then core.stdout(("… and %d more; fix these first, or list all with --json\n"):format(#list - SHOWN)) end
    core.stdout(#list == 0 and path .. ": no mistakes\n" or ("%s: %d mistake%s\n"):format(path, #list, #list == 1 and "" or "s"))
  end
  for _, sentence in ipairs(unchecked) do core.stderr(("kt check: could not check %s\n"):format(sentence)) end
  core.exit(#list == 0 and #unchecked == 0 and 0 or 1)
end

sources.path = path
require "kt" -- before it is guarded
guard.begin(found, format == "json")
local chunk, wrong = core.load_script(path)
if chunk then
  core.args { select(3, ...) }
  run(chunk, select(3, ...))
  for _, m in ipairs(found) do told[notes.place(m)] = true end
  local files = { path }
  part("which modules the script requires", function() files = sources.all() end)
  for _, file in ipairs(files) do
    part(("the calls in %s"):format(file), look_at_calls, file)
    part(("the names in %s"):format(file), look_at_names, file)
  end
  part("for shared globals", look_at_shared, files)
  part("for coroutine.yield", yields.check, files, sources.tokens, note_seen)
else
  local named = path .. ": " -- the note contains the path already
  guard.note_error(wrong:sub(1, #named) == named and wrong:sub(#named + 1) or wrong, "")
end
report()
