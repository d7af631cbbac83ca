-- A UDP relay between a client and a server that loses, delays, repeats, reorders and corrupts datagrams, by a seed. Each client address
-- gets its own socket towards the server, as behind a NAT; `rebind` gives it a new port.
local uv = require "luv"

local relay = {}

local function generator(seed)
  local x = seed * 2654435761 + 1
  return function() -- xorshift64: uniform in [0, 1)
    x = x ~ (x << 13)
    x = x ~ (x >> 7)
    x = x ~ (x << 17)
    return (x >> 11) / (1 << 53)
  end
end

local function corrupted(data, random)
  local at = 1 + math.floor(random() * #data)
  local flip = 1 + math.floor(random() * 255)
  return data:sub(1, at - 1) .. string.char(data:byte(at) ~ flip) .. data:sub(at + 1)
end

--- Starts a relay to 127.0.0.1:`to`. `faults` applies to both directions and can be changed at any time: loss, duplicate, corrupt, reorder
--- (each a share of datagrams), reorder_by, delay (seconds); `cut` = true loses all.
function relay.start(to, faults, seed)
  local self = { faults = faults or {}, forwarded = 0, lost = 0 }
  local random = generator(seed or 1)
  local front = uv.new_udp()
  assert(front:bind("127.0.0.1", 0))
  self.port = front:getsockname().port
  front:recv_buffer_size(4 << 20)

  local function send_later(seconds, send)
    local timer = uv.new_timer()
    timer:start(math.floor(seconds * 1000 + 0.5), 0, function()
      timer:close()
      send()
    end)
  end

  local function carry(data, send)
    local f = self.faults
    if f.cut or random() < (f.loss or 0) then
      self.lost = self.lost + 1
      return
    end
    if random() < (f.corrupt or 0) and #data > 0 then data = corrupted(data, random) end
    local copies = random() < (f.duplicate or 0) and 2 or 1
    for _ = 1, copies do
      local late = (f.delay or 0) + (random() < (f.reorder or 0) and (f.reorder_by or 0.01) or 0)
      self.forwarded = self.forwarded + 1
      if late > 0 then send_later(late, function() send(data) end) else send(data) end
    end
  end

  local function send_on(socket, data, port)
    if not socket:is_closing() then socket:try_send(data, "127.0.0.1", port) end
  end

  local backs = {} -- by the client's port: its socket towards the server
  local function back_for(client)
    local back = uv.new_udp()
    assert(back:bind("127.0.0.1", 0))
    back:recv_buffer_size(4 << 20)
    back:recv_start(function(_, data)
      if data then carry(data, function() send_on(front, data, client) end) end
    end)
    backs[client] = back
    return back
  end

  front:recv_start(function(_, data, from)
    if not data or not from then return end
    local client = from.port
    carry(data, function() send_on(backs[client] or back_for(client), data, to) end)
  end)

  --- From now on every client comes from a new port, and nothing sent to the old one arrives.
  function self.rebind()
    for client, back in pairs(backs) do
      backs[client] = nil
      back:close()
    end
  end

  return self
end

return relay
