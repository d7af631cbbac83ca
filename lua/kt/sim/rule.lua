--- Packet rules: a function of the spec decides what happens to single UDP packets, before the faults of the line apply.
local class = require "kt.sim.class"
local clock = require "kt.sim.clock"
local complain = require "kt.sim.complain"
local shape = require "kt.sim.shape"

local rule = {}
rule.__index = rule

-- Replaces the list instead of modifying it: a rule's function may add or remove rules while the list is being iterated.
function rule:remove()
  local left = {}
  for _, other in ipairs(self.world.rules) do
    if other ~= self then left[#left + 1] = other end
  end
  self.removed, self.world.rules = true, left
  if #self.world.rules == 0 then self.world.core:set_rule(nil) end
end

local verdict = { type = "table", keys = {
  { name = "drop", type = "boolean" },
  { name = "delay", type = "duration", max = 3600 },
  { name = "copies", type = "integer", min = 0, max = 16 },
} }

local function read(self, said)
  if said == "drop" then return true, 0, 0 end
  if type(said) ~= "table" then
    error(("%s: the rule's function must return nil, \"drop\", or { drop =, delay =, copies = }; got %s"):format(
      self.made_at, tostring(said)), 0)
  end
  local schema = require "kt.schema"
  local out, mistakes = schema.check("rule", verdict, said)
  if not out then error(self.made_at .. ": " .. schema.text("rule", mistakes), 0) end
  return out.drop or false, out.copies or 0, clock.us(out.delay or 0)
end

--- The first rule that returns a verdict on a packet decides.
local function asker(world)
  return function(from, to, src, dst, data, id)
    local packet
    for _, self in ipairs(world.rules) do
      if not self.removed and (not self.from or self.from == from) and (not self.to or self.to == to) then
        packet = packet or { from = from, to = to, src = src, dst = dst, data = data, size = #data, id = id, at = world:now() }
        local ok, said = xpcall(self.fn, self.failed, packet)
        if not ok then error(said, 0) end
        if said ~= nil then return read(self, said) end
      end
    end
    return false, 0, 0
  end
end

function rule.new(world, opts)
  opts = complain.checked("w:rule", shape.rule, opts)
  for _, name in ipairs { "from", "to" } do
    if opts[name] then opts[name] = world:known_host("w:rule: " .. name, opts[name]).name end
  end
  local self = setmetatable({ world = world, from = opts.from, to = opts.to, fn = opts.fn,
    made_at = complain.line() or "?" }, rule)
  local origin = complain.origin "w:rule"
  function self.failed(why) return complain.told(why, origin) end
  world.rules = table.move(world.rules, 1, #world.rules, 1, {})
  table.insert(world.rules, self)
  if #world.rules == 1 then world.core:set_rule(asker(world)) end
  return self
end

class(rule, "rule")

return rule
