--- kt: the module that `require "kt"` returns to scripts. Checks the arguments of constructors against kt.api and calls kt.core;
--- functions called per connection are kt.core's own.
local core = require "kt.core"
local api = require "kt.api"
local schema = require "kt.schema"
local units = require "kt.units"

function schema.types.endpoint(d, value)
  if type(value) ~= "string" then return nil, schema.unfit(d.expected, value) end
  local ok, wrong = core.endpoint(value, d.allow)
  if ok then return value end
  local message, suggestion = wrong:match "^(.-); (.+)$"
  return nil, message or wrong, suggestion
end

function schema.types.secret(d, value)
  if type(value) == "string" or core.is_secret(value) then return value end
  return nil, ("expected %s, got a %s"):format(d.expected, schema.kind(value) or type(value)) -- without the value: it may be secret
end

function schema.kind(value) return core.kind_of(value) end

function schema.types.name_server(_, value)
  if type(value) ~= "string" then return nil, schema.unfit("a name server's IP address", value) end
  local ok, wrong = core.name_server(value)
  if ok then return value end
  return nil, wrong
end

core.install(api.explain, units.duration, units.rate)

--- Checks the argument of a constructor and fills in defaults; raises all mistakes at once, at the script's line.
local function checked(name, value)
  local f = api.functions[name]
  -- Checked first: in a task the argument does not matter.
  if f.context == "declare" then core.need_declare(name) end
  local out, mistakes = schema.check(f.path, f.argument, value)
  if not out then schema.refuse(core.where(), name, mistakes) end
  return out
end

--- Flattens the table of kt.link or kt.accept for kt.core, with the field names of struct kt_kcptun_config.
local function flat(c)
  local fec = c.fec or { data = 0, parity = 0 }
  return {
    remote = c.remote, on = c.on, key = c.key, crypt = c.crypt, mode = c.mode,
    mtu = c.kcp.mtu, sndwnd = c.kcp.sndwnd, rcvwnd = c.kcp.rcvwnd, acknodelay = c.kcp.acknodelay,
    nodelay = c.kcp.nodelay, interval_ms = c.kcp.interval, resend = c.kcp.resend, nc = c.kcp.nc,
    datashard = fec.data, parityshard = fec.parity,
    compress = c.compress, qpp = c.qpp and true or false, qpp_count = c.qpp and c.qpp.pads or nil, tuncrypt = c.tuncrypt,
    smux_version = c.smux.version, smux_buffer = c.smux.buffer, stream_buffer = c.smux.stream_buffer,
    frame_size = c.smux.frame, keepalive = c.smux.keepalive, max_streams = c.max_streams, max_sessions = c.max_sessions,
    memory = c.memory,
    suspect_after = c.suspect_after, dead_after = c.dead_after, ratelimit = c.rate, dscp = c.dscp, sockbuf = c.sockbuf,
    conn = c.sessions, expire = c.expire, scavenge = c.scavenge, stay = c.stay,
  }
end

--- Checks the argument of link:set. Returns the changes, flat, and the resulting mode. mode: the current one; "" for an accepted link.
core.install_settings(function(value, mode)
  local f = api.functions["link:set"]
  local c, mistakes = schema.check(f.path, f.argument, value)
  mistakes = mistakes or {}
  if c and not c.mode and mode ~= "manual" and mode ~= "" then
    for _, key in ipairs(api.manual_keys) do
      if c.kcp and c.kcp[key] ~= nil then
        mistakes[#mistakes + 1] = {
          path = f.path .. ".kcp." .. key, message = ('mode = "%s" sets it'):format(mode),
          suggestion = 'give mode = "manual" to set it yourself',
        }
      end
    end
  end
  if #mistakes > 0 then schema.refuse(core.where(), "link:set", mistakes) end
  local k, fec = c.kcp or {}, c.fec == false and { data = 0, parity = 0 } or c.fec or {}
  return {
    mode = c.mode, sndwnd = k.sndwnd, rcvwnd = k.rcvwnd, acknodelay = k.acknodelay,
    nodelay = k.nodelay, interval_ms = k.interval, resend = k.resend, nc = k.nc,
    datashard = fec.data, parityshard = fec.parity,
    suspect_after = c.suspect_after, dead_after = c.dead_after, ratelimit = c.rate,
  }, c.mode or mode
end)

local kt = {
  version = core.version,
  connect = core.connect,
  resolve = core.resolve,
  splice = core.splice,
  sleep = core.sleep,
  spawn = core.spawn,
  now = core.now,
  wall = core.wall,
  log = core.log,
  secret = core.secret,
  secret_file = core.secret_file,
}

-- No tail calls: the script's line is found by walking up the stack.

function kt.link(config)
  local handle, err = core.link(flat(checked("kt.link", config)))
  return handle, err
end

function kt.accept(config)
  local handle, err = core.accept(flat(checked("kt.accept", config)))
  return handle, err
end

function kt.listen(config)
  local handle, err = core.listen(checked("kt.listen", config))
  return handle, err
end

function kt.udp(config)
  local handle, err = core.udp(checked("kt.udp", config))
  return handle, err
end

function kt.date(options)
  local zone = checked("kt.date", options == nil and {} or options).zone
  return core.calendar(zone == "utc")
end

--- Loaded on first use, because most scripts have no pool.
function kt.pool(config)
  local out = checked("kt.pool", config)
  local handle = require("kt.pool").pool(out)
  return handle
end

function kt.reload(config)
  local c = checked("kt.reload", config)
  core.when_replaced(c.old == "drain" and c.timeout)
end

--- A read-only view of a table for scripts. Reading an unknown name raises an error that suggests the closest one. Assigning raises too,
--- and so does rawset: a mistake would break a function for the script and all its modules.
local function strict(path, t)
  setmetatable(t, {
    __index = function(_, name)
      local names = {}
      for known in next, t do names[#names + 1] = known end
      table.sort(names)
      return schema.not_there(core.where(), path, tostring(name), names)
    end,
  })
  local function following(_, name) return next(t, name) end
  return core.opaque {
    __index = t,
    __newindex = function(_, name) schema.not_set(core.where(), path, tostring(name)) end,
    __pairs = function(self) return following, self end, -- not t itself
    __metatable = false, __name = path,
  }
end

-- The tables themselves, for `kt check`, which wraps their functions.
core.api = { ["kt"] = kt, ["kt.log"] = kt.log }
kt.log = strict("kt.log", kt.log)
return strict("kt", kt)
