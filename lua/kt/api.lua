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
---   params      what comes before `argument`, or in its place: { name, type, doc, optional; min, max }; "..." is the rest
---   argument    the table or unit that it takes, described for kt.schema, whose mistakes begin with `path`
---   optional    `argument` may be left out
---   example     lines to copy
---   since       the first version that has it
--- api.values: what is in the kt table and is no function. api.handles: what constructors return; their methods are
--- among the functions. api.records: plain tables that calls return. api.codes: every err.code.
local describe = require "kt.doc.describe"
local wire = require "kt.api.wire"

local api = describe.new("kt", "kt")
api.file, api.meta = "lua/kt/api.lua", "kt"
api.units = { "duration", "size", "rate", "share" }
local with = describe.writers(api)

-- What docs/reference.md says before and between.
api.head = [[
# The reference

Made by `scripts/generate` from [lua/kt/api.lua](../lua/kt/api.lua) and its parts, the one description of the API; changes go there. `kt help NAME` shows
the same in the terminal.

A script begins with `local kt = require "kt"`. Its **main chunk** declares; what it declares is opened when it has returned. A **task** is a
coroutine that may wait. Every function says where it may be called.

Functions take one table where they take more than the obvious; an unknown key is an error. Misuse raises. What fails as expected returns
`nil` and an [err](#err).
]]
api.about_handles = "What has a `:close()` is also closed at the end of a `local x <close>`, and, with a word in the log, when it is forgotten."

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

-- What the parts are given besides.
with.concat, with.handler, with.serve_doc, with.patient = concat, handler, serve_doc, patient
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

--- What is wrong with `value` as the argument of the function `name`, as one text; nil if nothing.
function api.explain(name, value)
  local schema = require "kt.schema"
  local f = api.functions[name] or api.internal[name]
  local out, mistakes = schema.check(f.path, f.argument, value)
  if out == nil and mistakes then return schema.text(name, mistakes) end
end

return api
