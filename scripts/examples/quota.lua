-- A quota for each client: so many bytes a day from one address, then it is refused until midnight.
--     kt run quota.lua [BYTES]     -- near, where the clients are
--     kt run server.lua            -- far
-- What a connection has moved counts when it ends, after an hour at the latest (`total`). Until then one that began within the
-- quota may move as much as the link carries; a shorter total, or a `rate`, bounds that.
-- At the far end the same goes for `stream.peer`, the address of the link.
local kt = require "kt"

local QUOTA = tonumber((...)) or 2 * 1024 ^ 3 -- bytes a day, both directions together
local CLIENTS = 10000 -- addresses that are told apart; any more share one quota, so that nobody can fill the memory

local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key", mode = "fast2" }

local today, used, clients

--- Adds bytes to what a client has used today, and returns that.
local function count(client, bytes)
  local now = kt.date()
  local date = ("%d-%d-%d"):format(now.year, now.month, now.day)
  if date ~= today then today, used, clients = date, {}, 0 end
  if not used[client] then
    if clients >= CLIENTS then client = "the others" else clients = clients + 1 end
  end
  used[client] = (used[client] or 0) + bytes
  return used[client]
end

kt.listen { on = ":12948" }:serve(function(conn)
  local client = conn.peer:gsub(":%d+$", "") -- without the port
  if count(client, 0) >= QUOTA then return conn:reset(client .. " has used its quota") end
  local stream, err = far:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  local sum = kt.splice(conn, stream, { idle = "10m", total = "1h" })
  if sum then kt.log.info("%s has used %d bytes today", client, count(client, sum.a_to_b + sum.b_to_a)) end
end)
