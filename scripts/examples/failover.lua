-- The near end of a tunnel that has three ways out: new connections take the best one that works.
--     kt run failover.lua
-- server.lua, with the same key, runs on each of the three servers. Each link is asked every second whether its server still
-- answers, three missed answers take it out, two bring it back. What is open stays where it is: its bytes are under way there.
-- An application that loses its connection finds the next one working.
local kt = require "kt"

local key = kt.secret_file "psk.key"

local near  = kt.link { remote = "near.example:29900", key = key, mode = "fast2" }
local far   = kt.link { remote = "far.example:29900", key = key, mode = "fast2" }
local spare = kt.link { remote = "spare.example:29900", key = key, mode = "fast2" }

local pool = kt.pool {
  links  = { near, far, { link = spare, name = "spare" } },
  check  = { every = "1s", timeout = "800ms", fall = 3, rise = 2 },
  hold   = "10s",                          -- against going back and forth: no change of mind before that
  policy = function(up)                    -- pure: gets the links that are up, returns an index
    local best, cost
    for i, l in ipairs(up) do
      local c = l.srtt * (1 + 20 * l.loss) -- 5 % of loss weigh as much as twice the way
      if not cost or c < cost then best, cost = i, c end
    end
    return best
  end,
}

pool:on("switch", function(event) kt.log.warn("now by way of %s, not %s: %s", event.to, event.from, event.reason) end)

kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = pool:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)
