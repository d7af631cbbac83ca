-- The effective settings of `kt client` and `kt server`: defaults, then $KCPTUN_KEY, then flags, then the JSON file of -c, as in kcptun. A value is
-- used as given, changed with a warning, or refused with a message that names the flag or key; nothing is changed silently.

local flags = require "kt.cli.flags"
local json = require "kt.json"
local options = require "kt.cli.options"
local suggest = require "kt.schema".suggest
local units = require "kt.units"
local usage = require "kt.cli.usage"
local wire = require "kt.api.wire"

local settings = {}

-- Raised by parse: { text = what to print, code = exit status }.
local function stop(text, code)
  error({ text = text, code = code }, 0)
end

local function fail(side, fmt, ...)
  stop(("kt %s: " .. fmt .. "\n"):format(side, ...), 1)
end

-- ---- values ----

-- Handles a number that is out of range. Returns the number to use instead and a warning, or nil and the mistake.
local function out_of_range(row, n)
  local rule = n < row.min and row.low or n > row.max and row.high
  if type(rule) == "function" then rule = rule(n, row) end
  if not rule then return nil, ("expected %d to %d, got %d"):format(row.min, row.max, n) end
  return rule, ("%d is out of range (%d to %d); using %d"):format(n, row.min, row.max, rule)
end

local function unknown_name(row, value)
  local near = row.meant and row.meant[value:lower()] or suggest(value, row.values)
  return ('unknown value "%s"%s%s; expected one of %s'):format(value, near and ('; did you mean "%s"?'):format(near) or "",
    (near and " " or "; ") .. row.unknown, table.concat(row.values, ", "))
end

-- Converts a number with a unit, "8MiB". Returns nil and what was expected if it is none.
local function from_unit(row, text)
  if not row.unit then return nil, "an integer" end
  return units[row.unit](text)
end

-- Converts the text of a flag to its row's type. Returns nil and the mistake if that fails.
local function from_flag(row, text)
  if row.type == "bool" then
    if text == nil then return true end
    local value = flags.bool(text)
    if value == nil then return nil, ("expected true or false, got \"%s\""):format(text) end
    return value
  elseif row.type == "int" then
    local n, wanted = flags.int(text), nil
    if not n then n, wanted = from_unit(row, text) end
    if not n then return nil, ("expected %s, got \"%s\""):format(wanted, text) end
    return n
  end
  return text
end

local expected = { bool = "true or false", int = "an integer", string = "a string in quotes", enum = "a string in quotes" }

-- Converts a value of a configuration file to its row's type. Returns nil and the mistake, which never contains the key, if that fails.
local function from_json(row, node)
  if row.type == "bool" and node.kind == "boolean" then return node.value end
  if row.type == "int" and node.kind == "number" then
    local n = node.value:find "^%-?%d+$" and math.tointeger(tonumber(node.value))
    if n then return n end
  end
  local wanted = expected[row.type]
  if row.type == "int" and row.unit then
    local n = node.kind == "string" and from_unit(row, node.value)
    if n then return n end
    wanted = units.expected[row.unit]
  end
  if (row.type == "string" or row.type == "enum") and node.kind == "string" then return node.value end
  local got = node.kind == "object" and "an object" or node.kind == "array" and "an array" or "a " .. node.kind
  if not row.secret and (node.kind == "string" or node.kind == "number") then
    got = (node.kind == "string" and 'the string "%s"' or "%s"):format(node.value)
  elseif node.kind == "boolean" then
    got = tostring(node.value)
  end
  return nil, ("expected %s, got %s"):format(wanted, got)
end

-- ---- the configuration file ----

local a_kind = { array = "an array", string = "a string", number = "a number", boolean = "a boolean" }

local secrets = { pass = true, passwd = true, password = true, passphrase = true, psk = true, secret = true, pwd = true }

-- Whether an unknown setting may be a misspelled key for the shared secret.
local function looks_like_key(name)
  local letters = options.fold(name):gsub("[^%a]", "")
  return secrets[letters] or letters:find "key" or suggest(letters, { "key" }) ~= nil
end

-- The first member that looks like the key inside the value of an unknown setting, such as {"client": {"key": ...}}. json bounds the depth.
local function nested_key(node)
  for _, member in ipairs(node.members or {}) do
    if looks_like_key(member.name) then return member end
    local inner = nested_key(member.value)
    if inner then return inner end
  end
end

local function is_comment(name) return name:find "^[_#/]" or name:lower() == "comment" end

local File = {} -- a configuration file: { side, path, text, members }
File.__index = File

function File:at(offset) return ("%s: line %d, column %d"):format(self.path, json.place(self.text, offset)) end

-- The message for a key that is not a setting of this side.
function File:unknown(name, by_flag, by_json)
  local folded = options.fold(name)
  local other = self.side == "client" and "server" or "client"
  local theirs = select(3, options.of(other))[folded]
  if theirs then
    local ours = theirs.other and ('; for kt %s it is "%s"'):format(self.side, theirs.other) or ""
    return ('"%s" is a setting of kt %s%s'):format(name, other, ours)
  end
  for flag, row in pairs(by_flag) do
    if flag:lower() == folded and row.json then return ('"%s" is a flag only; in a file it is "%s"'):format(name, row.json) end
  end
  local known = {}
  for _, row in pairs(by_json) do known[#known + 1] = row.json end
  table.sort(known)
  local near = looks_like_key(name) and "key" or suggest(name, known)
  return ('unknown setting "%s"'):format(name) .. (near and ('; did you mean "%s"?'):format(near) or "")
end

-- The object of settings in the file at `path`.
local function open_file(side, path, env, notes)
  local text, err = env.read_file(path)
  if not text then fail(side, "-c: %s", tostring(err)) end
  local file = setmetatable({ side = side, path = path, text = text }, File)
  if not text:find "%S" then fail(side, "-c %s: the file is empty; expected a JSON object of settings", path) end
  local node, rest = json.read(text)
  if not node then fail(side, "-c %s: not valid JSON: %s", file:at(rest.at), rest.message) end
  if node.kind ~= "object" then fail(side, "-c %s: expected an object of settings, got %s", file:at(node.at), a_kind[node.kind] or node.kind) end
  if rest then notes[#notes + 1] = ("%s: everything from here on is ignored, as by kcptun"):format(file:at(rest)) end
  file.members = node.members
  return file
end

-- Reads the settings of a file; calls set(row, value, origin, place) for each. If something looks like the key but was not used, returns a
-- message about it.
local function read_file(file, by_flag, by_json, set, notes)
  local seen, missed = {}, nil
  local function note(member, text) notes[#notes + 1] = file:at(member.at) .. ": " .. text end
  for _, member in ipairs(file.members) do
    local row = by_json[options.fold(member.name)]
    local null = member.value.kind == "null"
    if not row then
      local wrong = file:unknown(member.name, by_flag, by_json)
      local nested = nested_key(member.value)
      if looks_like_key(member.name) then
        missed = file:at(member.at) .. ": " .. wrong
      elseif nested then
        missed = ('%s: "%s" is inside "%s"; settings are read from the outermost object only'):format(
          file:at(nested.at), nested.name, member.name)
      end
      if not is_comment(member.name) then note(member, "ignored: " .. wrong) end
    elseif null then
      if row.name == "key" then missed = file:at(member.at) .. ": the key is null" end
    else
      local value, wrong = from_json(row, member.value)
      if value == nil then fail(file.side, "-c %s: %s: %s", file:at(member.value.at), member.name, wrong) end
      if seen[row] then note(member, ('"%s" is set again; the last value counts'):format(member.name)) end
      seen[row] = true
      set(row, value, file.path, ("-c %s: %s"):format(file:at(member.value.at), member.name))
    end
  end
  return missed
end

-- ---- all settings ----

-- Checks ranges and names of the settings in use. where: row → the place of its value, for messages.
local function check(side, list, values, where, notes)
  for _, row in ipairs(list) do
    local value, at = values[row.name], where[row]
    local used = not row.when or row.when(values)
    if at and row.type == "int" and (value < row.min or value > row.max) then
      local n, text = out_of_range(row, value)
      if not n and used then fail(side, "%s: %s", at, text) end
      if used then notes[#notes + 1] = at .. ": " .. text end
      values[row.name] = n or row.default
    elseif at and row.type == "enum" then
      local known = false
      for _, name in ipairs(row.values) do known = known or name == value end
      if not known then fail(side, "%s: %s", at, unknown_name(row, value)) end
    end
  end
end

-- An address to dial without a host, or with the wildcard address, means this machine, as in Go.
local function dialled(address)
  return (address:gsub("^:", "127.0.0.1:"):gsub("^0%.0%.0%.0:", "127.0.0.1:"):gsub("^%[::%]:", "[::1]:"))
end

local function warn_of_unused(values, from, notes)
  if values.mode == "manual" or values.wire == "kt" then return end
  local unused = {}
  for _, name in ipairs { "nodelay", "interval", "resend", "nc" } do
    if from[name] then unused[#unused + 1] = name end
  end
  if #unused == 0 then return end
  notes[#notes + 1] = ("%s: not used, mode %s sets %s; choose mode manual to set %s yourself"):format(table.concat(unused, ", "),
    values.mode, #unused > 1 and "them" or "it", #unused > 1 and "them" or "it")
end

-- Changes a flag's value to what kt's own wire takes.
local function on_native(side, row, value)
  local range = wire.native_setting(row.kt, side == "client")
  return math.max(range.min, math.min(range.max, value))
end

-- Given settings that mean nothing, or something else, on the chosen wire.
local function warn_of_wire(side, list, values, from, notes)
  if values.wire == "kcptun" then return end
  local unused = {}
  for _, row in ipairs(list) do
    if from[row.name] and row.kt then
      local used = on_native(side, row, values[row.name])
      if used ~= values[row.name] then
        notes[#notes + 1] = ("%s: %d is out of range on wire kt; using %d there"):format(from[row.name], values[row.name], used)
      end
    elseif from[row.name] and values.wire == "kt" and row.wire == "kcptun" then
      unused[#unused + 1] = row.name
    end
  end
  if #unused > 0 then notes[#notes + 1] = ("%s: not used, wire kt has no such setting"):format(table.concat(unused, ", ")) end
end

local function warn_of_key(key, default, notes)
  local weak = key == "" and "empty" or key == default and "kcptun's default, which is public"
  if not weak then return end
  notes[#notes + 1] = ("the key is %s: anyone can read and use this tunnel; set --key or $KCPTUN_KEY on both ends"):format(weak)
end

-- The clients in a file, { name = key }, and the targets that they may name, { name = { patterns, where } }: lines "NAME KEY [PATTERNS]", blank
-- ones and those that begin with #.
local function read_clients(side, path, env)
  local text, err = env.read_file(path)
  if not text then fail(side, "--authorized: %s", tostring(err)) end
  local clients, reach, number = {}, {}, 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local name, key, patterns = line:match "^%s*(%S+)%s+(%S+)%s*(%S*)%s*$"
    if name and not name:find "^#" then
      if clients[name] then fail(side, "--authorized %s:%d: duplicate name %s", path, number, name) end
      clients[name] = key
      if patterns ~= "" then reach[name] = { patterns, ("--authorized %s:%d"):format(path, number) } end
    elseif line:find "%S" and not line:find "^%s*#" then
      fail(side, '--authorized %s:%d: expected NAME KEY [PATTERNS], got "%s"', path, number, line)
    end
  end
  return clients, reach
end

-- The client's UDP addresses: { at = where datagrams arrive, to = the target to ask for, or nil }.
local function read_udp(text)
  local out = {}
  for one in text:gmatch "[^,]+" do
    local at, to = one:match "^%s*([^=]-)%s*=%s*(.-)%s*$"
    out[#out + 1] = { at = at or one:match "^%s*(.-)%s*$", to = to }
  end
  return out
end

-- Parses the command line of one side. env: { getenv, read_file, version }. Returns the settings by flag name, warnings to log, and the origin
-- of each setting by flag name (nil for a default). Raises { text, code } if the program should print a text and exit.
function settings.parse(side, args, env)
  local list, by_flag, by_json = options.of(side)
  local given, wrong = flags.read(args, by_flag)
  if not given then fail(side, "%s\nrun kt %s -h for the flags", wrong, side) end

  local values, from, where, notes = {}, {}, {}, {}
  for _, row in ipairs(list) do values[row.name] = row.default end
  local function set(row, value, origin, place)
    values[row.name], from[row.name], where[row] = value, origin, place
  end
  local key = env.getenv "KCPTUN_KEY"
  if key then set(by_flag.key, key, "$KCPTUN_KEY", "$KCPTUN_KEY") end
  for _, flag in ipairs(given) do
    local value, mistake = from_flag(flag.row, flag.text)
    if value == nil then fail(side, "%s: %s", flag.as, mistake) end
    set(flag.row, value, flag.as, flag.as)
  end
  if values.help then stop(usage.text(side), 0) end
  if values.version then stop(("kt %s\n"):format(env.version), 0) end
  if values.c ~= "" then
    local missed = read_file(open_file(side, values.c, env, notes), by_flag, by_json, set, notes)
    if missed and not from.key then fail(side, "-c %s (no key is set, and kcptun's default is public)", missed) end
  end

  if not from.mode and wire.tuned(from) then values.mode = "fast" end -- flags that were given are obeyed
  check(side, list, values, where, notes)
  if values.tcp then
    fail(side, "--tcp: kt does not imitate TCP, which needs root, raw sockets and firewall rules and breaks where the path keeps state; use UDP")
  end
  if values.pprof then
    fail(side, "--pprof: kt has no Go profiler; SIGUSR1 writes its counters, and perf profiles it")
  end
  if values.remoteaddr then values.remoteaddr = dialled(values.remoteaddr) end
  if values.target then values.target = dialled(values.target) end
  -- kcptun's wire has no key pairs: it would let in clients without one.
  if values.privatekey ~= "" and values.wire == "auto" then values.wire = "kt" end
  warn_of_unused(values, from, notes)
  warn_of_wire(side, list, values, from, notes)
  local other = side == "client" and "serverkey" or "authorized"
  if (values.privatekey == "") ~= (values[other] == "") then fail(side, "expected both --privatekey and --%s, or neither", other) end
  if values.privatekey == "" then
    warn_of_key(values.key, by_flag.key.default, notes)
  elseif values.wire == "kcptun" then
    fail(side, "--privatekey: kcptun's wire has a shared key only; use --wire kt")
  end
  if values.udp ~= "" and values.wire == "kcptun" then fail(side, "--udp: kcptun's wire carries no datagrams; use --wire kt or --wire auto") end
  if side == "client" then values.udp = read_udp(values.udp) elseif values.udp ~= "" then values.udp = dialled(values.udp) end
  if side == "server" and values.authorized ~= "" then values.clients, values.reach = read_clients(side, values.authorized, env) end
  return values, notes, from
end

-- Sets config at a path such as "kcp.mtu".
local function put(config, path, value)
  local group, name = path:match "^(.*)%.(.*)$"
  if not group then config[path] = value return end
  if type(config[group]) ~= "table" then config[group] = {} end
  config[group][name] = value
end

-- The table for kt.link ("client") or kt.accept ("server"), without the address. from: origins as of parse. Only what was given goes in: the
-- wire, and mode auto, choose the rest.
function settings.link(side, values, from)
  local config = { wire = values.wire, key = (from.key or values.privatekey == "") and values.key or nil }
  for _, row in ipairs((options.of(side))) do
    local given = from[row.name] and (not row.when or row.when(values))
    if given and row.kt and values.wire ~= "kcptun" then put(config, row.kt, on_native(side, row, values[row.name])) end
    if given and row.of and not (values.wire == "kt" and row.wire == "kcptun") then put(config, row.of, values[row.name]) end
  end
  if values.wire == "kt" then return config end
  if not from.mode and values.mode ~= "auto" then config.mode = values.mode end -- because of other flags
  if from.nocomp then config.compress = not values.nocomp end
  if values.datashard == 0 or values.parityshard == 0 then config.fec = false end
  return config
end

return settings
