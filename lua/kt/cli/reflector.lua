--- The far end of `kt ping`, `kt speed` and `kt doctor`: what kt server does with a stream or a flow whose target is "kt:diagnose"
--- (docs/wire.md, section 12). It needs no frames of its own. A peer that authenticated can use the link anyway, so it gains nothing here but
--- time: at most MOST streams and flows of this kind exist at once, each ends by itself, and a flow answers with no more bytes than came.

local core = require "kt.core"
local kt = require "kt"

local reflector = {
  TARGET = "kt:diagnose",
  SECONDS_MAX = 15, -- of a transfer
  REPORT = 0.25,    -- seconds between reports of a transfer upwards
  WAIT_MAX = 110,   -- seconds until a late answer; a flow ends after two minutes without a datagram
  FLOW_TOTAL = 600, -- seconds that a flow may last
}

local MOST = 16
local BLOCK = 64 * 1024 -- bytes
local LEAST = 1000      -- bytes of a block, if paced
local PACE = 0.002      -- seconds between blocks, if paced

-- A number in a file of the system; nil if it cannot be read.
local function system(name)
  local text = core.read_file(name, 64)
  return text and math.tointeger(tonumber(text:match "^%s*(%d+)%s*$"))
end

--- The largest buffers that a UDP socket of this process can have, receiving and sending, in bytes; nil if unknown. A process of root may exceed
--- the system's limits, and one of a service may not see them, so a socket tells.
function reflector.limits()
  local receive, send = core.udp_limits()
  if receive then return receive, send end
  return system "/proc/sys/net/core/rmem_max", system "/proc/sys/net/core/wmem_max"
end

local function line(value) return core.json.encode(value) .. "\n" end

-- Takes bytes for `seconds`, and says every now and then how many have come.
local function up(stream, seconds)
  local bytes, started, reported = 0, nil, 0
  while true do
    local data = stream:read(1 << 18, { timeout = seconds + 5 })
    local now = kt.now()
    started = started or now
    local past = now - started
    bytes = bytes + (data and #data or 0)
    local over = not data or past > seconds
    if over or past - reported >= reflector.REPORT then
      reported = past
      if not stream:write(line { bytes = bytes, seconds = past, done = over }, { timeout = 5 }) then return end
    end
    if over then break end
  end
  stream:shutdown()
  stream:read(1, { timeout = 5 }) -- the peer closes it once it has the last report
end

--- Writes bytes to a stream for `seconds`, at most `rate` bytes per second if that is given. They are random, so that nothing on the way
--- compresses them. Returns whether all was written.
function reflector.fill(stream, seconds, rate)
  local size = rate and math.tointeger(math.max(LEAST, math.min(rate // (1 / PACE), BLOCK))) or BLOCK
  local block, now = kt.crypto.random(size), kt.now()
  local ends, due = now + seconds, now
  while now < ends do
    if not stream:write(block, { timeout = 5 }) then return false end
    now = kt.now()
    if rate then
      due = math.max(due + size / rate, now - PACE) -- lost time is not made up for
      if due > now then kt.sleep(math.min(due, ends) - now) end
      now = kt.now()
    end
  end
  stream:shutdown()
  return true
end

local function down(stream, seconds, rate)
  if not reflector.fill(stream, seconds, rate) then return stream:reset() end
  stream:read(1, { timeout = 5 }) -- the peer closes it once it has all
end

--- What this end's session has sent and lost, in packets, and its smoothed round trip: { sent, lost, srtt }.
function reflector.counts(stats)
  return { sent = stats.session_segs_out, lost = stats.session_segs_retrans - stats.session_segs_late, srtt = stats.srtt }
end

local function serve(stream)
  local stats, receive, send = stream:stats(), reflector.limits()
  local counts = reflector.counts(stats)
  local hello = {
    diagnose = 1, version = core.version, wall = kt.wall(), peer = stream.peer, loss = stats.loss,
    sent = counts.sent, lost = counts.lost, srtt = counts.srtt, rmem_max = receive, wmem_max = send,
  }
  if not stream:write(line(hello), { timeout = 5 }) then return end
  local request = stream:read_until("\n", 32, { timeout = 30 })
  local way, seconds, rate = (request or ""):match "^(%l+) (%d+) ?(%d*)\n$"
  seconds, rate = math.min(tonumber(seconds) or 0, reflector.SECONDS_MAX), tonumber(rate)
  if way == "up" and not rate then
    up(stream, seconds)
  elseif way == "down" and rate ~= 0 then
    down(stream, seconds, rate)
  end
end

-- Answers each request with its number, how many have come, and how many of them after a later one. A request with a time is answered
-- after it; there is one such answer at a time.
local function reflect(socket)
  local count, late, highest, waiting = 0, 0, 0, false
  while true do
    local data, from = socket:receive { timeout = reflector.FLOW_TOTAL }
    if not data then return end
    if #data >= 16 and data:sub(1, 4) == "ktdq" then
      local number = string.unpack("<I4", data, 5)
      count = count + 1
      if number < highest then late = late + 1 else highest = number end
      socket:send(string.pack("<c4I4I4I4", "ktdr", number, count, late) .. data:sub(17), from)
    elseif #data >= 16 and data:sub(1, 4) == "ktdw" and not waiting then
      local number, seconds = string.unpack("<I4I4", data, 5)
      waiting = kt.after(math.min(seconds, reflector.WAIT_MAX), function()
        waiting = false
        socket:send(string.pack("<c4I4I4I4", "ktdr", number, count, late), from)
      end)
    end
  end
end

local function carry(flow)
  local socket <close> = assert(kt.udp { on = "127.0.0.1:0", queue = "256KiB" })
  local out <close> = assert(kt.connect { udp = socket.local_addr })
  local echo = kt.spawn(reflect, socket)
  kt.splice(flow, out, { idle = reflector.WAIT_MAX + 10, total = reflector.FLOW_TOTAL })
  echo:cancel()
end

--- Returns two functions, take(stream) and take(flow), which serve it if its target is TARGET, and return whether it was.
function reflector.new()
  local now = 0
  local function taker(what)
    return function(pipe)
      if pipe.target ~= reflector.TARGET then return false end
      if now >= MOST then
        if pipe.reset then pipe:reset "limit" end
        return true
      end
      now = now + 1
      local place <close> = setmetatable({}, { __close = function() now = now - 1 end })
      what(pipe)
      return place ~= nil
    end
  end
  return taker(serve), taker(carry)
end

return reflector
