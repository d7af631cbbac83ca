-- Smuxes for specs: one end that records its frames and events, or two that are joined.
local byte_strings = require "bytes"
local smux = require "spec_smux"

local ends = {}

ends.SYN, ends.FIN, ends.PSH, ends.NOP, ends.UPD, ends.RST = 0, 1, 2, 3, 4, 5
ends.HELLO = 0x6b740000
ends.HALF_CLOSE = 1
ends.ABORT = 8

ends.hex, ends.unhex = byte_strings.hex, byte_strings.unhex

--- A frame's bytes.
function ends.frame(version, cmd, id, body)
  body = body or ""
  return string.pack("<BBI2I4", version, cmd, #body, id) .. body
end

--- An UPD's bytes.
function ends.upd(id, consumed, window)
  return ends.frame(2, ends.UPD, id, string.pack("<I4I4", consumed, window))
end

--- An RST's bytes.
function ends.rst(id, code, text)
  return ends.frame(2, ends.RST, id, string.char(code) .. (text or ""))
end

--- A frame in words: "PSH 3 hello", "RST 3 8 no listener".
function ends.say(frame)
  local _, cmd, len, id = string.unpack("<BBI2I4", frame)
  local name = ({ [0] = "SYN", "FIN", "PSH", "NOP", "UPD", "RST" })[cmd]
  if cmd == ends.UPD then return ("UPD %d %d/%d"):format(id, string.unpack("<I4I4", frame, 9)) end
  if cmd == ends.NOP then return id == 0 and "NOP" or ("HELLO %d"):format(id & 0xffff) end
  if cmd == ends.RST then return ("RST %d %d %s"):format(id, frame:byte(9), frame:sub(10)) end
  return name .. " " .. id .. (cmd == ends.PSH and " " .. (len > 16 and "#" .. len or frame:sub(9)) or "")
end

local End = {}
End.__index = End

--- One end: `frames` are those that it sent, `events` those that its owner and listeners got. settings: as for spec_smux.new, and `room` (a
--- function) and `refuse` (accepts nothing).
function ends.new(pool, settings)
  local e = setmetatable({ frames = {}, events = {}, accepted = {}, wakes = 0, resumes = 0, took = 0 }, End)
  local owner = {
    room = settings.room,
    admit = settings.admit,
    refused = settings.refused,
    frame = function(f) e.frames[#e.frames + 1] = f end,
    wake = function() e.wakes = e.wakes + 1 end,
    resume = function() e.resumes = e.resumes + 1 end,
    hello = function(features) e:note("hello %d", features) end,
    streams = function(n) e.count = n end,
    cut = function(id, unread, code) e:note("cut %d %d %s", id, unread, code) end,
  }
  if not settings.refuse then
    owner.accept = function(s)
      e:note("accept %d", s:id())
      e.accepted[#e.accepted + 1] = s
      if e.on_accept then e.on_accept(s) else e:watch(s) end
    end
  end
  e.m = assert(smux.new(pool, settings, owner))
  return e
end

function End:note(...) self.events[#self.events + 1] = string.format(...) end

--- Notes a stream's events.
function End:watch(s)
  local id = s:id()
  s:listen {
    readable = function() self:note("readable %d", id) end,
    writable = function() self:note("writable %d", id) end,
    closed = function(code) self:note("closed %d %s", id, code) end,
  }
  return s
end

function End:open() return self:watch(assert(self.m:open())) end

--- The events since the last call.
function End:heard()
  local heard = self.events
  self.events = {}
  return heard
end

--- Pumps; returns the frames since the last call, as bytes and in words.
function End:pump()
  self.m:pump()
  local frames = self.frames
  self.frames = {}
  return table.concat(frames), frames
end

function End:said()
  local words, _, frames = {}, self:pump()
  for i, f in ipairs(frames) do words[i] = ends.say(f) end
  return words
end

--- Feeds bytes, all of which must be accepted, and dispatches.
function End:hear(...)
  local bytes = table.concat { ... }
  local took = assert(self.m:input(bytes))
  assert(took == #bytes, "not all was taken")
  self.m:dispatch()
end

function ends.client(pool, settings)
  settings = settings or {}
  settings.client = true
  return ends.new(pool, settings)
end

--- A server with stream 3 open, as a kcptun client opens it; and the stream.
function ends.serving(pool, settings)
  local e = ends.new(pool, settings or {})
  e:hear(ends.frame(settings and settings.version or 2, ends.SYN, 3))
  e:heard()
  return e, e.accepted[1]
end

--- Carries frames from `from` to `to`, as far as `to` accepts them; the rest waits. True if something moved.
local function carry(from, to)
  from.wire = (from.wire or "") .. (from:pump())
  if from.wire == "" then return false end
  local took = assert(to.m:input(from.wire))
  from.wire = from.wire:sub(took + 1)
  to.m:dispatch()
  return took > 0
end

--- Carries frames both ways until nothing moves.
function ends.exchange(a, b)
  local moved
  repeat
    local one, other = carry(a, b), carry(b, a)
    moved = one or other
  until not moved
end

return ends
