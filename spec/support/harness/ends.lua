-- The two ends of a tunnel, run from scripts/examples with their addresses replaced, for the specs of the examples.
--
--   local far = ends.far(s, "server.lua", { { "127.0.0.1:8388", "127.0.0.1:" .. target.at } })
--   local near = ends.near(s, "client.lua", far, { { "127.0.0.1:12948", "127.0.0.1:" .. port } })
local sockets = require "harness.sockets"

local ends = {}

--- Starts an example that accepts links; `at` is its UDP port. args: the script's arguments.
function ends.far(s, name, changes, ...)
  s.key()
  local port = sockets.free_port "udp"
  local p = s.kt("run", s.example(name, { { '":29900"', ('"127.0.0.1:%d"'):format(port) }, table.unpack(changes or {}) }), ...)
  p:wait_udp(port)
  p.at = port
  return p
end

--- Starts an example that dials `far`, the result of `ends.far`.
function ends.near(s, name, far, changes, ...)
  return s.kt("run", s.example(name, { { "vps.example:29900", "127.0.0.1:" .. far.at }, table.unpack(changes or {}) }), ...)
end

return ends
