--- Writes packets from the `trace` command of the control socket to a pcapng file. Pure.
local pcapng = require "kt.sim.pcapng"
local crypto = require("kt").crypto

local capture = {}
capture.__index = capture

--- out(bytes) is called with the file's bytes in order.
function capture.new(out)
  return setmetatable({ writer = pcapng.writer(out), interfaces = {}, dropped = {}, wire = nil, at = 0 }, capture)
end

--- The number of the interface for packets that go out or come in.
local function interface(self, out)
  local way = self.wire .. (out and " out" or " in")
  self.interfaces[way] = self.interfaces[way] or self.writer:interface(way)
  return self.interfaces[way]
end

--- Counts n packets that were left out.
function capture:missing(out, n) self.dropped[out] = (self.dropped[out] or 0) + n end

--- Ends the file with the numbers of packets that were left out. Returns their sum.
function capture:finish()
  local sum = 0
  for _, out in ipairs { false, true } do
    local n = self.dropped[out] or 0
    if n > 0 and self.wire then self.writer:statistics(interface(self, out), self.at, n) end
    sum = sum + n
  end
  return sum
end

local function unknown(like) return like and like:sub(1, 1) == "[" and "[::]:0" or "0.0.0.0:0" end

--- An address as pcapng takes it: without a zone, and IPv4 as such.
local function plain(address)
  if not address then return nil end
  local v4, port = address:match "^%[::ffff:([%d.]+)%]:(%d+)$"
  return v4 and v4 .. ":" .. port or (address:gsub("%%[^%]]*", ""))
end

--- p: a packet of the protocol (docs/control.md).
function capture:packet(p)
  self.wire, self.at = p.wire, math.floor(p.time * 1e6)
  self:missing(p.out, p.dropped)
  local here = plain(p.here)
  local peer = plain(p.peer) or unknown(here)
  here = here or unknown(peer)
  if (here:sub(1, 1) == "[") ~= (peer:sub(1, 1) == "[") then here = unknown(peer) end
  local notes = {}
  if p.wire == "kt" then notes[1] = ("path %d, packet %d"):format(p.path, p.number) end
  if p.dropped > 0 then notes[#notes + 1] = ("%d packets %s before this one were left out"):format(p.dropped, p.out and "sent" or "received") end
  self.writer:packet {
    at = self.at, interface = interface(self, p.out), from = p.out and here or peer, to = p.out and peer or here,
    data = crypto.base64_decode(p.data), note = #notes > 0 and table.concat(notes, "; ") or nil,
  }
end

return capture
