-- Scripts of a spec: written to a folder of their own, run by kt from there.
--
--   local scripts = require "harness.scripts"
--   before_each(function() s = scripts.new() end)
--   after_each(function() h.cleanup() s.remove() end)
local peer = require "harness.peer"
local process = require "harness.process"

local scripts = {}

local HEAD = 'local kt = require "kt"\n'

local function readlink(path)
  local pipe = assert(io.popen("readlink -f " .. path))
  local full = pipe:read("l")
  pipe:close()
  return full
end

--- What a script's log says is wrong with it. That a slice took long may be the machine's doing, so it is no complaint (lua_guard_spec sees to it).
function scripts.complaints(log)
  return (log:gsub("[^\n]* warn  %S+: [^\n]*: a slice took [^\n]*\n", ""))
end

function scripts.new()
  local kt = readlink(peer.kt)
  local dir = os.tmpname()
  os.remove(dir)
  assert(os.execute("mkdir " .. dir))
  local s = { dir = dir }

  function s.remove() os.execute("rm -rf " .. dir) end

  function s.write(name, text)
    local file = assert(io.open(dir .. "/" .. name, "wb"))
    file:write(text)
    file:close()
    return name
  end

  --- Starts kt in the folder.
  function s.kt(...)
    return process.start { name = "kt", cmd = { kt, ... }, cwd = dir }
  end

  --- The same with at most so many file descriptors.
  function s.limited(descriptors, ...)
    local command = ('ulimit -n %d; exec "$0" "$@"'):format(descriptors)
    return process.start { name = "kt", cmd = { "sh", "-c", command, kt, ... }, cwd = dir }
  end

  --- Starts a script: `text` formatted with what follows it, under a line 1 that brings `kt`.
  function s.start(text, ...)
    return s.kt("run", s.write("s.lua", HEAD .. text:format(...)))
  end

  --- Runs a script as `start` does, to its end; returns exit code (or "signal 11"), stdout and stderr.
  function s.run(text, ...)
    local p = s.start(text, ...)
    local code, signal = p:wait_exit(20)
    return signal == 0 and code or "signal " .. signal, p.stdout, p.stderr
  end

  --- Runs the text as the body of a task, which has to end well and say nothing to the log; returns what it printed.
  --- The body begins on line 3.
  function s.task(text, ...)
    local code, out, err = s.run("kt.spawn(function()\n" .. text .. "\nend)", ...)
    if code ~= 0 or scripts.complaints(err) ~= "" then error(("exit code %s: %s"):format(code, err), 2) end
    return out
  end

  --- A copy of one of scripts/examples with texts replaced: { { from, to }, … }. Each has to be there.
  function s.example(name, changes)
    local file = assert(io.open("scripts/examples/" .. name, "rb"))
    local text = file:read("a")
    file:close()
    for _, change in ipairs(changes) do
      local from, to = table.unpack(change)
      local at, last = text:find(from, 1, true)
      assert(at, from .. " is not in " .. name)
      text = text:sub(1, at - 1) .. to .. text:sub(last + 1)
    end
    return s.write(name, text)
  end

  --- A key for both ends, as the examples want it.
  function s.key()
    s.write("psk.key", "correct horse\n")
    os.execute("chmod 600 " .. dir .. "/psk.key")
  end

  return s
end

return scripts
