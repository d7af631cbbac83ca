-- The near end of a tunnel to several servers that share the work, the big one most of it.
--     kt run balance.lua
-- server.lua, with the same key, runs on each server; the big one takes three connections for one of each small one. A server
-- that does not answer gets nothing until it does again. Other policies, by name: "round_robin" and "weighted" take turns,
-- "lowest_rtt" measures, and "hash" keeps each client at its server.
local kt = require "kt"

local key = kt.secret_file "psk.key"

local function server(remote, weight)
  return { link = kt.link { remote = remote, key = key, mode = "fast2" }, name = remote, weight = weight }
end

local pool = kt.pool {
  links  = { server("big.example:29900", 3), server("small1.example:29900", 1), server("small2.example:29900", 1) },
  policy = "least_loaded",
}

-- Servers that come and go, without a change here: let DNS name them, by SRV records that are looked up again at their TTL.
--     discover = { name = "_kt._udp.example.net", link = { key = key, mode = "fast2" } },

kt.spawn(function()
  while true do
    kt.sleep "1m"
    for _, l in ipairs(pool:links()) do
      kt.log.info("%s: %s, %d streams, %.0f ms", l.name, l.up and "up" or "down: " .. tostring(l.error), l.streams, l.srtt * 1000)
    end
  end
end)

kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = pool:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)
