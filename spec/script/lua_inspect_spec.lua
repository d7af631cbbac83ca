-- kt.inspect: what a script does now, in virtual time.
local sim = require "kt.sim"

describe("kt.inspect", function()
  it("has tasks with state, line and age, conns, links, pools, listeners and memory", function()
    local w = sim.world { seed = 1, files = { ["psk.key"] = "our secret" } }
    local far, near = w:host "far", w:host "near"
    w:link("near", "far", { delay = "10ms" })
    w:name("far.example", "far")
    far:serve { on = "127.0.0.1:8388", kind = "echo" }
    far:run "scripts/examples/server.lua"
    near:file("s.lua", [[
local kt = require "kt"
local far = kt.link { remote = "far.example:29900", key = kt.secret_file "psk.key" }
local pool = kt.pool { links = { far }, name = "all" }
kt.listen { on = "127.0.0.1:80" }:serve(function(conn)
  kt.splice(conn, far:open { timeout = "5s" })
end)
kt.spawn(function()
  kt.sleep "1h"
end)
local function said(t, keys)
  local out = {}
  for i, key in ipairs(keys) do out[i] = tostring(t[key]) end
  print(table.concat(out, " "))
end
kt.after("1s", function()
  local now = kt.inspect()
  said(now, { "task_count", "conn_count" })
  for _, t in ipairs(now.tasks) do t.age = t.age // 0.01 / 100 said(t, { "state", "waits_in", "line", "spawned", "age" }) end
  for _, c in ipairs(now.conns) do said(c, { "kind", "peer", "spliced", "owner", "bytes_in", "bytes_out" }) end
  for _, l in ipairs(now.links) do said(l, { "what", "name", "open", "line" }) print(l.stats.streams) end
  for _, l in ipairs(now.listeners) do said(l, { "what", "name", "open", "line", "stats" }) end
  for _, p in ipairs(now.pools) do said(p, { "name", "up" }) said(p.links[1], { "name", "up", "streams" }) end
  print(now.memory > 1e5, now.memory_peak >= now.memory)
  now = kt.inspect { max = 1 }
  print(#now.tasks, now.task_count, #now.conns, now.conn_count)
end)]])
    local script = near:run "s.lua"
    local client = near:connect "127.0.0.1:80"
    client:write "hello"
    w:run "2s"
    assert.equal(([[
4 2
waiting link:probe nil s.lua:3 1.0
waiting kt.sleep s.lua:8 s.lua:7 1.0
waiting kt.splice s.lua:5 s.lua:4 1.0
running nil s.lua:16 s.lua:15 0.0
conn %s stream far.example:29900 nil 5 5
stream far.example:29900 conn %s nil 5 5
kt.link far.example:29900 true s.lua:2
1
kt.listen 127.0.0.1:80 true s.lua:4 nil
all 1
far.example:29900 true 1
true\ttrue
1\t4\t1\t2
]]):gsub("\\t", "\t"):gsub("%%s", client.local_addr or script:output():match "conn (%S+) stream"), script:output())
  end)

  it("costs little with many conns, and forgets those that have ended", function()
    local w = sim.world { seed = 1 }
    local host = w:host "a"
    host:file("s.lua", [[
local kt = require "kt"
kt.listen { on = "127.0.0.1:80" }:serve(function(conn) conn:read(1, { timeout = "1h" }) end)
kt.spawn(function()
  local conns = {}
  for i = 1, 500 do conns[i] = kt.connect { to = "127.0.0.1:80" } end
  local now = kt.inspect { max = 10 }
  print(#now.conns, now.conn_count, now.conns[1].owner)
  for i = 2, 500 do conns[i]:close() end
  kt.sleep(1)
  now = kt.inspect()
  print(#now.conns, now.conn_count, #now.tasks)
end)]])
    local script = host:run "s.lua"
    w:run "5s"
    assert.equal("10\t1000\ts.lua:2\n2\t2\t2\n", script:output())
  end)
end)
