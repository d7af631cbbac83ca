--- Tables and quantities as text, for kt status and kt top. Pure.
local layout = {}

--- Bytes, in four or five characters and a unit.
function layout.size(n)
  if not n then return "-" end
  for _, unit in ipairs { { 1e12, "TB" }, { 1e9, "GB" }, { 1e6, "MB" }, { 1e3, "kB" } } do
    if n >= unit[1] then return ("%.1f %s"):format(n / unit[1], unit[2]) end
  end
  return ("%d B"):format(n // 1)
end

--- Bytes per second.
function layout.rate(n) return n and layout.size(n) .. "/s" or "-" end

--- A round trip, from seconds.
function layout.rtt(seconds)
  if not seconds or seconds <= 0 then return "-" end
  return seconds < 0.01 and ("%.1f ms"):format(seconds * 1000) or ("%.0f ms"):format(seconds * 1000)
end

function layout.share(value) return value and ("%.1f %%"):format(value * 100) or "-" end

--- A time span, in its two largest units.
function layout.span(seconds)
  local s = seconds // 1
  if s < 60 then return ("%d s"):format(s) end
  if s < 3600 then return ("%d m %02d s"):format(s // 60, s % 60) end
  if s < 86400 then return ("%d h %02d m"):format(s // 3600, s % 3600 // 60) end
  return ("%d d %02d h"):format(s // 86400, s % 86400 // 3600)
end

--- Columns that a terminal needs for a text.
function layout.width(s) return utf8.len(s) or #s end

--- The first `width` columns of a text; what is cut off is marked.
function layout.cut(s, width)
  s = s:gsub("%c", "?")
  if layout.width(s) <= width then return s end
  if not utf8.len(s) then return s:sub(1, width) end
  return s:sub(1, utf8.offset(s, width) - 1) .. "~"
end

--- Pads a text to a width, on its right or, for numbers, on its left.
function layout.pad(s, width, right)
  local space = (" "):rep(width - layout.width(s))
  return right and space .. s or s .. space
end

--- Lines of a table. columns: { title, right = true if numbers, max = width }; rows: lists of texts.
function layout.rows(columns, rows)
  local widths, lines = {}, {}
  for i, column in ipairs(columns) do
    widths[i] = layout.width(column[1])
    for _, row in ipairs(rows) do widths[i] = math.max(widths[i], layout.width(row[i])) end
    widths[i] = math.min(widths[i], column.max or widths[i])
  end
  local function line(row)
    local out = {}
    for i, column in ipairs(columns) do out[i] = layout.pad(layout.cut(row[i], widths[i]), widths[i], column.right) end
    return (table.concat(out, "  "):gsub("%s+$", ""))
  end
  local titles = {}
  for i, column in ipairs(columns) do titles[i] = column[1] end
  lines[1] = line(titles)
  for _, row in ipairs(rows) do lines[#lines + 1] = line(row) end
  return lines
end

return layout
