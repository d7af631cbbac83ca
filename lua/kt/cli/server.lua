-- kt server: takes streams of kcptun and kt clients to one target.

local allow = require "kt.cli.allow"
local common = require "kt.cli.common"
local core = require "kt.core"
local kt = require "kt"
local settings = require "kt.cli.settings"

common.main("server", {...}, function(values, from)
  local ok, fault = core.endpoint(values.target, "uh")
  if not ok then error("--target: " .. fault, 0) end
  local config = settings.link("server", values, from)
  config.on = values.listen
  if values.privatekey ~= "" then config.private_key, config.authorized = kt.secret_file(values.privatekey), values.clients end
  local allowed = allow.rule(values.allow)
  local acceptor = kt.accept(config)
  acceptor:serve(function(stream)
    local target = stream.target or values.target
    if stream.target then
      local may, why = allowed(target)
      if not may then
        kt.log.warn("%s: target %s: not allowed: %s", stream.peer, target, why)
        return stream:reset "denied"
      end
    end
    local conn, err = kt.connect { to = target, timeout = 5 }
    if not conn then
      kt.log.warn("%s: target %s: %s%s", stream.peer, target, tostring(err),
        err.code == "refused" and "; nothing listens there, is it running?" or "")
      return stream:reset(err)
    end
    common.join(stream, conn, conn, stream.peer .. " to " .. target, values)
  end)
  return acceptor, config
end)
