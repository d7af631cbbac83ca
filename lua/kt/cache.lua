--- kt.cache: values by key that expire, and whose number is bounded.
---
--- Invariant: the entries are listed in the order in which they were set last, which is also the order in which they expire. So those to
--- drop are at the front of the list, and no call looks at more than a few.
local core = require "kt.core"
local list = require "kt.list"
local misuse = require "kt.misuse"
local schema = require "kt.schema"

local cache = {}

local DROP = 2 -- expired entries that a call drops at most: more than it adds, so that they do not pile up

local entries = {}
entries.__index = entries

--- The entries of a cache, without a handle: at most `size` entries, each for `ttl` seconds (nil: without a limit).
function cache.entries(size, ttl)
  return setmetatable({ size = size, ttl = ttl or math.huge, count = 0, by_key = {} }, entries)
end

local function drop(self, entry)
  list.remove(self, entry)
  self.by_key[entry.key] = nil
  self.count = self.count - 1
end

--- The value, or nil.
function entries:get(key, now)
  local entry = self.by_key[key]
  if not entry then return nil end
  if entry.till > now then return entry.value end
  drop(self, entry)
end

function entries:set(key, value, now)
  local entry = self.by_key[key]
  if entry then
    list.remove(self, entry)
  else
    for _ = 1, DROP do
      local oldest = self.first
      if oldest and (oldest.till <= now or self.count >= self.size) then drop(self, oldest) end
    end
    entry = { key = key }
    self.by_key[key], self.count = entry, self.count + 1
  end
  entry.value, entry.till = value, now + self.ttl
  list.add(self, entry)
end

function entries:delete(key)
  local entry = self.by_key[key]
  if entry then drop(self, entry) end
end

--- Raises for what cannot be a key.
function cache.check_key(what, key)
  if key == nil or key ~= key then misuse("%s: expected a key, got %s", what, schema.show(key)) end
end

-- ---- the handle ----

local make, inside
local methods = {}

function methods.get(handle, key)
  local self = inside(handle, "get")
  cache.check_key("cache:get", key)
  return self:get(key, core.now())
end

function methods.set(handle, key, value)
  local self = inside(handle, "set")
  cache.check_key("cache:set", key)
  if value == nil then misuse("cache:set: expected a value, got nil; use cache:delete") end
  self:set(key, value, core.now())
end

function methods.delete(handle, key)
  local self = inside(handle, "delete")
  cache.check_key("cache:delete", key)
  self:delete(key)
end

make, inside = core.kind("cache", { { "get", methods.get }, { "set", methods.set }, { "delete", methods.delete } }, false)

--- config: kt.cache's argument, checked.
function cache.new(config) return make(cache.entries(config.size, config.ttl)) end

return cache
