--- Hosts: machines in a simulated network. A host runs unmodified scripts, and servers and apps of the spec; it can crash.
local app = require "kt.sim.app"
local class = require "kt.sim.class"
local clock = require "kt.sim.clock"
local complain = require "kt.sim.complain"
local http = require "kt.sim.http"
local script = require "kt.sim.script"
local serve = require "kt.sim.serve"
local shape = require "kt.sim.shape"
local socket = require "kt.sim.socket"
local task = require "kt.sim.task"

local host = { is_host = true }
host.__index = host

function host.__tostring(self) return "host " .. self.name end

function host.new(world, name, opts)
  local self = setmetatable({ world = world, name = name, scripts = {}, servers = {} }, host)
  local ok, _, text = world.core:new_host(name, opts.address, opts.send and opts.send * 8, opts.descriptors)
  if not ok then complain.raise("w:host: %s", text) end
  for path, data in pairs(opts.files) do world.core:put_file(name, path, tostring(data)) end
  return self
end

--- Runs a script as `kt run` would; raises if it fails to load or to open what it declares. "kt client" and "kt server" run those
--- commands, with `args`.
function host:run(path, opts)
  opts = complain.checked("host:run", shape.run, opts)
  if type(path) ~= "string" then complain.misfit("host:run", "a script's path", path) end
  if not self:is_up() then complain.raise("host:run: host %s is down; host:restart() brings it up", self.name) end
  for _, other in ipairs(self.scripts) do
    if other:is_running() and not opts.beside then
      complain.raise("host:run: host %s already runs %s (started at %s); run the second script on another host, or give "
        .. "{ beside = true }", self.name, other.path, other.since)
    end
  end
  return script.start(self, path, opts, complain.line() or "?")
end

--- Opens a conn to "host:port" and returns this end; raises if that fails or takes longer than `timeout` ("10s").
function host:connect(to, opts)
  complain.value("host:connect: address", { type = "string" }, to)
  local conn, err = app.connect(self, to, opts)
  if not conn then complain.raise("host:connect: %s", err) end
  return conn
end

--- The same, but returns nil, err instead of raising.
function host:try_connect(to, opts)
  complain.value("host:try_connect: address", { type = "string" }, to)
  return app.connect(self, to, opts)
end

--- Opens a UDP socket: { on = ":5353" } is bound to an address, { to = "host:port" } has one peer.
function host:udp(opts)
  opts = complain.checked("host:udp", shape.udp, opts)
  local made, err = socket.open(self, opts)
  if not made then complain.raise("host:udp: %s", err) end
  return made
end

--- Sends an HTTP request from this host: { url = "http://127.0.0.1:9100/metrics" }. Returns { status, reason, headers, body }.
function host:http(opts)
  opts = complain.checked("host:http", shape.http, opts)
  local response, err = http.request(self, opts)
  if not response then complain.raise("host:http: %s: %s", opts.url, err) end
  return response
end

local server = {}
server.__index = server

-- Answers each datagram from the address that it was sent to.
local function listen_udp(self, s)
  local made, err = socket.open(self, { on = s.opts.udp })
  if not made then return nil, err end
  s.core, s.address = made, made.local_addr
  function made.on_readable()
    for data, from, to in made.core.receive, made.core do
      s.datagrams = s.datagrams + 1
      task.spawn(self.world, s.origin, function()
        local answer = s.fn(data, from)
        if answer ~= nil then made:answer(answer, from, to) end
      end)
    end
  end
  return true
end

local function listen(self, s)
  if s.opts.udp then return listen_udp(self, s) end
  local core, id, at = self.world.core:listen(self.name, s.on)
  if not core then return nil, at end
  s.core, s.address = core, at
  self.world.listeners[id] = function(conn_core, conn_id)
    local conn = app.accepted(self, conn_core, conn_id)
    s.conns = s.conns + 1
    task.spawn(self.world, s.origin, function()
      s.fn(conn, s.opts)
      conn:close()
    end)
  end
  return true
end

function server:close()
  if self.core then self.core:close() end
  self.core, self.closed = nil, true
end
server.__close = server.close

--- Serves conns to `on` with a server of kind "echo", "sink" or "source", or with fn, called as a task with each conn. Serves datagrams
--- to `udp` with kind "echo", or with fn, called as a task with each one; its result is the answer.
function host:serve(opts)
  opts = complain.checked("host:serve", shape.serve, opts)
  local fn = opts.fn or opts.udp and serve.same or serve[opts.kind]
  local s = setmetatable({ world = self.world, on = opts.on, opts = opts, fn = fn, conns = 0, datagrams = 0,
    origin = complain.origin "host:serve" }, server)
  local ok, text = listen(self, s)
  if not ok then complain.raise("host:serve: %s", text) end
  table.insert(self.servers, s)
  return s
end

-- ---- faults ----

function host:is_up() return self.world.core:up(self.name) end

--- Cuts the power.
function host:crash()
  self.world:mark("crash of " .. self.name)
  for _, s in ipairs(self.scripts) do s:on_crash() end
  self.world.core:crash(self.name)
  for _, kind in ipairs { "apps", "sockets", "lookups" } do
    local all, open = self.world[kind], {}
    for id, one in pairs(all) do
      if one.host == self then open[#open + 1] = id end
    end
    table.sort(open)
    for _, id in ipairs(open) do all[id]:on_crash() end
  end
  for _, s in ipairs(self.servers) do s.core = nil end
end

--- Boots again: its servers serve and its scripts start over.
function host:restart()
  if self:is_up() then self:crash() end
  self.world:mark("restart of " .. self.name)
  self.world.core:restart(self.name)
  for _, s in ipairs(self.servers) do
    if not s.closed then
      local ok, text = listen(self, s)
      if not ok then complain.raise("host:restart: %s", text) end
    end
  end
  for _, s in ipairs(self.scripts) do
    if s.crashed then s:again() end
  end
end

--- Limits how fast its processes read from each conn; nil removes the limit.
function host:slow_reader(rate)
  self.world.core:slow_reader(self.name, rate and complain.value("host:slow_reader", shape.reading, rate) or 0)
end

--- Splits reads and writes of conns into pieces of at most `max` bytes; nil turns it off.
function host:short_io(max)
  self.world.core:short_io(self.name, max and complain.value("host:short_io", shape.piece, max) or 0)
end

--- Fills the UDP send buffers for a duration: no datagram leaves.
function host:udp_full(duration) self.world.core:udp_full(self.name, complain.duration("host:udp_full", duration)) end

--- Changes the wall clock by a duration, which may be negative ("-1h").
function host:clock_jump(by)
  by = complain.value("host:clock_jump", shape.shift, by)
  self.world.core:wall_jump(self.name, by < 0 and -clock.us(-by) or clock.us(by))
end

--- Puts the host behind a NAT: { public = "198.51.100.1" | { v4, v6 }, timeout = "30s", open = false }.
function host:nat(opts)
  opts = complain.checked("host:nat", shape.nat, opts)
  for _, public in ipairs(opts.public) do
    local ok, _, text = self.world.core:nat(self.name, { public = public, timeout_us = clock.us(opts.timeout), open = opts.open, symmetric = opts.symmetric })
    if not ok then complain.raise("host:nat: %s", text) end
  end
end

--- Makes the NAT forget all mappings.
function host:nat_rebind()
  self.world:mark("NAT of " .. self.name .. " rebinds")
  self.world.core:nat_rebind(self.name)
end

--- Gives the host another address, or several, in the place of those that it has.
function host:move(to)
  to = complain.value("host:move", shape.addresses, to)
  self.world:mark(self.name .. " moves")
  local ok, _, text = self.world.core:move(self.name, to)
  if not ok then complain.raise("host:move: %s", text) end
end

--- Makes another host, or none, its gateway.
function host:gateway(name)
  local ok, _, text = self.world.core:gateway(self.name, name)
  if not ok then complain.raise("host:gateway: %s", text) end
end

--- Sends a UDP datagram from this host with any source address: { from = "198.51.100.7:4000", to = "10.0.2.1:29900", data = "…" }.
function host:inject(opts)
  opts = complain.checked("host:inject", shape.inject, opts)
  local ok, _, text = self.world.core:inject(self.name, opts.from, opts.to, opts.data)
  if not ok then complain.raise("host:inject: %s", text) end
end

-- ---- files and statistics ----

--- Creates or replaces a file; nil removes it.
function host:file(path, data)
  complain.value("host:file: path", { type = "string" }, path)
  if data ~= nil then complain.value("host:file: text", { type = "string" }, data) end
  if data == nil then self.world.core:remove_file(self.name, path) else self.world.core:put_file(self.name, path, data) end
end

function host:read_file(path)
  complain.value("host:read_file: path", { type = "string" }, path)
  return self.world.core:get_file(self.name, path)
end

function host:addresses() return self.world.core:addrs(self.name) end

--- { sockets =, apps =, conns =, tasks =, memory =, links = { … } }: resources of the host and all its scripts.
function host:stats()
  local out = { sockets = self.world.core:open_sockets(self.name), apps = 0, conns = 0, tasks = 0, memory = 0, links = {} }
  for _, conn in pairs(self.world.apps) do
    if conn.host == self then out.apps = out.apps + 1 end
  end
  for _, s in ipairs(self.scripts) do
    local usage = s:stats()
    if usage then
      out.conns, out.tasks, out.memory = out.conns + usage.pipes, out.tasks + usage.tasks, out.memory + usage.memory
      for _, link in ipairs(usage.links) do table.insert(out.links, link) end
    end
  end
  return out
end

--- The state of its scripts' pools, as in script:pools.
function host:pools()
  local all = {}
  for _, s in ipairs(self.scripts) do
    for _, pool in ipairs(s.core:pools() or {}) do table.insert(all, pool) end
  end
  return complain.by_name(all, tostring(self))
end

class(host, "host")
class(server, "server", { fields = { "address" } })

return host
