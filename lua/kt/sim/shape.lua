--- What kt.sim's functions take: descriptions for kt.schema, and for what is made of kt.sim.api.
local clock = require "kt.sim.clock"
local schema = require "kt.schema"
local units = require "kt.units"

local shape = {}

units.expected.moment = 'a moment in UTC such as "2026-03-02" or "2026-03-02 22:59:30", or seconds since 1970'

--- A moment → seconds since 1970.
function schema.types.moment(_, value)
  local n = math.type(value) and value or type(value) == "string" and clock.moment(value)
  if n and n >= 0 and n < 1e10 then return n end
  return nil, schema.unfit(units.expected.moment, value)
end

--- A host, or its name: as it is, for the world to look up.
function schema.types.host(_, value)
  local meta = type(value) == "table" and getmetatable(value)
  if type(value) == "string" or meta and meta.is_host then return value end
  return nil, schema.unfit("a host or its name", value)
end

--- What a name may be: of a host, or that w:name leads somewhere. Names are written in "name:port".
function schema.types.name(d, value)
  if type(value) ~= "string" then return nil, schema.unfit("a name", value) end
  if #value > d.max or not value:find "^[%w_][%w_.-]*$" then
    return nil, schema.unfit(("a name of 1 to %d letters, digits and -_."):format(d.max), value)
  end
  if value:find "^[%d.]+$" then return nil, schema.unfit("a name, not an address", value) end
  if value:lower() == "localhost" then return nil, schema.show(value) .. " is reserved: every host is localhost to itself" end
  return value
end

--- A duration that may go back: "-1h", -3600.
function schema.types.shift(d, value)
  local back = math.type(value) and value < 0 or type(value) == "string" and value:find "^%-"
  local length = value
  if back then length = math.type(value) and -value or value:sub(2) end
  local seconds, wrong = schema.types.duration(d, length)
  if not seconds then return nil, (wrong:gsub("got .*$", "got " .. schema.show(value):gsub("%%", "%%%%"))) end
  return back and -seconds or seconds
end

--- One string or a list of them → a list.
function schema.types.strings(d, value)
  if type(value) == "string" then return { value } end
  if type(value) ~= "table" then return nil, schema.unfit("a string or a list of strings", value) end
  local out = {}
  for i = 1, #value do
    if type(value[i]) ~= "string" and type(value[i]) ~= "number" then
      return nil, ("[%d]: %s"):format(i, schema.unfit("a string", value[i]))
    end
    out[i] = tostring(value[i])
  end
  if #out < (d.min or 0) or #out > (d.max or #out) then return nil, ("expected a list of %d to %d, got %d"):format(d.min, d.max, #out) end
  return out
end

--- A table of strings by name, as it is: file contents, variables.
function schema.types.map(_, value)
  if type(value) ~= "table" then return nil, schema.unfit("a table { name = text }", value) end
  for name, text in next, value do
    if type(name) ~= "string" or (type(text) ~= "string" and type(text) ~= "number") then
      return nil, ("[%s]: expected a string for a string key, got %s"):format(schema.show(name), schema.show(text))
    end
  end
  return value
end

local FOREVER = 1e9 -- seconds: as long as anything may take
local RATE_MIN, RATE_MAX = 125, 125000000000 -- bytes a second: 1 kbit/s to 1 Tbit/s

shape.world = { type = "table", keys = {
  { name = "seed", type = "integer", doc = "All chance comes of it; KT_SEED, or 1, unless given." },
  { name = "files", type = "map", default = {}, doc = "Files by name, put beside every script that is run." },
  { name = "start", type = "moment", doc = "The wall clock at its beginning; 2026-01-01 unless given." },
  { name = "tcp_buffer", type = "size", min = 4096, max = 1 << 24, doc = "What a conn's end takes in before it is read; 256 KiB unless given." },
  { name = "log", type = "enum", values = { "debug", "info", "warn", "error", "quiet" }, default = "info", doc = "The level of scripts' logs." },
} }

shape.host = { type = "table", keys = {
  { name = "address", type = "strings", min = 1, max = 16,
    doc = "Its IP address, or several. By themselves they are 10.0.N.1 and fd00::N; N counts hosts from 1." },
  { name = "send", type = "rate", min = RATE_MIN, max = RATE_MAX, doc = "How fast packets come out of it, whatever its links carry; 4 Gbit/s unless given." },
  { name = "files", type = "map", default = {}, doc = "Files by path." },
} }

shape.run = { type = "table", keys = {
  { name = "args", type = "strings", min = 0, max = 256, default = {}, doc = "Its arguments." },
  { name = "env", type = "map", default = {}, doc = "What os.getenv finds: this machine's environment is not there." },
  { name = "files", type = "map", default = {}, doc = "Files beside it." },
  { name = "unsafe", type = "boolean", default = false, doc = "As kt run --unsafe: it has os and io." },
  { name = "memory", type = "size", min = 1 << 20, max = 1 << 36, doc = "As kt run --memory; 256 MiB unless given." },
  { name = "beside", type = "boolean", default = false, doc = "The host may run another script already." },
} }

-- One direction of a link.
local function ills()
  return {
    { name = "delay", type = "duration", max = 3600, doc = "How long a packet is on its way." },
    { name = "jitter", type = "duration", max = 3600, doc = "So much more or less; packets keep their order." },
    { name = "loss", type = "share", doc = "Of packets, by chance." },
    { name = "burst", type = "table", off = true,
      doc = "Losses in bursts (Gilbert-Elliott): between a good state and a bad one, a step for each packet.", keys = {
      { name = "enter", type = "share", required = true, doc = "The chance to go from good to bad." },
      { name = "leave", type = "share", required = true, doc = "The chance to go back." },
      { name = "loss", type = "share", doc = "Of packets in the bad state; all unless given." },
    } },
    { name = "duplicate", type = "share", doc = "Of packets: a copy comes right behind." },
    { name = "reorder", type = "share", doc = "Of packets: they take longer, and others overtake them." },
    { name = "reorder_by", type = "duration", max = 3600, doc = "How much longer; 10 ms unless given." },
    { name = "corrupt", type = "share", doc = "Of packets: up to three bits are wrong, and the checksum did not notice." },
    { name = "rate", type = "rate", min = RATE_MIN, max = RATE_MAX, off = true, doc = "What the line carries; without limit unless given." },
    { name = "queue", type = "table", off = true,
      doc = "What waits before a line with a rate. What finds so much ahead of it is lost; 1000 packets unless given.", keys = {
      { name = "packets", type = "integer", min = 1, max = 1000000000, doc = "Packets that wait." },
      { name = "bytes", type = "size", min = 1, max = 1 << 40, doc = "Bytes that wait." },
      { name = "time", type = "duration", min = 1e-6, max = 3600, doc = "How long the last one waits." },
    } },
    { name = "mtu", type = "integer", min = 68, max = 65535, doc = "Larger IP packets are lost; 1500 unless given." },
  }
end

shape.line = { type = "table", keys = ills() }
shape.link = { type = "table", keys = ills() }
table.insert(shape.link.keys, { name = "there", type = "table", keys = ills(), as = "world:link",
  doc = "What holds only for packets from the first host to the second." })
table.insert(shape.link.keys, { name = "back", type = "table", keys = ills(), as = "world:link", doc = "... and only for those the other way." })

shape.inject = { type = "table", keys = {
  { name = "from", type = "string", required = true, doc = '"ip:port": the source address, its own or any other.' },
  { name = "to", type = "string", required = true, doc = '"ip:port", as packet.dst has it.' },
  { name = "data", type = "string", required = true, doc = "The datagram, as packet.data has it." },
} }

shape.nat = { type = "table", keys = {
  { name = "public", type = "strings", required = true, expected = "an IP address, or one of each kind",
    doc = "The address that others see, IPv4 or IPv6; or a list with one of each." },
  { name = "timeout", type = "duration", default = 0, max = FOREVER, doc = "A UDP mapping is forgotten after so long without a packet out; 0: never." },
  { name = "open", type = "boolean", default = false, doc = "Anyone may answer to a mapping, not only whom it was made for." },
} }

shape.serve = { type = "table", keys = {
  { name = "on", type = "string", required = true, doc = 'Where, such as ":7" or "127.0.0.1:8388".' },
  { name = "kind", type = "enum", values = { "echo", "sink", "source" },
    doc = "echo sends back what comes; sink takes it, and checks it if it is a transfer; source sends bytes and finishes." },
  { name = "fn", type = "function", doc = "Or a server of the spec's own: called with each conn, an app, as a task; the conn is closed when it returns." },
  { name = "bytes", type = "size", default = 1000000, max = 1 << 40, doc = "How much a source sends." },
  { name = "rate", type = "rate", min = RATE_MIN, max = RATE_MAX, doc = "How fast a source sends, at most." },
}, check = function(out, raw, mistake)
  for _, key in ipairs { "bytes", "rate" } do
    if raw[key] ~= nil and raw.kind ~= "source" then mistake(key, "only a server of kind \"source\" has it") end
  end
  if out.kind and out.fn then mistake("fn", "kind is given too", "one of the two") end
  if raw.kind == nil and raw.fn == nil then mistake("kind", "missing; expected \"echo\", \"sink\", \"source\", or fn = a function") end
end }

shape.timeout = { type = "table", keys = {
  { name = "timeout", type = "duration", default = 10, max = FOREVER, doc = "How long the whole call may take." },
} }
shape.run_until = { type = "table", keys = {
  { name = "timeout", type = "duration", default = 60, max = FOREVER, doc = "When it is given up." },
} }
shape.wait_log = { type = "table", keys = shape.run_until.keys }
shape.settle = { type = "table", keys = {
  shape.run_until.keys[1],
  { name = "failed_tasks", type = "boolean", default = false, doc = "Tasks of scripts may have failed." },
} }
shape.name = { type = "table", keys = {
  { name = "delay", type = "duration", default = 0.001, max = 3600, doc = "How long a lookup takes." },
  { name = "fail", type = "boolean", default = false, doc = "The name server does not answer." },
} }

shape.rule = { type = "table", keys = {
  { name = "from", type = "host", doc = "Only packets that this host sends." },
  { name = "to", type = "host", doc = "Only packets for this host." },
  { name = "fn", type = "function", required = true,
    doc = 'Called with each packet; gives nil, "drop", or { drop = true, delay = "50ms", copies = 1 }.' },
} }

shape.transfer = { type = "table", keys = {
  { name = "from", type = "host", required = true, doc = "The host that connects." },
  { name = "to", type = "string", required = true, doc = 'Where to, "host:port".' },
  { name = "bytes", type = "size", default = 1000000, max = 1 << 40, doc = "How much." },
  { name = "kind", type = "enum", values = { "up", "down", "echo" }, default = "up",
    doc = "up goes to a server of kind sink, down comes from a source, echo goes to an echo server and back." },
  { name = "timeout", type = "duration", default = 600, max = FOREVER, doc = "When :wait() gives up." },
} }

shape.keystrokes = { type = "table", keys = {
  { name = "from", type = "host", required = true, doc = "The host that connects." },
  { name = "to", type = "string", required = true, doc = 'The echo server, "host:port", or what leads to it.' },
  { name = "every", type = "duration", default = 0.1, min = 0.001, max = 3600, doc = "Time between two." },
  { name = "count", type = "integer", min = 1, max = 1000000, default = 100, doc = "How many." },
  { name = "timeout", type = "duration", default = 30, max = FOREVER, doc = "When :wait() gives up, after the last." },
} }

shape.sweep = { type = "table", keys = {
  { name = "from", type = "integer", default = 1, doc = "The first seed." },
}, elsewhere = { seed = { "a sweep gives each world its own", "leave it out" } } }
for _, key in ipairs(shape.world.keys) do
  if key.name ~= "seed" then table.insert(shape.sweep.keys, key) end
end

-- ---- single arguments ----

shape.host_name = { type = "name", max = 63 }
shape.known_as = { type = "name", max = 253 }
shape.addresses = { type = "strings", min = 1, max = 16 }
shape.shift = { type = "shift", max = FOREVER }
shape.reading = { type = "rate", min = 1, max = RATE_MAX }
shape.piece = { type = "integer", min = 1, max = 1 << 30 }

return shape
