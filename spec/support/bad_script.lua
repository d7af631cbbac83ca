-- A misbehaving script and its neighbour. One script holds both ends of a tunnel, and a connection, the neighbour, carries echoed bytes
-- through it the whole time. The spec's code begins on line 6. It can use KEY, `far`, a link to the same process, `sink`, another one whose
-- streams lead nowhere, and `bad`, a listener without a handler. A script that floods uses `sink`: each stream of `far` is a connection to
-- the spec itself, which also does the neighbour's part and would be what is slow.
--
--   local w = bad_script.start(s, "bad:serve(function(conn) while true do end end)")
--   w.poke()                       -- connects to `bad`
--   w.says "task failed: …"        -- exactly this in the log; <n> stands for a number
--   w.neighbour_continues()
local h = require "harness"

local TUNNEL = [[
kt.accept { on = "127.0.0.1:%d", key = KEY, max_streams = 16384 }:serve(function(stream) kt.splice(stream, kt.connect { to = "127.0.0.1:%d" }) end)
local far = kt.link { remote = "127.0.0.1:%d", key = KEY, max_streams = 16384 }
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn) kt.splice(conn, far:open { timeout = "20s" }) end)
local bad = kt.listen { on = "127.0.0.1:%d" } local sink = kt.link { remote = "127.0.0.1:%d", key = KEY, max_streams = 16384, max_buffered = "512MiB" }
]]
local SINK = 'kt.accept { on = "127.0.0.1:%d", key = KEY, max_streams = 16384, max_buffered = "512MiB" }:serve(function(stream) stream:read(1) end)'

local bad_script = {}

--- The neighbour's echo: sends numbered blocks without end, each after the previous one has come back unchanged.
local function neighbour(port)
  local conn = assert(h.sockets.connect(port))
  local n = { rounds = 0 }
  h.loop.spawn(function()
    while not n.ending do
      local block = ("%08d "):format(n.rounds):rep(100)
      assert(conn:send(block))
      local back = conn:recv_exactly(#block, 30)
      if back ~= block then error(("round %d of the neighbour came back wrong"):format(n.rounds)) end
      n.rounds = n.rounds + 1
      h.loop.sleep(0.002)
    end
    conn:shutdown()
    local rest, err = conn:recv_all(30)
    n.rest, n.broke, n.ended = rest, err, true
  end)
  return n
end

local function pattern(text)
  return (text:gsub("%p", "%%%0"):gsub("%%<n%%>", "[%%d.]+"))
end
bad_script.pattern = pattern

--- Starts the script with this text and options of `kt run`. limit: of descriptors.
function bad_script.start(s, text, options)
  options = options or {}
  local udp, near, bad, sink = h.sockets.free_port "udp", h.sockets.free_port "tcp", h.sockets.free_port "tcp", h.sockets.free_port "udp"
  local echo = h.transfer.echo()
  local head = ('local kt = require "kt" local KEY = %q '):format(h.key) .. SINK:format(sink) .. "\n" .. TUNNEL:format(udp, echo.at, udp, near, bad, sink)
  local path = s.write("s.lua", head .. text)
  local p
  if options.descriptors then
    p = s.limited(options.descriptors, "run", path)
  elseif options.memory then
    p = s.kt("run", "--memory", options.memory, path)
  else
    p = s.kt("run", path)
  end
  p:wait_tcp(near)
  local w = { process = p, near = near, bad = bad, udp = udp, echo = echo }
  local n = neighbour(near)

  --- Waits until the neighbour has exchanged more blocks.
  function w.neighbour_continues()
    local from = n.rounds
    h.loop.eventually("more blocks of the neighbour", 30, function() return n.rounds >= from + 10 end)
  end

  --- Connects to the bad listener, and returns the conn; nil if it was reset at once.
  function w.poke()
    p:wait_tcp(bad)
    return (h.sockets.connect(bad))
  end

  --- Waits for the sentence in the log, whole lines or parts of them.
  function w.says(sentence, seconds)
    local wanted = pattern(sentence)
    p:wait_for(("'%s'"):format(sentence), seconds or 30, function() return p.stderr:find(wanted) end)
  end

  --- Waits for a line on stdout.
  function w.prints(line, seconds)
    p:wait_for(("'%s'"):format(line), seconds or 30, function() return ("\n" .. p.stdout):find("\n" .. line .. "\n", 1, true) end)
  end

  --- How many times the log contains it.
  function w.times(sentence) return select(2, p:logged():gsub(pattern(sentence), "")) end

  --- Checks that the neighbour can end its half and then gets only the end, that new connections are served, and that the process ends on
  --- SIGTERM.
  function w.finish()
    w.neighbour_continues()
    local another = assert(h.sockets.connect(near))
    another:send "more"
    assert(another:recv_exactly(4, 30) == "more")
    another:close()
    n.ending = true
    h.loop.eventually("the neighbour's end", 30, function() return n.ended end)
    assert(n.rest == "" and not n.broke, "the neighbour was cut off: " .. tostring(n.broke))
    p:signal_with "sigterm"
    if not pcall(p.wait_exit, p, 1) then p:signal_with "sigterm" end -- do not wait for a script that hangs
    local code, signal = p:wait_exit(20)
    assert(signal == 0, "it ended by signal " .. signal)
    return code
  end

  w.neighbour_continues()
  return w
end

--- Where a task failed, for `misbehave`. Each case has a task of its own line, since of many failures in one place kt logs only the first.
bad_script.AT = " (at s.lua:<line>; spawned at s.lua:<line>)"

--- Checks many mistakes in one process. Each case is { what it is, the body of a handler, one or more sentences of the log }. A
--- connection's first two bytes choose its case. In a sentence, <line> stands for the case's line.
--- Expects each connection to end, by a reset if its task failed, and the neighbour to continue. every: under the sanitizers only every
--- second or third case, for those that use half a second of processor time each.
function bad_script.misbehave(s, cases, options, every)
  if h.light and every then
    local some = {}
    for i = 1, #cases, every do some[#some + 1] = cases[i] end
    cases = some
  end
  local text, first = { "local cases = {}" }, 7 -- the first case's line
  for i, case in ipairs(cases) do
    text[#text + 1] = ("cases[%d] = function(conn) kt.spawn(function(conn) %s end, conn) end"):format(i, (case[2]:gsub("%s+", " ")))
  end
  text[#text + 1] = "bad:serve(function(conn) cases[tonumber(conn:read_exactly(2))](conn) end)"
  h.run(function()
    local w = bad_script.start(s, table.concat(text, "\n"), options)
    for i, case in ipairs(cases) do
      w.process:mark()
      local conn = assert(w.poke(), case[1])
      conn:send(("%02d"):format(i))
      for _, said in ipairs(type(case[3]) == "table" and case[3] or { case[3] }) do
        w.says((said:gsub("<line>", first + i - 1)))
      end
      local data, err = conn:recv(20)
      w.process:logged()
      local reset = w.process.since.stderr:find "task failed" and "ECONNRESET" or nil
      if data or err ~= reset then error(("%s: expected %s, got %s, %s"):format(case[1], reset or "the end", data, err)) end
      w.neighbour_continues()
    end
    w.finish()
  end, 30 + 10 * #cases)
end

--- Runs the whole check: pokes the script, waits for its log line, and checks that the neighbour continues before, during and after.
--- Returns the world.
function bad_script.misbehaves(s, text, said, options)
  local result
  h.run(function()
    local w = bad_script.start(s, text, options)
    local conn = w.poke()
    w.neighbour_continues()
    for _, sentence in ipairs(type(said) == "table" and said or { said }) do w.says(sentence) end
    w.neighbour_continues()
    if conn then conn:close() end
    w.finish()
    result = w
  end)
  return result
end

return bad_script
