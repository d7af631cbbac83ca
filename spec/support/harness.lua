-- Helpers for specs that run real tunnels: processes, sockets, checked transfers, lossy relays. In a spec file:
--
--   local h = require "harness"
--   describe("…", function()
--     after_each(h.cleanup)
--     it("…", function() h.run(function() … end) end)
--   end)
local loop = require "harness.loop"
local process = require "harness.process"
local sockets = require "harness.sockets"

local h = {
  loop = loop,
  proc = require "harness.proc",
  peer = require "harness.peer",
  pattern = require "harness.pattern",
  relay = require "harness.relay",
  sockets = sockets,
  tap = require "harness.tap",
  transfer = require "harness.transfer",
  start = process.start,
  key = process.KEY, -- for scripts; kt client and kt server have it from $KCPTUN_KEY
  -- Set where everything is slow (sanitizers): heavy specs then do a tenth of the work.
  light = os.getenv("KT_SPEC_LIGHT") == "1",
  -- False under sanitizers, which keep freed memory for a while, so that limits on memory mean nothing.
  memory_counts = os.getenv("KT_SPEC_LIGHT") ~= "1",
}

--- Runs a spec's body as a task. If it fails, prints the output of every process.
function h.run(body, seconds)
  local ok, err = xpcall(loop.run, function(e) return e end, body, seconds)
  if not ok then
    local said = process.report()
    if said ~= "" then io.stderr:write("\n", said, "\n") end
    error(err, 0)
  end
end

--- Ends everything that the spec has left, so that the next one starts clean. Fails if a kt does not exit with 0.
function h.cleanup()
  for _, path in ipairs(h.temporary) do os.remove(path) end
  h.temporary = {}
  loop.forget_tasks()
  sockets.close_all()
  local ok, wrong = pcall(loop.run, process.end_all, 60)
  loop.close_handles()
  if not ok then error(wrong, 0) end
  if wrong[1] then error(table.concat(wrong, "\n"), 0) end
end

--- Whether a program is in PATH.
function h.installed(program) return os.execute(("command -v %s >/dev/null"):format(program)) == true end

h.temporary = {}

--- A name for a file that does not exist yet; the file is removed after the spec.
function h.temporary_path()
  local path
  repeat -- digits in the name of a snmplog may stand for a date
    if path then os.remove(path) end
    path = os.tmpname()
  until not path:find "%d"
  os.remove(path)
  h.temporary[#h.temporary + 1] = path
  return path
end

function h.read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

function h.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

return h
