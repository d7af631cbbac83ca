-- Several targets through one tunnel: each local port leads to its own target.
--     kt run route-by-port.lua far     -- far
--     kt run route-by-port.lua         -- near, with the same script
-- The near end begins each stream with a line that names the route. One UDP port, one key and one session carry all routes,
-- where kcptun needs two more processes per target. The far end connects only to targets in its own table. The line needs no
-- answer, so a route costs no round trip.
local kt = require "kt"

local routes = {
  -- name     near: address to listen on   far: target
  ssh = { on = "127.0.0.1:2222", to = "127.0.0.1:22" },
  web = { on = "127.0.0.1:8080", to = "intranet.example:80" },
  sql = { on = "127.0.0.1:5432", to = "unix:/run/postgresql/.s.PGSQL.5432" },
}
local key = kt.secret_file "psk.key"

local ends = {}

function ends.near()
  local far = kt.link { remote = "vps.example:29900", key = key }
  for name, route in pairs(routes) do
    kt.listen { on = route.on }:serve(function(conn)
      local stream, err = far:open { timeout = "5s", client = conn.peer }
      if not stream then return conn:reset(err) end
      stream:write(name .. "\n")
      kt.splice(conn, stream, { idle = "10m" })
    end)
  end
end

function ends.far()
  kt.accept { on = ":29900", key = key }:serve(function(stream)
    local line, err = stream:read_until("\n", 64, { timeout = "10s" })
    if not line then return stream:reset(err) end
    local name = line:sub(1, -2)
    local route = routes[name]
    if not route then return stream:reset(("unknown route %q"):format(name)) end
    local conn
    conn, err = kt.connect { to = route.to, timeout = "5s" }
    if not conn then return stream:reset(err) end
    kt.splice(stream, conn)
  end)
end

local run = ends[... or "near"] or error("usage: kt run route-by-port.lua [near | far]", 0)
run()
