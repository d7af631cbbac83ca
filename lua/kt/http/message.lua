--- Parts of HTTP messages: paths and queries, fields, dates.
---
--- env: kt.core, or what kt.sim has of it.
local schema = require "kt.schema"

local message = {}

local function byte_of(hex) return string.char(tonumber(hex, 16)) end

local function hex_of(c) return ("%%%02X"):format(c:byte()) end

--- Encodes all but the unreserved characters (RFC 3986, section 2.3).
function message.escape(text) return (text:gsub("[^%w%-._~]", hex_of)) end

--- Decodes %XX; nil if a % is followed by anything else.
local function decoded(text)
  if not text:find("%", 1, true) then return text end
  if (text:gsub("%%%x%x", "")):find("%", 1, true) then return nil end
  return (text:gsub("%%(%x%x)", byte_of))
end

message.unescape = decoded

--- "/a/b%20c" → "/a/b c", { "a", "b c" }, and whether a segment has a slash, from %2F, which separates nothing. nil if an encoding is
--- malformed, or if a segment would mean something else to a program that opens it as a file: one with a zero byte, and "." and "..",
--- also between slashes of one segment.
function message.path(raw)
  local segments, slash = {}, false
  for segment in raw:gmatch "/([^/]*)" do
    local text = decoded(segment)
    if not text or text:find("\0", 1, true) or ("/" .. text .. "/"):find "/%.%.?/" then return nil end
    slash = slash or text:find("/", 1, true) ~= nil
    segments[#segments + 1] = text
  end
  return "/" .. table.concat(segments, "/"), segments, slash
end

--- "a=1&b=x+y" → { a = "1", b = "x y" }. Of a name that comes several times, the last value counts.
function message.query(raw)
  local out = {}
  for pair in (raw or ""):gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    name, value = name:gsub("+", " "), value:gsub("+", " ")
    out[decoded(name) or name] = decoded(value) or value
  end
  return out
end

--- A number as kt.json.encode writes it; nil for NaN and infinity.
local function number_text(n)
  if math.type(n) == "integer" then return ("%d"):format(n) end
  if n ~= n or n == math.huge or n == -math.huge then return nil end
  local short = ("%.15g"):format(n)
  return tonumber(short) == n and short or ("%.17g"):format(n)
end

--- { a = "1", b = { "x", "y" } } → "a=1&b=x&b=y", in order of the names; nil and a sentence for what a query cannot hold.
function message.build_query(fields)
  if type(fields) ~= "table" or schema.kind(fields) then return nil, schema.unfit("a table of values by name", fields) end
  local names, out = {}, {}
  for name in next, fields do
    if type(name) ~= "string" then return nil, schema.unfit("names of parameters", name) end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = fields[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      if type(one) ~= "string" and type(one) ~= "boolean" and not math.type(one) then
        return nil, ("%s: %s"):format(name, schema.unfit("a string, a number, a boolean, or a list of them", one))
      end
      local text = math.type(one) and number_text(one) or not math.type(one) and tostring(one)
      if not text then return nil, ("%s: expected a finite number, got %s"):format(name, schema.show(one)) end
      out[#out + 1] = message.escape(name) .. "=" .. message.escape(text)
    end
  end
  return table.concat(out, "&")
end

local case = { __index = function(t, name) return type(name) == "string" and rawget(t, name:lower()) or nil end }

--- Makes a table of fields, whose names are in lower case, readable with names in any case.
function message.any_case(fields) return setmetatable(fields, case) end

-- Fields that kt writes itself, with the reason.
local own = {
  ["content-length"] = "kt counts the body", ["transfer-encoding"] = "kt chooses it", connection = "kt decides on it",
  ["keep-alive"] = "kt decides on it", trailer = "kt sends none",
}

--- Appends a script's fields to the lines of a head, in order of their names; returns their names in lower case, as a set. Raises for what
--- a message cannot hold.
function message.add_fields(env, lines, fields, what)
  local names = {}
  for name, value in next, fields or {} do
    local wrong
    if type(name) ~= "string" then wrong = "expected names of fields"
    elseif own[name:lower()] then wrong = ("%s: leave it out; %s"):format(name, own[name:lower()])
    elseif type(value) ~= "string" and not math.type(value) and type(value) ~= "table" then
      wrong = ("%s: expected a string, a number, or a list of strings"):format(name)
    end
    for _, one in ipairs(not wrong and (type(value) == "table" and value or { value }) or {}) do
      if (type(one) ~= "string" and not math.type(one)) or not env.http_field(name, tostring(one)) then
        wrong = ("%q: a field's name or value with a character that HTTP does not allow in it"):format(name)
      end
    end
    if wrong then error(("%s%s: headers: %s"):format(env.where(), what, wrong), 0) end
    names[#names + 1] = name
  end
  table.sort(names)
  local seen = {}
  for _, name in ipairs(names) do
    local value = fields[name]
    seen[name:lower()] = true
    for _, one in ipairs(type(value) == "table" and value or { value }) do lines[#lines + 1] = ("%s: %s"):format(name, one) end
  end
  return seen
end

local days = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" }
local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
local date, date_at

--- The date as the field of that name has it.
function message.date(env)
  local now = env.wall() // 1
  if date_at ~= now then
    local d = env.calendar(true)
    date_at = now
    date = ("%s, %02d %s %d %02d:%02d:%02d GMT"):format(days[d.weekday], d.day, months[d.month], d.year, d.hour, d.minute, d.second)
  end
  return date
end

return message
