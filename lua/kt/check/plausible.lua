--- Finds constants that are valid and surely not meant: numbers of milliseconds where seconds are expected (timeout = 3000), URLs and
--- addresses that can only fail.
local constants = require "kt.check.constants"
local schema = require "kt.schema"
local units = require "kt.units"

local plausible = {}

local LEAST = 500 -- a smaller number may well be in seconds
local TIMES = 100 -- what is usual, or more, is not plausible
local LONG = 10000 -- where nothing says what is usual, people write more than this in hours

--- Whether n is a number of seconds that people write out: half hours up to a day, then half days.
local function round(n) return n % 1800 == 0 and n <= 86400 or n % 43200 == 0 and n % 86400000 ~= 0 end

--- Whether n seconds are implausible for the duration that d describes. Whole hours and days, and a few minutes, are what people
--- write in seconds.
local function implausible(d, n)
  if n < LEAST or n % 100 ~= 0 or round(n) or d.max and n > d.max then return false end
  local usual = d.typical or type(d.default) == "number" and d.default > 0 and d.default
  if n % 60 == 0 and (n < 1000 or not usual and n < LONG) then return false end
  return n >= (usual and TIMES * usual or 1000)
end

local function write(seconds) return units.write("duration", seconds) or seconds .. "s" end

--- Checks a value that is written in the script against what it must be then.
local function check_constant(inferred, d, node, path, note)
  local value = constants.value(inferred, node)
  if type(value) ~= "string" then return end
  local _, mistakes = schema.check(path, d.constant, value)
  for _, m in ipairs(mistakes or {}) do
    note { token = node.file.tokens[node.at], path = path, message = m.message, suggestion = m.suggestion }
  end
end

--- Checks a value against its description, and what is inside it.
function plausible.check(inferred, d, node, path, note)
  if d.type == "duration" then
    local value = constants.value(inferred, node)
    if math.type(value) and implausible(d, value) then
      note {
        token = node.file.tokens[node.at], path = path, message = ("%.14g is in seconds"):format(value),
        suggestion = ('write "%s" if it is in milliseconds, else "%s"'):format(write(value / 1000), write(value)),
      }
    end
  end
  if d.constant then check_constant(inferred, d, node, path, note) end
  if node.tag ~= "table" then return end
  for _, item in ipairs(node.items) do
    if d.type == "list" then plausible.check(inferred, d.of, item.value, path .. "[]", note) end
    for _, key in ipairs(d.keys or {}) do
      if key.name == item.key then plausible.check(inferred, key, item.value, path .. "." .. key.name, note) end
    end
  end
end

return plausible
