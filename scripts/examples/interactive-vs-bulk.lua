-- Interactive before bulk: bytes of ports 22 and 3389 overtake those of all others.
--     kt run interactive-vs-bulk.lua far 20Mbit     -- far
--     kt run interactive-vs-bulk.lua near 4Mbit     -- near, with the same script
-- A priority says what this end sends first, so each end sets it: the far end's is the one that counts for downloads. The
-- near end begins each stream with the port that it is for, and both know from that what comes first.
-- Only what still waits here can be overtaken. So say a tenth less than the line takes from this end; otherwise bulk fills
-- the queue in front of the line, and all wait there.
local kt = require "kt"

local first = { [22] = true, [3389] = true }
local ports = { -- port of the target → where the near end listens
  [22]   = "127.0.0.1:10022",
  [3389] = "127.0.0.1:13389",
  [443]  = "127.0.0.1:10443",
}
local target = "127.0.0.1" -- as the far end sees it
local key = kt.secret_file "psk.key"
local side, rate = ...

local function priority(port) return first[port] and 0 or 5 end -- 0 is first, 7 last, 3 what is not told

local ends = {}

function ends.near()
  local far = kt.link { remote = "vps.example:29900", key = key, mode = "fast2", rate = rate or 0 }
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
    if not ports[port or 0] then return stream:reset(err or "a port that is not in the table") end
    stream:set { priority = priority(port) }
    local conn
    conn, err = kt.connect { to = target .. ":" .. port, timeout = "5s" }
    if not conn then return stream:reset(err) end
    kt.splice(stream, conn)
  end)
end

local run = ends[side or "near"] or error("usage: kt run interactive-vs-bulk.lua [near | far [RATE]]", 0)
run()
