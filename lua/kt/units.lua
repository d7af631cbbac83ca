--- Parses units: "5s", "2MiB", "20Mbit", "5%". Each parser returns a plain number (seconds, bytes, bytes per second,
--- 0 to 1), or nil, what it expected, and true if the number is too large. Pure; depends on no other module.
local units = {}

local seconds = { us = 1e-6, ms = 1e-3, s = 1, m = 60, h = 3600, d = 86400 }

local bytes = {
  B = 1, kB = 1e3, KB = 1e3, MB = 1e6, GB = 1e9, KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30,
}

local bits = { bit = 1, kbit = 1e3, Kbit = 1e3, Mbit = 1e6, Gbit = 1e9 }

units.expected = {
  duration = 'a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds',
  size = 'a size such as "64KiB", "2MiB", "1MB", or a whole number of bytes',
  rate = 'a rate such as "20Mbit" (bits per second), "2MiB" (bytes per second), or a number of bytes per second',
  share = 'a share such as "5%", or a number from 0 to 1',
}

local scales = {
  duration = { { 3600, "h" }, { 60, "m" }, { 1, "s" }, { 1e-3, "ms" }, { 1e-6, "us" } },
  size = { { 1 << 30, "GiB" }, { 1 << 20, "MiB" }, { 1 << 10, "KiB" } },
  rate = { { 1 << 20, "MiB" }, { 1 << 10, "KiB" }, { 125000000, "Gbit" }, { 125000, "Mbit" }, { 125, "kbit" } },
}

local unit_of = { duration = "s", size = "B", rate = "B" }

--- The advice to add to a message about a value that does not fit: for a number in text without its unit; "" for any other value.
function units.missing(unit, value)
  if not unit_of[unit] or type(value) ~= "string" or not value:find "^%d+%.?%d*$" then return "" end
  return ('; text needs a unit, such as "%s%s"'):format(value, unit_of[unit])
end

--- A number as a script would write it in that unit, "2MiB"; nil where a plain number is as clear.
function units.write(unit, value)
  for _, scale in ipairs(scales[unit] or {}) do
    local n = value / scale[1]
    if value > 0 and n == n // 1 then return ("%d%s"):format(n, scale[2]) end
  end
end

--- The range of a description as text: min, and max (inclusive) or below (exclusive), each formatted by write(number). nil if it
--- has none.
function units.range(d, write)
  local top = d.below and "less than " .. write(d.below) or d.max and write(d.max)
  if d.min and top then return write(d.min) .. " to " .. top end
  if d.min then return "at least " .. write(d.min) end
  return top and (d.below and top or "at most " .. top)
end

-- Longer durations could overflow clocks that count microseconds; script/core/options.c has the same bound.
local LONGEST = 3.2e9
local too_long = "at most 3.2e9 seconds (a hundred years)"

-- The same for sizes and rates.
local MOST = 1e15

local function plain(value)
  return value >= 0 and value < math.huge and value or nil -- NaN fails both
end

--- Seconds.
function units.duration(value)
  local expected = units.expected.duration
  if math.type(value) then
    local n = plain(value)
    if n and n > LONGEST then return nil, too_long, true end
    return n, not n and expected or nil
  end
  if type(value) ~= "string" then return nil, expected end
  if value == "0" then return 0 end
  local total, rest = 0, value
  repeat
    local number, unit, after = rest:match "^(%d+%.?%d*)%s*(%a+)%s*(.*)$"
    if not number or not seconds[unit] then return nil, expected end
    local n = tonumber(number)
    if n > LONGEST / seconds[unit] then return nil, too_long, true end -- before the product, which might overflow
    total, rest = total + n * seconds[unit], after
  until rest == ""
  if total > LONGEST then return nil, too_long, true end
  return total
end

local function scaled(value, expected, too_much, ...)
  if math.type(value) then
    local n = plain(value)
    if not n then return nil, expected end
    if n > MOST then return nil, too_much, true end
    return math.tointeger(n) or math.floor(n)
  end
  if type(value) ~= "string" then return nil, expected end
  if value == "0" then return 0 end
  local number, unit = value:match "^(%d+%.?%d*)%s*(%a+)$"
  for _, scale in ipairs { ... } do
    if number and scale.units[unit] then
      local n, factor = tonumber(number), scale.units[unit] / scale.divide
      if n > MOST / factor then return nil, too_much, true end
      n = n * factor
      if n > 0 and n < 1 then n = 1 end -- 0 has a meaning of its own
      return math.tointeger(n) or math.floor(n)
    end
  end
  return nil, expected
end

--- A share, 0 to 1.
function units.share(value)
  local n = math.type(value) and value
  if type(value) == "string" then
    n = value:match "^(%d+%.?%d*)%%$"
    n = n and tonumber(n) / 100
  end
  if n and n >= 0 and n <= 1 then return n end
  return nil, units.expected.share
end

--- Bytes.
function units.size(value)
  if math.type(value) == "float" and value % 1 ~= 0 then return nil, units.expected.size end
  return scaled(value, units.expected.size, "at most 1e15 bytes", { units = bytes, divide = 1 })
end

--- Bytes per second.
function units.rate(value)
  if type(value) == "string" then value = value:gsub("/s$", "") end
  return scaled(value, units.expected.rate, "at most 1e15 bytes per second", { units = bits, divide = 8 }, { units = bytes, divide = 1 })
end

return units
