-- The far end of a tunnel: accepts links and connects each stream to the target.
--     kt run server.lua
local kt = require "kt"

kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:8388", timeout = "5s" }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)
