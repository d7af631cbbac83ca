-- A script that does wrong, and its neighbour. One kt holds both ends of a tunnel, all in one script; a connection goes through it and
-- carries echoed bytes all the while. What the spec adds begins on line 6, and has: `far`, a link to the same process; `bad`, a listener
-- that nobody serves yet.
--
--   local w = bad_script.start(s, "bad:serve(function(conn) while true do end end)")
--   w.poke()                       -- connects to `bad`
--   w.says "task failed: …"        -- exactly this in the log; <n> stands for a number
--   w.neighbour_goes_on()
local h = require "harness"

local TUNNEL = [[
kt.accept { on = "127.0.0.1:%d", key = "k", max_streams = 16384 }:serve(function(stream) kt.splice(stream, kt.connect { to = "127.0.0.1:%d" }) end)
local far = kt.link { remote = "127.0.0.1:%d", key = "k", max_streams = 16384 }
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn) kt.splice(conn, far:open { timeout = "20s" }) end)
local bad = kt.listen { on = "127.0.0.1:%d" }
]]

local bad_script = {}

--- The echo that never stops: counted blocks, each of which has to come back as it was before the next one goes out.
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

--- Starts it, formatted into nothing; what follows the text are options of `kt run`. limit: of descriptors.
function bad_script.start(s, text, options)
  options = options or {}
  local udp, near, bad = h.sockets.free_port "udp", h.sockets.free_port "tcp", h.sockets.free_port "tcp"
  local echo = h.transfer.echo()
  local path = s.write("s.lua", 'local kt = require "kt"\n' .. TUNNEL:format(udp, echo.at, udp, near, bad) .. text)
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

  --- Waits until the neighbour has exchanged some more.
  function w.neighbour_goes_on()
    local from = n.rounds
    h.loop.eventually("the neighbour to go on", 30, function() return n.rounds >= from + 10 end)
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

  --- How often the log has it.
  function w.times(sentence) return select(2, p.stderr:gsub(pattern(sentence), "")) end

  --- The neighbour ends its half, and gets the end and nothing else; new connections are served; the process ends when asked to.
  function w.finish()
    w.neighbour_goes_on()
    local anew = assert(h.sockets.connect(near))
    anew:send "anew"
    assert(anew:recv_exactly(4, 30) == "anew")
    anew:close()
    n.ending = true
    h.loop.eventually("the neighbour's end", 30, function() return n.ended end)
    assert(n.rest == "" and not n.broke, "the neighbour was cut off: " .. tostring(n.broke))
    p:signal_with "sigterm"
    if not pcall(p.wait_exit, p, 1) then p:signal_with "sigterm" end -- a script that hangs is not waited for
    local code, signal = p:wait_exit(20)
    assert(signal == 0, "it ended by signal " .. signal)
    return code
  end

  w.neighbour_goes_on()
  return w
end

--- A whole story: the script is poked, says so, and its neighbour goes on before, meanwhile and after. Returns what there is to look at.
function bad_script.misbehaves(s, text, said, options)
  local result
  h.run(function()
    local w = bad_script.start(s, text, options)
    local conn = w.poke()
    w.neighbour_goes_on()
    for _, sentence in ipairs(type(said) == "table" and said or { said }) do w.says(sentence) end
    w.neighbour_goes_on()
    if conn then conn:close() end
    w.finish()
    result = w
  end)
  return result
end

return bad_script
