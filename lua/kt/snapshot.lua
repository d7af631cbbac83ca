--- What a script does now, as plain data that JSON can hold: the one source of kt status, /status.json, /metrics and the status page.
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

local function list(values)
  for i = 1, #values do values[i] = plain(values[i]) end
  return core.json.array(values)
end

local PAGE = 100 -- rows made in one go, so that many of them do not hold up the tunnel

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

--- What kt.inspect shows, without tasks. max: rows of conns. With rows, it may let other tasks run.
function snapshot.take(max)
  local now = require("kt").inspect { max = 0 }
  for _, listener in ipairs(now.listeners) do -- no line of the script made the server of --http
    if listener.line and listener.line:find("[kt.http.server]", 1, true) then listener.line = "--http" end
  end
  for _, pool in ipairs(now.pools) do pool.links = core.json.array(pool.links) end
  return {
    memory = now.memory, memory_peak = now.memory_peak,
    tasks = now.task_count - 1, -- without this one
    conn_count = now.conn_count,
    conns = core.json.array(conns(max, plain)), links = list(now.links), listeners = list(now.listeners), pools = list(now.pools),
  }
end

--- The same as JSON.
function snapshot.json(max)
  local rows = conns(max, function(row) return core.json.encode(plain(row)) end)
  local now = snapshot.take(0)
  now.conns = nil
  return ('%s,"conns":[%s]}'):format(core.json.encode(now):sub(1, -2), table.concat(rows, ","))
end

return snapshot
