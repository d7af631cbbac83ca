-- Sends datagrams over an emulated line, from one namespace to another. Run by the commands of bench-line in line_spec.lua.
--
--   line_probe.lua sink FILE                  writes "INDEX µs-on-the-way ARRIVED intact|damaged" for each arrival
--   line_probe.lua send FILE HOST N SIZE MS   sends N of SIZE bytes, one every MS milliseconds (0: at once), once FILE exists; ends when
--   the sink has all that were not lost
local uv = require "luv"

local PORT, PATIENCE_S = 9000, 20
local HEAD = "%08d %020d "

local function now() return uv.hrtime() // 1000 end

local function datagram(i, size)
  local head = HEAD:format(i, now())
  return head .. ("kt"):rep(size // 2 + 1):sub(1, size - #head)
end

local function sink(path)
  local socket = uv.new_udp()
  assert(socket:bind("::", PORT))
  pcall(function() socket:recv_buffer_size(4 << 20) end)
  local out
  socket:recv_start(function(_, data, from)
    if not data then return end
    if data:sub(1, 4) == "mark" then return socket:try_send(data, from.ip, from.port) end
    local arrived = now()
    local index, sent, rest = data:match "^(%d+) (%d+) (.*)$"
    if index and rest == ("kt"):rep(#rest // 2 + 1):sub(1, #rest) then
      out:write(("%d %d %d intact\n"):format(index, arrived - sent, arrived))
    else
      out:write(("0 0 %d damaged\n"):format(arrived))
    end
  end)
  out = assert(io.open(path, "w")) -- shows that we listen
  out:setvbuf "line"
  uv.run()
end

local function send(path, host, n, size, ms)
  local deadline = now() + PATIENCE_S * 1000000
  while not uv.fs_stat(path) do
    assert(now() < deadline, "no sink is listening")
    uv.sleep(5)
  end
  local socket = uv.new_udp()
  assert(socket:bind(host:find ":" and "::" or "0.0.0.0", 0))
  for i = 1, n do
    socket:try_send(datagram(i, size), host, PORT)
    if ms > 0 then uv.sleep(ms) end
  end
  -- The last datagram arrives last, if at all, so an answer to it shows that all is over.
  local over = false
  socket:recv_start(function(_, data) over = over or data ~= nil end)
  local timer = uv.new_timer()
  timer:start(0, 50, function() socket:try_send("mark", host, PORT) end)
  while not over do
    assert(now() < deadline, "the end was not heard")
    uv.run "once"
  end
end

if arg[1] == "sink" then
  sink(arg[2])
else
  send(arg[2], arg[3], tonumber(arg[4]), tonumber(arg[5]), tonumber(arg[6]))
end
