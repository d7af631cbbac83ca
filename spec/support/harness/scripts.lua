-- A folder for a spec's scripts, and kt run in it. In a spec file, within describe:
--
--   local s = scripts.each(before_each, after_each)
local h = require "harness"
local peer = require "harness.peer"
local process = require "harness.process"
local sockets = require "harness.sockets"

local scripts = {}

--- The first line of a script. KEY takes no time, as a passphrase does.
scripts.HEAD = ('local kt = require "kt" local KEY = %q\n'):format(process.KEY)
local HEAD = scripts.HEAD

local function readlink(path)
  local pipe = assert(io.popen("readlink -f " .. path))
  local full = pipe:read("l")
  pipe:close()
  return full
end

--- The full path of kt, which works in any folder.
scripts.kt = readlink(peer.kt)

--- Runs kt with these arguments in a folder (nil: this one) until it exits. Not within h.run: it is the whole body of one.
function scripts.exited(dir, ...)
  local cmd, result = { scripts.kt, ... }, nil
  h.run(function()
    local p = process.start { name = "kt", cmd = cmd, cwd = dir }
    local code = p:wait_exit(60) -- a main chunk may use 5 s of processor time, which takes longer on a busy machine
    result = { code = code, err = p.stderr, out = p.stdout }
  end)
  return result
end

--- A log without warnings of slow slices, which a busy machine can cause. lua_guard_spec tests those.
function scripts.complaints(log)
  return (log:gsub("[^\n]* warn  %S+: [^\n]*: a slice took [^\n]*\n", ""))
end

function scripts.new()
  local kt = scripts.kt
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

  --- Starts kt in the folder, within h.run.
  function s.kt(...)
    return process.start { name = "kt", cmd = { kt, ... }, cwd = dir }
  end

  --- Runs kt in the folder until it exits: { code =, err =, out = }. Not within h.run.
  function s.exited(...) return scripts.exited(dir, ...) end

  --- Runs a script with this text, and options of kt run, until it exits: { code =, err =, out = }. Not within h.run.
  function s.ran(text, ...)
    local args = { "run", ... }
    args[#args + 1] = s.write("s.lua", text)
    return s.exited(table.unpack(args))
  end

  --- Runs the text as the body of a task, which must succeed and log nothing; returns its output. The body begins on line 3. Not within
  --- h.run.
  function s.ran_task(text, ...)
    local r = s.ran(HEAD .. "kt.spawn(function()\n" .. text .. "\nend)", ...)
    if r.code ~= 0 or scripts.complaints(r.err) ~= "" then error(("exit code %s: %s"):format(r.code, r.err), 2) end
    return r.out
  end

  --- Starts kt with a limit on file descriptors.
  function s.limited(descriptors, ...)
    local command = ('ulimit -n %d; exec "$0" "$@"'):format(descriptors)
    return process.start { name = "kt", cmd = { "sh", "-c", command, kt, ... }, cwd = dir }
  end

  --- Starts a script: `text` formatted with the other arguments, below a first line that requires kt.
  function s.start(text, ...)
    return s.kt("run", s.write("s.lua", HEAD .. text:format(...)))
  end

  --- Runs a script as `start` does until it exits; returns exit code (or "signal 11"), stdout and stderr.
  function s.run(text, ...)
    local p = s.start(text, ...)
    local code, signal = p:wait_exit(20)
    return signal == 0 and code or "signal " .. signal, p.stdout, p.stderr
  end

  --- Runs the text as the body of a task, which must succeed and log nothing; returns its output. The body begins on line 3.
  function s.task(text, ...)
    local code, out, err = s.run("kt.spawn(function()\n" .. text .. "\nend)", ...)
    if code ~= 0 or scripts.complaints(err) ~= "" then error(("exit code %s: %s"):format(code, err), 2) end
    return out
  end

  --- Starts a server in front of a target that sends the name and a newline, then echoes. script(port, target) returns the path of
  --- its script. Fields: name, port, process; start(), kill().
  function s.server(name, script)
    local target = sockets.serve(function(conn)
      conn:send(name .. "\n")
      local chunk = conn:recv(60)
      while chunk and conn:send(chunk) do chunk = conn:recv(60) end
    end)
    local one = { name = name, port = sockets.free_port("udp") }
    function one.start()
      one.process = s.kt("run", script(one.port, target.at))
      one.process:wait_udp(one.port)
    end
    function one.kill() one.process:kill() end
    one.start()
    return one
  end

  return s
end

--- Makes a folder before each test of a block, and ends what the test started and removes the folder after it. Takes the block's own
--- before_each and after_each; returns what stands for the current test's folder, with the fields of scripts.new.
function scripts.each(before_each, after_each)
  local current
  before_each(function() current = scripts.new() end)
  after_each(function()
    h.cleanup()
    current.remove()
  end)
  return setmetatable({}, { __index = function(_, name) return current[name] end })
end

return scripts
