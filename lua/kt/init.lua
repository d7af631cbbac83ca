--- kt: the module that `require "kt"` returns to scripts. Checks the arguments of constructors against kt.api and calls kt.core;
--- functions called per connection are kt.core's own.
local core = require "kt.core"
local api = require "kt.api"
local misuse = require "kt.misuse"
local schema = require "kt.schema"
local units = require "kt.units"

--- What a type returns for a value that it refuses, by "what is wrong; what to do", or only the first.
local function refusal(sentence)
  local wrong, advice = sentence:match "^(.-); (.+)$"
  return nil, wrong or sentence, advice
end

function schema.types.endpoint(d, value)
  if type(value) ~= "string" then return nil, schema.unfit(d.expected, value) end
  local ok, wrong = core.endpoint(value, d.allow)
  if ok then return value end
  return refusal(wrong)
end

--- A URL for kt.http.request.
function schema.types.url(_, value)
  local wrong = require("kt.http.client").objection(core, value)
  if wrong then return refusal(wrong) end
  return value
end

--- An IP address.
function schema.types.ip(_, value)
  local text = type(value) == "string" and (value:find ":" and "[%s]:1" or value:find "^[%d.]+$" and "%s:1")
  if text and core.endpoint(text:format(value), "h") then return value end
  return nil, schema.unfit("an IP address", value)
end

--- An IP address, or the name of an interface, as Linux takes it.
function schema.types.interface(d, value)
  if type(value) ~= "string" or value:find "[:%d][.:]" then return schema.types.ip(d, value) end
  if #value > 0 and #value < 16 and not value:find "[/:%s%c]" and not value:find "^%.%.?$" then return value end
  return nil, schema.unfit(d.expected, value)
end

--- One endpoint, or a list of them.
function schema.types.endpoints(d, value)
  if type(value) ~= "table" then return schema.types.endpoint(d, value) end
  local out = {}
  for i = 1, rawlen(value) do
    local one, wrong, suggestion = rawget(value, i), nil, nil
    if not schema.unknown(one) then one, wrong, suggestion = schema.types.endpoint(d, one) end
    if wrong then return nil, wrong, suggestion end
    out[i] = one
  end
  if #out == 0 or #out > d.most then return nil, ("expected 1 to %d addresses, got %d"):format(d.most, #out) end
  return out
end

function schema.types.secret(d, value)
  if type(value) == "string" or core.is_secret(value) then return value end
  return nil, ("expected %s, got a %s"):format(d.expected, schema.kind(value) or type(value)) -- without the value: it may be secret
end

--- A conn or a stream.
function schema.types.pipe(_, value)
  local kind = schema.kind(value)
  if kind == "conn" or kind == "stream" then return value end
  return nil, schema.unfit("a conn or a stream", value)
end

--- The client of kt.connect: a conn or a stream, or an address, which may come from a peer.
function schema.types.client(_, value)
  if type(value) == "string" then return value end
  local kind = schema.kind(value)
  if kind == "conn" or kind == "stream" then return value end
  return nil, schema.unfit("a conn, a stream, or an address", value)
end

--- An IP address or a network, such as "10.0.0.0/8".
function schema.types.prefix(_, value)
  if type(value) ~= "string" then return nil, schema.unfit("an IP address or a network", value) end
  local ok, wrong = core.prefix(value)
  if ok then return value end
  return nil, wrong
end

--- A link or a pool.
function schema.types.opener(_, value)
  local kind = schema.kind(value)
  if kind == "link" or kind == "pool" then return value end
  return nil, schema.unfit("a link or a pool", value)
end

--- { name = "key", … }, copied.
function schema.types.keys(d, value)
  if d.fn and type(value) == "function" then return value end
  if type(value) ~= "table" then return nil, schema.unfit("a table of public keys by name" .. (d.fn and ", or a function" or ""), value) end
  local out = {}
  for name, key in next, value do
    if type(name) ~= "string" or type(key) ~= "string" then
      return nil, schema.unfit('name = "key" in each row', type(name) == "string" and key or name)
    end
    out[name] = key
  end
  return out
end

function schema.kind(value) return core.kind_of(value) end

--- The routes of kt.http.serve, read.
function schema.types.routes(_, value)
  local out, wrong = require("kt.http.routes").read(value)
  return out, wrong
end

--- Fields of a message, unchanged; checked when they are written.
function schema.types.headers(d, value)
  if type(value) == "table" and not schema.kind(value) then return value end
  return nil, schema.unfit(d.expected, value)
end

function schema.types.name_server(_, value)
  if type(value) ~= "string" then return nil, schema.unfit("a name server's IP address", value) end
  local ok, wrong = core.name_server(value)
  if ok then return value end
  return nil, wrong
end

core.install(api.explain, units.duration, units.rate, units.size)

--- Checks the argument of a constructor and fills in defaults; raises all mistakes at once, at the script's line.
local function checked(name, value)
  local f = api.functions[name]
  -- Checked first: in a task the argument does not matter.
  if f.context == "declare" then core.need_declare(name) end
  local out, mistakes = schema.check(f.path, f.argument, value)
  if not out then schema.refuse(core.where(), name, mistakes) end
  return out
end

--- Checks the argument of link:set and returns it. mode: the link's current one; "" for an accepted link.
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
  return c
end)

local kcp_modes = require "kt.api.kcp_modes"

local kt = {
  version = core.version,
  connect = core.connect,
  resolve = core.resolve,
  address = core.address,
  cidr = core.cidr,
  ipmask = core.ipmask,
  splice = core.splice,
  sleep = core.sleep,
  spawn = core.spawn,
  first = core.first,
  event = core.event,
  after = core.after,
  every = core.every,
  keep = core.keep,
  now = core.now,
  wall = core.wall,
  log = core.log,
  secret = core.secret,
  secret_file = core.secret_file,
  json = core.json,
  crypto = core.crypto,
  file = core.file,
  append = core.append,
}

-- No tail calls: the script's line is found by walking up the stack.

function kt.link(config)
  local handle, err = core.link(checked("kt.link", config))
  return handle, err
end

function kt.accept(config)
  local handle, err = core.accept(checked("kt.accept", config))
  return handle, err
end

function kt.listen(config)
  local c = checked("kt.listen", config)
  local make = c.udp and core.listen_udp or core.listen
  local handle, err = make(c)
  return handle, err
end

function kt.udp(config)
  local handle, err = core.udp(checked("kt.udp", config))
  return handle, err
end

function kt.err(config)
  local c = checked("kt.err", config)
  return (core.err(c.code, c.message))
end

function kt.kcp(config)
  core.need_task "kt.kcp"
  local c = checked("kt.kcp", config)
  local mode = kcp_modes[c.mode] or {}
  for _, key in ipairs { "nodelay", "interval", "resend", "nc" } do
    if mode[key] ~= nil then c[key] = mode[key] end
  end
  local handle, err = core.kcp(c)
  return handle, err
end

function kt.limit(config)
  local c = checked("kt.limit", config)
  local handle = core.limit(c.rate, c.burst)
  return handle
end

for _, unit in ipairs { "duration", "size", "rate" } do
  kt[unit] = function(text)
    if type(text) ~= "string" and type(text) ~= "number" then
      misuse("kt.%s: expected a string or a number, got %s", unit, schema.show(text))
    end
    local number, expected = units[unit](text)
    if number then return number end
    return nil, core.err("invalid", schema.unfit(expected, text))
  end
end

function kt.queue(config)
  return (core.queue(checked("kt.queue", config == nil and {} or config).size))
end

function kt.date(options)
  local zone = checked("kt.date", options == nil and {} or options).zone
  return core.calendar(zone == "utc")
end

--- Loaded on first use, like kt.pool.
function kt.args(spec)
  core.need_declare "kt.args"
  local out = require("kt.args").read(spec, core.args())
  return out
end

--- Also loaded on first use.
function kt.limit_count(config)
  local c = checked("kt.limit_count", config)
  return (require("kt.limit_count").new(c))
end

--- Also loaded on first use.
function kt.cache(config)
  local c = checked("kt.cache", config)
  return (require("kt.cache").new(c))
end

--- Also loaded on first use.
function kt.watch(path, fn)
  local handle, err = require("kt.watch").new(path, fn)
  return handle, err
end

kt.http = {}

local function need_text(what, text)
  if type(text) ~= "string" then misuse("%s: expected a string, got %s", what, schema.show(text)) end
end

for _, name in ipairs { "escape", "query" } do
  kt.http[name] = function(text)
    need_text("kt.http." .. name, text)
    return (require("kt.http.message")[name](text))
  end
end

function kt.http.unescape(text)
  need_text("kt.http.unescape", text)
  local out = require("kt.http.message").unescape(text)
  if out then return out end
  return nil, core.err("invalid", 'a "%" without two hexadecimal digits after it')
end

function kt.http.build_query(fields)
  local out, wrong = require("kt.http.message").build_query(fields)
  if out then return out end
  misuse("kt.http.build_query: %s", wrong)
end

--- Also loaded on first use.
function kt.http.serve(config)
  local out = checked("kt.http.serve", config)
  local handle, err = require("kt.http.server").new(out)
  return handle, err
end

--- The same; kt.http.serve with routes of its own.
function kt.http.status(config)
  local status, serve = require("kt.http.status").new(checked("kt.http.status", config))
  local handle, err = require("kt.http.server").new(checked("kt.http.serve", serve), function() status:stop() end)
  if handle then status:start() end
  return handle, err
end

--- Makes a conn to the server of a request: by itself, or as a stream of a link or pool.
local function http_conn(c, at, timeout)
  if not c.via then return core.connect { to = c.to or at, timeout = timeout } end
  local conn, err = c.via:open { to = c.to ~= false and (c.to or at) or nil, timeout = timeout }
  return conn, err
end

function kt.http.request(config)
  core.need_task "kt.http.request"
  local c = checked("kt.http.request", config)
  local client = require "kt.http.client"
  local deadline = core.now() + c.timeout
  local at, head = client.prepare(core, c)
  local idle_at = at and c.keepalive and not c.via and (c.to or at)
  local out, err, came

  --- On a conn that is kept for the next request if both ends allow.
  local function exchange(conn, failed)
    local _ <close> = conn
    out, err, came = nil, failed, nil
    if conn then out, err, came = client.exchange(core, conn, c, head, deadline) end
    if out and err and idle_at then core.idle_put(conn, idle_at, c.keepalive) end
  end

  local used = idle_at and core.idle_take(idle_at)
  if used then exchange(used) end
  if at and not out and (not used or client.may_repeat(c, err, came)) then
    exchange(http_conn(c, at, math.max(deadline - core.now(), 0.001)))
  end
  if out then return out end
  err = err or head
  return nil, core.err(err.code, ("kt.http.request: %s: %s"):format(client.shown(core, c.url), err.text))
end

--- Loaded on first use, because most scripts have no pool.
local pools

function kt.pool(config)
  local out = checked("kt.pool", config)
  pools = pools or require "kt.pool.report"
  local handle = require("kt.pool").pool(out)
  return handle
end

function core.pools() return pools and pools.all() or {} end

function kt.inspect(options)
  local out = core.inspect(checked("kt.inspect", options == nil and {} or options).max, true)
  out.pools = core.pools()
  return out
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

--- kt.env.NAME: an environment variable that may be read, or nil if it is not set.
kt.env = core.opaque {
  __index = function(_, name)
    if type(name) ~= "string" then return nil end
    local allowed, value = core.env(name)
    if allowed then return value end
    misuse("kt.env.%s: not allowed; start kt with --env %s", name, name)
  end,
  __newindex = function(_, name) schema.not_set(core.where(), "kt.env", tostring(name)) end,
  __metatable = false, __name = "kt.env",
}

-- The tables themselves, for `kt check`, which wraps their functions.
core.api = { ["kt"] = kt, ["kt.crypto"] = kt.crypto, ["kt.http"] = kt.http, ["kt.json"] = kt.json, ["kt.log"] = kt.log }
for _, name in ipairs { "crypto", "http", "json", "log" } do kt[name] = strict("kt." .. name, kt[name]) end
return strict("kt", kt)
