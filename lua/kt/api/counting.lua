--- Describes limits by count, and caches, for kt.api.

return function(with)
  local def, handle, method = with.def, with.handle, with.method

  def {
    name = "kt.limit_count", context = "any", returns = "limitcount", path = "kt.limit_count",
    signature = 'kt.limit_count { count = 5, per = "1m" } → limitcount',
    doc = "Makes a limit on how often something may happen, for each key separately, such as a client's address: a token bucket of `count` "
      .. "tokens, refilled at `count` per `per`. A reload resets it. For bandwidth use kt.limit.",
    argument = { type = "table", keys = {
      { name = "count", type = "integer", min = 1, max = 1000000, required = true, expected = "an integer", doc = "Maximum number of events per `per`." },
      { name = "per", type = "duration", min = 0.001, max = 30 * 86400, required = true, expected = 'a duration such as "1m"', typical = 60,
        doc = "The period." },
      { name = "keys", type = "integer", min = 1, max = 1 << 20, default = 10000,
        doc = "Maximum number of keys, each kept for `per` after its last use. The least recently used one is forgotten first; each takes about "
          .. "350 bytes." },
    } },
    example = [[
local attempts = kt.limit_count { count = 5, per = "1m" }
kt.listen { on = ":8443" }:serve(function(conn)
  local ok, wait = attempts:take(kt.ipmask(conn.peer))
  if not ok then return conn:reset(("again in %.0f s"):format(wait)) end
  local stream = far:open { client = conn.peer }
  if stream then kt.splice(conn, stream) end
end)]],
  }

  handle { name = "limitcount", doc = "A limit on how often something may happen; made by kt.limit_count. All tasks share it." }
  method("limitcount", {
    name = "take", context = "any", returns = "boolean, number | nil", signature = "take(key) → true | false, seconds",
    doc = "Counts an event for the key and returns true; over the limit, counts nothing and returns false and the seconds to wait.",
    params = { { name = "key", type = "any", doc = "The key, such as an address or a user's name." } },
  })

  def {
    name = "kt.cache", context = "any", returns = "cache", path = "kt.cache", signature = 'kt.cache { size = 1000, ttl = "1m" } → cache',
    doc = "Makes a table with a limited number of entries, which expire. When it is full, the entry that was set longest ago is dropped. Expired entries "
      .. "are dropped as others are set. A reload resets it.",
    argument = { type = "table", keys = {
      { name = "size", type = "integer", min = 1, max = 1 << 20, required = true, expected = "an integer", doc = "Maximum number of entries." },
      { name = "ttl", type = "duration", min = 0.001, max = 30 * 86400, typical = 60, doc = "How long an entry lasts after it was set. Default: no limit." },
    } },
    example = [[
local users = kt.cache { size = 10000, ttl = "1m" }
local function may_connect(name)
  if users:get(name) == nil then users:set(name, ask_directory(name)) end
  return users:get(name)
end]],
  }

  handle { name = "cache", doc = "A table with a limited number of entries, which expire; made by kt.cache. All tasks share it." }
  local key = { name = "key", type = "any", doc = "The key; not nil." }
  method("cache", { name = "get", context = "any", returns = "any", signature = "get(key) → value", doc = "Returns the value, or nil.", params = { key } })
  method("cache", {
    name = "set", context = "any", signature = "set(key, value)", doc = "Sets a key's value, which expires after `ttl`.",
    params = { key, { name = "value", type = "any", doc = "The value; not nil." } },
  })
  method("cache", { name = "delete", context = "any", signature = "delete(key)", doc = "Drops the entry, if there is one.", params = { key } })
end
