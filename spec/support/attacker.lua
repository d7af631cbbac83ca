--- An attacker without the key, on the path between hosts of a simulated world: records every datagram, and sends copies from its own
--- addresses or from others. Counts what comes back to each address.
local attacker = {}
attacker.__index = attacker

local AMPLIFICATION = 3 -- RFC 9000, section 8.1
local RECORDED = 1000   -- each watch keeps this many datagrams, the first ones

--- The attacker gets a host of its own.
function attacker.new(w)
  local self = setmetatable({ w = w, host = w:host "attacker", linked = {}, sent = {}, got = {} }, attacker)
  self.address = self.host:addresses()[1]
  self.address6 = self.host:addresses()[2]
  w:rule { to = "attacker", fn = function(packet) self.got[packet.dst] = (self.got[packet.dst] or 0) + packet.size end }
  return self
end

--- Links it to a host, by default with a delay of 1 ms, so that it is faster than hosts further away.
function attacker:near(host, delay)
  if not self.linked[host] then self.w:link("attacker", host, { delay = delay or "1ms" }) end
  self.linked[host] = true
end

--- Returns a list that records the datagrams from one host to another as { data =, from =, to = }. Calls seen(datagram, n) for each, as a
--- task.
function attacker:watch(from, to, seen)
  local recorded, n = {}, 0
  self.w:rule { from = from, to = to, fn = function(packet)
    local datagram = { data = packet.data, to = packet.dst, from = packet.src, at = packet.at }
    n = n + 1
    if n <= RECORDED then recorded[n] = datagram end
    local number = n
    if seen then self.w:at(packet.at, function() seen(datagram, number) end) end
  end }
  return recorded
end

--- An attacker next to the server that records the client's datagrams; seen(attacker, datagram, n) is called for each.
function attacker.on_path(w, delay, seen)
  local a = attacker.new(w)
  a:near("server", delay)
  a.recorded = a:watch("client", "server", seen and function(...) seen(a, ...) end)
  return a
end

--- Sends a recorded datagram from port 4000 of its own address; from: another port, or any address.
function attacker:send(datagram, from)
  if not from or math.type(from) then
    from = (datagram.to:find "^%[" and "[" .. self.address6 .. "]" or self.address) .. ":" .. (from or 4000)
  end
  self.sent[from] = (self.sent[from] or 0) + #datagram.data
  pcall(self.host.inject, self.host, { from = from, to = datagram.to, data = datagram.data }) -- the destination may be gone
end

--- Raises if an address of its own has received more than three times what was sent from there.
function attacker:check()
  for address, bytes in pairs(self.got) do
    local sent = self.sent[address] or 0
    if bytes > AMPLIFICATION * sent then
      error(("%d bytes came back to %s, which is more than %d times the %d that it sent"):format(bytes, address, AMPLIFICATION, sent), 0)
    end
  end
end

--- Bytes that have come back to its own addresses.
function attacker:received()
  local sum = 0
  for _, bytes in pairs(self.got) do sum = sum + bytes end
  return sum
end

return attacker
