-- A path for loss recovery in virtual time: one sender, one receiver, and packets that are lost, late, doubled.
-- The sender retransmits the packets that recovery declares lost; the receiver acknowledges as acks.c decides.
local acks = require "spec_native_acks"
local path = require "spec_native_path"
local recovery = require "spec_native_recovery"

local M = {}

local MS = 1000
local PACKET = 1200

-- A queue of events by time; those of one time in the order in which they were added.
local function heap()
  local items, serial = {}, 0
  local function before(a, b) return a.at < b.at or (a.at == b.at and a.serial < b.serial) end
  local self = {}
  function self.push(at, run)
    serial = serial + 1
    local i = #items + 1
    items[i] = { at = at, run = run, serial = serial }
    while i > 1 and before(items[i], items[i // 2]) do
      items[i], items[i // 2] = items[i // 2], items[i]
      i = i // 2
    end
  end
  function self.pop()
    local top, last = items[1], table.remove(items)
    if #items == 0 then return top end
    items[1] = last
    local i = 1
    while true do
      local least = i
      for child = 2 * i, 2 * i + 1 do
        if items[child] and before(items[child], items[least]) then least = child end
      end
      if least == i then return top end
      items[i], items[least] = items[least], items[i]
      i = least
    end
  end
  return self
end

--- Runs a transfer to its end.
--   count      contents to deliver, of which each packet carries up to `per`
--   window     packets in flight; gap: µs between the contents becoming available, 0: all at once
--   rtt, ack_delay, jitter (each way), loss, ack_loss, dup, reorder (share) by up to reorder_by
--   down(now)  whether nothing passes at that time
--   copies     send copies, as for a stream of 64-byte writes
-- Returns what happened; raises if a content has two fates or none, or the limit of time passes.
function M.run(o)
  local events = heap()
  local random = o.seed or 1
  local function chance()
    random = (random * 1103515245 + 12345) % 2147483648
    return (random // 65536) / 32768
  end
  for _ = 1, 10 do chance() end
  local rtt, delay = o.rtt or 100 * MS, o.ack_delay or 5 * MS
  local r = recovery.new { window = o.window or 100, rtt = o.first_rtt or rtt, ack_delay = delay, rate = o.rate, most = o.most }
  local receiver = acks.new(delay)
  if o.every then receiver:every(o.every) end
  local now, serial = 0, 0
  local fate, message, sent_at = {}, {}, {}  -- by transmission
  local queue, first, available = {}, 1, 0 -- messages to send again
  local arrived, acked, delivered = {}, {}, 0
  local result = { sent = 0, again = 0, detect = {}, peak = 0, last_probe = nil, probes = 0, packets = 0 }
  local finished = false
  local copies, unacked, waiting = path.copies(1000000), {}, 0 -- of the messages in flight

  local function travel(loss, run)
    for _ = 1, chance() < (o.dup or 0) and 2 or 1 do
      if chance() >= (loss or 0) and not (o.down and o.down(now)) then
        local late = math.floor((o.jitter or 0) * chance())
        if chance() < (o.reorder or 0) then late = late + math.floor(o.reorder_by * chance()) end
        events.push(now + rtt // 2 + late, run)
      end
    end
  end

  local wake_sender, wake_receiver

  local function take_fates()
    for _, entry in ipairs(r:fates()) do
      local t = entry[2]
      assert(message[t] and not fate[t], "a second fate")
      fate[t] = entry[1]
      if entry[1] == "acked" then
        local m = message[t]
        acked[m] = true
        if unacked[m] then
          unacked[m] = nil
          waiting = waiting - 1
          if waiting == 0 then copies:stop() end
        end
      else
        result.detect[#result.detect + 1] = now - sent_at[t]
        if not acked[message[t]] then queue[#queue + 1] = message[t] end
      end
    end
  end

  local function acknowledge(frame)
    local ranges = {}
    for i, range in ipairs(frame) do ranges[i] = range end
    assert(r:ack(now, frame.delay, ranges))
    take_fates()
  end

  local function send_ack()
    local frame = receiver:write(now)
    if not frame then return end
    result.acks = (result.acks or 0) + 1
    travel(o.ack_loss or o.loss, function() acknowledge(frame) wake_sender() end)
  end

  function wake_receiver()
    local due = receiver:due()
    if due and due <= now then return send_ack() end
    if due then events.push(due, function() if receiver:due() and receiver:due() <= now then send_ack() end end) end
  end

  local function next_message()
    while first <= #queue do
      local m = queue[first]
      queue[first] = nil
      first = first + 1
      if first > #queue then queue, first = {}, 1 end
      if not acked[m] then result.again = result.again + 1 return m end
    end
    if available < o.count and available * (o.gap or 0) <= now then
      available = available + 1
      return available
    end
  end

  local function send(messages)
    local contents = {}
    for i, m in ipairs(messages) do
      serial = serial + 1
      message[serial], sent_at[serial] = m, now
      contents[i] = serial
    end
    local number = r:sent(now, PACKET, contents)
    result.packets = result.packets + 1
    travel(o.loss, function()
      receiver:received(number, now)
      for _, m in ipairs(messages) do
        if not arrived[m] then
          arrived[m] = now
          delivered = delivered + 1
        end
      end
      wake_receiver()
    end)
  end

  local copy_at
  local function send_copy()
    if not copies:take(now, PACKET) then return end
    local messages = {}
    for m in pairs(unacked) do messages[#messages + 1] = m end
    table.sort(messages)
    send(messages)
    wake_sender()
  end

  local function send_packet()
    local messages = {}
    for i = 1, o.per or 1 do messages[i] = next_message() end
    if #messages == 0 and r:probes() == 0 then return false end
    send(messages)
    if not o.copies then return true end
    for _, m in ipairs(messages) do
      if not unacked[m] then
        unacked[m] = true
        waiting = waiting + 1
      end
    end
    local f = r:facts()
    copies:sent(now, f.loss, f.min_rtt, 64 * waiting)
    return true
  end

  local armed
  local function arm(at)
    if not at or (armed and armed <= at and armed > now) then return end
    armed = at
    events.push(at, function()
      if armed == at then armed = nil end
      if r:timer(now) then
        result.probes = result.probes + 1
        result.last_probe = now
      end
      take_fates()
      wake_sender()
    end)
  end

  function wake_sender()
    while r:open() > 0 and r:pace() <= now and send_packet() do end
    local f = r:facts()
    assert(f.cc_inflight == f.inflight * PACKET and f.cc_packets == f.inflight, "the controller miscounts")
    if f.bytes > result.peak then result.peak = f.bytes end
    arm(r:due())
    if copies:due() and copies:due() ~= copy_at then
      copy_at = copies:due()
      events.push(copy_at, send_copy)
    end
    if r:open() > 0 and r:pace() > now then events.push(r:pace(), wake_sender) end
    finished = delivered == o.count and f.inflight == 0 and available == o.count and first > #queue
  end

  for i = 1, o.gap and o.count - 1 or 0 do events.push(i * o.gap, function() wake_sender() end) end
  wake_sender()
  while not finished do
    local event = events.pop()
    assert(event, "stuck: nothing will ever happen")
    now = event.at
    assert(now < (o.limit or 600000 * MS), "takes too long")
    event.run()
  end
  assert(r:due() == nil)
  for t = 1, serial do assert(fate[t], "a content without a fate") end
  result.time, result.facts, result.transmissions, result.arrived = now, r:facts(), serial, arrived
  r:close()
  return result
end

--- The value below which this share of a list is.
function M.percentile(list, share)
  table.sort(list)
  return list[math.max(1, math.ceil(share * #list))]
end

return M
