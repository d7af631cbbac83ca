--- Measured traffic through a tunnel: transfers, in which every byte is checked, and keystrokes, in which every answer is timed. Both run
--- concurrently with the spec; wait() waits until they end.
local app = require "kt.sim.app"
local class = require "kt.sim.class"
local clock = require "kt.sim.clock"
local complain = require "kt.sim.complain"
local core = require "kt.sim.core"
local shape = require "kt.sim.shape"
local task = require "kt.sim.task"

local FOREVER = app.FOREVER
local CHUNK = 65536
local SERVER = { up = "sink", down = "source" } -- the kind of server needed; otherwise "echo"

local flow = {}
flow.__index = flow

function flow.__tostring(self) return self.what end

local function new(world, opts, what)
  local id = #world.transfers + 1
  local self = setmetatable({
    world = world, id = id, what = what, bytes = opts.bytes, received = 0, conns = 0,
    kind = opts.kind, wants = SERVER[opts.kind] or "echo", started = world:now(), stall = 0, over = task.waiter(), timeout = opts.timeout,
  }, flow)
  world.transfers[id] = self
  return self
end

-- ---- arrivals ----

--- For servers: a conn with this flow's tag was accepted.
function flow:arrives(server)
  self.conns = self.conns + 1
  self.server = server
  self.world:answered(server)
end

function flow:progress(n)
  local now = self.world:now()
  if self.last then self.stall = math.max(self.stall, now - self.last) end
  self.first, self.last = self.first or now, now
  self.received = self.received + n
end

--- Bytes of the flow have arrived, beginning at position `at`.
function flow:takes(at, data)
  self:progress(#data)
  if self.damage then return end
  local wrong = core.differ(self.seed or self.id, at, data)
  if not wrong then return end
  self.damage = ("byte %d differs from the one sent"):format(wrong)
  if wrong == 0 then self.damage = ("%s; is the server of kind %q?"):format(self.damage, self.wants) end
end

--- For servers: the flow that begins with these eight bytes, or nil.
function flow.of(world, first)
  if first:sub(1, 4) == "kt:t" then return world.transfers[(string.unpack("<I4", first, 5))] end
  for _, self in ipairs(world.transfers) do
    if self.kind == "echo" and not self.ended and not core.differ(self.id, 0, first) then return self end
  end
end


--- The flow has ended: no more bytes will arrive.
function flow:ends(err)
  if self.ended then return end
  self.ended = self.world:now()
  if err and err.code ~= "eof" then self.error = tostring(err) end
  task.wake(self.world, self.over)
end

-- ---- results ----

--- Whether every byte has arrived, once and in order.
function flow:intact() return self:fault() == nil end

--- Says why it is not intact; nil if it is.
function flow:fault()
  if self.damage then return self.damage end
  if self.conns > 1 then return ("it arrived %d times"):format(self.conns) end
  if self.received ~= self.bytes then
    return ("%d of %d bytes arrived%s"):format(self.received, self.bytes, self.error and "; " .. self.error
      or self.kind == "down" and self.received > 0 and self.ended and '; the source sent no more, see bytes in host:serve { kind = "source", bytes = ... }'
      or self.received == 0 and (self.kind ~= "up" or self.conns == 0) and ('; is there a server of kind "%s"?'):format(self.wants) or "")
  end
  return not self.ended and "it has not ended" or nil
end

--- Bytes per second, from the start to the last byte that arrived.
function flow:goodput()
  local spent = (self.last or self.started) - self.started
  return spent > 0 and self.received / spent or 0
end

--- The longest time without a byte arriving, in seconds, after the first byte.
function flow:worst_stall()
  return math.max(self.stall, not self.ended and self.last and self.world:now() - self.last or 0)
end

--- Waits until it ends; raises if it is not intact, or does not end within its timeout.
function flow:wait()
  self.waited = true
  task.wait(self.world, "flow:wait", self.over, clock.us(self.started + self.timeout))
  local fault = self:fault()
  if fault then
    complain.raise("%s: %s (after %g s, seed %d)", self.what, fault, self.world:now() - self.started, self.world.seed)
  end
  return self
end

-- ---- transfers ----

local function send(self, conn, seed)
  local at = 0
  while at < self.bytes do
    local n = math.min(self.bytes - at, CHUNK)
    local ok, err = conn:write(core.bytes(seed, at, n), FOREVER)
    if not ok then return nil, err end
    at = at + n
  end
  conn:shutdown()
  return true
end

local function receive(self, conn)
  while true do
    local data, err = conn:read(FOREVER)
    if not data then return self:ends(err) end
    self:takes(self.received, data)
    if self.damage then
      conn:reset()
      return self:ends()
    end
  end
end

local kinds = {}

-- Identifies the flow to the server.
local function tag(self, conn) return conn:write("kt:t" .. string.pack("<I4", self.id), FOREVER) end

-- To a sink, which finds the flow by its tag, checks its bytes and reports its end. Another task reads until the sink has closed or the
-- conn breaks.
function kinds.up(self, conn)
  local closed = task.waiter()
  self.world:task(function()
    local data, err = conn:read(FOREVER)
    if data then
      self:ends 'the server sent data; expected a server of kind "sink"'
      conn:reset()
    elseif err.code ~= "eof" then
      self:ends(err)
    end
    task.wake(self.world, closed)
  end)
  local ok, err = tag(self, conn)
  if ok then ok, err = send(self, conn, self.id) end
  if not ok then return self:ends(err) end
  task.wait(self.world, "w:transfer", closed, math.maxinteger)
end

-- From a source.
function kinds.down(self, conn)
  self.seed, self.conns = 0, 1
  local ok, err = tag(self, conn)
  if not ok then return self:ends(err) end
  receive(self, conn)
end

-- To an echo server and back.
function kinds.echo(self, conn)
  self.conns = 1
  self.world:task(function()
    local ok, err = send(self, conn, self.id)
    if not ok then self:ends(err) end
  end)
  receive(self, conn)
end

function flow.transfer(world, opts)
  opts = complain.checked("w:transfer", shape.transfer, opts)
  local host = world:known_host("w:transfer", opts.from)
  opts.from = host.name
  local self = new(world, opts, ("transfer of %d bytes, %s to %s (%s)"):format(opts.bytes, opts.from, opts.to, opts.kind))
  world:task(function()
    local conn, err = app.connect(host, opts.to)
    if not conn then return self:ends(err) end
    kinds[opts.kind](self, conn)
    conn:close()
  end)
  return self
end

-- ---- keystrokes ----

local keys = { __tostring = flow.__tostring }
keys.__index = keys

--- Seconds from each keystroke to its echo, in order.
function keys:latencies() return self.times end

local function some(self, what)
  if #self.times == 0 then complain.raise("flow:%s: no keystroke has been answered yet; call wait() first", what) end
end

function keys:worst()
  some(self, "worst")
  local worst = 0
  for _, t in ipairs(self.times) do worst = math.max(worst, t) end
  return worst
end

function keys:median()
  some(self, "median")
  local sorted = table.move(self.times, 1, #self.times, 1, {})
  table.sort(sorted)
  return sorted[(#sorted + 1) // 2]
end

function flow.keystrokes(world, opts)
  opts = complain.checked("w:keystrokes", shape.keystrokes, opts)
  local host = world:known_host("w:keystrokes", opts.from)
  opts.from = host.name
  opts.bytes = opts.count
  opts.timeout = opts.timeout + opts.count * opts.every
  local self = setmetatable(new(world, opts, ("%d keystrokes, %s to %s"):format(opts.count, opts.from, opts.to)), keys)
  self.times, self.conns = {}, 1
  local struck = {}
  world:task(function()
    local conn, err = app.connect(host, opts.to)
    if not conn then return self:ends(err) end
    world:task(function()
      for i = 1, opts.count do
        struck[i] = world:now()
        local ok, why = conn:write(core.bytes(self.id, i - 1, 1), FOREVER)
        if not ok then return self:ends(why) end
        world:sleep(opts.every)
      end
      conn:shutdown()
    end)
    while true do
      local data, why = conn:read(FOREVER)
      if not data then
        conn:close()
        return self:ends(why)
      end
      if not struck[self.received + #data] then
        conn:reset()
        return self:ends 'the server sent data that was not typed; expected a server of kind "echo"'
      end
      for i = self.received + 1, self.received + #data do self.times[i] = world:now() - struck[i] end
      self:takes(self.received, data)
    end
  end)
  return self
end

local kept, fields = { "fault", "intact", "goodput", "latencies", "median", "worst" }, { "server" }
class(flow, "flow", { kept = kept, fields = fields })
class(keys, "flow", { kept = kept, fields = fields, base = flow })

return flow
