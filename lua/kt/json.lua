--- JSON. The reader accepts what Go's encoding/json accepts, for kcptun's configuration files, and keeps the position of every value, so
--- that messages can name line and column. The writer does what `kt check --json` needs.
local json = {}

local DEPTH_MAX = 100

-- ---- reading ----

local escapes = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}
local REPLACEMENT = "\u{FFFD}" -- replaces invalid UTF-8, as in Go

--- Line and column, in characters, of a byte offset.
function json.place(text, at)
  local line, start = 1, 1
  for newline in text:sub(1, at - 1):gmatch "()\n" do line, start = line + 1, newline + 1 end
  local before = text:sub(start, at - 1)
  return line, (utf8.len(before) or #before) + 1
end

local function fail(at, message) error({ at = at, message = message }, 0) end

local function blank(text, at) return text:match("^[ \t\r\n]*()", at) end

-- Describes the text at an offset, for messages.
local function seen(text, at)
  if at > #text then return "the end of the file" end
  local char = text:match("^[\32-\126]", at) or text:match("^" .. utf8.charpattern, at)
  if char and char:find "^[^%c]" and utf8.len(char) then return "'" .. char .. "'" end
  return ("byte 0x%02x"):format(text:byte(at))
end

local function valid_utf8(text)
  local parts, from = {}, 1
  while true do
    local length, bad = utf8.len(text, from)
    if length then break end
    parts[#parts + 1] = text:sub(from, bad - 1) .. REPLACEMENT
    from = bad + 1
  end
  return table.concat(parts) .. text:sub(from)
end

-- The character of a \u escape whose hexadecimal digits begin at `at`, and the offset after it. A lone surrogate becomes U+FFFD.
local function unicode(text, at)
  local hex = text:match("^%x%x%x%x", at) or fail(at, "expected four hexadecimal digits after \\u")
  local code, after = tonumber(hex, 16), at + 4
  if code < 0xd800 or code > 0xdfff then return utf8.char(code), after end
  local low = tonumber(text:match("^\\u(%x%x%x%x)", after) or "0", 16)
  if code < 0xdc00 and low >= 0xdc00 and low <= 0xdfff then
    return utf8.char(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)), after + 6
  end
  return REPLACEMENT, after
end

-- The string with its opening quote at `at`, and the offset after its closing quote.
local function read_string(text, at)
  local parts, from = {}, at + 1
  while true do
    local stop = text:find('[\0-\31"\\]', from) or #text + 1
    parts[#parts + 1] = valid_utf8(text:sub(from, stop - 1))
    local char = text:sub(stop, stop)
    if char == '"' then return table.concat(parts), stop + 1 end
    if char == "" then fail(at, "missing the closing quote of a string") end
    if char ~= "\\" then fail(stop, ("expected \\n, \\t or the like in a string, got %s"):format(seen(text, stop))) end
    local escape = text:sub(stop + 1, stop + 1)
    if escape == "u" then
      parts[#parts + 1], from = unicode(text, stop + 2)
    else
      parts[#parts + 1] = escapes[escape] or fail(stop, ("unknown escape \\%s in a string"):format(escape))
      from = stop + 2
    end
  end
end

local function read_number(text, at)
  local after = text:match("^%-?0()", at) or text:match("^%-?[1-9]%d*()", at)
  if not after then fail(at, "expected a number after '-'") end
  after = text:match("^%.%d+()", after) or after
  after = text:match("^[eE][+-]?%d+()", after) or after
  if text:find("^[%w.+-]", after) then fail(at, "not a number: " .. text:match("^[%w.+-]+", at)) end
  return text:sub(at, after - 1), after
end

local read_value

-- The members of an object or the elements of an array, from the opening bracket at `at` to `close`.
local function read_list(text, at, close, depth, read_one)
  local list, from = {}, blank(text, at + 1)
  if text:sub(from, from) == close then return list, from + 1 end
  while true do
    list[#list + 1], from = read_one(text, from, depth)
    from = blank(text, from)
    local char = text:sub(from, from)
    if char == close then return list, from + 1 end
    if char ~= "," then fail(from, ("expected ',' or '%s', got %s"):format(close, seen(text, from))) end
    from = blank(text, from + 1)
    if text:sub(from, from) == close then fail(from, ("expected a value after ',', got '%s'"):format(close)) end
  end
end

local function read_member(text, at, depth)
  if text:sub(at, at) ~= '"' then fail(at, ("expected a name in double quotes, got %s"):format(seen(text, at))) end
  local name, after = read_string(text, at)
  after = blank(text, after)
  if text:sub(after, after) ~= ":" then
    fail(after, ("expected ':' after \"%s\", got %s"):format(name, seen(text, after)))
  end
  local value
  value, after = read_value(text, blank(text, after + 1), depth)
  return { name = name, at = at, value = value }, after
end

local words = { ["true"] = { "boolean", true }, ["false"] = { "boolean", false }, null = { "null" } }

function read_value(text, at, depth)
  if depth > DEPTH_MAX then fail(at, ("nested more than %d deep"):format(DEPTH_MAX)) end
  local char = text:sub(at, at)
  local value, after
  if char == "{" then
    value, after = read_list(text, at, "}", depth + 1, read_member)
    return { kind = "object", at = at, members = value }, after
  elseif char == "[" then
    value, after = read_list(text, at, "]", depth + 1, read_value)
    return { kind = "array", at = at, items = value }, after
  elseif char == '"' then
    value, after = read_string(text, at)
    return { kind = "string", at = at, value = value }, after
  elseif char:find "^[%d-]" then
    value, after = read_number(text, at)
    return { kind = "number", at = at, value = value }, after
  end
  local word = text:match("^%a+", at)
  if not words[word] then fail(at, ("expected a value, got %s"):format(word or seen(text, at))) end
  return { kind = words[word][1], at = at, value = words[word][2] }, at + #word
end

--- Reads the first value of a text. Returns it as { kind, at, ... }, where `at` is its offset in the text:
---   object   members: a list of { name, at, value }, in order, duplicates included
---   array    items
---   string, boolean   value
---   number   value: its text
---   null
--- and the offset of the text after it, or nil at the end. On a mistake: nil and { at, message }.
function json.read(text)
  local ok, value, after = pcall(function()
    local from = text:find "^\xef\xbb\xbf" and 4 or 1
    if text:find "^\xff\xfe" or text:find "^\xfe\xff" then fail(1, "the file is UTF-16; save it as UTF-8") end
    return read_value(text, blank(text, from), 1)
  end)
  if not ok then
    if type(value) ~= "table" then error(value, 0) end
    return nil, value
  end
  local rest = blank(text, after)
  return value, rest <= #text and rest or nil
end

-- ---- writing ----

local short = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(c) return short[c] or ("\\u%04x"):format(c:byte()) end

local function quoted(text)
  if not utf8.len(text) then text = text:gsub("[\x80-\xff]", "?") end -- JSON must be UTF-8
  return '"' .. text:gsub('[%c"\\]', escape) .. '"'
end

local function scalar(value)
  if value == nil then return "null" end
  if type(value) == "string" then return quoted(value) end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  error("json: cannot write a " .. type(value))
end

--- Writes a list of flat tables, one per line, each with the keys in `order`; null for a missing one.
function json.list(rows, order)
  local lines = {}
  for i, row in ipairs(rows) do
    local fields = {}
    for k, key in ipairs(order) do
      fields[k] = quoted(key) .. ": " .. scalar(row[key])
    end
    lines[i] = "  {" .. table.concat(fields, ", ") .. "}"
  end
  if #lines == 0 then return "[]\n" end
  return "[\n" .. table.concat(lines, ",\n") .. "\n]\n"
end

return json
