--- The screen of `kt top`. Pure: it turns what `status` answers, twice a second apart, into lines of text; kt.cli.control reads the keys
--- and writes the lines.
local layout = require "kt.cli.layout"

local top = {}

local REVERSE, PLAIN = "\27[7m", "\27[0m"

local views = { "both", "links", "conns" }

-- Columns by which rows can be sorted; each key of the keyboard is the letter in brackets.
local sorts = {
  { key = "i", name = "in", of = function(row) return row.rate_in end },
  { key = "o", name = "out", of = function(row) return row.rate_out end },
  { key = "a", name = "age", of = function(row) return row.age end },
  { key = "n", name = "name", of = function(row) return row.name end, up = true },
}

top.keys = "q quit  Tab view  i in  o out  a age  n name  r reverse  arrows scroll"

--- A new screen.
function top.new()
  return { view = 1, sort = sorts[1], reverse = false, scroll = 0, before = {}, rows = { links = {}, conns = {} } }
end

local function rates(self, id, time, bytes_in, bytes_out)
  local now = { time = time, bytes_in = bytes_in or 0, bytes_out = bytes_out or 0 }
  local was = self.before[id]
  self.seen[id] = now
  local span = was and time - was.time or 0
  if span <= 0 or now.bytes_in < was.bytes_in or now.bytes_out < was.bytes_out then return 0, 0 end
  return (now.bytes_in - was.bytes_in) / span, (now.bytes_out - was.bytes_out) / span
end

--- Takes a new status; time: when it was taken, in seconds. Rates are those since the one before.
function top.update(self, status, time)
  self.status, self.seen = status, {}
  local links, conns, named = {}, {}, {}
  for i, link in ipairs(status.script.links) do
    local s = link.stats or {}
    named[link.name] = (named[link.name] or 0) + 1
    local row = { name = link.name, stats = s, age = s.since or 0, state = not link.open and "closed" or s.up and "up" or "down" }
    row.rate_in, row.rate_out = rates(self, ("link %s %d"):format(link.name, named[link.name]), time, s.bytes_in, s.bytes_out)
    links[i] = row
  end
  local function add(list)
    for _, conn in ipairs(list) do
      local row = { name = conn.peer or "-", age = conn.age, conn = conn }
      row.rate_in, row.rate_out = rates(self, conn.id, time, conn.bytes_in, conn.bytes_out)
      conns[#conns + 1] = row
    end
  end
  add(status.script.conns)
  for _, old in ipairs(status.replaced) do add(old.conns) end
  self.before, self.rows = self.seen, { links = links, conns = conns }
end

local function sorted(self, rows)
  local sort, list = self.sort, { table.unpack(rows) }
  local up = (sort.up or false) ~= self.reverse
  local place = {}
  for i, row in ipairs(list) do place[row] = i end
  table.sort(list, function(a, b)
    local x, y = sort.of(a), sort.of(b)
    if x == y then return place[a] < place[b] end
    if up then return x < y end
    return x > y
  end)
  return list
end

--- A line of exactly `columns` columns at most; cells: { text, width, right }; the first one gives way.
local function line(cells, columns)
  local out, rest = {}, columns
  for i = 2, #cells do rest = rest - cells[i][2] - 1 end
  for i, cell in ipairs(cells) do
    local width = i == 1 and math.max(rest, 8) or cell[2]
    out[i] = layout.pad(layout.cut(cell[1], width), width, cell[3])
  end
  return layout.cut(table.concat(out, " "), columns)
end

local function link_line(row, columns)
  if not row then
    return line({ { "LINK" }, { "STATE", 6 }, { "RTT", 7, true }, { "LOSS", 6, true }, { "STRM", 5, true }, { "IN", 10, true }, { "OUT", 10, true } }, columns)
  end
  local s = row.stats
  return line({
    { row.name }, { row.state, 6 }, { layout.rtt(s.srtt), 7, true }, { layout.share(s.loss), 6, true }, { ("%d"):format(s.streams or 0), 5, true },
    { layout.rate(row.rate_in), 10, true }, { layout.rate(row.rate_out), 10, true },
  }, columns)
end

local function conn_line(row, columns)
  if not row then
    return line({ { "CONN OR STREAM OF" }, { "ID", 6, true }, { "JOINED WITH", 22 }, { "AGE", 9, true }, { "IN", 10, true }, { "OUT", 10, true } }, columns)
  end
  local c = row.conn
  return line({
    { row.name }, { ("%d"):format(c.id), 6, true }, { c.spliced or c.owner or "-", 22 }, { layout.span(c.age), 9, true },
    { layout.rate(row.rate_in), 10, true }, { layout.rate(row.rate_out), 10, true },
  }, columns)
end

local function title(text, columns) return REVERSE .. layout.pad(text, columns) .. PLAIN end

local function section(out, rows, first, most, columns, make)
  out[#out + 1] = title(make(nil, columns), columns)
  for i = first, math.min(first + most - 1, #rows) do out[#out + 1] = make(rows[i], columns) end
end

--- The lines of the screen, at most `rows` of `columns` each.
function top.lines(self, columns, rows)
  local s = self.status
  local rate_in, rate_out = 0, 0
  for _, link in ipairs(self.rows.links) do rate_in, rate_out = rate_in + link.rate_in, rate_out + link.rate_out end
  local out = {
    layout.cut(("%s (pid %d)  up %s  links %d  conns %d  in %s  out %s"):format(s.name, s.pid, layout.span(s.uptime), #s.script.links, s.conns,
      layout.rate(rate_in), layout.rate(rate_out)), columns),
    layout.cut(("memory %s  tasks %d  log %s  sorted by %s%s%s"):format(layout.size(s.script.memory), s.script.tasks, s.log_level, self.sort.name,
      self.reverse and ", reversed" or "", s.ending and "  ENDING" or ""), columns),
  }
  local view = views[self.view]
  local left = rows - #out - 1 -- and the line of keys
  local links, conns = sorted(self, self.rows.links), sorted(self, self.rows.conns)
  if view ~= "conns" then
    local most = view == "links" and left - 1 or math.max(math.min(#links, (left - 2) // 2, left - 2 - math.min(#conns, 3)), 1)
    local first = view == "links" and math.max(math.min(self.scroll, #links - most), 0) or 0
    section(out, links, first + 1, most, columns, link_line)
    left = rows - #out - 1
  end
  if view ~= "links" and left > 1 then
    self.scroll = math.max(math.min(self.scroll, #conns - left + 1), 0)
    section(out, conns, self.scroll + 1, left - 1, columns, conn_line)
  end
  while #out > rows - 1 do out[#out] = nil end
  while #out < rows - 1 do out[#out + 1] = "" end
  out[rows] = title(layout.cut(top.keys, columns), columns)
  return out
end

--- The bytes that draw these lines on the terminal, each alone on its row.
function top.frame(lines) return "\27[H" .. table.concat(lines, "\27[K\n") .. "\27[K\27[J" end

local scrolls = { ["\27[A"] = -1, k = -1, ["\27[B"] = 1, j = 1, ["\27[5~"] = -10, ["\27[6~"] = 10, ["\27[H"] = -math.huge }

--- Handles what was typed. Returns false to quit.
function top.key(self, text)
  while text ~= "" do
    local key = text:match "^\27%[[%d;]*[%a~]" or text:sub(1, 1)
    text = text:sub(#key + 1)
    if key == "q" or key == "\3" or key == "\4" then return false end
    if key == "\t" then self.view = self.view % #views + 1 end
    if key == "r" then self.reverse = not self.reverse end
    if scrolls[key] then self.scroll = math.max(self.scroll + scrolls[key], 0) end
    for _, sort in ipairs(sorts) do
      if sort.key == key then self.sort = sort end
    end
  end
  return true
end

return top
