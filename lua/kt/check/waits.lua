--- Finds calls that wait where nothing may: in the main chunk of a module, in a policy, in a function that Lua's library calls from C.
local callbacks = require "kt.check.callbacks"
local core = require "kt.core"
local library = require "kt.api.library"
local types = require "kt.check.types"

local waits = {}

--- The calls of all files by the function around them.
local function by_owner(files)
  local calls = {}
  for _, file in ipairs(files) do
    for _, node in ipairs(file.nodes) do
      if node.tag == "call" and node.owner then
        calls[node.owner] = calls[node.owner] or {}
        table.insert(calls[node.owner], node)
      end
    end
  end
  return calls
end

--- The first call in a function that waits, itself or in a function of the script that it calls; then the function of the API.
local function first_wait(inferred, calls, fn, seen)
  if seen[fn] then return nil end
  seen[fn] = true
  for _, call in ipairs(calls[fn] or {}) do
    local f = inferred:called(call)
    local one = call.callee and types.only(inferred:type(call.callee))
    local deeper
    if one and one.is == "function" then f = select(2, first_wait(inferred, calls, one.node, seen)) deeper = f end
    if f and (deeper or f.context == "task") then return call, f end
  end
end

--- For a function that must not wait: the words for it in messages, and whether the API calls it. Nil: it may wait, or is unknown.
local function forbidden(inferred, node)
  local key = node.item and node.item.key
  if key and library.metamethods[key] then return "a function called by " .. library.metamethods[key], false end
  local given = callbacks.of(inferred, node)
  if given and given.waits == false then return given.what, given.api end
end

--- Calls note{ token, path, message, suggestion, placed } for each mistake in the files.
function waits.check(inferred, note)
  local calls = by_owner(inferred.files)
  for _, file in ipairs(inferred.files) do
    for _, node in ipairs(file.nodes) do
      if node.tag == "call" and not node.owner then
        local f = inferred:called(node)
        if f and f.context == "task" then
          local path, message, suggestion = core.task_only(f.name):match "^(%S+): (.+); (.+)$"
          note(file, { token = file.tokens[node.at], path = path, message = message, suggestion = suggestion, placed = true })
        end
      elseif (node.up or node.target) and (node.tag == "function" or node.tag == "name") then
        local what, ours = forbidden(inferred, node)
        local one = what and types.only(inferred:type(node))
        local call, f
        if one and one.is == "function" then call, f = first_wait(inferred, calls, one.node, {}) end
        if call then
          note(call.file, {
            token = call.file.tokens[call.at], path = f.name, message = ("not allowed in %s, which cannot wait"):format(what),
            suggestion = ours and "let a task do it, and keep what it found in a variable" or "call it before or after",
          })
        end
      end
    end
  end
end

return waits
