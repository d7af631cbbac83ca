-- kt.limit_count and kt.cache, in virtual time.
local run = require("lone_host").task

describe("kt.limit_count", function()
  it("allows `count` takes of a key at once, then one by one, and says how long to wait", function()
    assert.equal([[
true true true false 20.0
false 0.5
true false 20.0
true true true false 20.0
true true
]], run [[
local limit = kt.limit_count { count = 3, per = "1m" }
local function take(n, key)
  local out = {}
  for i = 1, n do
    local ok, wait = limit:take(key or "a")
    out[i] = tostring(ok) .. (wait and (" %.1f"):format(wait) or "")
  end
  print(table.concat(out, " "))
end
take(4)
kt.sleep "19.5s"
take(1)
kt.sleep "501ms"
take(2)
kt.sleep "30m"
take(4, "b")
kt.sleep "1m"
take(2, "b")]])
  end)

  it("keeps to its rate over time, whatever the rounding", function()
    assert.equal("0\n", run [[
local limit, n, from = kt.limit_count { count = 7, per = "100ms" }, 0, kt.now()
while kt.now() - from < 10 do
  if limit:take "a" then n = n + 1 end
  kt.sleep "1ms"
end
print(n - 7 - math.floor((kt.now() - from - 0.001) * 70))]])
  end)

  it("remembers `keys` keys, and forgets the one that has not asked for longest", function()
    assert.equal("true false true false false true\n", run [[
local limit = kt.limit_count { count = 1, per = "10m", keys = 2 }
local out = {}
for i, key in ipairs { "a", "a", "b", "a", "b", "c" } do out[i] = tostring(limit:take(key)) end
print(table.concat(out, " "))]])
  end)

  it("takes memory only for the keys that it remembers", function()
    local used = tonumber((run [[
local limit = kt.limit_count { count = 1, per = "10s", keys = 1000 }
limit:take "first"
collectgarbage()
local before = collectgarbage "count"
for i = 1, 100000 do
  limit:take("client " .. i)
  if i % 100 == 0 then kt.sleep "1ms" end
end
collectgarbage()
collectgarbage()
print(collectgarbage "count" - before)]]))
    assert.is_true(used < 1000, used) -- KiB; 35,000 without the bound
  end)
end)

describe("kt.cache", function()
  it("holds a value for `ttl`, and at most `size` values, dropping the oldest", function()
    assert.equal([[
1 2 nil
nil 3 4
nil 5 4
nil nil nil
1
]], run [[
local cache = kt.cache { size = 2, ttl = "10s" }
local function show() print(("%s %s %s"):format(cache:get "a", cache:get "b", cache:get "c")) end
cache:set("a", 1)
cache:set("b", 2)
show()
cache:set("b", 3)
kt.sleep "6s"
cache:set("c", 4)
show()
cache:set("b", 5)
kt.sleep "9s"
show()
cache:delete "c"
kt.sleep "1s"
show()
local endless = kt.cache { size = 1 }
endless:set("a", 1)
kt.sleep "30m"
print(endless:get "a")]])
  end)

  it("takes any value but nil, and refuses keys that no table has", function()
    assert.equal([[
false
s.lua:7: cache:set: expected a value, got nil; use cache:delete
s.lua:8: cache:get: expected a key, got nil
s.lua:9: cache:set: expected a key, got NaN
s.lua:10: limitcount:take: expected a key, got nil
s.lua:11: kt.cache.size: missing; expected an integer
s.lua:12: kt.limit_count.keys: expected 1 to 1048576, got 0
]], run [[
local cache, limit = kt.cache { size = 1 }, kt.limit_count { count = 2, per = 1 }
cache:set("a", false)
print(cache:get "a")
local function raised(fn) print((select(2, pcall(fn)))) end
raised(function() cache:set("a", nil) end)
raised(function() cache:get(nil) end)
raised(function() cache:set(0 / 0, 1) end)
raised(function() limit:take(nil) end)
raised(function() kt.cache {} end)
raised(function() kt.limit_count { count = 1, per = 1, keys = 0 } end)]])
  end)
end)
