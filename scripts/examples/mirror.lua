-- Traffic mirroring at the far end: a second server gets a copy of what clients send.
--     kt run mirror.lua 10      -- far: a copy of 10% of the connections
--     kt run client.lua         -- near
-- The copy is for a new version of a service, an intrusion detector or a log. Answers of the second server are dropped. If it is slow,
-- hangs or is down, clients do not notice: a copy that falls 256 KiB behind ends, and the log says what it lacks.
local kt = require "kt"

local TARGET, COPY = "127.0.0.1:8388", "127.0.0.1:9388"
local args = kt.args { { name = "percent", type = "number", default = 100, help = "share of the connections to copy" } }

kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
  local copying = math.random() * 100 < args[1] and kt.spawn(kt.connect, { to = COPY, timeout = "200ms" })
  local conn, err = kt.connect { to = TARGET, timeout = "5s" }
  if not conn then return stream:reset(err) end
  local copy = copying and copying:wait() or nil
  local sum = kt.splice(stream, conn, { mirror = copy })
  if sum and (sum.mirror_dropped or 0) > 0 then
    kt.log.info("%s: the copy lacks %d of %d bytes", stream.client or stream.peer, sum.mirror_dropped, sum.a_to_b)
  end
end)
