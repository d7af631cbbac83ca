--- What kt.sim's functions take: descriptions for kt.schema.
local clock = require "kt.sim.clock"
local schema = require "kt.schema"

local shape = {}

--- "2%" or 0.02.
function schema.types.chance(_, value)
  local n = math.type(value) and value or nil
  if type(value) == "string" then
    local percent = value:match "^%s*(%d+%.?%d*)%s*%%$"
    n = percent and tonumber(percent) / 100
  end
  if n and n >= 0 and n <= 1 then return n + 0.0 end
  return nil, schema.show(value) .. '; wanted a share of packets such as "2%" or 0.02, from 0 to 1'
end

--- A moment: "2026-03-02 22:59:30", in UTC, or seconds since 1970 → seconds since 1970.
function schema.types.moment(_, value)
  local n = math.type(value) and value or type(value) == "string" and clock.moment(value)
  if n and n >= 0 and n < 1e10 then return n end
  return nil, schema.show(value) .. '; wanted a moment in UTC such as "2026-03-02" or "2026-03-02 22:59:30", or seconds since 1970'
end

--- One string or a list of them → a list.
function schema.types.strings(_, value)
  if type(value) == "string" then return { value } end
  if type(value) ~= "table" then return nil, schema.show(value) .. "; wanted a string or a list of strings" end
  local out = {}
  for i = 1, #value do
    if type(value[i]) ~= "string" and type(value[i]) ~= "number" then
      return nil, ("[%d] is %s; wanted a string"):format(i, schema.show(value[i]))
    end
    out[i] = tostring(value[i])
  end
  return out
end

--- A table of strings by name, as it is: file contents, variables.
function schema.types.map(_, value)
  if type(value) ~= "table" then return nil, schema.show(value) .. "; wanted a table { name = text }" end
  for name, text in next, value do
    if type(name) ~= "string" or (type(text) ~= "string" and type(text) ~= "number") then
      return nil, ("[%s] is %s; wanted texts by name"):format(schema.show(name), schema.show(text))
    end
  end
  return value
end

shape.world = { type = "table", keys = {
  { name = "seed", type = "integer" },
  { name = "files", type = "map", default = {} },
  { name = "start", type = "moment" },
  { name = "tcp_buffer", type = "size", min = 4096, max = 1 << 24 },
  { name = "log", type = "enum", values = { "debug", "info", "warn", "error", "quiet" }, default = "info" },
} }

shape.host = { type = "table", keys = {
  { name = "address", type = "strings" },
  { name = "send", type = "rate", min = 125, max = 1 << 40 },
  { name = "files", type = "map", default = {} },
} }

shape.run = { type = "table", keys = {
  { name = "args", type = "strings", default = {} },
  { name = "env", type = "map", default = {} },
  { name = "files", type = "map", default = {} },
  { name = "unsafe", type = "boolean", default = false },
  { name = "memory", type = "size" },
  { name = "beside", type = "boolean", default = false },
} }

-- One direction of a link.
local function ills()
  return {
    { name = "delay", type = "duration", max = 3600 },
    { name = "jitter", type = "duration", max = 3600 },
    { name = "loss", type = "chance" },
    { name = "burst", type = "table", keys = {
      { name = "enter", type = "chance", required = true },
      { name = "leave", type = "chance", required = true },
      { name = "loss", type = "chance" },
    } },
    { name = "duplicate", type = "chance" },
    { name = "reorder", type = "chance" },
    { name = "reorder_by", type = "duration" },
    { name = "corrupt", type = "chance" },
    { name = "rate", type = "rate" },
    { name = "queue", type = "table", keys = {
      { name = "packets", type = "integer", min = 1 },
      { name = "bytes", type = "size", min = 1 },
      { name = "time", type = "duration" },
    } },
    { name = "mtu", type = "integer", min = 68, max = 65535 },
  }
end

shape.line = { type = "table", keys = ills() }
shape.link = { type = "table", keys = ills() }
table.insert(shape.link.keys, { name = "there", type = "table", keys = ills() })
table.insert(shape.link.keys, { name = "back", type = "table", keys = ills() })

shape.nat = { type = "table", keys = {
  { name = "public", type = "strings", required = true, wanted = "an IP address, or one of each kind" },
  { name = "timeout", type = "duration", default = 0 },
  { name = "open", type = "boolean", default = false },
} }

shape.serve = { type = "table", keys = {
  { name = "on", type = "string", required = true },
  { name = "kind", type = "enum", values = { "echo", "sink", "source" } },
  { name = "fn", type = "function" },
  { name = "bytes", type = "size", default = 1000000 },
}, check = function(out, raw, mistake)
  if out.kind and out.fn then mistake("fn", "kind is given too", "one of the two") end
  if raw.kind == nil and raw.fn == nil then mistake("kind", "missing; wanted \"echo\", \"sink\", \"source\", or fn = a function") end
end }

shape.timeout = { type = "table", keys = { { name = "timeout", type = "duration", default = 10, max = 1e9 } } }
shape.run_until = { type = "table", keys = { { name = "timeout", type = "duration", default = 60, max = 1e9 } } }
shape.name = { type = "table", keys = {
  { name = "delay", type = "duration", default = 0.001 }, { name = "fail", type = "boolean", default = false } } }

shape.rule = { type = "table", keys = {
  { name = "from", type = "string" },
  { name = "to", type = "string" },
  { name = "fn", type = "function", required = true },
} }

shape.transfer = { type = "table", keys = {
  { name = "from", type = "string", required = true },
  { name = "to", type = "string", required = true },
  { name = "bytes", type = "size", default = 1000000, max = 1 << 40 },
  { name = "kind", type = "enum", values = { "up", "down", "echo" }, default = "up" },
  { name = "timeout", type = "duration", default = 600 },
} }

shape.keystrokes = { type = "table", keys = {
  { name = "from", type = "string", required = true },
  { name = "to", type = "string", required = true },
  { name = "every", type = "duration", default = 0.1, min = 0.001 },
  { name = "count", type = "integer", min = 1, default = 100 },
  { name = "timeout", type = "duration", default = 30 },
} }

return shape
