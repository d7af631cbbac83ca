-- A daily quota for each client address; a client over its quota is refused until midnight.
--     kt run quota.lua [BYTES]     -- near, where the clients are
--     kt run server.lua            -- far
-- A connection's bytes are counted when it ends, which is after an hour at the latest (`total`). Until then a connection that began
-- below the quota can exceed it; a shorter `total`, or a `rate`, limits that. A reload (kt reload) keeps the counts, but the bytes of
-- connections that it finds open are not added to them.
-- To do this at the far end, use `stream.peer`, the address of the link.
local kt = require "kt"

local QUOTA = tonumber((...)) or 2 * 1024 ^ 3 -- bytes per day, both directions together
local CLIENTS = 10000 -- addresses with a quota of their own; all others share one, to limit memory

local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key" }

local today = kt.keep("today", { date = "", used = {}, clients = 0 })

--- Adds bytes to a client's usage of today, and returns the sum.
local function count(client, bytes)
  local now = kt.date()
  local date = ("%d-%d-%d"):format(now.year, now.month, now.day)
  if date ~= today.date then today.date, today.used, today.clients = date, {}, 0 end
  local used = today.used
  if not used[client] then
    if today.clients >= CLIENTS then client = "the others" else today.clients = today.clients + 1 end
  end
  used[client] = (used[client] or 0) + bytes
  return used[client]
end

kt.listen { on = ":12948" }:serve(function(conn)
  local client = kt.address(conn.peer) -- without the port
  if count(client, 0) >= QUOTA then return conn:reset(client .. " has used its quota") end
  local stream, err = far:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  local sum = kt.splice(conn, stream, { idle = "10m", total = "1h" })
  if sum then kt.log.info("%s has used %d bytes today", client, count(client, sum.a_to_b + sum.b_to_a)) end
end)
