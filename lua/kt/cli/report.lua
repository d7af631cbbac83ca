-- Reports of `kt client` and `kt server`: effective settings at the start, counters on SIGUSR1 and in the snmplog.

local core = require "kt.core"
local kt = require "kt"
local options = require "kt.cli.options"
local wire = require "kt.api.wire"

local report = {}

local WIDTH = 100 -- of a line of settings

-- A value as it is logged, with what its flag takes.
local function shown(row, value)
  if type(value) == "boolean" then return value and "on" or "off" end
  return tostring(value) .. (row.arg == "SECONDS" and " s" or "")
end

-- The value of a row to log, on kcptun's wire if the wires differ; nil if there is none.
local function common(row, values, from)
  local value = values[row.name]
  if row.secret then return "from " .. (from[row.name] or "the default") end
  if values.mode == "auto" and not from[row.name] and wire.sized(row.of) then return "auto" end
  if row.several and values[row.several] then return table.concat(values[row.several], " and ") end
  if type(value) == "table" then -- --udp of kt client
    local list = {}
    for i, udp in ipairs(value) do list[i] = udp.to and udp.at .. "=" .. udp.to or udp.at end
    value = table.concat(list, ",")
  end
  if value == nil or value == "" or value == false and not row.of and not row.wire then return nil end
  return shown(row, value)
end

-- The value of a row on kt's wire: from config if it was given, else the default.
local function native(row, side, config)
  local value = config[row.native]
  if value == nil then value = wire.native_setting(row.native, side == "client").default end
  return shown(row, value)
end

-- Logs "title: name value, name value, …", on as many lines as that takes.
local function say(title, list)
  local line = title
  for i, one in ipairs(list) do
    local text = one .. (i < #list and "," or "")
    if #line + #text >= WIDTH then
      kt.log.info("  %s", line)
      line = "  " .. text
    else
      line = line .. " " .. text
    end
  end
  if #list > 0 then kt.log.info("  %s", line) end
end

local speaks = { kcptun = "kcptun wire", kt = "kt wire", auto = "kt wire or kcptun wire" }

-- Logs the effective settings by the names of their flags, without the key. config: what settings.link made.
function report.settings(side, values, from, config)
  kt.log.info("kt %s %s, %s", side, core.version, speaks[values.wire])
  local both, on_kt, on_kcptun = {}, {}, {}
  for _, row in ipairs((options.of(side))) do
    if not row.when or row.when(values) then
      local function add(list, text) list[#list + 1] = text and row.name .. " " .. text end
      if row.native then add(on_kt, native(row, side, config)) end
      add(row.wire == "kt" and on_kt or (row.native or row.wire) and on_kcptun or both, common(row, values, from))
    end
  end
  say("settings:", both)
  if values.wire ~= "kcptun" then say("on kt's wire:", on_kt) end
  if values.wire ~= "kt" then say("on kcptun's wire:", on_kcptun) end
end

-- SIGUSR1: logs all counters, one per line, then the statistics of each link or acceptor.
function report.on_usr1(handles)
  core.on_signal("USR1", function()
    local lines = {}
    for _, c in ipairs(core.counters()) do lines[#lines + 1] = ("%s %d"):format(c[1], c[2]) end
    for _, handle in ipairs(handles) do
      local stats = handle:stats()
      local names = {}
      for name in pairs(stats) do names[#names + 1] = name end
      table.sort(names)
      if #handles > 1 then lines[#lines + 1] = tostring(handle) end
      for _, name in ipairs(names) do lines[#lines + 1] = ("%s %s"):format(name, tostring(stats[name])) end
    end
    core.log_text(table.concat(lines, "\n") .. "\n")
  end)
end

-- Go's reference time in a file name, as in kcptun.
local layout = {["2006"] = "%Y", ["01"] = "%m", ["02"] = "%d", ["15"] = "%H", ["04"] = "%M", ["05"] = "%S"}

local function file_name(path)
  local name = path:gsub("%%", "%%%%"):gsub("%d+", function(digits)
    return layout[digits] or (digits:gsub("2006", "%%Y"):gsub("0[1245]", layout):gsub("15", "%%H"))
  end)
  return core.date(name)
end

-- Appends the counters to the snmplog every `period` seconds; a new file begins with a header line.
function report.snmp(path, period)
  if path == "" or period == 0 then return end
  kt.spawn(function()
    local complained
    while true do
      kt.sleep(period)
      if core.replaced() then return end -- the new script writes the log
      local names, values = {"Unix"}, {core.date "%s"}
      for _, c in ipairs(core.counters()) do
        names[#names + 1] = c[1]
        values[#values + 1] = ("%d"):format(c[2])
      end
      local ok, err = core.append_row(file_name(path), table.concat(names, ",") .. "\n", table.concat(values, ",") .. "\n")
      if not ok and not complained then kt.log.warn("snmplog: %s", tostring(err)) end
      complained = not ok
    end
  end)
end

return report
