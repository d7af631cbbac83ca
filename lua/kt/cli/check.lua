--- kt check: runs a script's main chunk without opening anything, and reports all mistakes.
local calls = require "kt.check.calls"
local compare = require "kt.check.compare"
local core = require "kt.core"
local guard = require "kt.check.guard"
local infer = require "kt.check.infer"
local json = require "kt.json"
local keep = require "kt.check.keep"
local loops = require "kt.check.loops"
local names = require "kt.check.names"
local notes = require "kt.check.notes"
local results = require "kt.check.results"
local returned = require "kt.check.returned"
local sources = require "kt.check.sources"
local waits = require "kt.check.waits"
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

--- The same, at the token m.token.
local function note_at(file, m)
  m.line, m.column = m.token.line, m.token.column
  note_seen(file.path, m)
end

local function place(file, token) return ("%s:%d: "):format(file.path, token.line) end

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

local function count(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

local function report()
  local list = found:sorted()
  local mistakes = #list - found.hints
  if format == "json" then
    for _, m in ipairs(list) do m.severity = m.hint and "hint" or "mistake" end
    core.stdout(json.list(list, { "file", "line", "column", "severity", "path", "message", "suggestion" }))
  else
    for i = 1, math.min(#list, SHOWN) do core.stdout(notes.line(list[i]) .. "\n") end
    if #list > SHOWN then core.stdout(("… and %d more; fix these first, or list all with --json\n"):format(#list - SHOWN)) end
    core.stdout(("%s: %s%s\n"):format(path, mistakes == 0 and "no mistakes" or count(mistakes, "mistake"),
      found.hints > 0 and ", " .. count(found.hints, "hint") or ""))
  end
  for _, sentence in ipairs(unchecked) do core.stderr(("kt check: could not check %s\n"):format(sentence)) end
  core.exit(mistakes == 0 and #unchecked == 0 and 0 or 1)
end

--- Checks the code of the script and of its modules, whether it ran or not.
local function look()
  local world, files, program, inferred, codes = core.script_world(), { path }, {}, nil, nil
  part("which modules the script requires", function() files = sources.all() end)
  part("the structure of the script", function()
    for i, file in ipairs(files) do program[i] = sources.parsed(file) end
    inferred = infer.new(program, function(name)
      local file = sources.module_file(name)
      return file and sources.parsed(file)
    end)
  end)
  if not inferred then return end
  part("the codes of errors", function() codes = compare.codes(inferred) end)
  for _, file in ipairs(program) do
    local function note(m) note_at(file, m) end
    part(("the calls in %s"):format(file.path), calls.check, inferred, file, codes, note)
    part(("the names in %s"):format(file.path), names.undefined, inferred, file, world, function(token, name, known)
      guard.note_undefined(name, known, place(file, token), token.column)
    end)
    part(("the fields of libraries in %s"):format(file.path), names.library, inferred, file, world, note)
    part(("the modules of %s"):format(file.path), names.modules, inferred, file, sources.module_file, note)
    part(("the functions in %s"):format(file.path), returned.check, inferred, file, function(m) note_at(m.file, m) end)
    part(("the loops in %s"):format(file.path), loops.check, inferred, file, note)
    part(("what %s keeps"):format(file.path), keep.check, inferred, file, note)
    part(("the results in %s"):format(file.path), results.check, inferred, file, note)
  end
  for _, file in ipairs(program) do
    part(("for globals that %s shares"):format(file.path), names.shared, inferred, file, world, function(token, name)
      guard.note_error(names.shared_text(name), place(file, token), nil, token.column)
    end)
  end
  part("for waits", waits.check, inferred, note_at)
  part("for coroutine.yield", yields.check, files, sources.tokens, note_seen)
end

sources.path = path
require "kt" -- before it is guarded
guard.begin(found, format == "json")
local chunk, wrong = core.load_script(path)
if chunk then
  core.args { select(3, ...) }
  run(chunk, select(3, ...))
  for _, m in ipairs(found) do told[notes.place(m)] = true end
  look()
else
  local named = path .. ": " -- the note contains the path already
  guard.note_error(wrong:sub(1, #named) == named and wrong:sub(#named + 1) or wrong, "")
end
report()
