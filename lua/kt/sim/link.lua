--- Links: two hosts and two lines between them, one in each direction, each with its own faults.
local class = require "kt.sim.class"
local clock = require "kt.sim.clock"
local complain = require "kt.sim.complain"
local shape = require "kt.sim.shape"

local link = {}
link.__index = link

function link.__tostring(self) return ("link %s - %s"):format(self.a, self.b) end

local function us(seconds) return seconds and clock.us(seconds) end

-- The options of one direction in the units of kt.sim.core: µs and bits per second.
local function line_of(o)
  local burst, queue = o.burst or {}, o.queue or {}
  return {
    delay_us = us(o.delay), jitter_us = us(o.jitter), loss = o.loss,
    burst_enter = burst.enter, burst_leave = burst.leave, burst_loss = burst.loss,
    duplicate = o.duplicate, reorder = o.reorder, reorder_us = us(o.reorder_by), corrupt = o.corrupt,
    rate_bps = o.rate and o.rate * 8 or nil, mtu = o.mtu, -- false removes the limit
    queue_packets = queue.packets, queue_bytes = queue.bytes, queue_us = us(queue.time),
    police_bytes = o.police or nil,
  }
end

-- Merges the options for both directions with those for one, which take precedence.
local function merged(both, own)
  local out = {}
  for _, key in ipairs(shape.line.keys) do
    local value = own and own[key.name]
    if value == nil then value = both[key.name] end
    out[key.name] = value
  end
  return out
end

local function apply(self, how, there, back)
  local world = self.world
  if how == "join" then return world.core:join(self.a, self.b, line_of(there), line_of(back)) end
  local ok, code, text = world.core:set_line(self.a, self.b, line_of(there))
  if ok then ok, code, text = world.core:set_line(self.b, self.a, line_of(back)) end
  return ok, code, text
end

function link.new(world, a, b, opts)
  opts = complain.checked("w:link", shape.link, opts)
  local self = setmetatable({ world = world, a = a, b = b }, link)
  local there, back = merged(opts, opts.there), merged(opts, opts.back)
  local ok, _, text = apply(self, "join", there, back)
  if not ok then complain.raise("w:link: %s - %s: %s", a, b, text) end
  self.there, self.back = there, back
  return self
end

--- Changes the given options and keeps the rest.
function link:set(opts)
  opts = complain.checked("link:set", shape.link, opts)
  local function changed(before, own)
    return merged(setmetatable({}, { __index = function(_, key)
      if opts[key] ~= nil then return opts[key] end
      return before[key]
    end }), own)
  end
  local there, back = changed(self.there, opts.there), changed(self.back, opts.back)
  local ok, _, text = apply(self, "set", there, back)
  if not ok then complain.raise("link:set: %s - %s: %s", self.a, self.b, text) end
  self.there, self.back = there, back
  self.world:mark(("%s changes"):format(self))
  return self
end

-- Checks that `from` is one of the link's hosts, given as a host or by name; returns the name.
local function end_of(self, what, from)
  if type(from) == "table" then from = self.world:known_host(what, from).name end
  if from ~= self.a and from ~= self.b then complain.unknown(what, "end of this link", from, { self.a, self.b }) end
  return from
end

-- cut, hold, heal: both directions, or one: link:cut("client") affects what the client sends.
local function fault(name)
  link[name] = function(self, from)
    from = from ~= nil and end_of(self, "link:" .. name, from) or nil
    self.world:mark(("%s of %s - %s%s"):format(name, self.a, self.b, from and " from " .. from or ""))
    if from ~= self.b then self.world.core[name](self.world.core, self.a, self.b) end
    if from ~= self.a then self.world.core[name](self.world.core, self.b, self.a) end
    return self
  end
end
fault "cut"
fault "hold"
fault "heal"

--- Statistics of the line that leaves `from` (default: the first host).
function link:stats(from)
  from = from ~= nil and end_of(self, "link:stats", from) or self.a
  return self.world.core:line_stats(from, from == self.a and self.b or self.a)
end

class(link, "link")

return link
