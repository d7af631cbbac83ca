--- The state of a script, as plain data that JSON can hold: the one source of kt status, /status.json, /metrics and the status page.
local core = require "kt.core"

local snapshot = {}

--- Text for JSON: control characters and bytes that are not UTF-8 become "?".
function snapshot.printable(text)
  if not utf8.len(text) then text = text:gsub("[\x80-\xff]", "?") end
  return (text:gsub("\0", "?"))
end

--- A copy that JSON can hold: numbers that are not finite are left out, handles become text.
local function plain(value)
  if type(value) == "number" then return value == value and value > -math.huge and value < math.huge and value or nil end
  if type(value) == "boolean" then return value end
  if type(value) ~= "table" then return snapshot.printable(tostring(value)) end
  local out = {}
  for key, item in next, value do out[type(key) == "string" and snapshot.printable(key) or key] = plain(item) end
  return out
end

local PAGE = 100 -- rows of conns made in one go, so that many of them do not hold up the tunnel
local SERVICES = 16 -- likewise, of links and listeners

--- A list of add(row) for at most max conns and streams.
local function conns(max, add)
  local rows, after = {}, 0
  repeat
    local page = core.pipes(math.min(PAGE, max - #rows), after)
    for _, row in ipairs(page) do
      after = row.id
      rows[#rows + 1] = add(row)
    end
    if #page == PAGE then core.park(0) end
  until #page < PAGE or #rows >= max
  return rows
end

--- Lists of add(row) for links and for listeners, and how many links were left out. peers: the most links of peers in it.
local function services(peers, add)
  local links, listeners, omitted, accepted, after = {}, {}, 0, 0, 0
  repeat
    local page
    page, after = core.services(SERVICES, after, peers > 0)
    for _, row in ipairs(page) do
      -- No line of the script made the server of --http, and no function that it knows.
      if row.line and row.line:find("[kt.http.server]", 1, true) then row.what, row.line = "--http", "--http" end
      if row.accepted then accepted = accepted + 1 end
      if row.accepted and accepted > peers then omitted = omitted + 1
      elseif row.what == "kt.link" then links[#links + 1] = add(row)
      else listeners[#listeners + 1] = add(row) end
    end
    if after then core.park(0) end
  until not after
  return links, listeners, omitted
end

--- Fixed-size fields, and pools.
local function rest()
  local now, pools = core.inspect(0, false), core.pools()
  for i, pool in ipairs(pools) do
    pool.links = core.json.array(pool.links)
    pools[i] = plain(pool)
  end
  return {
    memory = now.memory, memory_peak = now.memory_peak,
    tasks = now.task_count - 1, -- without this one
    conn_count = now.conn_count, pools = core.json.array(pools),
  }
end

--- The result of kt.inspect without tasks, conns and the links of peers. It may let other tasks run.
function snapshot.take()
  local links, listeners = services(0, plain)
  local now = rest()
  now.conns, now.links, now.listeners = core.json.array {}, core.json.array(links), core.json.array(listeners)
  return now
end

--- The same as JSON, with at most max rows of conns, and as many of links of peers; links_omitted says how many of those are missing.
function snapshot.json(max)
  local function text(row) return core.json.encode(plain(row)) end
  local rows = conns(max, text)
  local links, listeners, omitted = services(max, text)
  local now = rest()
  if omitted > 0 then now.links_omitted = omitted end
  return ('%s,"conns":[%s],"links":[%s],"listeners":[%s]}'):format(core.json.encode(now):sub(1, -2), table.concat(rows, ","),
    table.concat(links, ","), table.concat(listeners, ","))
end

return snapshot
