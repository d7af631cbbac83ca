-- kt client: carries each local connection in a stream to a kcptun or kt server.

local common = require "kt.cli.common"
local core = require "kt.core"
local kt = require "kt"
local settings = require "kt.cli.settings"

-- The value of --acceptproxy: nil if not in use, false for any sender, or a list of networks.
local function senders(text)
  if text == "" or text == "any" then return text == "any" and false or nil end
  local list = {}
  for part in text:gmatch "[^,]+" do list[#list + 1] = part:match "^%s*(.-)%s*$" end
  return list
end

common.main("client", {...}, function(values, origins)
  local config = settings.link("client", values, origins)
  config.remote = values.remoteaddr
  if values.privatekey ~= "" then config.private_key, config.server_key = kt.secret_file(values.privatekey), values.serverkey end
  local to = values.to ~= "" and values.to or nil
  if to and values.wire == "kcptun" then error("--to: kcptun's wire cannot carry a target; use --wire kt", 0) end
  local link = kt.link(config)

  local from = senders(values.acceptproxy)
  kt.listen { on = values.localaddr, proxy = from ~= nil, proxy_from = from or nil }:serve(function(conn)
    local stream, err = link:open { timeout = 30, client = conn.peer, to = to }
    if not stream then
      kt.log.warn("%s: %s", conn.peer, tostring(err))
      return conn:reset(err)
    end
    common.join(conn, stream, conn, conn.peer, values)
  end)

  for _, udp in ipairs(values.udp) do
    kt.listen { udp = udp.at, idle = values.udpidle }:serve(function(flow)
      local out, err = link:flow { client = flow.peer, to = udp.to }
      if not out then return kt.log.warn("%s (UDP): %s", flow.peer, tostring(err)) end
      common.relay(flow, out, flow.peer .. " (UDP)", values)
    end)
  end

  kt.spawn(function() -- reports a bad name now, not with the first connection
    local found, err = core.lookup(values.remoteaddr, 30)
    if not found then kt.log.warn("--remoteaddr: %s; connections will wait until the name resolves", tostring(err)) end
  end)
  return link, config
end)
