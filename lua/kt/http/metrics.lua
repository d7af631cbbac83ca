--- /metrics: a snapshot (kt.snapshot) as OpenMetrics text (version 1.0.0), or as Prometheus's text format (0.0.4). Pure.
---
--- The names come from the tables of statistics (kt.api.counters), so a new row is a new metric. Invariant: no two samples have the same
--- name and labels, and their number has a bound, whatever the script has made: links of peers, conns and streams have no labels.
local counters, wires = require "kt.api.counters", require "kt.api.wires"

local metrics = {}

metrics.OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
metrics.TEXT = "text/plain; version=0.0.4; charset=utf-8"

local ROWS = 256 -- links, listeners and pools each, and links of a pool
local PAGE = 16 -- rows made in one go, so that many of them do not hold up the tunnel

local units = { bytes = "bytes", rate = "bytes_per_second", seconds = "seconds", share = "ratio" }

--- The name of a row of kt.api.counters, and its unit or nil: "BytesSent", bytes → "kt_sent_bytes", "bytes".
function metrics.name(prefix, row)
  local name = row.name:gsub("(%l)(%u)", "%1_%2"):gsub("(%u)(%u%l)", "%1_%2"):lower()
  if row.unit == "bytes" then name = name:gsub("^bytes_", ""):gsub("_bytes$", "") end
  if row.unit == "rate" then name = name:gsub("^rate_", "") end
  local unit = units[row.unit]
  if unit and name ~= unit then name = name .. "_" .. unit end
  return prefix .. name, unit
end

--- A metric family: how its samples are named, and what it is.
local function family(prefix, row)
  local name, unit = metrics.name(prefix, row)
  return { name = name, unit = unit, type = row.kind, help = row.doc, stat = row.name }
end

local function gauge(name, help, unit) return { name = name, type = "gauge", help = help, unit = unit } end

local families = { link = {}, listener = {}, process = {} }
for _, row in ipairs(counters.process) do table.insert(families.process, family("kt_", row)) end
for _, which in ipairs { "link", table.unpack(wires.folders) } do
  for _, row in ipairs(counters[which]) do
    local only = which ~= "link" and (" Only on %s's wire."):format(wires.of_folder[which]) or ""
    for _, of in ipairs { "link", "listener" } do
      local f = family("kt_" .. of .. "_", row)
      f.help = f.help .. only
      table.insert(families[of], f)
    end
  end
end

families.opens = { name = "kt_link_open_duration_seconds", unit = "seconds", type = "histogram", help = "How long link:open took when it succeeded." }
families.rtt = { name = "kt_link_rtt_seconds", unit = "seconds", type = "histogram",
  help = "The smoothed round-trip time, observed every 2 s while the link is up." }
families.link_open = gauge("kt_link_open", "Whether the link is open.")
families.listener_open = gauge("kt_listener_open", "Whether the listener is open; the label by is the function that made it, or --http.")
families.pool_links = gauge("kt_pool_links", "Links in the pool.")
families.pool_up = gauge("kt_pool_links_up", "Links of the pool that are up.")
families.pool_opened = { name = "kt_pool_opened", type = "counter", help = "Streams that the pool opened." }
families.pool_failed = { name = "kt_pool_failed", type = "counter", help = "Streams that the pool could not open." }
families.pool_switches = { name = "kt_pool_switches", type = "counter", help = "Times that the pool sent new streams over another link." }
families.member_up = gauge("kt_pool_link_up", "Whether the pool's checks find the link up.")
families.member_current = gauge("kt_pool_link_current", "Whether new streams of the pool go over the link; 0 for all if the policy spreads them.")
families.build = { name = "kt_build", type = "info", help = "The version of kt." }
families.uptime = gauge("kt_uptime_seconds", "Seconds since kt started.", "seconds")
families.memory = gauge("kt_script_memory_bytes", "Memory that the script holds.", "bytes")
families.memory_peak = gauge("kt_script_memory_peak_bytes", "The most memory that the script has held.", "bytes")
families.tasks = gauge("kt_script_tasks", "Tasks of the script.")
families.conns = gauge("kt_conns", "Conns and streams of the script.")
families.omitted = gauge("kt_omitted_rows", "Links, listeners and pools that have no metrics because there are too many.")

metrics.families = families

--- All families in the order of the output.
local function all()
  local out = {
    families.build, families.uptime, families.memory, families.memory_peak, families.tasks, families.conns, families.omitted,
  }
  local function add(list) table.move(list, 1, #list, #out + 1, out) end
  add(families.process)
  add { families.link_open }
  add(families.link)
  add { families.opens, families.rtt, families.listener_open }
  add(families.listener)
  add {
    families.pool_links, families.pool_up, families.pool_opened, families.pool_failed, families.pool_switches,
    families.member_up, families.member_current,
  }
  return out
end

metrics.all = all()

-- ---- samples ----

local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function label(name, value) return ('%s="%s"'):format(name, (value:gsub('[\\"\n]', escapes))) end

local function number(value)
  if value == true then return "1" elseif value == false then return "0" end
  if math.type(value) == "integer" then return ("%d"):format(value) end
  return ("%.15g"):format(value)
end

local Samples = {}
Samples.__index = Samples

--- Adds a sample; nothing if there is no value.
function Samples:add(f, labels, value, suffix)
  if value == nil then return end
  local list = self[f] or {}
  self[f] = list
  suffix = suffix or f.type == "counter" and "_total" or f.type == "info" and "_info" or ""
  list[#list + 1] = ("%s%s%s %s\n"):format(f.name, suffix, labels ~= "" and "{" .. labels .. "}" or "", number(value))
end

--- h: { count, sum, buckets }; bounds: of its buckets, in seconds.
function Samples:histogram(f, labels, h, bounds)
  local sum = 0
  for i, n in ipairs(h.buckets) do
    sum = sum + n
    self:add(f, labels .. "," .. label("le", bounds[i] and ("%.15g"):format(bounds[i]) or "+Inf"), sum, "_bucket")
  end
  self:add(f, labels, h.count, "_count")
  self:add(f, labels, h.sum + 0.0, "_sum")
end

--- A name that is not taken, and then is: of several rows with one name, the later ones get a number.
function metrics.unused(taken, name)
  local n, unique = taken[name] or 1, name
  while taken[unique] do
    n = n + 1
    unique = ("%s#%d"):format(name, n)
  end
  taken[name], taken[unique] = n, 1
  return unique
end

--- Unique names by row, and the rows that may be shown.
local function unique(rows)
  local names, taken, shown = {}, {}, {}
  for i = 1, math.min(#rows, ROWS) do names[rows[i]], shown[i] = metrics.unused(taken, rows[i].name), rows[i] end
  return names, shown
end

metrics.unique = unique

--- Links that the script made, without those of peers.
function metrics.own_links(links)
  local out = {}
  for _, link in ipairs(links) do
    if not link.accepted then out[#out + 1] = link end
  end
  return out
end

local function sample(now, rest)
  local samples, s = setmetatable({}, Samples), now.script
  local links = metrics.own_links(s.links)
  samples:add(families.build, label("version", now.process.version), 1)
  samples:add(families.uptime, "", now.process.uptime)
  samples:add(families.memory, "", s.memory)
  samples:add(families.memory_peak, "", s.memory_peak)
  samples:add(families.tasks, "", s.tasks)
  samples:add(families.conns, "", s.conn_count)
  for i, f in ipairs(families.process) do samples:add(f, "", now.counters[i][2]) end
  local omitted = 0
  local function each(rows, fn)
    local names, shown = unique(rows)
    omitted = omitted + #rows - #shown
    for i, row in ipairs(shown) do
      fn(row, names[row])
      if i % PAGE == 0 then rest() end
    end
  end
  each(links, function(link, name)
    local labels = label("link", name)
    samples:add(families.link_open, labels, link.open)
    for _, f in ipairs(families.link) do samples:add(f, labels, link.stats and link.stats[f.stat]) end
    samples:histogram(families.opens, labels, link.opens, now.bounds)
    if now.rtts[name] then samples:histogram(families.rtt, labels, now.rtts[name], now.bounds) end
  end)
  each(s.listeners, function(listener, name)
    local labels = label("listener", name)
    samples:add(families.listener_open, labels .. "," .. label("by", listener.what), listener.open)
    for _, f in ipairs(families.listener) do samples:add(f, labels, listener.stats and listener.stats[f.stat]) end
  end)
  each(s.pools, function(pool, name)
    local labels = label("pool", name)
    samples:add(families.pool_links, labels, #pool.links)
    samples:add(families.pool_up, labels, pool.up)
    samples:add(families.pool_opened, labels, pool.opened)
    samples:add(families.pool_failed, labels, pool.failed)
    samples:add(families.pool_switches, labels, pool.switches)
    each(pool.links, function(link, link_name)
      local both = labels .. "," .. label("link", link_name)
      samples:add(families.member_up, both, link.up)
      samples:add(families.member_current, both, link.name == pool.current)
    end)
  end)
  samples:add(families.omitted, "", omitted)
  return samples
end

--- now: { process (core.process), counters (core.counters), bounds (core.bounds), script (kt.snapshot), rtts = histograms by link }.
--- text: whether to write Prometheus's text format. rest(): lets other tasks run.
function metrics.text(now, text, rest)
  local samples, out = sample(now, rest), {}
  for _, f in ipairs(metrics.all) do
    local list = samples[f]
    if list then
      local name, kind = f.name, f.type
      if text and kind == "counter" then name = name .. "_total" end
      if text and kind == "info" then name, kind = name .. "_info", "gauge" end
      out[#out + 1] = ("# HELP %s %s\n# TYPE %s %s\n"):format(name, f.help:gsub('[\\"\n]', escapes), name, kind)
      if f.unit and not text then out[#out + 1] = ("# UNIT %s %s\n"):format(name, f.unit) end
      out[#out + 1] = table.concat(list)
    end
  end
  if not text then out[#out + 1] = "# EOF\n" end
  return table.concat(out)
end

return metrics
