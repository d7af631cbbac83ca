--- Plots a world's history as an SVG: panels on a common time axis (cwnd, srtt, goodput, losses), with a line at each fault. The same
--- data gives the same bytes.

local plot = {}

-- Okabe and Ito's colours, which colour-blind people can distinguish.
local colours = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000" }
-- The second series of a colour is dashed, the third dotted. More are not drawn: they would be unreadable.
local DASHES = { "", "6 3", "2 2" }
local WIDTH, LEFT, RIGHT, TOP = 960, 76, 16, 34
local PANEL, GAP = 130, 44 -- height of a panel; space below it, not counting its legend
local ROW, CHAR, NAME = 14, 6.2, 60 -- height of a legend's row; approximate width of a character; maximum length of a name
local MOST = 1000 -- maximum number of points per line

local function escape(text)
  return (tostring(text):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

--- A round distance between ticks, for about `count` of them: 1, 2 or 5 times a power of ten.
local function step(span, count)
  if span <= 0 then return 1 end
  local raw = span / count
  local power = 10 ^ math.floor(math.log(raw, 10))
  for _, times in ipairs { 1, 2, 5 } do
    if power * times >= raw * 0.999 then return power * times end
  end
  return power * 10
end

-- Lays out a legend in rows: a list of { x, row, name, i }, and the number of rows. The last entry counts the series not drawn.
local function legend(list, inner)
  local out, x, row = {}, 0, 0
  local function put(name, i)
    if utf8.len(name) and utf8.len(name) > NAME then name = name:sub(1, utf8.offset(name, NAME) - 1) .. "..." end
    local width = 30 + #name * CHAR
    if x > 0 and x + width > inner then x, row = 0, row + 1 end
    out[#out + 1] = { x = x, row = row, name = name, i = i }
    x = x + width
  end
  local most = #colours * #DASHES
  for i = 1, math.min(#list, most) do put(list[i].name, i) end
  if #list > most then put(("and %d more, not drawn"):format(#list - most)) end
  return out, #out > 0 and row + 1 or 0
end

local function style(i)
  local dashes = DASHES[(i - 1) // #colours + 1]
  return colours[(i - 1) % #colours + 1], dashes ~= "" and (' stroke-dasharray="%s"'):format(dashes) or ""
end

local function number(value)
  return (("%.6g"):format(value))
end

local function extent(panels)
  local from, to = math.huge, -math.huge
  for _, panel in ipairs(panels) do
    for _, series in ipairs(panel.series) do
      for _, point in ipairs(series.points) do -- limits have the same times
        from, to = math.min(from, point[1]), math.max(to, point[1])
      end
    end
  end
  if from > to then return 0, 1 end
  return from, to > from and to or from + 1
end

-- Thins out long series: keeps the lowest and the highest point of each run of neighbours, so that no spike is lost.
local function thin(points)
  if #points <= MOST then return points end
  local out, run = {}, math.ceil(#points * 2 / MOST)
  for first = 1, #points, run do
    local low, high = first, first
    for i = first, math.min(first + run - 1, #points) do
      if points[i][2] < points[low][2] then low = i end
      if points[i][2] > points[high][2] then high = i end
    end
    out[#out + 1] = points[math.min(low, high)]
    if low ~= high then out[#out + 1] = points[math.max(low, high)] end
  end
  return out
end

--- Returns the SVG. chart: { title, marks = list of { seconds, text }, panels = list of { name, unit, series } }. A series is { name,
--- points, limit }: points are { seconds, value } in order of time; limit is an optional second list of points, drawn thin.
function plot.svg(chart)
  local out = {}
  local function put(fmt, ...) out[#out + 1] = fmt:format(...) end
  local from, to = extent(chart.panels)
  local inner = WIDTH - LEFT - RIGHT
  local height, tops, legends = TOP, {}, {}
  for row, panel in ipairs(chart.panels) do
    local names, rows = legend(panel.series, inner)
    tops[row], legends[row] = height, names
    height = height + PANEL + GAP + rows * ROW
  end
  local function x(seconds) return LEFT + (seconds - from) / (to - from) * inner end

  put('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">', WIDTH, height)
  put('<rect width="100%%" height="100%%" fill="#ffffff"/>')
  put('<text x="%d" y="20" font-size="14">%s</text>', LEFT, escape(chart.title or ""))
  for row, panel in ipairs(chart.panels) do
    local top = tops[row]
    local bottom, peak = top + PANEL, 0
    for _, series in ipairs(panel.series) do
      for _, point in ipairs(series.points) do peak = math.max(peak, point[2]) end
      for _, point in ipairs(series.limit or {}) do peak = math.max(peak, point[2]) end
    end
    if peak <= 0 then peak = 1 end
    local function y(value) return bottom - value / peak * PANEL end

    local tick = step(peak, 4)
    for i = 0, math.floor(peak / tick) do
      put('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#dddddd"/>', LEFT, WIDTH - RIGHT, y(i * tick), y(i * tick))
      put('<text x="%d" y="%.1f" text-anchor="end" fill="#555555">%s</text>', LEFT - 6, y(i * tick) + 4, number(i * tick))
    end
    tick = step(to - from, 8)
    for i = math.ceil(from / tick), math.floor(to / tick) do
      put('<text x="%.1f" y="%d" text-anchor="middle" fill="#555555">%ss</text>', x(i * tick), bottom + 14, number(i * tick))
    end
    local lines = {} -- rows of mark labels: where the last label of each ends
    for _, mark in ipairs(chart.marks or {}) do
      put('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#999999" stroke-dasharray="3 3"/>', x(mark[1]), x(mark[1]), top, bottom)
      if row == 1 then
        local line, at = 1, x(mark[1]) + 3
        while lines[line] and lines[line] > at do line = line + 1 end
        if line <= 8 then
          put('<text x="%.1f" y="%d" fill="#555555">%s</text>', at, top + line * 11, escape(mark[2]))
          lines[line] = at + #mark[2] * CHAR
        end
      end
    end
    put('<text x="%d" y="%d" font-weight="bold">%s%s</text>', LEFT, top - 4, escape(panel.name),
      panel.unit and escape(", " .. panel.unit) or "")
    local function curve(series, list, i, width)
      local colour, dashes = style(i)
      local points = {}
      for _, point in ipairs(thin(list)) do points[#points + 1] = ("%.1f,%.1f"):format(x(point[1]), y(point[2])) end
      put('<polyline points="%s" fill="none" stroke="%s" stroke-width="%s"%s><title>%s</title></polyline>', table.concat(points, " "), colour,
        width, dashes, escape(series.name))
    end
    for _, entry in ipairs(legends[row]) do
      local left, middle = LEFT + entry.x, bottom + 26 + entry.row * ROW
      if entry.i then
        local series = panel.series[entry.i]
        curve(series, series.points, entry.i, "1.3")
        if series.limit and #series.limit > 0 then curve(series, series.limit, entry.i, "0.5") end
        put('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="2"%s/>', left, left + 18, middle - 4, middle - 4, style(entry.i))
      end
      put('<text x="%.1f" y="%d">%s</text>', left + 22, middle, escape(entry.name))
    end
    put('<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#555555"/>', LEFT, WIDTH - RIGHT, bottom, bottom)
  end
  put("</svg>")
  return table.concat(out, "\n") .. "\n"
end

return plot
