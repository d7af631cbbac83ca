--- Servers of a spec's own, on simulated hosts: what a tunnel leads to. Each conn is a task.
local app = require "kt.sim.app"
local core = require "kt.sim.core"

local serve = {}

local FOREVER = app.FOREVER

--- Sends back what comes. Who looks into the world knows which host did it: see app:echo.
function serve.echo(conn)
  local world, tail = conn.world, ""
  while true do
    local data = conn:read(FOREVER)
    if not data then break end
    tail = tail .. data
    local seen = 0
    for id, after in tail:gmatch "%zecho%-(%d+)\n()" do
      world:echo_came(tonumber(id), conn.host.name)
      seen = after - 1
    end
    tail = tail:sub(math.max(seen + 1, #tail - 24)) -- a mark that has not come whole
    if not conn:write(data, FOREVER) then break end
  end
  conn:shutdown()
end

--- Takes what comes. A transfer of the world's says in its first bytes which it is, and is checked.
function serve.sink(conn)
  local world, flow, at = conn.world, nil, 0
  local tag = conn:read_exactly(8, FOREVER)
  if tag and tag:sub(1, 4) == "kt:t" then
    flow = world.transfers[(string.unpack("<I4", tag, 5))]
    if flow then flow:arrives(conn.host.name) end
  end
  while tag do
    local data, err = conn:read(FOREVER)
    if not data then
      if flow then flow:ends(err) end
      break
    end
    if flow then flow:takes(at, data) end
    at = at + #data
  end
end

--- Sends so many bytes, which the world knows, and finishes.
function serve.source(conn, opts)
  local at = 0
  while at < opts.bytes do
    local n = math.min(opts.bytes - at, 65536)
    if not conn:write(core.bytes(0, at, n), FOREVER) then return end
    at = at + n
  end
  conn:shutdown()
  conn:read_all(FOREVER)
end

return serve
