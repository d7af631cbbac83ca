--- Someone without the key on the path between a client and a server in a simulated world: sees and records every datagram, and sends
--- copies from addresses of its own or of others. What the server sends back is counted for each address.
local attacker = {}
attacker.__index = attacker

local AMPLIFICATION = 3 -- RFC 9000, section 8.1

--- On a host of its own, `opts.delay` from the server (1 ms): faster than a client that is further away. Records what goes from
--- opts.client ("client") to opts.server ("server"), and calls opts.seen(self, datagram) for each, outside of the rule.
function attacker.new(w, opts)
  opts = opts or {}
  local self = setmetatable({ w = w, client = opts.client or "client", server = opts.server or "server", recorded = {}, sent = {}, got = {} }, attacker)
  self.host = w:host "attacker"
  w:link("attacker", self.server, { delay = opts.delay or "1ms" })
  self.address = self.host:addresses()[1]
  w:rule { from = self.client, to = self.server, fn = function(packet)
    local datagram = { data = packet.data, to = packet.dst, from = packet.src, at = packet.at }
    table.insert(self.recorded, datagram)
    if opts.seen then w:at(packet.at, function() opts.seen(self, datagram) end) end
  end }
  w:rule { from = self.server, fn = function(packet) self.got[packet.dst] = (self.got[packet.dst] or 0) + packet.size end }
  return self
end

--- Sends a datagram that was recorded: from its own address, or the port or address that is given.
function attacker:send(datagram, from)
  if math.type(from) then from = ("%s:%d"):format(self.address, from) end
  from = from or self.address .. ":4000"
  self.sent[from] = (self.sent[from] or 0) + #datagram.data
  self.host:inject { from = from, to = datagram.to, data = datagram.data }
end

--- Raises if more than three times the bytes that it sent from an address of its own has come back there.
function attacker:check()
  for address, bytes in pairs(self.got) do
    local sent = self.sent[address]
    if sent and address:find(self.address, 1, true) == 1 and bytes > AMPLIFICATION * sent then
      error(("%d bytes came back to %s, which is more than %d times the %d that it sent"):format(bytes, address, AMPLIFICATION, sent), 0)
    end
  end
end

--- Bytes that have come back to its own addresses.
function attacker:received()
  local sum = 0
  for address, bytes in pairs(self.got) do
    if address:find(self.address, 1, true) == 1 then sum = sum + bytes end
  end
  return sum
end

return attacker
