-- Races two links: each connection opens on both, and keeps the one that answers first.
--     kt run race.lua        -- near: a machine with two providers, or two servers
--     kt run server.lua      -- far
-- It costs one more stream opening, and spares applications the seconds until checks notice that a link is dark. The target of the link
-- that lost sees a connection that ends at once.
local kt = require "kt"

local key = kt.secret_file "psk.key"

local function link(remote, name) return { link = kt.link { remote = remote, key = key, stay = true }, name = name } end

local pool = kt.pool { links = { link("fibre.example:29900", "fibre"), link("lte.example:29900", "lte") } }

local won = { fibre = 0, lte = 0 }
kt.every("1h", function() kt.log.info("answered first: fibre %d times, lte %d times", won.fibre, won.lte) end)

kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = pool:race { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  won[stream.link] = won[stream.link] + 1
  kt.splice(conn, stream, { idle = "10m" })
end)
