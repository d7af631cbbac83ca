--- The built-in servers of host:serve, usually the targets of tunnels. Each conn is served by a task.
local app = require "kt.sim.app"
local flow = require "kt.sim.flow"
local core = require "kt.sim.core"

local serve = {}

local FOREVER = app.FOREVER

--- Sends back what it reads, and tells the world which host echoed each text of app:echo.
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
    tail = tail:sub(math.max(seen + 1, #tail - 24)) -- keep a mark that is incomplete so far
    if not conn:write(data, FOREVER) then break end
  end
  conn:shutdown()
end

--- The answer of an echo server of datagrams.
function serve.same(data) return data end

--- Reads everything. A transfer of the world identifies itself in its first bytes and is checked.
function serve.sink(conn)
  local at = 0
  local tag = conn:read_exactly(8, FOREVER)
  local found = tag and flow.of(conn.world, tag)
  if found then
    if found.kind ~= "up" then
      return found:ends(('host %s has a server of kind "sink"; expected kind "%s"'):format(conn.host.name, found.wants))
    end
    found:arrives(conn.host.name)
  end
  while tag do
    local data, err = conn:read(FOREVER)
    if not data then
      if found then found:ends(err) end
      break
    end
    if found then found:takes(at, data) end
    at = at + #data
  end
end

--- Sends opts.bytes bytes that the world can check, at opts.rate at most, and finishes.
function serve.source(conn, opts)
  local world, at, from = conn.world, 0, conn.world:now()
  local piece = opts.rate and math.max(1, math.min(65536, opts.rate // 50)) or 65536 -- fifty pieces per second
  while at < opts.bytes do
    local n = math.min(opts.bytes - at, piece)
    if not conn:write(core.bytes(0, at, n), FOREVER) then return end
    at = at + n
    if opts.rate then world:sleep(math.max(0, from + at / opts.rate - world:now())) end
  end
  conn:shutdown()
  conn:read_all(FOREVER)
end

return serve
