-- The near end of a tunnel: accepts local connections and carries each one through the link.
--     kt run client.lua
local kt = require "kt"

local far = kt.link {
  remote = "vps.example:29900",
  key    = kt.secret_file "psk.key",
}

kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = far:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)
