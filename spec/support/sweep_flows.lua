--- Flows of sweep_world.lua's worlds: a conn through a tunnel with bytes in both directions, and what each end received.
local core = require "kt.sim.core"

local flows = {}

local FOREVER = { timeout = "10000s" }

-- One direction: seed and number of its bytes; tx: bytes sent, and whether sending is over; rx: bytes received, and how it ended.
function flows.direction(seed, bytes) return { seed = seed, bytes = bytes, tx = { sent = 0 }, rx = { got = 0 } } end

--- A random flow along a way: { source, address, all hosts on the way… }.
function flows.plan(d, id, way)
  local function size()
    return d.pick { 0, 1, d.between(2, 500), d.between(500, 8000), d.between(8000, 60000), d.between(8000, 60000), d.between(60000, 300000) }
  end
  local flow = { id = id, from = way[1], to = way[2], way = way, up = flows.direction(2 * id, size()), down = flows.direction(2 * id + 1, size()),
    answers = d.one_in(2), start = d.seconds(12) }
  if way.back then flow.start = flow.start + 5 end -- the near host must have connected first
  flow.up.chunk, flow.down.chunk = d.pick { 1000, 16384, 65536 }, d.pick { 1000, 16384, 65536 }
  for _, dir in ipairs { flow.up, flow.down } do
    if d.one_in(8) then dir.slow = { at_most = d.pick { 700, 5000 }, pause = d.between(5, 60) / 1000 } end
    if d.one_in(10) then
      dir.abort = { at = d.between(0, dir.bytes), how = d.pick { "reset", "close" } }
      flow.disturbed = "it aborts"
    end
  end
  function flow.tell() return ("flow %d from %s by %s"):format(id, flow.from.name, flow.to) end
  return flow
end

local function send_all(conn, dir, tx)
  while tx.sent < dir.bytes do
    local n = math.min(dir.chunk, dir.bytes - tx.sent)
    if dir.abort then
      if tx.sent >= dir.abort.at then return conn[dir.abort.how](conn) end
      n = math.min(n, dir.abort.at - tx.sent)
    end
    if not conn:write(core.bytes(dir.seed, tx.sent, n), FOREVER) then return end
    tx.sent = tx.sent + n
  end
  conn:shutdown()
end

local function send(conn, dir, tx)
  send_all(conn, dir, tx)
  tx.over = true
end

local function receive(w, flow, conn, dir, rx)
  while true do
    local data, err = conn:read(dir.slow and dir.slow.at_most or 1 << 20, FOREVER)
    if not data then
      rx.ended = err.code
      return
    end
    local wrong = core.differ(dir.seed, rx.got, data)
    if wrong then error(("%s: byte %d differs from the one sent"):format(flow.tell(), wrong), 0) end
    rx.got = rx.got + #data
    if dir.slow then w:sleep(dir.slow.pause) end
  end
end

local UNREAD = "unread  " -- instead of a flow's number

local function send_unread(conn)
  for _ = 1, 100 do -- more than conns can buffer
    if not conn:write(("u"):rep(10000), FOREVER) then return end
  end
  conn:read(1, FOREVER)
end

--- A conn along a way whose near end requests much data and never reads; nil if it cannot be opened.
function flows.unread(way)
  local conn = way[1].host:try_connect(way[2])
  return conn and conn:write(UNREAD, FOREVER) and conn
end

-- A stream whose session died before its peer answered is opened again in the next session. The target may then see it twice; the last one
-- counts.
function flows.serve(w, all)
  return function(conn)
    local head = conn:read_exactly(8, FOREVER)
    if head == UNREAD then return send_unread(conn) end
    local flow = head and all[tonumber(head)]
    if not flow then return end
    if flow.served and not flow.disturbed then error(flow.tell() .. ": it arrived twice, without a fault", 0) end
    flow.served = true
    local tx, rx = { sent = 0 }, { got = 0 }
    flow.down.tx, flow.up.rx = tx, rx
    if not flow.answers then w:task(send, conn, flow.down, tx) end
    receive(w, flow, conn, flow.up, rx)
    if flow.answers then send(conn, flow.down, tx) end
    while not tx.over do w:sleep(0.05) end
  end
end

--- Starts the flow, and returns when its near end is over.
function flows.start(w, flow)
  if not flow.from.host:is_up() then
    flow.over = "its host was down"
    return
  end
  local conn, err = flow.from.host:try_connect(flow.to)
  if not conn then
    flow.over = "no conn: " .. tostring(err)
    return
  end
  w:task(function()
    if conn:write(("%08d"):format(flow.id), FOREVER) then send_all(conn, flow.up, flow.up.tx) end
    flow.up.tx.over = true
  end)
  receive(w, flow, conn, flow.down, flow.down.rx)
  while not flow.up.tx.over do w:sleep(0.05) end
  conn:close()
  flow.over = "it ended"
end

--- Whether both ends are over.
function flows.over(flow) return flow.over and (not flow.served or flow.up.rx.ended) end

local function complete(dir) return dir.rx.ended == "eof" and dir.rx.got == dir.bytes end

--- Whether all bytes of both directions arrived.
function flows.complete(flow) return complete(flow.up) and complete(flow.down) end

--- Raises what is wrong with a flow that is over.
function flows.judge(flow)
  -- When one end aborts, the other may see a clean end.
  local clean = not (flow.cut_short or flow.up.abort or flow.down.abort) and flow.up.rx.ended == "eof" and flow.down.rx.ended == "eof"
  for _, name in ipairs { "up", "down" } do
    local dir = flow[name]
    local tx, rx = dir.tx, dir.rx
    local wrong = rx.got > tx.sent and "more than was sent" or clean and not complete(dir) and "it ended cleanly, but too early"
      or not flow.disturbed and not complete(dir) and "without a fault"
      or dir.abort and dir.abort.how == "reset" and not flow.faulted and rx.ended == "eof" and rx.got < dir.bytes and "it ended cleanly, but was reset"
    if wrong then
      error(("%s, %s: %d of %d bytes arrived, %d were written; it ended with %s: %s"):format(flow.tell(), name, rx.got, dir.bytes, tx.sent,
        tostring(rx.ended or flow.over), wrong), 0)
    end
  end
end

return flows
