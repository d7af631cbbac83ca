-- kt server: takes streams of kcptun and kt clients to one target.

local common = require "kt.cli.common"
local core = require "kt.core"
local kt = require "kt"
local settings = require "kt.cli.settings"

common.main("server", {...}, function(values, from)
  local ok, fault = core.endpoint(values.target, "uh")
  if not ok then error("--target: " .. fault, 0) end
  local config = settings.link("server", values, from)
  config.on = values.listen
  local acceptor = kt.accept(config)
  acceptor:serve(function(stream)
    local conn, err = kt.connect { to = values.target, timeout = 5 }
    if not conn then
      kt.log.warn("%s: target %s: %s%s", stream.peer, values.target, tostring(err),
        err.code == "refused" and "; nothing listens there, is it running?" or "")
      return stream:reset(err)
    end
    common.join(stream, conn, conn, stream.peer .. " to " .. values.target, values)
  end)
  return acceptor, config
end)
