-- A misbehaving script and its neighbour. One script holds both ends of a tunnel, and a connection, the neighbour, carries echoed bytes
-- through it the whole time. The spec's code begins on line 6. It can use `far`, a link to the same process, and `bad`, a listener without
-- a handler.
--
--   local w = bad_script.start(s, "bad:serve(function(conn) while true do end end)")
--   w.poke()                       -- connects to `bad`
--   w.says "task failed: …"        -- exactly this in the log; <n> stands for a number
--   w.neighbour_continues()
local h = require "harness"

local TUNNEL = [[
kt.accept { on = "127.0.0.1:%d", key = "k", max_streams = 16384 }:serve(function(stream) kt.splice(stream, kt.connect { to = "127.0.0.1:%d" }) end)
local far = kt.link { remote = "127.0.0.1:%d", key = "k", max_streams = 16384 }
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn) kt.splice(conn, far:open { timeout = "20s" }) end)
local bad = kt.listen { on = "127.0.0.1:%d" }
]]

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
  function w.times(sentence) return select(2, p.stderr:gsub(pattern(sentence), "")) end

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
