--- HTTP requests of a spec from simulated hosts, by kt.http's own client on an app.
local app = require "kt.sim.app"
local client = require "kt.http.client"
local complain = require "kt.sim.complain"
local core = require "kt.sim.core"

local http = {}

--- An app as a conn of a script.
local function as_conn(conn)
  return {
    read = function(_, most, opts) return conn:read(most, opts) end,
    read_until = function(_, delimiter, _, opts) return conn:read_until(delimiter, opts) end,
    write = function(_, data, opts) return conn:write(data, opts) end,
  }
end

--- opts: checked. Returns the response | nil, err.
function http.request(host, opts)
  local env = {
    now = function() return host.world:now() end, where = complain.where, err = complain.err, version = core.version, park = function() end,
    http_url = core.http_url, http_head = core.http_head, http_feed = core.http_feed, http_field = core.http_field,
  }
  local deadline = env.now() + opts.timeout
  local at, head = client.prepare(env, opts)
  if not at then return nil, head end
  local conn <close>, failed = app.connect(host, opts.to or at, { timeout = opts.timeout })
  if not conn then return nil, failed end
  return client.exchange(env, as_conn(conn), opts, head, deadline)
end

return http
