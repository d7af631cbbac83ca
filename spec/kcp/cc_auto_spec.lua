-- The controller auto, by itself, on a modelled line: a sender of numbered packets, a bottleneck with a queue, an acknowledgement for each
-- packet. Everything repeats from the seed.
local delivery = require "spec_delivery"

local MS, SECOND, PACKET = 1000, 1000000, 1250

-- A line with a sender. line: { rate = bytes per second, rtt = µs, queue = packets, loss = share }; all of them can be changed while it runs.
-- settings go to the controller.
local Flow = {}
Flow.__index = Flow

local function flow(line, settings)
  settings = settings or {}
  settings.packet = PACKET
  local random = 12345
  return setmetatable({
    line = line, cc = delivery.auto(settings), now = SECOND, free = 0, events = {}, first = 1, last = 0, unacked = {}, low = 1, n = 0,
    delivered = 0, sent = 0, dropped = 0, worst = 0, busy = true,
    chance = function()
      random = (random * 1103515245 + 12345) % 2147483648
      return random / 2147483648
    end,
  }, Flow)
end

function Flow:send()
  local line, now = self.line, self.now
  self.n = self.n + 1
  self.unacked[self.n] = self.cc:sent(PACKET, now)
  self.sent = self.sent + PACKET
  if self.chance() < (line.loss or 0) then return end
  local wait = math.max(0, self.free - now)
  if wait * line.rate / SECOND > line.queue * PACKET then
    self.dropped = self.dropped + 1
    return
  end
  self.worst = math.max(self.worst, wait)
  self.free = now + wait + PACKET * SECOND // line.rate
  self.last = self.last + 1
  self.events[self.last] = { at = self.free + line.rtt, n = self.n } -- in order
end

-- Those below n that were not acknowledged are lost.
function Flow:lose(n)
  while self.low < n do
    if self.unacked[self.low] then
      self.cc:lost(self.unacked[self.low], self.now)
      self.unacked[self.low] = nil
    end
    self.low = self.low + 1
  end
end

function Flow:acknowledge(n)
  self.cc:acked(self.unacked[n], self.now)
  self.unacked[n] = nil
  self.delivered = self.delivered + PACKET
  self:lose(n - 3) -- three later ones have arrived
  self.cc:progress(self.now)
end

-- Runs for this many seconds. Returns bytes per second delivered and sent, and the longest wait in the queue, in µs.
function Flow:run(seconds)
  local stop, before, sent = self.now + math.floor(seconds * SECOND), self.delivered, self.sent
  self.worst = 0
  while self.now < stop do
    while self.busy and self.cc:open() > 0 and self.cc:next() <= self.now do self:send() end
    if not self.busy then self.cc:app_limited() end
    local event = self.events[self.first]
    local due = event and event.at or self.now + 2 * self.line.rtt -- then a timeout
    if self.busy and self.cc:open() > 0 then due = math.min(due, math.max(self.cc:next(), self.now)) end
    self.now = math.min(due, stop)
    if not event and due <= stop then
      self:lose(self.n + 1)
      self.cc:progress(self.now)
    elseif event and event.at <= self.now then
      self.events[self.first] = nil
      self.first = self.first + 1
      self:acknowledge(event.n)
    end
  end
  return (self.delivered - before) / seconds, (self.sent - sent) / seconds, self.worst
end

local function near(expected, share, got) assert.is_true(math.abs(got - expected) <= share * expected, got) end

local RATE = 2500000 -- 20 Mbit/s: 2,000 packets a second

local function clean() return { rate = RATE, rtt = 100 * MS, queue = 1000 } end

describe("mode auto's controller", function()
  it("fills a clean line within ten round trips, and then keeps the queue below 20 ms", function()
    local f = flow(clean())
    f:run(1)
    local got = f:run(1)
    near(RATE, 0.03, got)
    f:run(1)
    local late, _, queue = f:run(10)
    near(RATE, 0.02, late)
    assert.is_true(queue <= 20 * MS, queue)
  end)

  for _, loss in ipairs { 0.01, 0.1, 0.3 } do
    it(("makes up for %g %% of random loss"):format(loss * 100), function()
      local line = clean()
      line.loss = loss
      local f = flow(line)
      f:run(4)
      local got, sent, queue = f:run(20)
      near(RATE, 0.08, got)
      near(RATE / (1 - loss), 0.07, sent)
      assert.is_true(queue <= 40 * MS, queue)
    end)
  end

  it("does not make up for what a short queue drops", function()
    local line = clean()
    line.queue = 10
    local f = flow(line)
    f:run(4)
    local before = f.dropped
    local got, sent = f:run(20)
    near(RATE, 0.03, got)
    assert.is_true(sent <= 1.02 * RATE, sent)
    assert.is_true((f.dropped - before) * PACKET / 20 <= 0.01 * RATE, f.dropped - before)
  end)

  it("tells random loss from that of a short queue when there is both", function()
    local line = clean()
    line.queue, line.loss = 10, 0.05
    local f = flow(line)
    f:run(4)
    local got, sent = f:run(20)
    near(RATE, 0.06, got)
    assert.is_true(sent <= 1.1 * RATE, sent)
  end)

  it("follows a line that becomes slower within a second, and one that becomes faster within three", function()
    local line = clean()
    local f = flow(line)
    f:run(4)
    line.rate = RATE / 4
    f:run(1)
    near(RATE / 4, 0.05, (f:run(2)))
    f:run(2)
    local _, _, queue = f:run(4)
    assert.is_true(queue <= 40 * MS, queue)
    line.rate = RATE
    f:run(3)
    near(RATE, 0.05, (f:run(2)))
  end)

  it("keeps what it knows while there is little to send", function()
    local f = flow(clean())
    f:run(4)
    for _ = 1, 300 do -- a packet every 50 ms, for 15 s
      f:send()
      f.busy = false
      f:run(0.05)
      f.busy = true
    end
    near(RATE, 0.12, (f.cc:facts()))
    f:run(0.2)
    near(RATE, 0.1, (f:run(1)))
  end)

  it("does not grow on what was not measured: a source of 1 Mbit/s for a while", function()
    local f = flow(clean())
    for _ = 1, 1000 do
      f:send()
      f.busy = false
      f:run(0.01)
      f.busy = true
    end
    local _, window = f.cc:facts()
    assert.is_true(window < 4 * RATE * 0.1, window)
  end)

  it("never exceeds a stated bandwidth, and starts no slower with it", function()
    local free, stated = flow(clean()), flow(clean(), { rate = RATE / 2 })
    local a, b = free:run(0.4), stated:run(0.4)
    assert.is_true(b >= math.min(a, RATE / 2 * 0.4), b)
    stated:run(1)
    local got, sent = stated:run(10)
    near(RATE / 2, 0.02, got)
    assert.is_true(sent <= RATE / 2 * 1.001, sent)
    stated.line.loss = 0.1
    local _, again = stated:run(10)
    assert.is_true(again <= RATE / 2 * 1.001, again)
    stated.cc:limit { packet = PACKET }
    stated.line.loss = 0
    stated:run(3)
    near(RATE, 0.05, (stated:run(2)))
  end)

  it("sends no burst after a pause, but makes up for a sender that was late", function()
    local function burst(f)
      local before = f.n
      while f.cc:open() > 0 and f.cc:next() <= f.now do f:send() end
      return f.n - before
    end
    local f = flow(clean())
    f:run(4)
    f.busy = false
    f:run(1)
    local n = burst(f)
    assert.is_true(n >= 1 and n <= 4, n)
    f.now = f.now + 8 * MS
    n = burst(f)
    assert.is_true(n >= 13 and n <= 20, n) -- 16 packets in 8 ms, give or take the phase
  end)

  it("never has more in flight than the memory for it", function()
    local f = flow(clean(), { window = 50 * PACKET })
    for _ = 1, 100 do
      f:run(0.05)
      local _, window, inflight = f.cc:facts()
      assert.is_true(window <= 50 * PACKET and inflight <= 50 * PACKET, inflight)
    end
  end)

  it("recovers when the round trip becomes longer for good", function()
    local line = clean()
    local f = flow(line)
    f:run(4)
    line.rtt = 160 * MS
    f:run(5)
    near(RATE, 0.2, (f:run(8)))
    f:run(4)
    near(RATE, 0.05, (f:run(4)))
  end)

  it("fills lines of other lengths and rates", function()
    for _, rtt in ipairs { 2, 20, 300 } do
      for _, rate in ipairs { 100000, 10000000 } do
        local f = flow { rate = rate, rtt = rtt * MS, queue = 1000 }
        f:run(8)
        near(rate, 0.06, (f:run(3)))
      end
    end
  end)
end)
