--- The one description of the API: what a script can call and read, where, and with what. Made from it: the binding check
--- (kt/init.lua, and script/opts.c asks it for the sentence), `kt check`, `kt help`, lua/meta/kt.lua, docs/reference.md. A
--- symbol that is bound and not described here, or described and not bound, fails spec/api_spec.lua. The parts are in kt/api/.
---
--- api.functions, a list and by name: "kt.link" or, for a method, "link:open":
---   context     where it may be called: "declare" (the main chunk), "task", "any"
---   signature   how it is written; begins with the name
---   doc         what it does, in sentences
---   returns     kinds by position, "stream | nil, err"; names of api.handles, api.records, or Lua's own
---   fails       the err.codes to reckon with, most likely first
---   params      what comes before `argument`, or in its place: { name, type, doc, optional }; "..." is the rest
---   argument    the table or unit that it takes, described for kt.schema, whose mistakes begin with `path`
---   optional    `argument` may be left out
---   example     lines to copy
---   since       the first version that has it
--- api.values: what is in the kt table and is no function. api.handles: what constructors return; their methods are
--- among the functions. api.records: plain tables that calls return. api.codes: every err.code.
local wire = require "kt.api.wire"

local api = { functions = {}, values = {}, handles = {}, records = {}, codes = {} }

local function def(f)
  f.since = f.since or "0.1.0"
  api.functions[#api.functions + 1] = f
  api.functions[f.name] = f
end

local function handle(h)
  api.handles[#api.handles + 1] = h
  api.handles[h.name] = h
  h.fields, h.methods = h.fields or {}, {}
end

--- A method of a kind: as def, without the kind in name and signature.
local function method(kind, m)
  m.signature = kind .. ":" .. m.signature
  m.name = kind .. ":" .. m.name
  m.path = m.name
  def(m)
  local methods = api.handles[kind].methods
  methods[#methods + 1] = m
end

local function record(r)
  api.records[#api.records + 1] = r
  api.records[r.name] = r
end

local function concat(...)
  local out = {}
  for _, list in ipairs { ... } do table.move(list, 1, #list, #out + 1, out) end
  return out
end

local handler = {
  conn = { name = "handler", type = "fun(conn: conn)", doc = "Called with each conn." },
  stream = { name = "handler", type = "fun(stream: stream)", doc = "Called with each stream." },
}

local function serve_doc(what)
  return ("Sets the function that gets each %s, in a task of its own, and returns the handle. The task owns the %s: when the "
    .. "function returns it is closed, when it fails it is reset. Once for each handle."):format(what, what)
end

--- The argument of what waits for data.
local function patient()
  return { type = "table", keys = { { name = "timeout", type = "duration", default = 30, doc = "How long the whole call may take." } } }
end

-- What the parts are given.
local with = {
  api = api, def = def, handle = handle, method = method, record = record,
  concat = concat, handler = handler, serve_doc = serve_doc, patient = patient,
}
require "kt.api.links"(with)
require "kt.api.pool"(with)
require "kt.api.conns"(with)
require "kt.api.datagrams"(with)
require "kt.api.script"(with)

api.manual_keys = wire.manual_keys

api.values = {
  { name = "kt.version", type = "string", doc = 'The version of kt, such as "0.1.0".', since = "0.1.0" },
  { name = "kt.log", type = "table", doc = "The log: one function for each level.", since = "0.1.0" },
}

-- Not for scripts: what the verbs in the binary pass to kt.core.
api.internal = {
  ["kt.core.drain_timeout"] = { path = "drain_timeout", argument = { type = "duration" } },
}

-- err.code: the names are base/err.h's.
api.codes = {
  { name = "invalid", doc = "An argument makes no sense." },
  { name = "memory", doc = "Out of memory." },
  { name = "again", doc = "Not now; try again." },
  { name = "timeout", doc = "It took longer than it may." },
  { name = "closed", doc = "What it was asked of is closed." },
  { name = "eof", doc = "The other end has finished sending." },
  { name = "reset", doc = "The other end broke the connection." },
  { name = "refused", doc = "Nobody listens there." },
  { name = "unreachable", doc = "No way to that network or host." },
  { name = "name", doc = "The host's name cannot be found." },
  { name = "in_use", doc = "Somebody else has that address." },
  { name = "denied", doc = "The system does not permit it." },
  { name = "config", doc = "An address or a setting cannot be read." },
  { name = "protocol", doc = "The peer broke the protocol." },
  { name = "auth", doc = "A packet does not authenticate." },
  { name = "limit", doc = "A limit is reached." },
  { name = "unsupported", doc = "This cannot be done here." },
  { name = "canceled", doc = "It was called off." },
  { name = "io", doc = "Reading or writing failed." },
  { name = "dead", doc = "The peer has gone silent." },
  { name = "restarted", doc = "The peer has begun anew." },
  { name = "not_found", doc = "No such file." },
  { name = "mismatch", doc = "The two ends are set up differently." },
  { name = "idle", doc = "Nothing has moved for too long." },
  { name = "total", doc = "It has been open for as long as it may be." },
}

--- All the names that kt.help, the reference and the specs go by, in order: functions, methods, values, fields
--- ("conn.peer"), and what holds them ("conn", "stats").
function api.symbols()
  local out = {}
  for _, v in ipairs(api.values) do out[#out + 1] = { name = v.name, value = v } end
  for _, f in ipairs(api.functions) do out[#out + 1] = { name = f.name, fn = f } end
  for _, list in ipairs { api.handles, api.records } do
    for _, h in ipairs(list) do
      out[#out + 1] = { name = h.name, holder = h }
      for _, field in ipairs(h.fields) do out[#out + 1] = { name = h.name .. "." .. field.name, value = field } end
    end
  end
  return out
end

--- What is wrong with `value` as the argument of the function `name`, as one text; nil if nothing.
function api.explain(name, value)
  local schema = require "kt.schema"
  local f = api.functions[name] or api.internal[name]
  local out, mistakes = schema.check(f.path, f.argument, value)
  if out == nil and mistakes then return schema.text(name, mistakes) end
end

return api
