--- What modules in the binary that were written for plain Lua (argparse) expect of `os`, `io` and `debug`: just enough to
--- print and to exit. Runs once, in their environment; a script never sees it.
local core = require "kt.core"

os = { exit = core.exit, getenv = core.getenv } -- luacheck: ignore

local function writer(write)
  local file = {}
  function file:write(...)
    for i = 1, select("#", ...) do write(tostring((select(i, ...)))) end
    return self
  end
  return file
end

io = { stdout = writer(core.stdout), stderr = writer(core.stderr) } -- luacheck: ignore
function io.write(...) return io.stdout:write(...) end -- luacheck: ignore
debug = { traceback = function(message) return message end } -- luacheck: ignore
