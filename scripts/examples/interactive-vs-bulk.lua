-- Interactive before bulk: traffic of ports 22 and 3389 goes before all other traffic.
--     kt run interactive-vs-bulk.lua far 20Mbit     -- far
--     kt run interactive-vs-bulk.lua near 4Mbit     -- near, with the same script
-- A priority is the order in which one end sends, so each end sets its own: the far end's decides about downloads. The near end
-- begins each stream with the target's port, so that both ends know its priority.
-- Only data that is still queued in kt can be reordered. So give a rate 10% below the bandwidth from this end; otherwise bulk
-- traffic fills the queue in front of the line and everything waits there.
local kt = require "kt"

local first = { [22] = true, [3389] = true }
local ports = { -- target port → address the near end listens on
  [22]   = "127.0.0.1:10022",
  [3389] = "127.0.0.1:13389",
  [443]  = "127.0.0.1:10443",
}
local target = "127.0.0.1" -- as seen from the far end
local key = kt.secret_file "psk.key"
local side, rate = ...

local function priority(port) return first[port] and 0 or 5 end -- 0 is first, 7 last; the default is 3

local ends = {}

function ends.near()
  local far = kt.link { remote = "vps.example:29900", key = key, rate = rate or 0 }
  for port, on in pairs(ports) do
    kt.listen { on = on }:serve(function(conn)
      local stream, err = far:open { timeout = "5s", client = conn.peer, priority = priority(port) }
      if not stream then return conn:reset(err) end
      stream:write(port .. "\n")
      kt.splice(conn, stream, { idle = "10m" })
    end)
  end
end

function ends.far()
  kt.accept { on = ":29900", key = key, rate = rate or 0 }:serve(function(stream)
    local line, err = stream:read_until("\n", 8, { timeout = "10s" })
    local port = line and math.tointeger(tonumber(line))
    if not ports[port or 0] then return stream:reset(err or "unknown port") end
    stream:set { priority = priority(port) }
    local conn
    conn, err = kt.connect { to = target .. ":" .. port, timeout = "5s" }
    if not conn then return stream:reset(err) end
    kt.splice(stream, conn)
  end)
end

local run = ends[side or "near"] or error("usage: kt run interactive-vs-bulk.lua [near | far [RATE]]", 0)
run()
