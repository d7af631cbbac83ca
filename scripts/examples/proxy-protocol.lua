-- PROXY protocol v2: the target sees the real client's address instead of the tunnel's.
--     kt run proxy-protocol.lua     -- far
--     kt run client.lua             -- near
-- The near end says which client each stream is for (client = conn.peer), and the far end tells the target, in a header before the
-- client's bytes. The target must expect it: `listen 8388 proxy_protocol` in nginx, `accept-proxy` in haproxy. If the near end itself is
-- behind a load balancer, let it read the same header: kt.listen { on = ..., proxy = true, proxy_from = { "10.0.0.0/8" } }.
local kt = require "kt"

kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
  local conn, err = kt.connect { to = "127.0.0.1:8388", timeout = "5s", proxy = "v2", client = stream }
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)
