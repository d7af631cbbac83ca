--- Apps: TCP conns of simulated hosts that stand for users' applications. The spec opened it, or one of the spec's servers accepted it.
--- Its calls wait: in a task as in scripts, in the body of a spec by running the world.
---
--- connect and echo raise when they fail, because they stand for users who expect them to work. try_connect, try_echo and all other
--- calls return nil and an err, as in scripts.
local class = require "kt.sim.class"
local clock = require "kt.sim.clock"
local complain = require "kt.sim.complain"
local shape = require "kt.sim.shape"
local task = require "kt.sim.task"

local app = {}
app.__index = app

--- Options for calls of kt.sim's own modules that have no timeout.
app.FOREVER = { timeout = 1e9 }

function app.__tostring(self) return self.what end

local function new(host, core, id, what)
  local self = setmetatable({ host = host, world = host.world, core = core, id = id, what = what }, app)
  host.world.apps[id] = self
  return self
end

--- For world.lua: an app for a conn that a server accepted.
function app.accepted(host, core, id)
  local self = new(host, core, id, ("a conn of host %s"):format(host.name))
  self.peer, self.local_addr = core:names()
  return self
end

local function timeout_of(what, opts)
  if opts == nil then return 10 end
  if opts == app.FOREVER then return opts.timeout end
  return complain.checked(what, shape.timeout, opts).timeout
end

local function deadline(self, timeout) return self.world.core:now() + clock.us(timeout) end

--- For host.lua: app | nil, err.
function app.connect(host, to, opts)
  local timeout = timeout_of("connect", opts)
  local core, id, text = host.world.core:connect(host.name, to)
  if not core then return nil, complain.err(id, text) end
  local self = new(host, core, id, ("host %s's conn to %s"):format(host.name, to))
  self.connecting = task.waiter()
  local woken = task.wait(host.world, "host:connect", self.connecting, deadline(self, timeout))
  if self.connected then
    self.peer, self.local_addr = core:names()
    return self
  end
  self:close()
  if not woken then return nil, complain.err("timeout", ("%s: no answer within %g s"):format(self.what, timeout)) end
  return nil, self.broken or complain.err("closed", self.what .. ": closed")
end

-- ---- events from the world ----

local function wake(self)
  local waiter = self.waiting
  self.waiting = nil
  if waiter then task.wake(self.world, waiter) end
  local writer = self.writing
  self.writing = nil
  if writer then task.wake(self.world, writer) end
end

function app:on_connected()
  self.connected = true
  task.wake(self.world, self.connecting)
end

function app:on_unconnected(code, text)
  self.broken = complain.err(code, self.what .. ": " .. text)
  self.world.apps[self.id] = nil
  task.wake(self.world, self.connecting)
end

function app:on_readable() wake(self) end
function app:on_writable() wake(self) end

function app:on_broken(code, text)
  self.broken = complain.err(code, self.what .. ": " .. text)
  wake(self)
end

--- The host went down.
function app:on_crash()
  self.broken = complain.err("closed", self.what .. ": the host has crashed")
  self.ended = true
  self.world.apps[self.id] = nil
  if self.connecting then task.wake(self.world, self.connecting) end
  wake(self)
end

-- ---- reading ----

local function ended(self)
  return self.broken or self.ended and complain.err("closed", self.what .. ": closed by this end") or nil
end

-- Reads until enough(parts, size) returns the number of bytes to take; the rest is kept for the next call.
local function read(self, what, opts, enough)
  local timeout = timeout_of(what, opts)
  local limit = deadline(self, timeout)
  local parts = { self.rest or "" }
  self.rest = nil
  local size = #parts[1]
  while true do
    local take = size > 0 and enough(parts, size)
    if take then
      local all = table.concat(parts)
      if take < #all then self.rest = all:sub(take + 1) end
      return all:sub(1, take)
    end
    local data, eof = self.core:read()
    if #data > 0 then
      parts[#parts + 1] = data
      size = size + #data
    else
      local why = eof and complain.err("eof", self.what .. ": the other end has finished sending") or ended(self)
      if not why then
        self.waiting = task.waiter()
        if not task.wait(self.world, what, self.waiting, limit) then
          self.waiting = nil
          why = complain.err("timeout", ("%s: %s within %g s"):format(self.what,
            size > 0 and ("only %d bytes"):format(size) or "nothing received", timeout))
        end
      end
      if why then
        self.rest = table.concat(parts)
        if #self.rest == 0 then self.rest = nil end
        why.partial = self.rest
        return nil, why
      end
    end
  end
end

--- Reads at least one byte and at most `max`.
function app:read(max, opts)
  if type(max) == "table" then max, opts = nil, max end
  if max then complain.value("app:read", { type = "integer", min = 1 }, max) end
  return read(self, "app:read", opts, function(_, size) return math.min(size, max or size) end)
end

--- Reads exactly n bytes.
function app:read_exactly(n, opts)
  complain.value("app:read_exactly", { type = "integer", min = 1 }, n)
  return read(self, "app:read_exactly", opts, function(_, size) return size >= n and n end)
end

--- Reads up to and including the delimiter.
function app:read_until(delimiter, opts)
  if type(delimiter) ~= "string" or delimiter == "" then
    complain.misfit("app:read_until", "a delimiter of at least one byte", delimiter)
  end
  return read(self, "app:read_until", opts, function(parts)
    local all = table.concat(parts)
    for i = #parts, 2, -1 do parts[i] = nil end
    parts[1] = all
    local _, last = all:find(delimiter, 1, true)
    return last
  end)
end

--- Reads until the other end finishes sending.
function app:read_all(opts)
  local data, err = read(self, "app:read_all", opts, function() end)
  if err.code ~= "eof" then return data, err end
  self.rest = nil
  return err.partial or ""
end

-- ---- writing ----

--- Writes all of the data; returns true when it has been accepted, which is before it arrives.
function app:write(data, opts)
  if type(data) ~= "string" then complain.misfit("app:write", "a string", data) end
  local timeout = timeout_of("app:write", opts)
  local limit = deadline(self, timeout)
  local at = 0
  while true do
    local why = ended(self)
    if why then return nil, why end
    if self.finished then return nil, complain.err("closed", self.what .. ": write after shutdown") end
    at = at + self.core:write(data, at)
    if at >= #data then return true end
    self.writing = task.waiter()
    if not task.wait(self.world, "app:write", self.writing, limit) then
      self.writing = nil
      return nil, complain.err("timeout", ("%s: only %d of %d bytes were accepted within %g s"):format(
        self.what, at, #data, timeout))
    end
  end
end
app.send = app.write

--- Half-closes it: ends sending; this end can still read.
function app:shutdown()
  self.finished = true
  self.core:shutdown()
end

local function finish(self, how)
  if self.ended then return end
  self.ended = true
  self.world.apps[self.id] = nil
  self.core[how](self.core)
  wake(self)
end

function app:close() finish(self, "close") end
function app:reset() finish(self, "reset") end
app.__close = app.close -- works on a closed world too

function app:is_open() return not self.ended and not self.broken end

-- ---- echo ----

--- Sends text to an echo server and waits until all of it has come back unchanged. Returns { server = the host that echoed it, time =
--- seconds, text } or nil, err. `server` is nil unless the server is one of the spec's, of kind "echo".
function app:try_echo(text, opts)
  local world = self.world
  if type(text) ~= "string" then complain.misfit("app:echo", "a string", text) end
  local timeout = timeout_of("app:echo", opts)
  world.echoes = world.echoes + 1
  local id = world.echoes
  local message, from = ("%s\0echo-%d\n"):format(text, id), world.core:now()
  local ok, err = self:write(message, { timeout = timeout })
  if not ok then return nil, err end
  local left = timeout - (world.core:now() - from) / 1e6
  local back
  back, err = self:read_exactly(#message, { timeout = math.max(left, 0) })
  if not back then
    local came = err.partial or ""
    return nil, complain.err(err.code, ("%s; %d of %d bytes came back"):format(err.text, #came, #message))
  end
  if back ~= message then
    return nil, complain.err("protocol", ("%s: received something else: %q"):format(self.what, back:sub(1, 60)))
  end
  local server = world.echoed[id]
  world.echoed[id] = nil
  return { server = server, time = (world.core:now() - from) / 1e6, text = text }
end

function app:echo(text, opts)
  local result, err = self:try_echo(text, opts)
  if not result then complain.raise("app:echo: %s", err) end
  return result
end

class(app, "app", { kept = { "close", "reset", "is_open" }, fields = { "peer", "local_addr" } })

return app
