--- Writes JSON, as far as `kt check --json` needs it.
local json = {}

local short = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(c) return short[c] or ("\\u%04x"):format(c:byte()) end

local function quoted(text)
  if not utf8.len(text) then text = text:gsub("[\x80-\xff]", "?") end -- JSON is UTF-8 or nothing
  return '"' .. text:gsub('[%c"\\]', escape) .. '"'
end

local function scalar(value)
  if value == nil then return "null" end
  if type(value) == "string" then return quoted(value) end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  error("json: cannot write a " .. type(value))
end

--- A list of flat tables, one a line; each has the keys in `order`, null where it lacks one.
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
