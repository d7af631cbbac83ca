--- The verbs that talk to a running kt: status, top, list, reload, drain, log, events, close, trace, repl. One table describes them; their
--- help, man pages and completions come from it. The arguments are the paths of control sockets, "--", and the command line.
local core = require "kt.core"
local kt = require "kt"
local verbs = require "kt.cli.verbs"
local instances = require "kt.cli.instances"
local status = require "kt.cli.status"
local top = require "kt.cli.top"

local out = core.stdout

local function fail(verb, text, code)
  core.stderr(("kt %s: %s\n"):format(verb.name, text))
  core.exit(code or 1)
end

local function lines(list) out(table.concat(list, "\n") .. "\n") end

local run = {}

--- Prints the result as JSON.
local function json(value) out(core.json.encode(value) .. "\n") end

--- The status with at most `most` conns of each script; with fewer, if the answer would be too large.
local function status_of(kt_, most)
  local s, err
  repeat
    s, err = kt_:ask("status", { max = most })
    if s or err.code ~= "limit" then break end
    most = most // 2
  until most == 0
  return s, err
end

function run.status(_, kt_, flags)
  local most = flags.conns or "1000"
  local s, err = status_of(kt_, math.tointeger(tonumber(most)) or most)
  if not s then return nil, err end
  if flags.json then json(s) else lines(status.lines(s)) end
  return true
end

function run.reload(_, kt_)
  local text, err = kt_:ask("reload", nil, 60)
  if not text then return nil, { message = "failed; still running the previous script: " .. err.message } end
  out(text .. "\n")
  return true
end

function run.drain(_, kt_, flags)
  local r, err = kt_:ask "drain"
  if not r then return nil, err end
  out(("ending; %d %s %g s to finish\n"):format(r.conns, r.conns == 1 and "conn or stream has" or "conns and streams have", r.seconds))
  if flags.wait then kt_:next() end -- until the socket is closed
  return true
end

function run.log(_, kt_, _, level)
  local now, err = kt_:ask("log", { level = level })
  if not now then return nil, err end
  out(now .. "\n")
  return true
end

function run.events(_, kt_, flags)
  local ok, err = kt_:ask "events"
  if not ok then return nil, err end
  core.stderr(("kt events: following %s (pid %d)\n"):format(kt_.is.name, kt_.is.pid))
  while true do
    local line, why = kt_:next()
    if not line then return nil, { message = why.code == "eof" and "it has ended" or tostring(why) } end
    local e = line.event
    if flags.json then
      json(e)
    else
      out(status.event(e, core.date "%Y-%m-%d %H:%M:%S") .. "\n")
    end
    if core.stdout_failed() then return true end
  end
end

function run.close(verb, kt_, _, id)
  local n = math.tointeger(tonumber(id))
  if not n then return nil, { message = ("%s: expected the number of a conn or a stream, as kt status shows it"):format(id) } end
  local ok, err = kt_:ask("close", { conn = n })
  if not ok then return nil, err end
  out(("closed %d\n"):format(n))
  return true, verb
end

--- Shows the screen until a key ends it. Keys are read while waiting for the next second.
local function watch(kt_, input)
  local screen, due = top.new(), 0
  while true do
    local now = kt.now()
    if now >= due then
      local s, err = status_of(kt_, 2000)
      if not s then return nil, err end
      top.update(screen, s, now)
      due = now + 1
    end
    local columns, rows = core.input_size(input)
    out(top.frame(top.lines(screen, columns or 80, rows or 24)))
    local text, err = core.read_input(input, math.max(due - kt.now(), 0.001))
    if text == "" or (text and not top.key(screen, text)) then return true end
    if not text and err.code ~= "timeout" then return nil, { message = tostring(err) } end
  end
end

function run.top(_, kt_)
  local input, err = core.open_input(true)
  if not input then return nil, { message = tostring(err) } end
  local ok, wrong = watch(kt_, input)
  core.close_input(input)
  if ok then return true end
  return nil, { message = wrong.code == "eof" and kt_.is.name .. " has ended" or wrong.message }
end

local function count(flags, name)
  local text = flags[name]
  local n = text and math.tointeger(tonumber(text))
  if text and not (n and n > 0) then return nil, { message = ("--%s: expected an integer from 1, got %s"):format(name, text) } end
  return n or math.huge
end

local interrupt = nil -- what SIGINT does to kt trace; nil: end it

--- Writes packets until one of the limits is reached, SIGINT arrives, or the file cannot be written. Returns how many, how many were left out,
--- and why it ended early.
local function capture(kt_, file, path, packets, seconds)
  local wrong
  local function check(ok, why)
    if not ok then wrong = wrong or path .. ": " .. why end
  end
  local tracer = require("kt.cli.capture").new(function(bytes) check(file:write(bytes)) end)
  local n, stopped = 0, false
  local function stop() -- once: kt then sends what waits, and the last count
    if stopped then core.exit(130) end
    stopped = true
    kt_.conn:shutdown()
  end
  interrupt = stop
  if seconds < math.huge then kt.after(seconds, function() if not stopped then stop() end end) end
  while n < packets and not wrong do
    local line, err = kt_:next(stopped and 5 or nil)
    if not line then
      if not (stopped and err.code == "eof") then wrong = err.code == "eof" and kt_.is.name .. " has ended" or tostring(err) end
      break
    elseif line.packet then
      tracer:packet(line.packet)
      n = n + 1
      if n % 64 == 0 then check(file:flush()) end
    elseif line.dropped then
      tracer:missing(false, line.dropped["in"])
      tracer:missing(true, line.dropped.out)
    end
  end
  return n, tracer:finish(), wrong
end

function run.trace(_, kt_, flags, link, path)
  local packets, wrong = count(flags, "packets")
  if not packets then return nil, wrong end
  local seconds
  seconds, wrong = count(flags, "seconds")
  if not seconds then return nil, wrong end
  local ok, err = kt_:ask("trace", { link = link })
  if not ok then return nil, err end
  local file, why = io.open(path, "wb")
  if not file then return nil, { message = why } end
  core.stderr(("kt trace: writing %s of %s to %s\n"):format(link, kt_.is.name, path))
  local n, dropped, ended = capture(kt_, file, path, packets, seconds)
  local written, failed = file:close() -- flushes; the last packets may not fit
  if not written then ended = ended or path .. ": " .. failed end
  out(("%d packets, %d left out\n"):format(n, dropped))
  if ended then return nil, { message = ended } end
  return true
end

--- Calls evaluate(code) for each statement read; it returns true, or nil and a message. Returns whether all worked.
local function read_statements(input, prompt, evaluate)
  local typed, code, fine = "", "", true
  local function say(text) if prompt then out(text) end end
  say((prompt or "") .. "> ")
  while true do
    local text = core.read_input(input)
    local ends = text == nil or text == ""
    typed = typed .. (text or "")
    if ends and typed .. code ~= "" then typed = typed .. "\n" end
    for line in typed:gmatch "([^\n]*)\n" do
      code = code .. line .. "\n"
      local ok, wrong = true, nil
      if code:find "%S" then ok, wrong = evaluate(code) end
      if ok or ends or line == "" or not wrong:find "near <eof>$" then
        if not ok then core.stderr(wrong .. "\n") end
        code, fine = "", fine and ok
      end
      say(code == "" and (prompt or "") .. "> " or ">> ")
    end
    typed = typed:match "[^\n]*$"
    if ends then
      say "\n"
      return fine
    end
  end
end

function run.repl(_, kt_, flags)
  if not kt_.is.eval then return nil, { message = "not allowed; start it with kt run --allow-eval" } end
  local seconds = flags.timeout and tonumber(flags.timeout) or 10
  local input, err = core.open_input(false)
  if not input then return nil, { message = tostring(err) } end
  local terminal = core.input_size(input) ~= nil
  local fine = read_statements(input, terminal and kt_.is.name, function(code)
    local values, wrong = kt_:ask("eval", { code = code, timeout = seconds }, seconds + 10)
    if not values then return nil, wrong.message end
    for _, value in ipairs(values) do out(value .. "\n") end
    return true
  end)
  if fine or terminal then return true end
  return core.exit(1)
end

local function list(verb, paths, flags)
  local found, foreign = instances.all(paths)
  if flags.json then
    local rows = {}
    for i, one in ipairs(found) do
      one.is.socket = one.path
      rows[i] = one.is
    end
    json(core.json.array(rows))
  elseif flags.names then
    for _, one in ipairs(found) do out(one.is.name .. "\n") end
  elseif #found > 0 then
    lines(status.list(found))
  else
    return fail(verb, instances.none(foreign), verbs.NONE)
  end
  return core.exit(0)
end

local function main(verb, paths, flags, operands)
  if flags.control then paths = { flags.control } end
  if verb.name == "list" then return list(verb, paths, flags) end
  local instance, wrong, several
  if flags.control then
    instance, wrong = instances.connect(flags.control)
  else
    instance, wrong, several = instances.pick(paths, operands.name)
  end
  if not instance then
    if flags.quiet then return core.exit(verbs.NONE) end
    core.stderr(("kt %s: %s\n"):format(verb.name, wrong))
    if several and #several > 0 then core.stderr(table.concat(status.list(several), "\n") .. "\n") end
    return core.exit(verbs.NONE)
  end
  local ok, err = run[verb.name](verb, instance, flags, table.unpack(operands))
  if not ok then return fail(verb, err.message) end
  return core.exit(0)
end

local paths, args = {}, { ... }
while args[1] ~= "--" do paths[#paths + 1] = table.remove(args, 1) end
table.remove(args, 1)
local verb = verbs.by_name[table.remove(args, 1)]
local flags, operands = verbs.read(verb, args)
if not flags then
  core.stderr(("kt %s: %s\n%s"):format(verb.name, operands, verbs.help(verb)))
  core.exit(1)
elseif flags.help then
  out(verbs.help(verb))
  core.exit(0)
end
core.drain_timeout(0) -- a signal ends it at once
if verb.name == "trace" then core.on_signal("INT", function() if interrupt then interrupt() else core.exit(130) end end) end
kt.spawn(main, verb, paths, flags, operands)
