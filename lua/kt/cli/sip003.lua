-- kt sip003: kt client or kt server as a plugin of shadowsocks. SIP003 (shadowsocks.org/doc/sip003.html) passes four addresses and the
-- options in the environment; they become the flags of kt client, or of kt server if the options contain `server`.

local common = require "kt.cli.common"
local core = require "kt.core"
local options = require "kt.cli.options"
local suggest = require "kt.schema".suggest

local function fail(fmt, ...)
  core.stderr(("kt sip003: " .. fmt .. "\n"):format(...))
  core.exit(1)
end

-- Options to a list of { name, value or nil }. A backslash takes the next character as it is. Returns nil and a mistake.
local function parse(text)
  local list, part, equals, escaped = {}, {}, nil, false
  local function add()
    local all = table.concat(part)
    local name, value = all, nil
    if equals then name, value = all:sub(1, equals - 1), all:sub(equals) end
    if all ~= "" or equals then list[#list + 1] = { name, value } end
    part, equals = {}, nil
  end
  for c in text:gmatch "." do
    if escaped then
      part[#part + 1], escaped = c, false
    elseif c == "\\" then
      escaped = true
    elseif c == ";" then
      add()
    elseif c == "=" and not equals then
      equals = #part + 1
    else
      part[#part + 1] = c
    end
  end
  if escaped then return nil, "ends with a backslash; expected a character after it" end
  add()
  return list
end

-- "2001:db8::1" and "29900" → "[2001:db8::1]:29900"
local function address(host, port) return (host:find ":" and "[%s]:%s" or "%s:%s"):format(host, port) end

-- Addresses of a host as SIP003 joins them: "a|b".
local function addresses(hosts, port)
  local out = {}
  for host in hosts:gmatch "[^|]+" do out[#out + 1] = address(host, port) end
  return out
end

-- The wildcard addresses of both families become one, which a socket takes for both.
local function merged(listens, port)
  local all = {}
  for _, on in ipairs(listens) do all[on] = true end
  local six = all["[::]:" .. port] and "[::]:" .. port or "[::0]:" .. port
  local four = "0.0.0.0:" .. port
  if not (all[six] and all[four]) then return listens end
  local out = { ":" .. port }
  for _, on in ipairs(listens) do
    if on ~= six and on ~= four then out[#out + 1] = on end
  end
  return out
end

local taken = {
  localaddr = true, remoteaddr = true, listen = true, target = true, l = true, r = true, t = true, h = true, help = true, v = true, version = true,
}

-- The options as flags of one side.
local function flags_of(side, list, datagrams)
  local _, by_flag = options.of(side)
  local names, args = { "server" }, {}
  for name in pairs(by_flag) do
    if not taken[name] then names[#names + 1] = name end
  end
  table.sort(names)
  for _, option in ipairs(list) do
    local name, value = table.unpack(option)
    if taken[name] and by_flag[name] then return nil, ("%s: shadowsocks sets the addresses; leave it out"):format(name) end
    local row = by_flag[name]
    if not row then
      local near = suggest(name, names)
      return nil, ("%s: unknown option%s; kt %s -h lists them"):format(name, near and ("; did you mean %s?"):format(near) or "", side)
    end
    if name == "udp" then
      if value then return nil, "udp: takes no value; datagrams go where shadowsocks says" end
      value = datagrams
    elseif row.type ~= "bool" and not value then
      return nil, ("%s: expected %s=VALUE"):format(name, name)
    end
    args[#args + 1] = ("--%s%s"):format(row.name, value and "=" .. value or "")
  end
  return args
end

-- A message about a flag, as one about an option.
local function in_words(text)
  return (text:gsub("^kt %a+: ", "kt sip003: "):gsub("^(kt sip003: )%-%-?([%w]+)", "%1SS_PLUGIN_OPTIONS: %2"):gsub("%f[%-]%-%-(%a)", "%1"))
end

local function main()
  local at = {}
  for _, name in ipairs { "SS_REMOTE_HOST", "SS_REMOTE_PORT", "SS_LOCAL_HOST", "SS_LOCAL_PORT" } do
    local value = core.getenv(name)
    if not value or value == "" then
      return fail('%s is not set; shadowsocks sets it when it starts kt: "plugin": "kt", "plugin_opts": "key=SECRET"', name)
    end
    at[name] = value
  end
  for _, name in ipairs { "SS_REMOTE_PORT", "SS_LOCAL_PORT" } do
    local port = at[name]:find "^%d+$" and math.tointeger(tonumber(at[name]))
    if not port or port < 1 or port > 65535 then return fail('%s: expected a port from 1 to 65535, got "%s"', name, at[name]) end
  end
  local list, wrong = parse(core.getenv "SS_PLUGIN_OPTIONS" or "")
  if not list then return fail("SS_PLUGIN_OPTIONS: %s", wrong) end
  local side = "client"
  for i = #list, 1, -1 do
    if list[i][1] == "server" then
      if list[i][2] then return fail "SS_PLUGIN_OPTIONS: server: takes no value" end
      side = "server"
      table.remove(list, i)
    end
  end

  local outside, inside = addresses(at.SS_REMOTE_HOST, at.SS_REMOTE_PORT), address(at.SS_LOCAL_HOST, at.SS_LOCAL_PORT)
  local args
  args, wrong = flags_of(side, list, inside)
  if not args then return fail("SS_PLUGIN_OPTIONS: %s", wrong) end
  if side == "server" then outside = merged(outside, at.SS_REMOTE_PORT) end
  for _, addr in ipairs { inside, table.unpack(outside) } do
    local ok, fault = core.endpoint(addr, "")
    if not ok then return fail("SS_REMOTE_HOST, SS_LOCAL_HOST: %s", fault) end
  end
  local more = {}
  if side == "client" then
    table.move({ "--localaddr=" .. inside, "--remoteaddr=" .. outside[1] }, 1, 2, #args + 1, args)
    if #outside > 1 then more.remotes = outside end
  else
    table.move({ "--target=" .. inside, "--listen=" .. outside[1] }, 1, 2, #args + 1, args)
    if #outside > 1 then more.listens = outside end
  end
  return common.main(side, args, require("kt.cli." .. side), more, in_words)
end

main()
