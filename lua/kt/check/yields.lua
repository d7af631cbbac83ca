--- Finds calls of coroutine.yield in tasks, where they fail because nothing resumes the task. In a script that creates no coroutines,
--- that is every call.
local literals = require "kt.check.literals"

local yields = {}

local text = literals.text

--- Adds the positions of the calls in a file; false if the file may make coroutines.
local function find(tokens, found)
  for i, token in ipairs(tokens) do
    if token.value == "coroutine" then return false end -- _G["coroutine"]
    if token.kind == "name" and token.text == "coroutine" then
      local name = text(tokens, i + 1) == "." and text(tokens, i + 2)
      if not name or name == "create" or name == "wrap" then return false end
      if name == "yield" and text(tokens, i + 3) == "(" then found[#found + 1] = i end
    end
  end
  return true
end

--- files: all files of the script, in order; tokens_of(file) → its tokens. Calls note(file, mistake) for each call found.
function yields.check(files, tokens_of, note)
  local found = {}
  for _, file in ipairs(files) do
    found[file] = {}
    if not find(tokens_of(file), found[file]) then return end
  end
  for _, file in ipairs(files) do
    for _, i in ipairs(found[file]) do
      note(file, {
        line = tokens_of(file)[i].line, placed = true, message = "coroutine.yield in a task: nothing resumes it",
        suggestion = "call kt.sleep(0) to let other tasks run",
      })
    end
  end
end

return yields
