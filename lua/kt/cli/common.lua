-- The code that `kt client` and `kt server` share.

local core = require "kt.core"
local kt = require "kt"
local options = require "kt.cli.options"
local report = require "kt.cli.report"
local serve_status = require "kt.cli.http"
local settings = require "kt.cli.settings"

local common = {}

-- Flags for paths in API messages. Paths of settings are not here: their flags are in kt.cli.options.
local flags = {
  link = { remote = "--remoteaddr", key = "--key" },
  accept = { on = "--listen", key = "--key" },
  listen = { on = "--localaddr", udp = "--udp", proxy_from = "--acceptproxy" },
}

-- An API message with flags in place of paths: "link.kcp.mtu: ..." → "--mtu: ...".
local function in_flags(side, text)
  local of_setting = {}
  for _, row in ipairs((options.of(side))) do
    for _, path in pairs { row.of, row.kt } do of_setting[path] = "--" .. row.name end
  end
  of_setting["fec.parity"] = "--datashard and --parityshard" -- messages about it are about their sum
  return (text:gsub("(%a+)%.([%a_%.]+)%[?%d*%]?:", function(place, key)
    local flag = flags[place] and (flags[place][key] or of_setting[key])
    return flag and flag .. ":"
  end))
end

-- Parses the arguments, calls declare(values, origins), which returns a list of its links or acceptors and their settings, and logs the effective
-- settings. Exits after printing help or a mistake. The others may be nil. more: settings that have no flag, by name; in_words: changes the text
-- of a mistake to name settings as the user gave them.
function common.main(side, args, declare, more, in_words)
  core.wipe()
  local ok, values, notes, from = pcall(settings.parse, side, args, core)
  if not ok then
    local stop = values
    if type(stop) ~= "table" then error(stop, 0) end
    if stop.code == 0 then core.stdout(stop.text) else core.stderr(in_words and in_words(stop.text) or stop.text) end
    return core.exit(stop.code)
  end
  for name, value in pairs(more or {}) do values[name] = value end
  local level_ok, level_err = core.log_level(values.loglevel)
  if not level_ok then
    core.stderr(("kt %s: --loglevel: %s\n"):format(side, tostring(level_err)))
    return core.exit(1)
  end
  local format_ok, format_err = core.log_format(values.logformat)
  if not format_ok then
    core.stderr(("kt %s: --logformat: %s\n"):format(side, tostring(format_err)))
    return core.exit(1)
  end
  if values.logformat == "journald" and values.log ~= "" then
    core.stderr(("kt %s: --log: not with --logformat journald; for a file, set logformat to text\n"):format(side))
    return core.exit(1)
  end
  if values.log ~= "" then
    local opened, err = core.log_file(values.log)
    if not opened then
      core.stderr(("kt %s: --log: %s\n"):format(side, tostring(err)))
      return core.exit(1)
    end
  end
  if values.control ~= "" and not core.control(values.control) then
    core.stderr(("kt %s: --control: the path of a socket is at most 107 bytes long\n"):format(side))
    return core.exit(1)
  end
  if values.httptoken ~= "" and values.http == "" then
    core.stderr(("kt %s: --httptoken: only with --http\n"):format(side))
    return core.exit(1)
  end
  values.key = kt.secret(values.key) -- the only copy that stays
  local declared, handles, config = pcall(function()
    if values.http ~= "" then serve_status(values.http, values.httptoken ~= "" and values.httptoken or nil, { on = "--http", token = "--httptoken" }) end
    return declare(values, from)
  end)
  if not declared then
    local text = ("kt %s: %s\n"):format(side, in_flags(side, tostring(handles)))
    core.stderr(in_words and in_words(text) or text)
    return core.exit(1)
  end
  report.settings(side, values, from, config)
  for _, note in ipairs(notes) do kt.log.warn("%s", note) end
  local file = from.key and not from.key:find "^[-$]" and from.key
  if file and core.exposed(file) then
    kt.log.warn("%s holds the key and every user can read it; chmod 600 %s", file, file)
  end
  report.on_usr1(handles)
  report.snmp(values.snmplog, values.snmpperiod)
end

local function size(n)
  if n < 10000 then return ("%d B"):format(n) end
  if n < 10000000 then return ("%.1f kB"):format(n / 1e3) end
  return ("%.1f MB"):format(n / 1e6)
end

-- Splices a conn and a stream, in the order of a and b, and logs the opening and closing unless quiet.
function common.join(a, b, conn, what, values)
  if not values.quiet then kt.log.info("open %s", what) end
  conn:set { user_timeout = values.usertimeout }
  local sum, err = kt.splice(a, b, {linger = values.closewait})
  if values.quiet then return end
  if not sum then return kt.log.info("closed %s: %s", what, tostring(err)) end
  kt.log.info("closed %s: %s out, %s in, %.1f s, %s%s", what, size(sum.a_to_b), size(sum.b_to_a), sum.duration,
    tostring(sum.reason), sum.cause and (" (%s)"):format(tostring(sum.cause)) or "")
end

-- Splices two flows. Logs the opening and closing only at level debug, since a flow may be a single question.
function common.relay(a, b, what, values)
  kt.log.debug("open %s", what)
  local sum, err = kt.splice(a, b, {idle = values.udpidle})
  if not sum then return kt.log.debug("closed %s: %s", what, tostring(err)) end
  kt.log.debug("closed %s: %s out, %s in, %.1f s, %s", what, size(sum.a_to_b), size(sum.b_to_a), sum.duration, sum.reason)
end

return common
