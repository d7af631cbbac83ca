-- Sticky balancing: each client keeps its server, and a server can be drained before maintenance.
--     kt run sticky.lua      -- near
--     kt run server.lua      -- far, on each of the servers
-- A client's server follows from its address, so it is the same after a restart, and at each of several near ends. When a server fails,
-- only its clients move, and they return with it.
-- To drain servers, write their names into drain.txt beside this script (`echo a >drain.txt`). Open connections stay, new ones go
-- elsewhere, and the log says how many are left. Remove the names to bring the servers back.
local kt = require "kt"

local key = kt.secret_file "psk.key"

local function server(name)
  return { link = kt.link { remote = name .. ".example:29900", key = key }, name = name }
end

local pool = kt.pool { links = { server "a", server "b", server "c" }, policy = "hash" }

local function drain(text) -- nil if there is no such file
  local named = {}
  for name in (text or ""):gmatch "%S+" do named[name] = true end
  for _, l in ipairs(pool:links()) do pool:set(l.name, { drain = named[l.name] or false }) end
end
drain(kt.file "drain.txt")
kt.watch("drain.txt", drain)

kt.every("10s", function()
  for _, l in ipairs(pool:links()) do
    if l.draining then kt.log.info("%s drains: %d streams left", l.name, l.streams) end
  end
end)

kt.listen { on = ":12948" }:serve(function(conn)
  local stream, err = pool:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)
