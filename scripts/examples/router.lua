-- A router that carries all TCP and UDP of its network through the tunnel.
--     kt run router.lua             -- far: connects where the router's clients want to go
--     kt run router.lua near        -- near: the router, as root, or with CAP_NET_ADMIN
-- The machines behind it need no settings. Needs kt's own wire, and on the router these rules (nft -f FILE; lan0 is its inner
-- interface):
--     table inet kt {
--       chain divert {
--         type filter hook prerouting priority mangle
--         iifname != "lan0" return
--         fib daddr type { local, broadcast, multicast } return
--         meta nfproto ipv4 meta l4proto { tcp, udp } tproxy ip to 127.0.0.1:12948 meta mark set 1
--         meta nfproto ipv6 meta l4proto { tcp, udp } tproxy ip6 to [::1]:12948 meta mark set 1
--       }
--     }
-- and these routes, which bring what is marked to kt:
--     ip rule add fwmark 1 lookup 100; ip route add local default dev lo table 100
--     ip -6 rule add fwmark 1 lookup 100; ip -6 route add local default dev lo table 100
local kt = require "kt"

local key = kt.secret_file "psk.key"

local ends = {}

function ends.near()
  local link = kt.link { remote = "vps.example:29900", wire = "kt", key = key }
  for _, address in ipairs { "127.0.0.1:12948", "[::1]:12948" } do
    kt.listen { on = address, transparent = "tproxy" }:serve(function(conn)
      if not conn.original then return conn:reset "not diverted" end
      local stream, err = link:open { to = conn.original, client = conn.peer, timeout = "5s" }
      if not stream then return conn:reset(err) end
      kt.splice(conn, stream)
    end)
    kt.listen { udp = address, transparent = "tproxy" }:serve(function(flow)
      local out = flow.original and link:flow { to = flow.original, client = flow.peer }
      if out then kt.splice(flow, out) end
    end)
  end
end

function ends.far()
  local own = assert(kt.cidr { "0.0.0.0/8", "127.0.0.0/8", "::/127" }) -- this machine itself
  local function inner(target) return not target or own:contains(target) end
  local links = kt.accept { on = ":29900", wire = "kt", key = key }
  links:serve(function(stream)
    if inner(stream.target) then return stream:reset "denied" end
    local conn, err = kt.connect { to = stream.target, timeout = "5s" }
    if not conn then return stream:reset(err) end
    kt.splice(stream, conn)
  end)
  links:on("flow", function(flow)
    local out = not inner(flow.target) and kt.connect { udp = flow.target }
    if out then kt.splice(flow, out) end
  end)
end

local run = ends[... or "far"] or error("usage: kt run router.lua [far | near]", 0)
run()
