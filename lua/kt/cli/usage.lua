-- The output of `kt client -h` and `kt server -h`: one flag per row, grouped and aligned, within 100 columns.

local options = require "kt.cli.options"
local units = require "kt.units"

local usage = {}

local COLUMNS = 100
local LEFT = 30 -- column of the help text, from 0

local about = {
  client = "Carry local TCP connections through a UDP tunnel to a kcptun or kt server.",
  server = "Accept tunnels from kcptun and kt clients and carry their connections to one target.",
}

local notes = {
  "Flags are kcptun's: one dash or two, the value after a space or \"=\". A flag without a value in this list is off unless given; "
    .. "--flag=false turns it off again. If a flag is repeated, the last one counts.",
  "A file given with -c is a JSON object with these names as keys (\"qpp\" and \"qpp-count\" for --QPP and --QPPCount), for example "
    .. '{"key": "secret", "mode": "fast2", "nocomp": true}.',
}

local function flag(row)
  local text
  if #row.name == 1 then
    text = "-" .. row.name
  else
    text = (row.short and "-" .. row.short .. ", " or "    ") .. "--" .. row.name .. (row.alias and ", --" .. row.alias or "")
  end
  return "  " .. text .. (row.arg and " " .. row.arg or "")
end

-- Wraps text to lines that fit into COLUMNS after `indent` spaces.
local function wrapped(text, indent)
  local lines, line = {}, nil
  for word in text:gmatch "%S+" do
    if line and indent + #line + 1 + #word > COLUMNS then
      lines[#lines + 1], line = line, nil
    end
    line = line and line .. " " .. word or word
  end
  lines[#lines + 1] = line
  for i = 1, #lines do lines[i] = lines[i]:gsub("\0", " ") end
  return lines
end

local function help(row)
  local default = row.default
  if row.type == "bool" or default == nil or default == "" or row.name == "key" then default = nil end
  if default and row.arg == "SIZE" then default = units.write("size", default) or default end
  local text = row.help
  if row.name == "crypt" then text = text .. ": " .. table.concat(row.values, ", ") end
  if row.name == "mode" then text = table.concat(row.values, ", ") .. ": " .. text end
  return default and ("%s (default\0%s)"):format(text, default) or text -- \0: a no-break space
end

--- The help of one side, "client" or "server".
function usage.text(side)
  local out = { ("usage: kt %s [FLAG...]"):format(side), "", about[side] }
  local list = options.of(side)
  for _, group in ipairs(options.groups) do
    out[#out + 1] = ""
    out[#out + 1] = group[2] .. ":"
    for _, row in ipairs(list) do
      if row.group == group[1] then
        local left = ("%-" .. LEFT .. "s"):format(flag(row))
        for _, line in ipairs(wrapped(help(row), LEFT)) do
          out[#out + 1] = left .. line
          left = (" "):rep(LEFT)
        end
      end
    end
  end
  for _, note in ipairs(notes) do
    out[#out + 1] = ""
    table.move(wrapped(note, 0), 1, #wrapped(note, 0), #out + 1, out)
  end
  return table.concat(out, "\n") .. "\n"
end

return usage
