--- Sockets: UDP sockets of the spec on simulated hosts. Their calls wait as those of apps do: in a task as in scripts, in the body of a
--- spec by running the world.
local class = require "kt.sim.class"
local clock = require "kt.sim.clock"
local complain = require "kt.sim.complain"
local shape = require "kt.sim.shape"
local task = require "kt.sim.task"

local socket = {}
socket.__index = socket

local LONGEST = 2048 -- bytes of a datagram

function socket.__tostring(self) return self.what end

-- The "ip:port" of a "host:port", as the host sees it | nil, err.
local function look_up(host, what, to, limit)
  local world = host.world
  local core, id, text = world.core:lookup(host.name, to)
  if type(core) == "string" then return core end
  if not core then return nil, complain.err(id, text) end
  local waiter, address, err = task.waiter(), nil, nil
  local lookup = { host = host }
  function lookup.on_found(_, found, why)
    world.lookups[id] = nil
    address, err = found, why
    task.wake(world, waiter)
  end
  function lookup:on_crash() self:on_found(nil, complain.err("closed", ("%s: the host has crashed"):format(what))) end
  world.lookups[id] = lookup
  task.wait(world, what, waiter, limit)
  if address or err then return address, err end
  core:close()
  world.lookups[id] = nil
  return nil, complain.err("timeout", ("%s: %s: the lookup has not ended in time"):format(what, to))
end

--- For host.lua: socket | nil, err.
function socket.open(host, opts)
  local world, peer = host.world, nil
  if opts.to then
    local err
    peer, err = look_up(host, "host:udp", opts.to, world.core:now() + clock.us(opts.timeout))
    if not peer then return nil, err end
  end
  local core, id, where = world.core:udp(host.name, opts.on, peer)
  if not core then return nil, complain.err(id, where) end
  local self = setmetatable({ host = host, world = world, core = core, id = id, local_addr = where, peer = peer, senders = {},
    what = ("host %s's UDP socket on %s"):format(host.name, where) }, socket)
  world.sockets[id] = self
  return self
end

-- ---- events from the world ----

function socket:on_readable()
  local waiter = self.receiving
  self.receiving = nil
  if waiter then task.wake(self.world, waiter) end
end

function socket:on_writable()
  local waiters = self.senders
  self.senders = {}
  for _, waiter in ipairs(waiters) do task.wake(self.world, waiter) end
end

function socket:on_broken(code, text)
  self.broken = complain.err(code, self.what .. ": " .. text)
  self:on_readable()
end

local function finish(self, why)
  if self.ended then return end
  self.ended = complain.err("closed", self.what .. ": " .. why)
  self.world.sockets[self.id] = nil
  self.core:close()
  self:on_readable()
  self:on_writable()
end

--- The host went down.
function socket:on_crash() finish(self, "the host has crashed") end

-- ---- for specs ----

--- Sends a datagram: to its peer, or to "host:port". Returns true | nil, err.
function socket:send(data, to, opts)
  if type(to) == "table" then to, opts = nil, to end
  if type(data) ~= "string" or #data > LONGEST then
    complain.misfit("socket:send", ("a string of at most %d bytes"):format(LONGEST), data)
  end
  if self.peer and to ~= nil then complain.raise("socket:send: this socket has one peer, %s; leave the address out", self.peer) end
  if not self.peer then complain.value("socket:send: address", { type = "string" }, to) end
  local limit = self.world.core:now() + clock.us(complain.checked("socket:send", shape.timeout, opts).timeout)
  local address
  if to then
    local err
    address, err = look_up(self.host, "socket:send", to, limit)
    if not address then return nil, err end
  end
  while not self.ended do
    if self.core:send(data, address) then return true end
    local waiter = task.waiter()
    table.insert(self.senders, waiter)
    if not task.wait(self.world, "socket:send", waiter, limit) then
      return nil, complain.err("timeout", self.what .. ": the send buffer is full")
    end
  end
  return nil, self.ended
end

--- For host.lua: answers a datagram from the address that it was sent to. Dropped if the send buffer is full.
function socket:answer(data, to, from)
  if type(data) ~= "string" or #data > LONGEST then
    complain.misfit("host:serve: fn", ("nil or a string of at most %d bytes as the answer"):format(LONGEST), data)
  end
  self.core:send(data, to, from)
end

--- Waits for a datagram: data, from | nil, err.
function socket:receive(opts)
  local timeout = complain.checked("socket:receive", shape.timeout, opts).timeout
  local limit = self.world.core:now() + clock.us(timeout)
  while true do
    local data, from = self.core:receive()
    if data then return data, from end
    local err = self.broken or self.ended
    self.broken = nil
    if err then return nil, err end
    if self.receiving then complain.raise("socket:receive: another task is waiting for a datagram of this socket") end
    self.receiving = task.waiter()
    if not task.wait(self.world, "socket:receive", self.receiving, limit) then
      self.receiving = nil
      return nil, complain.err("timeout", ("%s: nothing received within %g s"):format(self.what, timeout))
    end
  end
end

function socket:close() finish(self, "closed by this end") end
socket.__close = socket.close -- works on a closed world too

class(socket, "socket", { kept = { "close" }, fields = { "peer" } })

return socket
