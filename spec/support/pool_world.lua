-- A fake kt for lua/kt/pool: a clock that jumps, tasks, and links that behave as the spec says.
--
--   local w = world.new()
--   local near = w.link("near", { rtt = 0.04 })
--   local pool = w.pool { links = { near, far }, policy = "first" }
--   w.run(5)                             -- five seconds
--   local stream, err = w.open(pool, { timeout = 3 })
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local kt_pool = require "kt.pool.pool"
local schema = require "kt.schema"
local api = require "kt.api"

local world = {}

function world.new()
  local w = { now = 0, tasks = {}, log = {}, names = {}, made = {} }
  local current

  local function add(fn, ...)
    local args = table.pack(...)
    local task = { co = coroutine.create(function() fn(table.unpack(args, 1, args.n)) end), at = w.now }
    w.tasks[#w.tasks + 1] = task
    return task
  end

  local function find(co)
    for _, t in ipairs(w.tasks) do
      if t.co == co then return t end
    end
  end

  local env = { happened = function() end }
  function env.log_about(level, _, _, text) w.log[#w.log + 1] = level .. " " .. text end
  function env.now() return w.now end
  function env.random() return w.luck or 0.5 end
  function env.self() return current.co end
  function env.park(seconds)
    current.at = w.now + seconds
    coroutine.yield()
  end
  function env.unpark(co)
    local t = find(co)
    if t and t ~= current then t.at = w.now end
  end
  function env.alive(co) return coroutine.status(co) ~= "dead" end
  function env.spawn(fn, ...) add(fn, ...) end
  function env.name_link(stream, name) stream.name = name end
  function env.handler() return "s.lua:1" end
  function env.handle(_, _, fn, ...) add(fn, ...) end
  function env.pure(_, fn, ...)
    local co = coroutine.create(fn)
    local ok, result = coroutine.resume(co, ...)
    if ok and coroutine.status(co) ~= "dead" then return false, "attempt to yield across a C-call boundary" end
    return ok, result
  end
  function env.err(code, text)
    return setmetatable({ code = code }, { __tostring = function() return text end,
      __concat = function(a, b) return tostring(a) .. tostring(b) end })
  end
  function env.resolve(options)
    w.asked = options
    w.lookups = (w.lookups or 0) + 1
    if not w.names[options.name] then return nil, env.err("name", "no such name") end
    return w.names[options.name]
  end
  function env.link(settings)
    if w.refuse_links then error(w.refuse_links, 0) end
    local link = w.link(settings.remote)
    link.settings = settings
    w.made[settings.remote] = link
    return link
  end
  w.env = env

  --- Lets time pass. If a task fails, so does the spec.
  function w.run(seconds)
    local till = w.now + seconds
    while true do
      local first, at = nil, math.huge
      for i, t in ipairs(w.tasks) do
        if t.at < at then first, at = i, t.at end
      end
      if not first or at > till then break end
      w.now = math.max(w.now, at)
      local t = w.tasks[first]
      t.at = math.huge
      local before = current
      current = t
      local ok, wrong = coroutine.resume(t.co)
      current = before
      if coroutine.status(t.co) == "dead" then
        for i, other in ipairs(w.tasks) do
          if other == t then table.remove(w.tasks, i) end
        end
      end
      if not ok and not t.expendable then error(debug.traceback(t.co, wrong), 0) end
    end
    w.now = till
  end

  --- A link. as: rtt (0.05), dead (does not answer), refuses (open fails at once with this code), stats (fields of stats)
  function w.link(remote, as)
    local l = { remote = remote, kind = "link", opened = 0, closed = false, streams = 0 }
    for key, value in next, as or {} do l[key] = value end
    l.rtt = l.rtt or 0.05
    local function answer(timeout)
      if l.closed then return nil, env.err("closed", "the link was closed") end
      if l.refuses then return nil, env.err(l.refuses, "refused by " .. remote) end
      if l.dead then
        env.park(timeout)
        return nil, env.err("timeout", ("no answer within %g s"):format(timeout))
      end
      env.park(l.rtt)
      return true
    end
    function l:open(o)
      self.asked = { timeout = o.timeout, client = o.client, priority = o.priority, weight = o.weight }
      local ok, err = answer(o.timeout)
      if not ok then return nil, err end
      self.opened, self.streams, self.heard_at = self.opened + 1, self.streams + 1, w.now
      return { link = self }
    end
    function l:probe(o)
      self.probes = (self.probes or 0) + 1
      self.probed_at = w.now
      local ok, err = answer(o.timeout)
      if not ok then return nil, err end
      self.heard_at = w.now
      return self.rtt
    end
    function l:stats()
      self.stats_calls = (self.stats_calls or 0) + 1
      local out = { streams = self.streams, srtt = 0, rttvar = 0.01, since_heard = self.heard_at and w.now - self.heard_at or nil }
      for key, value in next, self.figures or {} do out[key] = value end
      return out
    end
    function l:close() self.closed = true end
    return l
  end

  --- A pool, from the table that a script would write, checked as kt checks it.
  function w.pool(config)
    local f = api.functions["kt.pool"]
    local out, mistakes = schema.check(f.path, f.argument, config)
    if not out then error(schema.text("kt.pool", mistakes), 0) end
    return kt_pool.new(env, out, "s.lua:1: kt.pool: ")
  end

  --- Runs fn as a task until it ends, while time passes; returns its results.
  function w.task(fn, seconds)
    local result
    add(function() result = table.pack(fn()) end)
    local till = w.now + (seconds or 60)
    while not result and w.now < till do
      local next_at = till
      for _, t in ipairs(w.tasks) do next_at = math.min(next_at, t.at) end
      w.run(math.max(0, next_at - w.now))
    end
    assert(result, "the task has not come to an end")
    return table.unpack(result, 1, result.n)
  end

  --- A task that may die.
  function w.expendable(fn) add(fn).expendable = true end

  function w.open(pool, o)
    o = o or {}
    o.timeout = o.timeout or 10
    local ask = { timeout = o.timeout, client = o.client, priority = o.priority, weight = o.weight }
    return w.task(function() return pool:open(ask, o.key) end)
  end

  --- The name of the link that a stream opened now gets.
  function w.where(pool, o)
    local stream, err = w.open(pool, o)
    assert(stream, tostring(err))
    return stream.link.remote
  end

  --- How many log lines match.
  function w.logged(pattern)
    local n = 0
    for _, line in ipairs(w.log) do
      if line:find(pattern) then n = n + 1 end
    end
    return n
  end

  return w
end

-- The parts of kt.schema that kt/init.lua adds in kt.
function schema.kind(value) return type(value) == "table" and rawget(value, "kind") or nil end
schema.types.endpoint = schema.types.endpoint or function(_, value) return value end
schema.types.name_server = schema.types.name_server or function(_, value) return value end
schema.types.secret = schema.types.secret or function(_, value) return value end

return world
