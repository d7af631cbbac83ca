--- kt ping, kt speed and kt doctor. The arguments are the command line with its verb.
local core = require "kt.core"
local doctor = require "kt.cli.doctor"
local kt = require "kt"
local measuring = require "kt.cli.measuring"
local probe = require "kt.cli.probe"
local settings = require "kt.cli.settings"
local verdict = require "kt.cli.verdict"
local wire = require "kt.api.wire"

local args = { ... }
local row = measuring.by_name[table.remove(args, 1)]
local out = core.stdout

local function fail(text, code)
  core.stderr(("kt %s: %s\n"):format(row.name, text))
  core.exit(code or measuring.UNREACHABLE)
end

--- Reads the command line; returns the verb's own values and those of kt client, and where these come from.
local function read()
  local own, rest = measuring.read(row, args)
  if not own then return fail(rest) end
  if own.help then
    out(measuring.help(row))
    core.exit(0)
  end
  local ok, values, notes, from = pcall(settings.parse, "client", rest, core)
  if not ok then
    if type(values) ~= "table" then error(values, 0) end
    return fail((values.text:gsub("^kt client: ", ""):gsub("%s+$", ""):gsub("kt client %-h", "kt " .. row.name .. " -h")))
  end
  if not from.remoteaddr then return fail("expected REMOTE, such as vps.example:29900; see kt " .. row.name .. " -h") end
  for _, note in ipairs(notes) do core.stderr(("kt %s: %s\n"):format(row.name, note)) end
  values.key = kt.secret(values.key)
  return own, values, from
end

local own, values, from = read()

-- A link to an address, with the settings of kt client, and more: those of kt.link, or other_smux, for the version of smux that these do not
-- have. Returns it and that version; nil if its wire has no smux.
local function dial(remote, more)
  local config, version = settings.link("client", values, from), nil
  if more and more.other_smux then
    if values.wire == "kt" then return nil end
    version = values.smuxver == 1 and 2 or 1
    config.smux = config.smux or {}
    config.smux.version, more = version, nil
  end
  if values.privatekey ~= "" then config.private_key, config.server_key = kt.secret_file(values.privatekey), values.serverkey end
  config.remote = remote
  for name, value in pairs(more or {}) do config[name] = value end
  return kt.link(config), version
end

local function ms(seconds) return ("%.1f ms"):format(seconds * 1e3) end
local function percent(share) return share and ("%.3g%%"):format(share * 100) or "?" end
local function mbit(rate) return ("%.1f Mbit/s"):format(rate * 8 / 1e6) end

--- Waits until the peer answers; returns the round trip and the link that it answers on, or ends the verb.
local function reach(link)
  local rtt, err = probe.reach(link, 10)
  if rtt then return rtt, link end
  if verdict.DROPPED[err.code] then
    local other, its, version = probe.other_smux(dial, values.remoteaddr)
    if other then
      core.stderr(("kt %s: the server speaks smux %d; kt client needs --smuxver %d\n"):format(row.name, version, version))
      return its, other
    end
  end
  local text = tostring(err):gsub("^link:probe: ", "")
  if verdict.DROPPED[err.code] then text = verdict.DROPS .. "; compare " .. verdict.COMPARE end
  local prefix = values.remoteaddr .. ": "
  return fail(text:sub(1, #prefix) == prefix and text or prefix .. text)
end

local run = {}

-- Prints what has been measured when SIGINT arrives, and returns the exit code; nil: there is nothing to print.
local interrupted

-- A ping by the link's own probes. begun(result): takes a function that returns the result so far.
local function ping_link(link, each, begun)
  local times, sent = {}, 0
  local function result() return { sent = sent, received = #times, rtt = probe.summary(times) } end
  begun(result)
  for i = 1, own.count do
    local began = kt.now()
    sent = i
    local rtt = link:probe { timeout = 3 }
    if rtt then
      times[#times + 1] = rtt
      each(i, rtt)
    end
    if i < own.count then kt.sleep(math.max(began + own.every - kt.now(), 0)) end
  end
  return result()
end

local function ping_report(result, echo)
  result.echo = echo
  local loss = result.sent > 0 and 1 - result.received / result.sent or 1
  if own.json then
    result.remote, result.loss = values.remoteaddr, loss
    out(core.json.encode(result) .. "\n")
  else
    out(("\n--- %s ---\n%d sent, %d received, %s lost"):format(values.remoteaddr, result.sent, result.received, percent(loss)))
    if result.there then out((" (%s there, %s back)"):format(percent(result.there), percent(result.back))) end
    out "\n"
    local r = result.rtt
    if r then out(("rtt min/avg/max/mdev = %.1f/%.1f/%.1f/%.1f ms\n"):format(r.min * 1e3, r.avg * 1e3, r.max * 1e3, r.mdev * 1e3)) end
  end
  return result.received > 0 and measuring.FINE or measuring.FINDINGS
end

function run.ping(link)
  local first
  first, link = reach(link)
  local stream, hello = probe.hello(link)
  local text = not own.json
  if text then
    out(("ping %s: %s\n"):format(values.remoteaddr, stream and ("%d bytes, kt %s"):format(probe.SIZE, hello.version or "?")
      or hello.code == "unsupported" and "the server speaks kcptun's wire, which has no echo; these are round trips of the link"
      or "the link's own packets, which are retransmitted if lost; no echo: " .. tostring(hello)))
  end
  local function each(number, rtt)
    if text then out(("%s: seq=%d time=%s\n"):format(values.remoteaddr, number, ms(rtt))) end
  end
  local function begun(so_far)
    interrupted = function() return ping_report(so_far(), stream ~= nil) end
  end
  if not stream then return ping_report(ping_link(link, each, begun), false) end
  stream:close()
  local train = { count = own.count, every = own.every, wait = math.max(1, 4 * first), got = each, begun = begun }
  return ping_report(probe.train(link, train), true)
end

function run.speed(link)
  link = select(2, reach(link))
  local result, code = { remote = values.remoteaddr }, measuring.FINE
  for _, way in ipairs { "up", "down" } do
    local function progress(rate)
      core.stderr(("\r%-4s %s   "):format(way, mbit(rate)))
    end
    local shown = core.stderr_terminal()
    local r, err = probe.transfer(link, way, own.seconds, { progress = shown and progress or nil })
    if shown then core.stderr "\r\27[K" end
    if not r then
      code = measuring.FINDINGS
      result[way] = { error = tostring(err) }
      if not own.json then
        out(("%-4s %s: %s\n"):format(way, err.code == "unsupported" and "cannot measure" or "failed", tostring(err)))
      end
    else
      result[way] = r
      if not own.json then
        out(("%-4s %s, %s retransmitted, rtt %s under load\n"):format(way, mbit(r.rate), percent(r.loss), r.rtt and ms(r.rtt.median) or "?"))
      end
    end
  end
  if own.json then out(core.json.encode(result) .. "\n") end
  return code
end

local marks = { ok = "ok", note = "note", finding = "FINDING", unknown = "unknown" }

-- The advice of the checks that are findings, each once, after the names of its checks.
local function advice_of(checks)
  local list, known = {}, {}
  for _, check in ipairs(checks) do
    if check.status == "finding" then
      local one = known[check.advice]
      if not one then
        one = { text = check.advice, names = {} }
        known[check.advice], list[#list + 1] = one, one
      end
      one.names[#one.names + 1] = check.name
    end
  end
  return list
end

local function doctor_report(facts, whole)
  local checks = verdict.checks(facts)
  local advice = advice_of(checks)
  for _, check in ipairs(checks) do
    if not own.json then out(("%-8s %-14s %s\n"):format(marks[check.status], check.name, check.text)) end
  end
  local code = not whole and measuring.INTERRUPTED or not facts.at and measuring.UNREACHABLE or #advice > 0 and measuring.FINDINGS or measuring.FINE
  if own.json then
    facts.checks, facts.exit = checks, code
    out(core.json.encode(facts) .. "\n")
    return code
  end
  if #advice > 0 then out "\nWhat to change:\n" end
  for i, one in ipairs(advice) do out(("%2d. %s: %s\n"):format(i, table.concat(one.names, ", "), one.text)) end
  if code == measuring.FINE then out "\nNothing to change.\n" end
  return code
end

function run.doctor(link)
  link:close()
  own.keepalive = from.keepalive and values.keepalive or wire.native_setting("keepalive", true).default
  local function step(text, facts)
    if facts then interrupted = function() return doctor_report(facts, false) end end
    if not own.json then core.stderr(("kt doctor: %s\n"):format(text)) end
  end
  local facts, err = doctor(values.remoteaddr, dial, own, step)
  if not facts then return fail(("%s: %s"):format(values.remoteaddr, tostring(err))) end
  return doctor_report(facts, true)
end

local declared, link = pcall(dial, values.remoteaddr)
if not declared then fail(tostring(link)) end
core.on_signal("INT", function() core.exit(interrupted and interrupted() or measuring.INTERRUPTED) end)
kt.spawn(function()
  local code = run[row.name](link)
  core.exit(code)
end)
