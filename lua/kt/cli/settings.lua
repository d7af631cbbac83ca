-- The effective settings of `kt client` and `kt server`: defaults, then $KCPTUN_KEY, then flags, then the JSON file of -c, as in kcptun. Every fault
-- is an error that names the flag or key and what is wanted; nothing falls back in silence.

local argparse = require "argparse"
local core = require "kt.core"
local options = require "kt.cli.options"
local suggest = require "kt.schema".suggest

local settings = {}

-- Raised by parse: { text = what to print, code = exit status }.
local function stop(text, code)
  error({text = text, code = code}, 0)
end

local function fail(side, fmt, ...)
  stop(("kt %s: " .. fmt .. "\n"):format(side, ...), 1)
end

-- Checks a value from outside (a flag's string, or what JSON held) against its row; returns it in the row's type.
local function check(side, row, value, where)
  local kind = row.type
  if kind == "bool" then
    if value == true or value == "true" or value == "1" then return true end
    if value == false or value == "false" or value == "0" then return false end
    fail(side, "%s: %s is neither true nor false", where, tostring(value))
  elseif kind == "int" then
    local n = math.tointeger(tonumber(value))
    if not n then fail(side, "%s: \"%s\" is not a whole number", where, tostring(value)) end
    if n < row.min or n > row.max then
      fail(side, "%s: %d is out of range, want %d to %d", where, n, row.min, row.max)
    end
    return n
  end
  if type(value) ~= "string" then fail(side, "%s: want a string, got %s", where, tostring(value)) end
  return value
end

-- kcptun's flags are Go's: a long flag may have one dash, and its value may look like a flag (a key that begins with a dash). argparse gets two dashes
-- and the value joined by "=".
local function normalize(args, by_name)
  local out, i = {}, 1
  while i <= #args do
    local arg = args[i]
    local name, equals = arg:match "^%-%-?(%a[%w%-]+)(=?)"
    local row = name and by_name[name]
    if name and arg:sub(2, 2) ~= "-" then arg = "-" .. arg end
    if row and row.type ~= "bool" and equals == "" and args[i + 1] then
      i = i + 1
      arg = arg .. "=" .. args[i]
    end
    out[#out + 1] = arg
    i = i + 1
  end
  return out
end

local function parser_for(side, list)
  local parser = argparse()
    :name("kt " .. side)
    :description(side == "client" and "Carries local TCP connections to a kcptun or kt server."
      or "Takes connections from kcptun or kt clients to a target.")
    :add_help(false)
    :usage_max_width(100):help_max_width(100)
    :help_vertical_space(0):help_description_margin(30)
  for _, row in ipairs(list) do
    local names = (row.short and "-" .. row.short .. " " or "") .. "--" .. row.name .. (row.alias and " --" .. row.alias or "")
    local help = row.help
    if row.type ~= "bool" and row.default ~= nil and row.default ~= "" then help = ("%s (default %s)"):format(help, row.default) end
    local option = parser:option(names):target(row.name):description(help):show_default(false)
    if row.type == "bool" then
      option:args "?":argname "<true|false>"
    else
      option:args(1):argname("<" .. (row.type == "int" and "n" or row.name) .. ">"):overwrite(true)
    end
  end
  parser:option "-c":target "c":argname "<file>":args(1)
    :description "a JSON file of these settings; it wins over flags"
  parser:flag "-h --help":target "help":description "show this help"
  parser:flag "-v --version":target "version":description "show the version"
  parser:usage(("Usage: kt %s [flags]"):format(side))
  return parser
end

local function apply_json(side, path, by_json, by_name, set, notes)
  local text, err = core.read_file(path)
  if not text then fail(side, "-c: %s", tostring(err)) end
  local config, parse_err = core.json_decode(text)
  if config == nil then fail(side, "-c %s: not valid JSON: %s", path, tostring(parse_err)) end
  if type(config) ~= "table" or config[1] ~= nil or text:find "^%s*%[" then fail(side, "-c %s: want an object of settings", path) end
  for key, value in pairs(config) do
    local row = by_json[key] or by_name[key]
    if not row then
      local known = {}
      for name in pairs(by_json) do known[#known + 1] = name end
      local hint = suggest(tostring(key), known)
      notes[#notes + 1] = ("%s: unknown setting \"%s\" is ignored%s"):format(path, tostring(key),
        hint and "; did you mean " .. hint .. "?" or "")
    elseif value ~= core.null then
      set(row, check(side, row, value, ("%s: %s"):format(path, key)), path)
    end
  end
end

-- Parses the command line of one side. Returns the settings by flag name, notes (warnings to log), and by flag name where a value came from (nil: its
-- default). Raises { text, code } when the program should print something and end.
function settings.parse(side, args)
  local list, by_name, by_json = options.of(side)
  local parser = parser_for(side, list)
  local ok, parsed = parser:pparse(normalize(args, by_name))
  if not ok then fail(side, "%s\nrun kt %s -h for the flags", parsed, side) end
  if parsed.help then stop(parser:get_help() .. "\n", 0) end
  if parsed.version then stop(("kt %s\n"):format(core.version), 0) end

  local values, from, notes = {}, {}, {}
  for _, row in ipairs(list) do values[row.name] = row.default end
  local function set(row, value, origin)
    values[row.name] = value
    from[row.name] = origin
  end
  local env = core.getenv "KCPTUN_KEY"
  if env then set(by_name.key, env, "$KCPTUN_KEY") end
  for _, row in ipairs(list) do
    local value = parsed[row.name]
    if type(value) == "table" then value = value[1] == nil and true or value[1] end -- a bool flag without a value
    if value ~= nil then set(row, check(side, row, value, "--" .. row.name), "--" .. row.name) end
  end
  if parsed.c then apply_json(side, parsed.c, by_json, by_name, set, notes) end

  if values.tcp then
    fail(side, "--tcp: kt does not fake TCP: raw sockets and firewall rules need root and break where the path keeps state; use UDP")
  end
  if values.pprof then
    fail(side, "--pprof: that is the profiler of Go programs; kt writes its counters on SIGUSR1, and perf can look into it")
  end
  if values.mode ~= "manual" then
    for _, name in ipairs {"nodelay", "interval", "resend", "nc"} do
      if from[name] then
        notes[#notes + 1] = ("%s is not used: mode %s sets it; choose mode manual to set it yourself"):format(from[name] == "--" .. name
          and from[name] or from[name] .. ": " .. name, values.mode)
      end
    end
  end
  if not from.key then
    notes[#notes + 1] = "the key is the default that everybody knows: set --key or $KCPTUN_KEY on both ends"
  end
  return values, notes, from
end

-- The table for kt.link or kt.accept.
function settings.link(values)
  local kcp = {mtu = values.mtu, sndwnd = values.sndwnd, rcvwnd = values.rcvwnd, acknodelay = values.acknodelay}
  if values.mode == "manual" then
    kcp.nodelay, kcp.nc = values.nodelay == 1, values.nc == 1
    kcp.interval, kcp.resend = values.interval, values.resend
  end
  return {
    wire = "kcptun",
    key = values.key,
    crypt = values.crypt,
    mode = values.mode,
    kcp = kcp,
    fec = values.datashard > 0 and values.parityshard > 0 and {data = values.datashard, parity = values.parityshard},
    compress = not values.nocomp,
    qpp = values.QPP and {pads = values.QPPCount},
    tuncrypt = values.tuncrypt,
    smux = {
      version = values.smuxver,
      buffer = values.smuxbuf,
      stream_buffer = values.streambuf,
      frame = values.framesize,
      keepalive = values.keepalive,
    },
    suspect_after = values.suspectpeer,
    dead_after = values.deadpeer,
    rate = values.ratelimit,
    dscp = values.dscp,
    sockbuf = values.sockbuf,
  }
end

return settings
