--- Running instances of kt: finds their control sockets and sends requests to them (docs/control.md).
local core = require "kt.core"
local kt = require "kt"

local instances = {}

local HELLO = 2 -- seconds for an instance to say who it is
local ANSWER = 30
local LINE_MAX = 1 << 20

local Instance = {}
Instance.__index = Instance

--- Sends a request and returns the result; or nil and an error { code, message }.
function Instance:ask(cmd, args, timeout)
  -- A kt that turns this client away says why before it reads, and then does not.
  self.conn:write(core.json.encode { cmd = cmd, args = next(args or {}) and args or nil } .. "\n")
  local line, err = self.conn:read_until("\n", LINE_MAX, { timeout = timeout or ANSWER })
  if not line then return nil, { code = err.code, message = tostring(err) } end
  local answer, wrong = core.json.decode(line)
  if type(answer) ~= "table" then return nil, { code = "protocol", message = "not an answer: " .. tostring(wrong) } end
  if answer.ok then return answer.result end
  return nil, type(answer.error) == "table" and answer.error or { code = "protocol", message = "not an answer" }
end

--- The next line of a stream; nil and an err once it has ended.
function Instance:next(timeout)
  local line, err = self.conn:read_until("\n", LINE_MAX, { timeout = timeout })
  if not line then return nil, err end
  return core.json.decode(line)
end

function Instance:close() self.conn:close() end

local function name_of(path) return path:match "([^/]*)%.sock$" or path end

--- Says whose instance it is that this user may not control, and what to do.
function instances.foreign(path)
  return ("%s runs as user %s; only that user and root may control it: try sudo"):format(name_of(path), core.owner(path) or "?")
end

--- Connects to the socket at a path. Returns the instance, with what `hello` says in `is`; or nil, a sentence, and the code of an err.
function instances.connect(path)
  local conn, err = kt.connect { to = "unix:" .. path, timeout = HELLO }
  if not conn then return nil, err.code == "denied" and instances.foreign(path) or tostring(err), err.code end
  local self = setmetatable({ conn = conn, path = path }, Instance)
  local wrong
  self.is, wrong = self:ask("hello", nil, HELLO)
  if self.is then return self end
  conn:close()
  return nil, wrong.message
end

--- Connects to all sockets; those that do not answer are left out. Returns the instances, and the paths of those of other users.
function instances.all(paths)
  local tasks, found, foreign = {}, {}, {}
  for i, path in ipairs(paths) do
    tasks[i] = kt.spawn(function()
      local instance, _, code = instances.connect(path)
      if not instance then return code == "denied" end
      local is = instance.is
      instance:close()
      return { path = path, is = is }
    end)
  end
  for i, task in ipairs(tasks) do
    local one = task:wait()
    if type(one) == "table" then found[#found + 1] = one elseif one == true then foreign[#foreign + 1] = paths[i] end
  end
  return found, foreign
end

--- The message when no instance of this user is found. foreign: those of others.
function instances.none(foreign)
  if foreign[1] then return instances.foreign(foreign[1]) end
  return "no running kt with a control socket; for one of another user, run this as that user"
end

--- The instance with that name or pid, or the only one. Returns nil, a sentence, and the list if there are several.
function instances.pick(paths, name)
  local found, foreign = instances.all(paths)
  local fits = {}
  for _, one in ipairs(found) do
    if not name or one.is.name == name or tostring(one.is.pid) == name then fits[#fits + 1] = one end
  end
  if #fits == 1 then return instances.connect(fits[1].path) end
  for _, path in ipairs(#fits == 0 and foreign or {}) do
    if name == name_of(path) then return nil, instances.foreign(path) end
  end
  if #fits == 0 and name then return nil, ("no running kt with the name or pid %s"):format(name), found end
  if #fits == 0 then return nil, instances.none(foreign) end
  return nil, ("%d instances%s; give a %s:"):format(#fits, name and " of that name" or " run", name and "pid" or "name or a pid"), fits
end

return instances
