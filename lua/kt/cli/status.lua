--- The output of `kt status` and `kt list`. Pure: it formats what the control socket answers.
local layout = require "kt.cli.layout"

local status = {}

local function section(out, title, lines)
  if #lines < 2 then return end -- only the titles of the columns
  out[#out + 1] = ""
  out[#out + 1] = title
  for _, line in ipairs(lines) do out[#out + 1] = "  " .. line end
end

local function state(link)
  if not link.open then return "closed" end
  return link.stats and link.stats.up and "up" or "down"
end

local function links(list)
  local rows = {}
  for i, link in ipairs(list) do
    local s = link.stats or {}
    rows[i] = {
      link.name, state(link), layout.rtt(s.srtt), layout.share(s.loss), ("%d"):format(s.streams or 0),
      layout.rate(s.rate_in), layout.rate(s.rate_out), layout.size(s.bytes_in), layout.size(s.bytes_out),
    }
  end
  return layout.rows({
    { "LINK", max = 40 }, { "STATE" }, { "RTT", right = true }, { "LOSS", right = true }, { "STREAMS", right = true },
    { "IN", right = true }, { "OUT", right = true }, { "IN TOTAL", right = true }, { "OUT TOTAL", right = true },
  }, rows)
end

local function pools(list)
  local rows = {}
  for _, pool in ipairs(list) do
    for _, link in ipairs(pool.links or {}) do
      rows[#rows + 1] = {
        pool.name, link.name, link.name == pool.current and "*" or "",
        link.draining and "draining" or link.up and "up" or "down",
        layout.rtt(link.srtt), layout.share(link.loss), ("%d"):format(link.streams or 0), link.error or "",
      }
    end
  end
  return layout.rows({
    { "POOL", max = 30 }, { "LINK", max = 40 }, { "" }, { "STATE" }, { "RTT", right = true }, { "LOSS", right = true },
    { "STREAMS", right = true }, { "LAST ERROR", max = 60 },
  }, rows)
end

local function listeners(list)
  local rows = {}
  for i, one in ipairs(list) do
    local s = one.stats
    rows[i] = { one.name, one.what, one.open and "open" or "closed", s and ("%d"):format(s.sessions or 0) or "-", s and ("%d"):format(s.streams or 0) or "-" }
  end
  return layout.rows({ { "ADDRESS", max = 50 }, { "BY" }, { "STATE" }, { "LINKS", right = true }, { "STREAMS", right = true } }, rows)
end

local function conns(list)
  local rows = {}
  for i, conn in ipairs(list) do
    rows[i] = {
      ("%d"):format(conn.id), conn.kind, conn.peer or "-", conn.spliced or conn.owner or "-", layout.span(conn.age),
      layout.size(conn.bytes_in), layout.size(conn.bytes_out),
    }
  end
  return layout.rows({
    { "ID", right = true }, { "KIND" }, { "PEER", max = 45 }, { "JOINED WITH", max = 45 }, { "AGE", right = true }, { "IN", right = true },
    { "OUT", right = true },
  }, rows)
end

--- The whole status as lines.
function status.lines(s)
  local script = s.script
  local out = {
    ("%s (pid %d), kt %s, up %s, log level %s%s"):format(s.name, s.pid, s.version, layout.span(s.uptime), s.log_level, s.ending and ", ending" or ""),
    ("conns and streams: %d, tasks: %d, script memory: %s (peak %s)"):format(s.conns, script.tasks,
      layout.size(script.memory), layout.size(script.memory_peak)),
  }
  section(out, "Links", links(script.links))
  if script.links_omitted then out[#out + 1] = ("  ... and %d more links of peers"):format(script.links_omitted) end
  section(out, "Pools", pools(script.pools))
  section(out, "Listeners", listeners(script.listeners))
  section(out, "Conns and streams", conns(script.conns))
  if script.conn_count > #script.conns then out[#out + 1] = ("  ... and %d more"):format(script.conn_count - #script.conns) end
  for _, old in ipairs(s.replaced) do
    section(out, ("Conns and streams of a replaced script (%d)"):format(old.conn_count), conns(old.conns))
  end
  return out
end

--- Instances as lines; list: { path, is }.
function status.list(list)
  local rows = {}
  for i, one in ipairs(list) do
    rows[i] = { one.is.name, ("%d"):format(one.is.pid), one.is.version, layout.span(one.is.uptime), ("%d"):format(one.is.conns), one.path }
  end
  return layout.rows({ { "NAME" }, { "PID", right = true }, { "VERSION" }, { "UP", right = true }, { "CONNS", right = true }, { "SOCKET" } }, rows)
end

--- An event as a line.
function status.event(e, date)
  local where = ""
  for _, key in ipairs { "pool", "link", "conn", "peer" } do
    if e[key] and e.text:find(e[key], 1, true) ~= 1 then where = where .. e[key] .. ": " end -- else the text begins with it
  end
  return ("%s %-6s %s%s%s"):format(date, e.type, where, e.type == "reload" and e.failed and "failed: " or "", e.text)
end

return status
