-- Ports of 127.0.0.1 for the programs that a spec starts. Specs run beside each other, and a port that was only seen to be free can be taken
-- before the program binds it. So each process of specs owns whole blocks of ports, and all of them lie below the range from which the kernel
-- takes ports for connections and for binds to port 0 (Linux: ip_local_port_range, from 32768 by default).
local uv = require "luv"

local ports = {}

local FIRST, BLOCK, BLOCKS = 12000, 200, 100
-- Block i belongs to the process that has bound this address and UDP port GUARD + i. The kernel frees it when the process ends.
local GUARD_ADDRESS, GUARD = "127.75.84.1", 11000

local guards = {} -- the sockets that hold our blocks
local next_port, last_port = 1, 0

local function own_another_block()
  local start = math.tointeger(uv.os_getpid()) % BLOCKS
  for i = 0, BLOCKS - 1 do
    local block = (start + i) % BLOCKS
    local guard = uv.new_udp()
    if guard:bind(GUARD_ADDRESS, GUARD + block) then
      guards[#guards + 1] = guard
      next_port = FIRST + block * BLOCK
      last_port = next_port + BLOCK - 1
      return
    end
    guard:close()
  end
  error "every block of ports is owned by another process"
end

local function bindable(make, port)
  local handle = make()
  -- libuv reports a taken TCP port only at listen; until then the socket has no port.
  local ok = handle:bind("127.0.0.1", port) and handle:getsockname().port == port
  handle:close()
  return ok
end

local function all_bindable(make, first, count)
  for port = first, first + count - 1 do
    if not bindable(make, port) then return false end
  end
  return true
end

--- A port that no other process of specs uses, for "tcp" or "udp"; with count: the first of that many consecutive ports. No port is given
--- out twice, so that datagrams meant for an earlier spec do not reach a later one.
function ports.free(kind, count)
  local make = kind == "udp" and uv.new_udp or uv.new_tcp
  count = count or 1
  while true do
    if next_port + count - 1 > last_port then own_another_block() end
    local port = next_port
    if all_bindable(make, port, count) then
      next_port = port + count
      return port
    end
    next_port = port + 1
  end
end

return ports
