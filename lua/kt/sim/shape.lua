--- Describes the arguments of kt.sim's functions, for kt.schema and kt.sim.api.
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

--- A host or its name, unchanged; the world looks it up.
function schema.types.host(_, value)
  local meta = type(value) == "table" and getmetatable(value)
  if type(value) == "string" or meta and meta.is_host then return value end
  return nil, schema.unfit("a host or its name", value)
end

--- A host name or a DNS name. It must be usable in "name:port".
function schema.types.name(d, value)
  if type(value) ~= "string" then return nil, schema.unfit("a name", value) end
  if #value > d.max or not value:find "^[%w_][%w_.-]*$" then
    return nil, schema.unfit(("a name of 1 to %d letters, digits and -_."):format(d.max), value)
  end
  if value:find "^[%d.]+$" then return nil, schema.unfit("a name, not an address", value) end
  if value:lower() == "localhost" then return nil, schema.show(value) .. " is reserved: every host is localhost to itself" end
  return value
end

--- A duration that may be negative: "-1h", -3600.
function schema.types.shift(d, value)
  local back = math.type(value) and value < 0 or type(value) == "string" and value:find "^%-"
  local length = value
  if back then length = math.type(value) and -value or value:sub(2) end
  local seconds, wrong = schema.types.duration(d, length)
  if not seconds then return nil, (wrong:gsub("got .*$", "got " .. schema.show(value):gsub("%%", "%%%%"))) end
  return back and -seconds or seconds
end

--- A string or a list of strings → a list.
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

--- A table of strings by name, unchanged: file contents, environment variables.
function schema.types.map(_, value)
  if type(value) ~= "table" then return nil, schema.unfit("a table { name = text }", value) end
  for name, text in next, value do
    if type(name) ~= "string" or (type(text) ~= "string" and type(text) ~= "number") then
      return nil, ("[%s]: expected a string for a string key, got %s"):format(schema.show(name), schema.show(text))
    end
  end
  return value
end

local FOREVER = 1e9 -- seconds: the upper limit of every timeout
local RATE_MIN, RATE_MAX = 125, 125000000000 -- bytes per second: 1 kbit/s to 1 Tbit/s

shape.world = { type = "table", keys = {
  { name = "seed", type = "integer", doc = "Seed of all randomness. Default: KT_SEED, or 1." },
  { name = "files", type = "map", default = {}, doc = "Files by name, placed beside every script that is run." },
  { name = "start", type = "moment", doc = "Initial wall-clock time. Default: 2026-01-01." },
  { name = "tcp_buffer", type = "size", min = 4096, max = 1 << 24, doc = "Receive buffer of a TCP conn. Default: 256 KiB." },
  { name = "log", type = "enum", values = { "debug", "info", "warn", "error", "quiet" }, default = "info", doc = "Log level of scripts." },
} }

shape.host = { type = "table", keys = {
  { name = "address", type = "strings", min = 1, max = 16,
    doc = "Its IP address or addresses. Default: 10.0.N.1 and fd00::N, where N numbers the hosts from 1." },
  { name = "send", type = "rate", min = RATE_MIN, max = RATE_MAX, doc = "Maximum rate at which it sends, over all links. Default: 4 Gbit/s." },
  { name = "descriptors", type = "integer", min = 64, max = 1 << 30,
    doc = "Limit of open descriptors that its processes see, from which kt derives how many streams a session may have. Default: none." },
  { name = "files", type = "map", default = {}, doc = "Files by path." },
} }

shape.run = { type = "table", keys = {
  { name = "args", type = "strings", min = 0, max = 256, default = {}, doc = "The script's arguments." },
  { name = "env", type = "map", default = {}, doc = "Environment for kt.env and os.getenv; the real machine's is not visible." },
  { name = "files", type = "map", default = {}, doc = "Files to place beside the script." },
  { name = "unsafe", type = "boolean", default = false, doc = "As kt run --unsafe: the script has os and io." },
  { name = "path", type = "string", doc = "As kt run --path: a folder of modules. Default: that of kt test --path." },
  { name = "allow_read", type = "strings", min = 0, max = 32, doc = "As kt run --allow-read: folders that kt.file may read in." },
  { name = "allow_write", type = "strings", min = 0, max = 32, doc = "As kt run --allow-write: folders that kt.append may write in." },
  { name = "memory", type = "size", min = 1 << 20, max = 1 << 36, doc = "As kt run --memory. Default: 256 MiB." },
  { name = "control", type = "string", doc = "As kt run --control: the path of a control socket, for kt status and the like on this host. Default: none." },
  { name = "beside", type = "boolean", default = false, doc = "Allow other scripts to run on the host at the same time." },
} }

-- The faults of one direction of a link.
local function faults()
  return {
    { name = "delay", type = "duration", max = 3600, doc = "Propagation delay." },
    { name = "jitter", type = "duration", max = 3600, doc = "Random variation of the delay, plus or minus; packets stay in order." },
    { name = "loss", type = "share", doc = "Share of packets lost at random." },
    { name = "burst", type = "table", off = true,
      doc = "Bursty loss (Gilbert-Elliott model): a good and a bad state, with one transition step per packet.", keys = {
      { name = "enter", type = "share", required = true, doc = "Probability of changing from good to bad." },
      { name = "leave", type = "share", required = true, doc = "Probability of changing back to good." },
      { name = "loss", type = "share", doc = "Share of packets lost in the bad state. Default: all." },
    } },
    { name = "duplicate", type = "share", doc = "Share of packets duplicated; the copy follows directly." },
    { name = "reorder", type = "share", doc = "Share of packets delayed so that later ones overtake them." },
    { name = "reorder_by", type = "duration", max = 3600, doc = "Extra delay of reordered packets. Default: 10 ms." },
    { name = "corrupt", type = "share", doc = "Share of packets with up to three flipped bits that the UDP checksum misses." },
    { name = "rate", type = "rate", min = RATE_MIN, max = RATE_MAX, off = true, doc = "Bandwidth. Default: unlimited." },
    { name = "queue", type = "table", off = true,
      doc = "Limits of the queue before a line with a rate; packets that exceed one are lost. Default: 1000 packets.", keys = {
      { name = "packets", type = "integer", min = 1, max = 1000000000, doc = "Maximum queue length, in packets." },
      { name = "bytes", type = "size", min = 1, max = 1 << 40, doc = "Maximum queue length, in bytes." },
      { name = "time", type = "duration", min = 1e-6, max = 3600, doc = "Maximum queueing delay." },
    } },
    { name = "police", type = "size", min = 1500, max = 1 << 40, off = true,
      doc = "Makes a line with a rate a policer: packets pass at once or are lost, by a token bucket of this size. Default: they queue." },
    { name = "mtu", type = "integer", min = 68, max = 65535, doc = "Maximum IP packet size; larger ones are lost. Default: 1500." },
  }
end

shape.line = { type = "table", keys = faults() }
shape.link = { type = "table", keys = faults() }
table.insert(shape.link.keys, { name = "there", type = "table", keys = faults(), as = "world:link",
  doc = "Options for the direction from the first host to the second only." })
table.insert(shape.link.keys, { name = "back", type = "table", keys = faults(), as = "world:link",
  doc = "Options for the direction from the second host to the first only." })

shape.inject = { type = "table", keys = {
  { name = "from", type = "string", required = true, doc = '"ip:port": the source address, its own or any other.' },
  { name = "to", type = "string", required = true, doc = '"ip:port", as packet.dst has it.' },
  { name = "data", type = "string", required = true, doc = "The datagram, as packet.data has it." },
} }

shape.nat = { type = "table", keys = {
  { name = "public", type = "strings", required = true, expected = "an IP address, or one of each kind",
    doc = "The public address, IPv4 or IPv6, or a list with one of each." },
  { name = "timeout", type = "duration", default = 0, max = FOREVER,
    doc = "A UDP mapping expires after this long without an outgoing packet; 0 means never." },
  { name = "open", type = "boolean", default = false, doc = "Accept packets from any address on a mapping, not only from the one it was made for." },
  { name = "symmetric", type = "boolean", default = false, doc = "Make a mapping of its own, with another port, for each address and port sent to." },
} }

shape.serve = { type = "table", keys = {
  { name = "on", type = "string", doc = 'Address to listen on for TCP, such as ":7" or "127.0.0.1:8388", or a unix socket, "unix:/run/app.sock".' },
  { name = "udp", type = "string", doc = "Address to serve datagrams on, in place of `on`; kind \"echo\" or fn only." },
  { name = "kind", type = "enum", values = { "echo", "sink", "source" },
    doc = "echo sends back what it reads; sink reads everything, and checks it if it is a transfer; source sends bytes and finishes." },
  { name = "fn", type = "function", doc = "A custom server: called as a task with each conn (an app), which is closed when it returns. With `udp`, "
    .. "called as a task with each datagram and its sender's address; a string that it returns is sent back." },
  { name = "bytes", type = "size", default = 1000000, max = 1 << 40, doc = "How much a source sends." },
  { name = "rate", type = "rate", min = RATE_MIN, max = RATE_MAX, doc = "Maximum rate of a source." },
}, check = function(out, raw, mistake)
  for _, key in ipairs { "bytes", "rate" } do
    if raw[key] ~= nil and raw.kind ~= "source" then mistake(key, "only for kind = \"source\"") end
  end
  if out.on and out.udp then mistake("udp", "on is given too", "give one of the two") end
  if raw.on == nil and raw.udp == nil then mistake("on", "missing; expected an address such as \":7\", or udp = an address") end
  if out.udp and out.kind and out.kind ~= "echo" then mistake("kind", "not for datagrams", 'use "echo" or fn') end
  if out.kind and out.fn then mistake("fn", "kind is given too", "give one of the two") end
  if raw.kind == nil and raw.fn == nil then mistake("kind", "missing; expected \"echo\", \"sink\", \"source\", or fn = a function") end
end }

shape.udp = { type = "table", keys = {
  { name = "on", type = "string", doc = 'The address to bind, such as ":5353". Default: a free port.' },
  { name = "to", type = "string", doc = 'The only peer, "host:port".' },
  { name = "timeout", type = "duration", default = 10, max = FOREVER, doc = "Timeout for looking up the peer's name." },
} }

shape.http = { type = "table", keys = {
  { name = "url", type = "string", required = true, expected = 'a URL such as "http://127.0.0.1:9100/metrics"', doc = "The URL." },
  { name = "method", type = "string", default = "GET", doc = "The method." },
  { name = "headers", type = "map", doc = "Header fields by name." },
  { name = "body", type = "string", doc = "The body." },
  { name = "to", type = "string", doc = 'Where to connect instead of the URL\'s host, "host:port" or "unix:/path".' },
  { name = "timeout", type = "duration", default = 10, max = FOREVER, doc = "Timeout for the whole call." },
  { name = "max_body", type = "size", default = 1 << 26, max = 1 << 26, doc = "Longest body of a response." },
} }

shape.timeout = { type = "table", keys = {
  { name = "timeout", type = "duration", default = 10, max = FOREVER, doc = "Timeout for the whole call." },
} }
shape.run_until = { type = "table", keys = {
  { name = "timeout", type = "duration", default = 60, max = FOREVER, doc = "Timeout for the whole call." },
} }
shape.wait_log = { type = "table", keys = shape.run_until.keys }
shape.settle = { type = "table", keys = {
  shape.run_until.keys[1],
  { name = "failed_tasks", type = "boolean", default = false, doc = "Accept failed tasks of scripts." },
} }
shape.name = { type = "table", keys = {
  { name = "delay", type = "duration", default = 0.001, max = 3600, doc = "How long a lookup takes." },
  { name = "fail", type = "boolean", default = false, doc = "Make lookups fail: the name server does not answer." },
} }

shape.rule = { type = "table", keys = {
  { name = "from", type = "host", doc = "Only packets from this host." },
  { name = "to", type = "host", doc = "Only packets to this host." },
  { name = "fn", type = "function", required = true,
    doc = 'Called with each packet; returns nil, "drop", or { drop = true, delay = "50ms", copies = 1 }.' },
} }

shape.transfer = { type = "table", keys = {
  { name = "from", type = "host", required = true, doc = "The host that connects." },
  { name = "to", type = "string", required = true, doc = 'Where to connect, "host:port".' },
  { name = "bytes", type = "size", default = 1000000, max = 1 << 40, doc = "Number of bytes." },
  { name = "kind", type = "enum", values = { "up", "down", "echo" }, default = "up",
    doc = "up sends to a server of kind sink, down receives from a source, echo sends to an echo server and back." },
  { name = "timeout", type = "duration", default = 600, max = FOREVER, doc = "Timeout of :wait(), from the start of the transfer." },
} }

shape.keystrokes = { type = "table", keys = {
  { name = "from", type = "host", required = true, doc = "The host that connects." },
  { name = "to", type = "string", required = true, doc = 'Address of the echo server or of a tunnel to it, "host:port".' },
  { name = "every", type = "duration", default = 0.1, min = 0.001, max = 3600, doc = "Interval between keystrokes." },
  { name = "count", type = "integer", min = 1, max = 1000000, default = 100, doc = "Number of keystrokes." },
  { name = "timeout", type = "duration", default = 30, max = FOREVER, doc = "Timeout of :wait(), from the last keystroke." },
} }

shape.sweep = { type = "table", keys = {
  { name = "from", type = "integer", default = 1, doc = "The first seed." },
}, elsewhere = { seed = { "sim.sweep sets the seed of each world", "leave it out" } } }
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
