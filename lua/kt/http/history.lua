--- The last ten minutes, for the status page: statistics of links and acceptors, a row every STEP seconds, and events.
---
--- It is taken whether or not anyone looks, because one looks after something has happened. Invariant: at
--- most LINKS rings of KEEP rows, EVENTS events, and a histogram for each link that there is.
local core = require "kt.core"
local metrics = require "kt.http.metrics"
local snapshot = require "kt.snapshot"

local history = {}
history.__index = history

local STEP, KEEP, LINKS, EVENTS = 2, 300, 64, 200

--- The columns of a row; -1 in the place of what is not known.
history.columns = { "up", "rate_in", "rate_out", "srtt", "loss", "cwnd", "inflight", "queued", "sessions", "streams" }

local ROW = "=" .. ("f"):rep(#history.columns)

--- name: what a reload finds it by. In a task, and if scripts keep too much, it begins empty.
function history.new(name)
  local empty = { rings = {}, rtts = {}, events = {}, sequence = 0, tick = 0 }
  local ok, kept = pcall(core.keep, name:sub(1, 64), empty)
  return setmetatable({ kept = ok and kept or empty, log = core.event_log() }, history)
end

--- Rows with a name for each, links first: { name, kind = "link" | "listener", row }.
function history.rows(script)
  local out = {}
  local links = metrics.own_links(script.links)
  local names, shown = metrics.unique(links)
  for _, link in ipairs(shown) do out[#out + 1] = { name = names[link], kind = "link", row = link } end
  local acceptors = {}
  for _, one in ipairs(script.listeners) do
    if one.stats then acceptors[#acceptors + 1] = one end
  end
  names, shown = metrics.unique(acceptors)
  for _, one in ipairs(shown) do out[#out + 1] = { name = names[one], kind = "listener", row = one } end
  return out
end

--- h: a histogram as core.inspect has it, or nil.
local function add_rtt(h, seconds)
  if not h then
    h = { count = 0, sum = 0, buckets = {} }
    for i = 1, #core.bounds + 1 do h.buckets[i] = 0 end
  end
  local i = 1
  while core.bounds[i] and seconds > core.bounds[i] do i = i + 1 end
  h.buckets[i], h.count, h.sum = h.buckets[i] + 1, h.count + 1, h.sum + seconds
  return h
end

--- Takes the events that have happened since the last call.
function history:take_events()
  local kept = self.kept
  for event in core.event_take, self.log do
    for _, key in ipairs { "link", "pool", "conn", "peer", "text" } do event[key] = event[key] and snapshot.printable(event[key]) end
    kept.sequence = kept.sequence + 1
    event.sequence = kept.sequence
    table.insert(kept.events, event)
    if #kept.events > EVENTS then table.remove(kept.events, 1) end
  end
end

--- Adds a row for each link and acceptor. It runs all the time, so it makes little garbage.
function history:sample()
  self:take_events()
  local kept = self.kept
  kept.tick = kept.tick + 1
  local rings, taken, n, rtts = {}, {}, 0, {}
  local flat = core.samples(history.columns)
  for i = 1, #flat, 3 do
    local kind, name, row = flat[i] == "kt.link" and "link" or "listener", snapshot.printable(flat[i + 1]), flat[i + 2]
    local key = metrics.unused(taken, kind .. " " .. name)
    local unique = key:sub(#kind + 2)
    n = n + 1
    if kind == "link" then
      local up, _, _, srtt = ROW:unpack(row)
      rtts[unique] = kept.rtts[unique]
      if up > 0 and srtt > 0 then rtts[unique] = add_rtt(rtts[unique], srtt) end
    end
    if n <= LINKS then
      local ring = kept.rings[key] or { name = unique, kind = kind, first = kept.tick, rows = {} }
      ring.place, ring.rows[kept.tick % KEEP], rings[key] = n, row, ring
    end
  end
  kept.rings, kept.rtts = rings, rtts -- those of links that are gone are dropped
end

--- Samples until stopped() is true.
function history:run(stopped)
  while not stopped() do
    self:sample()
    core.park(STEP)
  end
end

--- As plain data: rows from the oldest to the newest, each a list in the order of `columns`, -1 for what is not known.
function history:data()
  local kept, rings = self.kept, core.json.array {}
  for _, ring in next, kept.rings do
    local rows = core.json.array {}
    for tick = math.max(ring.first, kept.tick - KEEP + 1), kept.tick do
      local values = { ROW:unpack(ring.rows[tick % KEEP]) }
      values[#values] = nil -- the position after it
      for i, value in ipairs(values) do values[i] = tonumber(("%.6g"):format(value)) end
      rows[#rows + 1] = values
    end
    table.insert(rings, { name = ring.name, kind = ring.kind, rows = rows, place = ring.place })
  end
  table.sort(rings, function(a, b) return a.place < b.place end)
  return { step = STEP, columns = history.columns, rings = rings }
end

--- Events after a sequence number, as a list for JSON.
function history:since(sequence)
  local out = core.json.array {}
  for _, event in ipairs(self.kept.events) do
    if event.sequence > sequence then out[#out + 1] = event end
  end
  return out
end

return history
