-- The near end that bench-script compares with the same thing in C: scripts/examples/client.lua with addresses as arguments.
local kt = require "kt"

local on, remote = ...
local far = kt.link { remote = remote, key = kt.secret "bench", wire = "kcptun", crypt = "none", compress = false, fec = false }

kt.listen { on = on }:serve(function(conn)
  local stream, err = far:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)
