--- Measures a link, for `kt ping`, `kt speed` and `kt doctor`. On kt's wire the server helps (kt.cli.reflector): it answers datagrams,
--- which shows loss and order each way, and takes and sends bytes. With any other peer only the link's own round trips remain. Every
--- function here waits for a bounded time.

local core = require "kt.core"
local kt = require "kt"
local reflector = require "kt.cli.reflector"

local probe = {
  SIZE = 1100, -- bytes of a train's datagrams; every path carries this many
  SMALL = 120, -- bytes of those that are compared with them
}

local fields = {
  version = "string", wall = "number", peer = "string", loss = "number", sent = "number", lost = "number", srtt = "number",
  rmem_max = "number", wmem_max = "number",
}

-- The far end's hello, with unknown fields removed. Its texts go to a terminal, so control characters become "?".
local function plain(hello)
  local known = {}
  for name, kind in pairs(fields) do
    local value = hello[name]
    if type(value) == kind then known[name] = kind == "string" and value:gsub("[^%w%.:%[%]%%+-]", "?"):sub(1, 64) or value end
  end
  return known
end

local PROBES = 4

--- The round trip to the peer of a link, or nil, err; waits for `timeout` seconds. Asks a peer that answers again: one that reads no smux of this version
--- acknowledges the first packet, and then ends the session. err.code is one of kt.cli.verdict's DROPPED then.
function probe.reach(link, timeout)
  local least, err = link:probe { timeout = timeout }
  if not least then return nil, err end
  for _ = 2, PROBES do
    local rtt, wrong = link:probe { timeout = timeout }
    if not rtt and wrong.code == "restarted" then return nil, wrong end
    least = math.min(least, rtt or least)
  end
  return least
end

--- Tries the other version of smux with a peer that ended each session. dial: as in kt.cli.doctor. Returns the link, its round trip and the
--- version; nil if that does not help either, or the link is not to speak kcptun's wire.
function probe.other_smux(dial, at)
  local link, version = dial(at, { other_smux = true })
  if not link then return nil end
  local rtt = probe.reach(link, 6)
  if rtt then return link, rtt, version end
  link:close()
  return nil
end

--- Opens a stream to the far end's reflector: returns the stream and what it says about itself, or nil and an err. err.code is "unsupported"
--- on kcptun's wire; "denied" or "protocol" if the peer is a kt that offers nothing.
function probe.hello(link)
  local stream, err = link:open { to = reflector.TARGET, timeout = 10 }
  if not stream and err.code == "unsupported" then
    return nil, kt.err { code = err.code, message = "the server speaks kcptun's wire" }
  elseif not stream then
    return nil, err
  end
  local text, why, came = stream:read_until("\n", 1024, { timeout = 10 })
  local hello = text and kt.json.decode(text)
  if type(hello) == "table" and hello.diagnose == 1 then return stream, plain(hello) end
  stream:reset()
  if text or (came and came ~= "") then return nil, kt.err { code = "protocol", message = "the server's script does not know kt:diagnose" } end
  if tostring(why):find ": denied$" then
    return nil, kt.err { code = "denied", message = "the server refuses to help with measurements, as with --nodiagnose" }
  end
  return nil, why
end

--- A local socket whose datagrams go to the far end's reflector and come back. Returns { send(number, size), receive(seconds), close() }.
function probe.echo(link)
  local listener = assert(kt.listen { udp = "127.0.0.1:0", max_flows = 1 })
  listener:serve(function(flow)
    local out <close> = link:flow { to = reflector.TARGET }
    if out then kt.splice(flow, out, { idle = reflector.FLOW_TOTAL }) end
  end)
  local socket = assert(kt.udp { to = listener.local_addr, queue = "1MiB" })
  local echo = {}
  function echo.send(number, size) return socket:send(string.pack("<c4I4I4I4", "ktdq", number, 0, 0) .. ("\0"):rep(size - 16)) end
  --- Asks for an answer after some seconds.
  function echo.wait(number, seconds) return socket:send(string.pack("<c4I4I4I4", "ktdw", number, seconds, 0)) end
  --- The next answer: its number, how many had come to the far end by then, and how many of these late. Or nil.
  function echo.receive(seconds)
    local data = socket:receive { timeout = seconds }
    if not data or #data < 16 or data:sub(1, 4) ~= "ktdr" then return nil end
    return string.unpack("<I4I4I4", data, 5)
  end
  function echo.close()
    socket:close()
    listener:close()
  end
  return echo
end

--- { n, min, avg, max, mdev, median } of a list of times; nil if it is empty. mdev is what ping calls so: the standard deviation.
function probe.summary(times)
  local n, sum, squares = #times, 0, 0
  if n == 0 then return nil end
  local sorted = table.move(times, 1, n, 1, {})
  table.sort(sorted)
  for _, t in ipairs(times) do sum, squares = sum + t, squares + t * t end
  local avg = sum / n
  return {
    n = n, min = sorted[1], avg = avg, max = sorted[n], median = sorted[(n + 1) // 2], mdev = math.max(squares / n - avg * avg, 0) ^ 0.5,
  }
end

--- Sends `count` datagrams, one every `every` seconds, and counts the answers until `wait` seconds after the last. May be nil: size, their bytes, at
--- least 16 (default: SIZE); burst, how many are sent at once, every `every` seconds (default: 1); got(number, seconds), called with each answer.
--- Returns { sent, received, up, down (each { sent, lost }, as far as known), there, back (shares lost each way), late_there, late_back (shares that
--- came after a later one), rtt }.
function probe.train(link, opts)
  local echo = probe.echo(link)
  local sent, last, burst = {}, 0, opts.burst or 1
  kt.spawn(function()
    local start = kt.now()
    for i = 1, opts.count do
      local ahead = start + (i - 1) // burst * opts.every - kt.now()
      if ahead > 0 then kt.sleep(ahead) end
      sent[i], last = kt.now(), i
      if not echo.send(i, opts.size or probe.SIZE) then return end
    end
  end)
  local ends = kt.now() + opts.count / burst * opts.every + opts.wait
  local seen, times, arrived, arrived_of, late, late_back, highest = {}, {}, 0, 0, 0, 0, 0
  local function result()
    local received = #times
    return {
      sent = last, received = received, rtt = probe.summary(times),
      up = { sent = arrived_of, lost = math.max(0, arrived_of - arrived) }, down = { sent = arrived, lost = math.max(0, arrived - received) },
      there = arrived_of > 0 and math.max(0, 1 - arrived / arrived_of) or nil,
      back = arrived > 0 and math.max(0, 1 - received / arrived) or nil,
      late_there = arrived > 0 and late / arrived or nil, late_back = received > 0 and late_back / received or nil,
    }
  end
  if opts.begun then opts.begun(result) end
  while #times < opts.count and kt.now() < ends do
    local number, count, late_there = echo.receive(math.max(ends - kt.now(), 0.001))
    if number and sent[number] and not seen[number] then
      seen[number] = true
      times[#times + 1] = kt.now() - sent[number]
      if opts.got then opts.got(number, times[#times]) end
      if count < highest then
        late_back = late_back + 1
      else
        highest, arrived, arrived_of, late = count, count, math.max(arrived_of, number), late_there
      end
    end
  end
  echo.close()
  return result()
end

local SAMPLES = 200 -- of a transfer, at most

-- Bytes per second over the last two thirds of a transfer, once the sender has found the bandwidth.
local function steady(samples)
  local last = samples[#samples]
  if not last then return 0 end
  local from = samples[1]
  for _, s in ipairs(samples) do
    if s.at <= last.at / 3 then from = s end
  end
  if last.at <= from.at then return 0 end
  return (last.bytes - from.bytes) / (last.at - from.at)
end

-- Both end by themselves, whatever the far end does.
local function up(stream, seconds, add, rate)
  local sender, ends = kt.spawn(reflector.fill, stream, seconds, rate), kt.now() + seconds + 10
  while kt.now() < ends do
    local text = stream:read_until("\n", 256, { timeout = seconds + 10 })
    local report = text and kt.json.decode(text)
    if type(report) ~= "table" or type(report.bytes) ~= "number" or type(report.seconds) ~= "number" then break end
    if math.max(report.bytes, report.seconds) == math.huge then break end
    add(report.seconds, report.bytes)
    if report.done == true then break end
  end
  sender:cancel()
end

local function down(stream, seconds, add)
  local bytes, started, ends = 0, nil, kt.now() + seconds + 10
  while kt.now() < ends do
    local data = stream:read(1 << 18, { timeout = 10 })
    if not data then return end
    started = started or kt.now()
    bytes = bytes + #data
    add(kt.now() - started, bytes)
  end
end

-- The counts of a direction's sender: packets sent, packets lost, and its smoothed round trip. Or nil.
local function counted(link, way, stream)
  if way == "up" then return reflector.counts(stream:stats()) end
  local asked, hello = probe.hello(link)
  if not asked then return nil end
  asked:close()
  return hello.sent and hello.lost and hello.srtt and hello or nil
end

local BLOCK = 0.25 -- seconds

-- Counts what one end sends between two times. Returns a function that waits for the result: { sent, lost, srtt, blocks (shares lost in each
-- quarter of a second) }, or nil if the far end does not count.
local function count_between(link, way, stream, from, till)
  local task = kt.spawn(function()
    kt.sleep(math.max(from - kt.now(), 0))
    local first = counted(link, way, stream)
    local last, srtts, blocks = first, {}, {}
    while last and kt.now() < till do
      kt.sleep(math.min(till - kt.now(), BLOCK))
      local now = counted(link, way, stream)
      if not now or now.sent < last.sent then break end -- the stream has ended
      if now.sent > last.sent then blocks[#blocks + 1] = math.max(now.lost - last.lost, 0) / (now.sent - last.sent) end
      last, srtts[#srtts + 1] = now, now.srtt
    end
    if #srtts == 0 then return nil end
    return { sent = last.sent - first.sent, lost = math.max(last.lost - first.lost, 0), srtt = probe.summary(srtts).avg, blocks = blocks }
  end)
  return function() return (task:wait { timeout = 30 }) end
end

--- Moves bytes for `seconds`, "up" or "down", and measures round trips in the second half. opts: { rate = bytes per second at most, progress =
--- called with the bytes per second so far, about four times a second }. Returns { rate (bytes per second), bytes, loss (share of packets sent
--- again in the last 4 s), rtt (as probe.summary), counts (of the second half: { sent, lost, srtt, blocks }, nil if the far end does not count) }, or nil, err.
function probe.transfer(link, way, seconds, opts)
  opts = opts or {}
  local stream <close>, hello = probe.hello(link)
  if not stream then return nil, hello end
  local paced = opts.rate and way == "down" and (" %d"):format(opts.rate // 1) or ""
  local ok, err = stream:write(("%s %d%s\n"):format(way, seconds, paced), { timeout = 5 })
  if not ok then return nil, err end
  local times, samples, loss = {}, {}, 0
  local half = kt.now() + seconds / 2 -- until then the sender may be finding the bandwidth, and fill queues
  local counts = count_between(link, way, stream, half, kt.now() + 0.95 * seconds)
  local pings = kt.spawn(function()
    while true do
      kt.sleep(0.2)
      local rtt = link:probe { timeout = 2 }
      if kt.now() > half then times[#times + 1] = rtt end
      if way == "up" then loss = link:stats().loss end
    end
  end)
  local function add(at, bytes)
    local last = samples[#samples]
    if #samples >= SAMPLES or (last and at - last.at < 0.2) then return end
    samples[#samples + 1] = { at = at, bytes = bytes }
    if opts.progress then opts.progress(steady(samples)) end
  end
  if way == "up" then up(stream, seconds, add, opts.rate) else down(stream, seconds, add) end
  pings:cancel()
  if way == "down" then
    local again, after = probe.hello(link)
    if again then
      again:close()
      loss = type(after.loss) == "number" and after.loss or 0
    end
  end
  if #samples < 2 then return nil, kt.err { code = "timeout", message = "no bytes arrived" } end
  return { rate = steady(samples), bytes = samples[#samples].bytes, loss = loss, rtt = probe.summary(times), counts = counts() }
end

--- The addresses of a remote's host, each with the remote's port: { "192.0.2.1:29900", "[2001:db8::1]:29900" }. Or nil, err.
function probe.addresses(remote)
  local found, err = core.lookup(remote, 10)
  if not found then return nil, err end
  local port, list, seen = remote:match ":([%d-]+)$", {}, {}
  for _, ip in ipairs(found) do
    local at = (ip:find ":" and "[%s]:%s" or "%s:%s"):format(ip, port)
    if not seen[at] then list[#list + 1] = at end
    seen[at] = true
  end
  return list
end

--- Whether a host says that nobody listens at an address: true, or false for silence.
function probe.refused(at)
  local socket <close> = kt.udp { to = at:gsub("%-%d+$", "") }
  if not socket or not socket:send(kt.crypto.random(64)) then return false end
  local _, err = socket:receive { timeout = 1 }
  return err ~= nil and err.code == "refused"
end

--- The IP address that this machine uses towards an address, or nil.
function probe.local_ip(at)
  local socket <close> = kt.udp { to = at:gsub("%-%d+$", "") }
  return socket and socket.local_addr:match "^%[?(.-)%]?:%d+$"
end

--- The addresses under which the far end sees one local socket that sends to several of its addresses, each "ip:port": a list in their order. Or
--- nil, if one does not answer. The links go through a relay on this machine, as a link's own sockets each have one peer. dial: as in kt.cli.doctor.
function probe.mappings(dial, list)
  local outside = kt.udp { on = list[1]:find "^%[" and "[::]:0" or "0.0.0.0:0", queue = "256KiB" }
  if not outside then return nil end
  local relays, by_address, tasks, seen = {}, {}, {}, {}
  for i, at in ipairs(list) do
    local relay = { socket = assert(kt.udp { on = "127.0.0.1:0", queue = "256KiB" }) }
    relays[i], by_address[at] = relay, relay
    tasks[#tasks + 1] = kt.spawn(function()
      while true do
        local data, from = relay.socket:receive()
        if not data then return end
        relay.link = from
        outside:send(data, at)
      end
    end)
  end
  tasks[#tasks + 1] = kt.spawn(function()
    while true do
      local data, from = outside:receive()
      if not data then return end
      local relay = by_address[from]
      if relay and relay.link then relay.socket:send(data, relay.link) end
    end
  end)
  for i, relay in ipairs(relays) do
    local link <close> = dial(relay.socket.local_addr)
    local stream, hello = probe.hello(link)
    if stream then stream:close() end
    seen[i] = stream and hello.peer
    if not seen[i] then break end
  end
  for _, task in ipairs(tasks) do task:cancel() end
  for _, relay in ipairs(relays) do relay.socket:close() end
  outside:close()
  return #seen == #list and seen or nil
end

--- Whether a datagram arrives from the far end after the link has been silent for `seconds`. nil: there is no answer even without silence.
function probe.survives(link, seconds)
  if not link:probe { timeout = 10 } then return nil end
  local echo = probe.echo(link)
  echo.send(1, probe.SIZE)
  local ready = echo.receive(5)
  if ready then
    echo.wait(2, seconds)
    ready = echo.receive(seconds + 3) ~= nil
  end
  echo.close()
  return ready
end

return probe
