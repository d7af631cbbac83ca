--- The one description of kt.sim, as kt.api is of what scripts get (its form is told there). Made from it: `kt help kt.sim`,
--- lua/meta/kt/sim.lua, docs/reference-sim.md. What a spec could call and is not described here, or the reverse, fails
--- spec/sim_api_spec.lua. The parts are in kt/sim/api/; what calls take in tables is in kt.sim.shape, which checks it.
---
--- context: "spec" (anywhere), "body" (of a spec: what runs the world), "waits" (the body, and tasks).
local describe = require "kt.doc.describe"

local api = describe.new("sim", "kt.sim")
api.file, api.meta = "lua/kt/sim/api.lua", "kt.sim"
api.units, api.units_used = { "moment" }, { "duration", "size", "rate", "share", "moment" }
api.plain = true -- a parameter's type may be a unit

api.head = [[
# The reference of kt.sim

Made by `scripts/generate` from [lua/kt/sim/api.lua](../lua/kt/sim/api.lua) and its parts; changes go there. `kt help kt.sim` and `kt help NAME` show
the same in the terminal. [testing.md](testing.md) is the way in.

A spec begins with `local sim = require "kt.sim"`. **The body of a spec** is what busted calls; what it waits for runs the world. **Tasks** are what the world
calls: what was given to `w:at`, `w:every`, `w:task`, `w:fault` and `host:serve`. Every function says where it may be called; what waits, waits in the
world's time.

Mistakes are raised at the spec's line. What may fail in a network returns `nil` and an [err](#err); `connect` and `echo` raise, and have twins that do not.
Times in results are in seconds. Durations are rounded to whole µs, and never to nothing.
]]
api.about_handles = "Worlds, apps and servers have a `:close()`, which also comes at the end of a `local x <close>`."

local with = describe.writers(api)
require "kt.sim.api.world"(with)
require "kt.sim.api.hosts"(with)
require "kt.sim.api.apps"(with)

--- What the modules of kt.sim call of each other: not for specs, and not described.
api.internal = {
  world = { "new", "known_host", "advance", "answered", "echo_came" },
  host = { "new" },
  link = { "new" },
  script = { "start", "again", "on_log", "on_print", "on_ended", "on_crash" },
  app = { "accepted", "connect", "on_connected", "on_unconnected", "on_readable", "on_writable", "on_broken", "on_crash" },
  rule = { "new" },
  transfer = { "transfer", "keystrokes", "of", "arrives", "progress", "takes", "ends" },
}

return api
