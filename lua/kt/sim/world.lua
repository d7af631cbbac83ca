--- Worlds: simulated networks. Time does not advance while code runs; it jumps from event to event.
local class = require "kt.sim.class"
local clock = require "kt.sim.clock"
local complain = require "kt.sim.complain"
local core = require "kt.sim.core"
local flow = require "kt.sim.flow"
local host = require "kt.sim.host"
local link = require "kt.sim.link"
local patience = require "kt.sim.patience"
local rule = require "kt.sim.rule"
local settings = require "kt.sim.settings"
local shape = require "kt.sim.shape"
local task = require "kt.sim.task"

local world = {}
world.__index = world

-- Dispatches the events of kt.sim.core to the objects they concern.
local function dispatcher(self)
  local on = {}
  function on.event(id) self.timers[id]() end
  function on.accepted(id, conn, conn_id) self.listeners[id](conn, conn_id) end
  function on.log(id, line)
    local script = self.scripts[id] or self.starting
    if script then script:on_log(line) end
    if self.tracer and script then self.tracer:log(script, line) end
  end
  function on.print(id, text)
    local script = self.scripts[id] or self.starting
    if script then script:on_print(text) end
  end
  function on.ended(id, code, failed)
    local script = self.scripts[id]
    if script then script:on_ended(code, failed) end
  end
  function on.busy() patience.look(self) end
  function on.packet(_, packet) self.tracer:packet(packet) end
  for _, name in ipairs { "connected", "unconnected", "readable", "writable", "broken" } do
    local method = "on_" .. name
    on[name] = function(id, ...)
      local conn = self.apps[id] or self.sockets[id]
      if conn then conn[method](conn, ...) end
    end
  end
  function on.found(id, address) self.lookups[id]:on_found(address) end
  function on.unfound(id, code, text) self.lookups[id]:on_found(nil, complain.err(code, text)) end
  return function(kind, id, ...)
    on[kind](id, ...)
    if #self.ready > 0 and self.core:running() then task.flush(self) end
  end
end

function world.new(opts)
  opts = complain.checked("sim.world", shape.world, opts)
  local self = {
    hosts = {}, host_names = {}, links = {}, apps = {}, sockets = {}, lookups = {}, scripts = {}, listeners = {}, rules = {}, marks = {},
    transfers = {}, faults = {}, answers = {}, echoed = {}, echoes = 0, files = opts.files, level = opts.log, made_at = complain.line() or "?",
  }
  self.seed = opts.seed or settings.seed or 1
  self.seed_given = opts.seed ~= nil
  task.init(self)
  self.core = core.world({ seed = self.seed, tcp_buffer = opts.tcp_buffer,
    wall_us = opts.start and math.max(1, clock.us(opts.start)) }, dispatcher(self))
  setmetatable(self, world) -- after making the core, so that the world is finalized before it
  self.random_bits = self.core:stream("spec", "spec")
  settings.made(self)
  return self
end

function world.__tostring(self)
  return self.closed and ("world of seed %d, closed"):format(self.seed) or ("world of seed %d at %g s"):format(self.seed, self:now())
end

-- ---- the network ----

--- The host of that name, made if it does not exist. opts, when making it: { address = "10.9.0.1" | { … }, files = { … } }.
function world:host(name, opts)
  complain.value("w:host", shape.host_name, name)
  local known = self.hosts[name]
  if known then
    if opts ~= nil then complain.raise("w:host: host %s already exists; give options in the first call", name) end
    return known
  end
  local made = host.new(self, name, complain.checked("w:host", shape.host, opts))
  self.hosts[name] = made
  table.insert(self.host_names, name)
  return made
end

local function end_of(self, what, name)
  if getmetatable(name) == host then
    if name.world ~= self then complain.raise("%s: host %s belongs to another world", what, name.name) end
    name = name.name
  end
  if not self.hosts[name] then complain.unknown(what, "host", name, self.host_names) end
  return name
end

--- The host of that name, which must exist. For kt.sim's own modules.
function world:known_host(what, name) return self.hosts[end_of(self, what, name)] end

--- The link between two hosts: makes it if options are given, otherwise returns the existing one.
function world:link(a, b, opts)
  a, b = end_of(self, "w:link", a), end_of(self, "w:link", b)
  if a == b then complain.raise("w:link: %s - %s: cannot link a host to itself", a, b) end
  local known = self.links[a .. "\0" .. b] or self.links[b .. "\0" .. a]
  if known then
    if opts ~= nil then
      complain.raise("w:link: %s - %s: already linked (%s); use link:set to change the link", a, b, known.made_at)
    end
    return known
  end
  if opts == nil then
    local names = {}
    for _, l in ipairs(self.links) do names[#names + 1] = l.a .. " - " .. l.b end
    complain.raise("w:link: %s - %s: not linked; give options, at least {}, to link them%s", a, b,
      #names > 0 and " (links: " .. table.concat(names, ", ") .. ")" or "")
  end
  local made = link.new(self, a, b, opts)
  made.made_at = complain.line() or "?"
  self.links[a .. "\0" .. b] = made
  table.insert(self.links, made)
  return made
end

--- Sets what a name resolves to: a host, an address, a list of addresses, or false for a name that does not exist. opts: { delay = "1ms",
--- fail = true }.
function world:name(name, to, opts)
  complain.value("w:name", shape.known_as, name)
  opts = complain.checked("w:name", shape.name, opts)
  local addresses
  if opts.fail then
    addresses = false
  elseif to == false then
    addresses = {}
  elseif to == nil then
    complain.raise("w:name: %s: expected a host, an address, a list of addresses, or false (no such name), got nil", name)
  elseif type(to) == "string" and not self.hosts[to] and to:find "^[%x:.]*$" and to:find "[.:]" then
    addresses = { to }
  elseif type(to) == "table" and getmetatable(to) ~= host then
    addresses = complain.value("w:name: " .. name, shape.addresses, to)
  else
    addresses = self.hosts[end_of(self, "w:name", to)]:addresses()
  end
  local ok, _, text = self.core:set_name(name, addresses, clock.us(opts.delay))
  if not ok then complain.raise("w:name: %s: %s", name, text) end
end

-- ---- time ----

--- Seconds since the world began.
function world:now() return self.core:now() / 1e6 end

--- Runs to a time in µs, or until something stops the run. For kt.sim's own modules.
function world:advance(until_us, fn)
  patience.begin(self)
  local how, _, text = self.core:run(until_us, fn)
  if not how then complain.raise("%s (seed %d)", text, self.seed) end
  return how
end

local function need_body(self, what)
  if self.core:running() or task.inside(self) then
    complain.raise("%s: the world is already running; call it in the body of a spec", what)
  end
end

local function no_way_back(self, what, at)
  if at < self.core:now() then
    complain.raise("%s: %g s is in the past; the clock is at %g s", what, at / 1e6, self:now())
  end
  return at
end

--- Runs until the world's clock reaches `time`.
function world:run(time)
  need_body(self, "w:run")
  local at = no_way_back(self, "w:run", complain.duration("w:run", time))
  repeat self:advance(at) until self.core:now() >= at
end

--- Runs for a duration.
function world:run_for(duration)
  need_body(self, "w:run_for")
  return self:run((self.core:now() + complain.duration("w:run_for", duration)) / 1e6)
end

--- Runs until fn() returns a true value, and returns that; raises after `timeout` ("60s").
function world:run_until(fn, opts)
  need_body(self, "w:run_until")
  opts = complain.checked("w:run_until", shape.run_until, opts)
  if type(fn) ~= "function" then complain.misfit("w:run_until", "a function", fn) end
  local at, value = self.core:now() + clock.us(opts.timeout)
  local function ask()
    self.asking = true -- fn must not wait
    local ok, said = pcall(fn)
    self.asking = false
    if not ok then error(said, 0) end
    value = said
    return value
  end
  while self.core:now() < at and not ask() do self:advance(at, ask) end
  if value then return value end
  complain.raise("w:run_until: not true within %g s; the clock is at %g s", opts.timeout, self:now())
end

--- Calls fn at a time, as a task, so it may wait.
function world:at(time, fn)
  if type(fn) ~= "function" then complain.misfit("w:at", "a function", fn) end
  local origin = complain.origin "w:at"
  task.timer(self, no_way_back(self, "w:at", complain.duration("w:at", time)), function() task.spawn(self, origin, fn) end)
end

--- Calls fn at regular intervals, as a task; returns a ticker, whose :cancel() stops the calls.
function world:every(period, fn)
  local us = complain.duration("w:every", period)
  if us < 1 then complain.misfit("w:every", "a period longer than 0", period) end
  if type(fn) ~= "function" then complain.misfit("w:every", "a function", fn) end
  local ticker, origin = { canceled = false }, complain.origin "w:every"
  function ticker.cancel(t)
    t.canceled = true
    task.forget(self, t.timer)
  end
  local function again()
    ticker.timer = task.timer(self, self.core:now() + us, function()
      again()
      task.spawn(self, origin, fn)
    end)
  end
  again()
  return ticker
end

--- Runs fn(...) as a task, concurrently with the spec.
function world:task(fn, ...)
  if type(fn) ~= "function" then complain.misfit("w:task", "a function", fn) end
  task.spawn(self, complain.origin "w:task", fn, ...)
end

--- Waits for a duration: in a task by yielding, in the body by running the world.
function world:sleep(duration)
  task.wait(self, "w:sleep", task.waiter(), self.core:now() + complain.duration("w:sleep", duration))
end

--- Like w:at, for a fault that `text` describes. When a sweep fails, it removes the faults that the failure does not need.
function world:fault(time, text, fn)
  if type(text) ~= "string" then complain.misfit("w:fault", "a description of the fault", text) end
  if type(fn) ~= "function" then complain.misfit("w:fault", "a function", fn) end
  local at = no_way_back(self, "w:fault", complain.duration("w:fault", time))
  table.insert(self.faults, ("%g s: %s"):format(at / 1e6, text))
  if self.keep and not self.keep[#self.faults] then return end
  local origin = complain.origin "w:fault"
  task.timer(self, at, function() task.spawn(self, origin, fn) end)
end

-- ---- traffic ----

--- Sends bytes that are checked on arrival: { from = host, to = "host:port", bytes = "10MB", kind = "up" | "down" | "echo" }.
--- up sends to a server of kind "sink", down receives from a "source", echo sends to an "echo" server and back.
function world:transfer(opts) return flow.transfer(self, opts) end

--- Sends single bytes to an echo server and times the answers: { from =, to =, every = "100ms", count = 100 }.
function world:keystrokes(opts) return flow.keystrokes(self, opts) end

--- Decides what happens to single packets: { from = host, to = host, fn = function(packet) … end }. fn returns "drop",
--- { delay =, copies =, drop = }, or nil. rule:remove() ends it.
function world:rule(opts) return rule.new(self, opts) end

--- Called when one of the spec's servers has answered. For kt.sim's own modules.
function world:answered(server) table.insert(self.answers, { at = self:now(), server = server }) end

function world:echo_came(id, server)
  if self.echoed[id] then return end
  self.echoed[id] = server
  self:answered(server)
end

--- How many times the answering server changed, over all echoes and transfers in order.
function world:switches()
  local n = 0
  for i = 2, #self.answers do
    if self.answers[i].server ~= self.answers[i - 1].server then n = n + 1 end
  end
  return n
end

--- Lists, in sentences, what is still open: transfers and apps of the spec, conns and streams of scripts.
function world:leftovers()
  local out, open = {}, {}
  for _, f in ipairs(self.transfers) do
    if not f.ended then out[#out + 1] = f.what .. " has not ended" end
  end
  for id in pairs(self.apps) do open[#open + 1] = id end
  table.sort(open)
  for _, id in ipairs(open) do out[#out + 1] = self.apps[id].what .. " is open" end
  for _, name in ipairs(self.host_names) do
    for _, script in ipairs(self.hosts[name].scripts) do
      local usage = script:stats()
      if usage and usage.pipes > 0 then
        out[#out + 1] = ("script %s on host %s holds %d conns and streams"):format(script.path, name, usage.pipes)
      end
    end
  end
  return out
end

-- Failures that the spec has not noticed: transfers it did not wait for, and tasks of scripts.
local function unasked(self, failed_tasks)
  local out = {}
  for _, f in ipairs(self.transfers) do
    local fault = not f.waited and f:fault()
    if fault then out[#out + 1] = f.what .. ": " .. fault end
  end
  for _, name in ipairs(failed_tasks and {} or self.host_names) do
    for _, script in ipairs(self.hosts[name].scripts) do
      local n, last = script:failed_tasks()
      if n > 0 then
        out[#out + 1] = ("script %s on host %s: %d of its tasks failed%s"):format(script.path, name, n, last and ": " .. last or "")
      end
    end
  end
  return out
end

--- Runs until nothing is left open. Raises if something still is after `timeout` ("60s"), or if something failed unnoticed: a transfer
--- that the spec did not wait for, or a task of a script (failed_tasks = true accepts those).
function world:settle(opts)
  need_body(self, "w:settle")
  opts = complain.checked("w:settle", shape.settle, opts)
  local at = self.core:now() + clock.us(opts.timeout)
  local function done() return #self:leftovers() == 0 end
  while self.core:now() < at and not done() do self:advance(at, done) end
  local left = self:leftovers()
  if #left > 0 then complain.raise("w:settle: after %g s\n  %s", opts.timeout, table.concat(left, "\n  ")) end
  local failed = unasked(self, opts.failed_tasks)
  if #failed > 0 then complain.raise("w:settle: %s (seed %d)", table.concat(failed, "\n  "), self.seed) end
end

-- ---- chance ----

--- Like math.random, but seeded by the world.
function world:random(m, n)
  local bits = self.random_bits()
  if not m then return (bits >> 11) * 2.0 ^ -53 end
  if not n then m, n = 1, m end
  if math.type(m) ~= "integer" or math.type(n) ~= "integer" or n < m then
    complain.raise("w:random: expected integers m <= n, got %s and %s", tostring(m), tostring(n))
  end
  return m + ((bits >> 1) % (n - m + 1))
end

--- A hash of everything that happened to packets, as 16 hex digits, and the number of events. Equal runs have equal hashes.
function world:fingerprint() return self.core:fingerprint() end

--- Adds a marker to plots and traces.
function world:mark(text)
  table.insert(self.marks, { self:now(), text })
  if self.tracer then self.tracer:mark(text) end
end

-- ---- the end ----

--- Ends everything that runs in the world. A world that is garbage-collected is closed too.
function world:close()
  if self.closed then return end
  if self.core:running() then complain.raise("w:close: the world is running; close it in the body of the spec") end
  self.closed = complain.line() or "?"
  settings.finished(self)
  self.core:close()
end
world.__close = world.close
world.__gc = world.close

class(world, "w", { kept = { "close" }, world = function(self) return self end })

return world
