-- kt server: takes streams of kcptun and kt clients to one target. Returns what common.main takes as `declare`.

local allow = require "kt.cli.allow"
local common = require "kt.cli.common"
local core = require "kt.core"
local kt = require "kt"
local reflector = require "kt.cli.reflector"
local settings = require "kt.cli.settings"

return function(values, from)
  local ok, fault = core.endpoint(values.target, "uh")
  if not ok then error("--target: " .. fault, 0) end
  if values.udp ~= "" then
    ok, fault = core.endpoint(values.udp, "h")
    if not ok then error("--udp: " .. fault, 0) end
  end
  local config = settings.link("server", values, from)
  if values.privatekey ~= "" then config.private_key, config.authorized = kt.secret_file(values.privatekey), values.clients end
  local allowed, reach = allow.rule(values.allow), {}
  for name, patterns in pairs(values.reach or {}) do reach[name] = allow.rule(table.unpack(patterns)) end
  local proxy = values.proxy ~= "none" and values.proxy or nil

  -- Whether what the peer opened may go to the target that it names, if it names one.
  local function may_reach(opened)
    local may, why = true, nil
    local rule = opened.identity and reach[opened.identity] or allowed
    if opened.target then may, why = rule(opened.target) end
    if not may then kt.log.warn("%s: target %s: not allowed: %s", opened.peer, opened.target, why) end
    return may
  end

  local function nothing() return false end
  local measured, reflected = nothing, nothing
  if not values.nodiagnose and values.wire ~= "kcptun" then measured, reflected = reflector.new() end

  local function serve(stream)
    if measured(stream) then return end
    if stream.target == reflector.TARGET then
      kt.log.info("%s: measurement refused (--nodiagnose)", stream.peer)
      return stream:reset "denied"
    end
    local target = stream.target or values.target
    if not may_reach(stream) then return stream:reset "denied" end
    local conn, err = kt.connect { to = target, timeout = 5, proxy = proxy, client = proxy and stream }
    if not conn then
      kt.log.warn("%s: target %s: %s%s", stream.peer, target, tostring(err),
        err.code == "refused" and "; nothing listens there, is it running?" or "")
      return stream:reset(err)
    end
    common.join(stream, conn, conn, stream.peer .. " to " .. target, values)
  end
  local function carry(flow)
    if reflected(flow) then return end
    local target = flow.target or values.udp
    if not may_reach(flow) then return end
    if target == "" then return kt.log.warn("%s: dropped its datagrams, no target; set --udp", flow.peer) end
    local out, err = kt.connect { udp = target, timeout = 5 }
    if not out then return kt.log.warn("%s: UDP target %s: %s", flow.peer, target, tostring(err)) end
    common.relay(flow, out, ("%s to %s (UDP)"):format(flow.peer, target), values)
  end

  local handles = {}
  for i, on in ipairs(values.listens or { values.listen }) do -- only kt sip003 has several
    config.on = on
    handles[i] = kt.accept(config)
    handles[i]:serve(serve)
    if values.udp ~= "" or values.allow ~= "" or next(reach) or reflected ~= nothing then handles[i]:on("flow", carry) end
  end
  return handles, config
end
