-- The near end of a tunnel to several servers that share the load by weight.
--     kt run balance.lua
-- Run server.lua, with the same key, on each server. The big one gets three times as many connections as each small one. A server
-- that does not answer gets none until it answers again. Other built-in policies: "round_robin" and "weighted" take turns,
-- "lowest_rtt" picks the fastest link, and "hash" keeps each client on its server (sticky.lua).
local kt = require "kt"

local key = kt.secret_file "psk.key"

local function server(remote, weight)
  return { link = kt.link { remote = remote, key = key }, name = remote, weight = weight }
end

local pool = kt.pool {
  links  = { server("big.example:29900", 3), server("small1.example:29900", 1), server("small2.example:29900", 1) },
  policy = "least_loaded",
}

-- To add and remove servers without changing this script, list them in DNS as SRV records, which are looked up again at their TTL:
--     discover = { name = "_kt._udp.example.net", link = { key = key } },

kt.every("1m", function()
  for _, l in ipairs(pool:links()) do
    kt.log.info("%s: %s, %d streams, %.0f ms", l.name, l.up and "up" or "down: " .. tostring(l.error), l.streams, l.srtt * 1000)
  end
end)

kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = pool:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)
