--- A hostile peer for sweep_world.lua's worlds: it has the key, speaks the wire, and takes what it can get. It requests much data on many
--- streams and reads none of it, opens and closes streams without end, writes garbage to the target, and sends garbage datagrams.
local settings = require "sweep_settings"

local hostile = {}

--- Memory for sessions at a far host that has to bear one: enough for every flow of a world, less than one stream of its may want.
hostile.BUFFERED = 4 << 20

local SCRIPT = [[
local kt = require "kt"
local link = kt.link %s

local function open() return link:open { timeout = "5s" } end

for _ = 1, 40 do
  kt.spawn(function()
    local stream = open()
    if stream then
      stream:write "unread  "
      kt.sleep "1h"
      stream:close()
    end
  end)
end

kt.spawn(function()
  while true do
    for _ = 1, 20 do
      local stream = open()
      if stream then stream:close() end
    end
    local stream = open()
    if stream then
      stream:write(("\255\0"):rep(3000))
      stream:reset()
    end
    kt.sleep "500ms"
  end
end)

kt.spawn(function()
  local socket = kt.udp { to = %q }
  for n = 1, math.huge do
    socket:send(("\1\2\3\255"):rep(n %% 300 + 1))
    kt.sleep "100ms"
  end
end)
]]

--- Starts one at each far host that has to bear it, and lets it settle. Returns a function that ends them.
function hostile.start(w, d, net)
  local hosts = {}
  for _, far in ipairs(net.fars) do
    if far.besieged then
      local host = w:host("hostile-" .. far.name)
      w:link(host.name, far.name, { delay = "10ms" })
      local own = settings.own(d, far.both, far.datagram)
      own.remote, own.rate = far.name .. ".example:29900", nil
      host:file("hostile.lua", SCRIPT:format(settings.literal(own), own.remote))
      host:run "hostile.lua"
      hosts[#hosts + 1] = host
    end
  end
  if #hosts > 0 then w:run_for "10s" end
  return function()
    for _, host in ipairs(hosts) do host:crash() end
  end
end

return hostile
