-- kt client: carries each local connection in a stream to a kcptun or kt server. Returns what common.main takes as `declare`.

local common = require "kt.cli.common"
local core = require "kt.core"
local kt = require "kt"
local settings = require "kt.cli.settings"

-- The value of --acceptproxy: nil for any sender, or a list of networks.
local function senders(text)
  if text == "any" then return nil end
  local list = {}
  for part in text:gmatch "[^,]+" do list[#list + 1] = part:match "^%s*(.-)%s*$" end
  return list
end

-- Several servers, as only kt sip003 has them: new connections go to the first that is up. Returns the pool, its links, and a function that opens a
-- flow, which a pool cannot.
local function several(remotes, config)
  local links = {}
  for i, remote in ipairs(remotes) do
    config.remote = remote
    links[i] = kt.link(config)
  end
  local pool = kt.pool { name = "servers", links = links }
  return pool, links, function(options)
    local best
    for _, facts in ipairs(pool:links()) do
      if facts.up and facts.proven then best = best or facts.link end
    end
    return (best or links[1]):flow(options)
  end
end

return function(values, origins)
  local config = settings.link("client", values, origins)
  if values.privatekey ~= "" then config.private_key, config.server_key = kt.secret_file(values.privatekey), values.serverkey end
  local to = values.to ~= "" and values.to or nil
  if to and values.wire == "kcptun" then error("--to: kcptun's wire cannot carry a target; use --wire kt", 0) end
  local link, handles, open_flow
  if values.remotes then
    link, handles, open_flow = several(values.remotes, config)
  else
    config.remote = values.remoteaddr
    link = kt.link(config)
    handles, open_flow = { link }, function(options) return link:flow(options) end
  end

  local proxy = values.acceptproxy ~= ""
  kt.listen { on = values.localaddr, proxy = proxy, proxy_from = proxy and senders(values.acceptproxy) or nil }:serve(function(conn)
    local stream, err = link:open { timeout = 30, client = conn.peer, to = to }
    if not stream then
      kt.log.warn("%s: %s", conn.peer, tostring(err))
      return conn:reset(err)
    end
    common.join(conn, stream, conn, conn.peer, values)
  end)

  for _, udp in ipairs(values.udp) do
    kt.listen { udp = udp.at, idle = values.udpidle }:serve(function(flow)
      local out, err = open_flow { client = flow.peer, to = udp.to }
      if not out then return kt.log.warn("%s (UDP): %s", flow.peer, tostring(err)) end
      common.relay(flow, out, flow.peer .. " (UDP)", values)
    end)
  end

  kt.spawn(function() -- reports a bad name now, not with the first connection
    for _, remote in ipairs(values.remotes or { values.remoteaddr }) do
      local found, err = core.lookup(remote, 30)
      if not found then kt.log.warn("--remoteaddr: %s; connections will wait until the name resolves", tostring(err)) end
    end
  end)
  return handles, config
end
