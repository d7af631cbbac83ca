--- Converts times to whole µs, the unit of a world's clock. Times in seconds are rounded to the nearest µs, but a positive time is never
--- rounded to 0: w:sleep(1e-9) in a loop advances by 1 µs each time.
local clock = {}

function clock.us(seconds)
  if seconds <= 0 then return 0 end
  return math.max(1, math.floor(seconds * 1e6 + 0.5))
end

local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function days_in(year, month)
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return month == 2 and leap and 29 or DAYS[month]
end

--- Parses a moment in UTC, "2026-03-02" or "2026-03-02 22:59:30", to seconds since 1970; nil if it is invalid.
function clock.moment(text)
  local year, month, day, rest = text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$"
  if not year then return nil end
  local hour, minute, second = (rest == "" and " 00:00:00" or rest):match "^ (%d%d):(%d%d):?(%d*)$"
  if not hour or #second % 2 ~= 0 or #second > 2 then return nil end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second) or 0
  if year < 1970 or month < 1 or month > 12 or day < 1 or day > days_in(year, month) then return nil end
  if hour > 23 or minute > 59 or second > 59 then return nil end
  local days = day - 1
  for y = 1970, year - 1 do days = days + 337 + days_in(y, 2) end
  for m = 1, month - 1 do days = days + days_in(year, m) end
  return ((days * 24 + hour) * 60 + minute) * 60 + second
end

return clock
