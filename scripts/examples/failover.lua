-- The near end of a tunnel to three servers: new connections use the best one that works.
--     kt run failover.lua
-- Run server.lua, with the same key, on each of the three servers. Every link is checked once a second; three failed checks take it
-- down, two successful ones bring it up again. Open connections stay on their server, because their bytes are in flight there.
-- An application that loses its connection can reconnect at once.
local kt = require "kt"

local key = kt.secret_file "psk.key"

local near  = kt.link { remote = "near.example:29900", key = key }
local far   = kt.link { remote = "far.example:29900", key = key }
local spare = kt.link { remote = "spare.example:29900", key = key }

local pool = kt.pool {
  links  = { near, far, { link = spare, name = "spare" } },
  check  = { every = "1s", timeout = "800ms", fall = 3, rise = 2 },
  hold   = "10s",                          -- at least this long between switches
  policy = function(up)                    -- gets the links that are up, returns an index; cannot wait
    local best, cost
    for i, l in ipairs(up) do
      local c = l.srtt * (1 + 20 * l.loss) -- 5% loss weighs as much as twice the round-trip time
      if not cost or c < cost then best, cost = i, c end
    end
    return best
  end,
}

pool:on("switch", function(event) kt.log.warn("switched to %s from %s: %s", event.to, event.from, event.reason) end)

kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = pool:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)
