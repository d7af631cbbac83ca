--- What completions offer (scripts/manual.lua): the values of flags that have only a few, and the names that kt help knows. Pure.
local measuring = require "kt.cli.measuring"
local options = require "kt.cli.options"

local values = {}

local FEW = 3 -- integers

-- The values of a row of kt.cli.options as words, or nil.
local function words(row)
  if row.values then return table.concat(row.values, " ") end
  if row.type ~= "int" or not row.max or row.max - row.min >= FEW then return nil end
  local list = {}
  for n = row.min, row.max do list[#list + 1] = ("%d"):format(n) end
  return table.concat(list, " ")
end

--- What kt help describes, as words: functions and modules, handles and records. Their text lists methods and fields.
local function described()
  local list, seen = { "kt.sim" }, {}
  for _, api in ipairs { require "kt.api", require "kt.sim.api" } do
    for _, symbol in ipairs(api.symbols()) do
      local name = symbol.name
      local of = name:match "^(.-)[.:]"
      if (not of or of == "kt" or of == "sim") and not seen[name] then list[#list + 1] = name end
      seen[name] = true
    end
  end
  table.sort(list)
  return table.concat(list, " ")
end

--- A line for each flag of a verb, "client --mode auto normal …", and one for each kind of argument, as help names it: "LEVEL debug info …".
--- DESCRIBED is what kt help describes.
function values.text()
  local out = {}
  local function add(verb, row)
    local list = words(row)
    if list then out[#out + 1] = ("%s --%s %s"):format(verb, row.name, list) end
  end
  for _, side in ipairs { "client", "server" } do
    for _, row in ipairs((options.of(side))) do add(side, row) end
  end
  local _, by_flag = options.of "client"
  for name, verb in pairs(measuring.by_name) do
    for _, flag in ipairs(verb.flags) do
      if by_flag[flag.name] then add(name, by_flag[flag.name]) end
    end
  end
  table.sort(out)
  out[#out + 1] = "LEVEL " .. words(by_flag.loglevel)
  out[#out + 1] = "KIND " .. words(by_flag.logformat)
  out[#out + 1] = "DESCRIBED " .. described()
  return table.concat(out, "\n") .. "\n"
end

return values
