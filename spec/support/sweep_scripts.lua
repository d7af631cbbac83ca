--- The scripts that run on the hosts of sweep_world.lua's worlds, as texts.
---
--- A near host listens on 127.0.0.1:1001, 1002, … for the far hosts, and on 1000 for a pool of them. A far host listens on 2000 for the way
--- back, over the newest link. Each has a listener on 127.0.0.1:7000 that runs the text it receives (sweep_scripts.tell). In worlds with
--- datagrams, far hosts echo them from :5353, and near hosts raise if one comes back that they did not send.
local settings = require "sweep_settings"

local scripts = {}

local literal = settings.literal

local PRELUDE = [[
local kt = require "kt"
local known = { kt = kt, conns = {} }
local idle = { idle = "60s" }

-- Known while they are spliced, so that their limits can be changed during the splice.
local function join(conn, a, b)
  known.conns[conn] = true
  kt.splice(a, b, idle)
  known.conns[conn] = nil
end

local function carry(listener, from)
  listener:serve(function(conn)
    local stream, err = from():open { timeout = "5s", client = conn.peer }
    if not stream then return conn:reset(err) end
    join(conn, conn, stream)
  end)
end

local function lead(from)
  from:serve(function(stream)
    local conn, err = kt.connect { to = "127.0.0.1:9000", timeout = "5s" }
    if not conn then return stream:reset(err) end
    join(conn, stream, conn)
  end)
end

function known.limit(rate_in, rate_out)
  for conn in pairs(known.conns) do conn:set { rate_in = rate_in, rate_out = rate_out } end
end

function known.collect()
  collectgarbage()
  collectgarbage()
end

kt.listen { on = "127.0.0.1:7000" }:serve(function(conn)
  local text = conn:read_until("\0", 4096)
  if text then conn:write(tostring((load(text:sub(1, -2), "=told", "t", known)()))) end
end)
]]

local TALK = [[
known.heard = 0
local function datagram(n, most) return ("%d "):format(n) .. ("u"):rep(n * 97 % most) end
local function talk(to, most, exact)
  local sent = 0
  while true do
    local socket = kt.udp { to = to, timeout = "2s" }
    for _ = 1, socket and 20 or 0 do
      sent = sent + 1
      socket:send(datagram(sent, most))
      local data = socket:receive { timeout = "1s" }
      local n = data and tonumber(data:match "^re (%d+) ")
      if data and n and n <= sent and data == "re " .. datagram(n, most) then
        known.heard = known.heard + 1
      elseif data and exact then
        error(("received a datagram that was not sent: %q"):format(data:sub(1, 60)))
      end
      kt.sleep "300ms"
    end
    if socket then socket:close() end
    kt.sleep "500ms"
  end
end
]]

local ECHO = [[
local echo = kt.udp { on = ":5353" }
kt.spawn(function()
  while true do
    local data, from = echo:receive { timeout = "10s" }
    if data then
      echo:send("re " .. data, from)
    elseif from.code == "closed" then
      return
    elseif from.code ~= "timeout" then
      error(from)
    end
  end
end)
]]

--- Policies of pools: name → Lua; those in `steady` prefer one link.
scripts.policies = { "first", "round_robin", "least_loaded", "lowest_rtt", "weighted", "hash", "cost", "sorted", "chance", "clumsy" }
scripts.steady = { first = true, lowest_rtt = true, cost = true }

local POLICIES = {
  cost = [[function(up)
    local best, cost
    for i, l in ipairs(up) do
      local c = l.srtt * (1 + 20 * l.loss)
      if not cost or c < cost then best, cost = i, c end
    end
    return best
  end]],
  sorted = [[function(up)
    table.sort(up, function(a, b) return a.streams < b.streams end)
    return 1
  end]],
  chance = "function(up) return math.random(#up) end",
  clumsy = [[function(up, request)
    local n = math.random(6)
    if n == 1 then error("as clumsy as " .. tostring(request.client)) end
    if n == 2 then return #up + 1 end
    if n == 3 then return nil end
    up[2] = nil
    return n == 4 and "1" or 1
  end]],
}

local function pool_of(near)
  local s, links = near.pool, {}
  for i, tunnel in ipairs(near.tunnels) do
    links[i] = ("{ link = links[%d], weight = %d, name = %q }"):format(i, tunnel.weight, "to far" .. i)
  end
  local rest = literal(s.settings):sub(2, -2)
  return ([[
local pool = kt.pool { links = { %s }, policy = %s, %s }
for _, event in ipairs { "switch", "up", "down" } do
  pool:on(event, function(e) print(event, e.name or e.to, e.reason) end)
end
function known.leave(i) pool:remove(links[i]) end
function known.enter(i)
  for _, l in ipairs(pool:links()) do
    if l.name == "to far" .. i or l.name == "again" .. i then return end
  end
  pool:add { link = links[i], name = "again" .. i }
end
carry(kt.listen { on = '127.0.0.1:1000' }, function() return pool end)
]]):format(table.concat(links, ", "), POLICIES[s.policy] or ("%q"):format(s.policy), rest)
end

function scripts.near(near)
  local out = { PRELUDE, near.reload and "kt.reload " .. literal(near.reload) .. "\n" or "", "local links = {}\nknown.links = links\n" }
  for i, tunnel in ipairs(near.tunnels) do
    table.insert(out, ("links[%d] = kt.link %s\ncarry(kt.listen { on = '127.0.0.1:%d' }, function() return links[%d] end)\n"):format(
      i, literal(tunnel.near), 1000 + i, i))
    if tunnel.reverse then table.insert(out, ("lead(links[%d])\n"):format(i)) end
  end
  if near.pool then table.insert(out, pool_of(near)) end
  if near.talks then
    table.insert(out, TALK)
    for i, tunnel in ipairs(near.tunnels) do
      table.insert(out, ("kt.spawn(talk, 'far%d.example:5353', %d, %s)\n"):format(i, tunnel.datagram - 20, not tunnel.corrupt))
    end
  end
  return table.concat(out)
end

function scripts.far(far)
  local out = { PRELUDE, far.reload and "kt.reload " .. literal(far.reload) .. "\n" or "",
    ("local acceptor = kt.accept %s\nlead(acceptor)\n"):format(literal(far.settings)) }
  if far.reverse then
    table.insert(out, [[
local there = {} -- the links that are up, oldest first
local nobody = { open = function() return nil end }
acceptor:on("link", function(link)
  table.insert(there, link)
  link:on("down", function()
    for i, l in ipairs(there) do
      if l == link then return table.remove(there, i) end
    end
  end)
end)
carry(kt.listen { on = "127.0.0.1:2000" }, function() return there[#there] or nobody end)
]])
  end
  if far.talks then table.insert(out, ECHO) end
  return table.concat(out)
end

--- Scripts that fail to load: a reload must keep the running one.
scripts.broken = { "local kt = require 'kt'\nkt.link { remote = }", "error 'not today'", "local kt = require 'kt'\nkt.listen { onn = ':1' }",
  "local kt = require 'kt'\nfor _ = 1, 2 do kt.listen { on = '127.0.0.1:7001' }:serve(print) end" }

--- Runs a text in the script of a host; returns its result as a string, or nil if the script is not running.
function scripts.tell(h, text)
  local conn = h.host:is_up() and h.host:try_connect "127.0.0.1:7000"
  if not conn then return nil end
  conn:write(text .. "\0")
  local said = conn:read_all { timeout = "60s" }
  conn:close()
  return said
end

return scripts
