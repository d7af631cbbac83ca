--- Writes the traffic of a simulated network as a pcapng file (draft-ietf-opsawg-pcapng, sections 4.1 to 4.3 and 4.6) for Wireshark and
--- tcpdump. Each packet is a UDP datagram with generated IP (RFC 791, RFC 8200) and UDP (RFC 768) headers, with correct lengths and
--- checksums. Its comment says what the world did to it ("lost: burst").
---
--- Blocks are written immediately, so a capture of any length takes no memory. Nothing in them depends on the machine or the time.

local pcapng = {}

local LINKTYPE_RAW = 101 -- the packet begins with its IP header
local SECTION, INTERFACE, STATISTICS, ENHANCED_PACKET = 0x0A0D0D0A, 1, 5, 6
local COMMENT, IF_NAME, IF_DROP, END_OF_OPTIONS = 1, 2, 5, 0
local UDP = 17

local function padded(bytes)
  return bytes .. ("\0"):rep(-#bytes % 4)
end

local function option(code, text)
  return string.pack("<I2I2", code, #text) .. padded(text)
end

-- A block has its length before and after its body.
local function block(kind, body)
  local length = #body + 12
  return string.pack("<I4I4", kind, length) .. body .. string.pack("<I4", length)
end

--- Splits "10.0.0.1:80" or "[fd00::1]:80" into the bytes of the address and the port.
local function address(text)
  local host, port = text:match "^%[(.-)%]:(%d+)$"
  if host then
    local words = {}
    local head, tail = host:match "^(.-)::(.*)$"
    local function take(part)
      local list = {}
      for word in part:gmatch "%x+" do list[#list + 1] = tonumber(word, 16) end
      return list
    end
    if head then
      local left, right = take(head), take(tail)
      for _, word in ipairs(left) do words[#words + 1] = word end
      for _ = 1, 8 - #left - #right do words[#words + 1] = 0 end
      for _, word in ipairs(right) do words[#words + 1] = word end
    else
      words = take(host)
    end
    assert(#words == 8, "not an address: " .. text)
    return string.pack(">I2I2I2I2I2I2I2I2", table.unpack(words)), tonumber(port)
  end
  local a, b, c, d
  a, b, c, d, port = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+):(%d+)$"
  assert(a, "not an address: " .. text)
  return string.char(a, b, c, d), tonumber(port)
end

-- The Internet checksum (RFC 1071), of 32 bits at a time: folded to 16, their sum is the same.
local function checksum(bytes)
  local sum, i = 0, 1
  bytes = padded(bytes)
  while i + 15 <= #bytes do
    local a, b, c, d = string.unpack(">I4I4I4I4", bytes, i)
    sum, i = sum + a + b + c + d, i + 16
  end
  while i <= #bytes do sum, i = sum + string.unpack(">I4", bytes, i), i + 4 end
  while sum > 0xffff do sum = (sum & 0xffff) + (sum >> 16) end
  return ~sum & 0xffff
end

local function datagram(from, to, data)
  local source, sport = address(from)
  local target, tport = address(to)
  local length = #data + 8
  local v6 = #source == 16
  local pseudo = source .. target .. string.pack(v6 and ">I4I4" or ">I2I2", v6 and length or UDP, v6 and UDP or length)
  local sum = checksum(pseudo .. string.pack(">I2I2I2I2", sport, tport, length, 0) .. data)
  local udp = string.pack(">I2I2I2I2", sport, tport, length, sum == 0 and 0xffff or sum) .. data
  if v6 then return string.pack(">I4I2BB", 6 << 28, length, UDP, 64) .. source .. target .. udp end
  local function head(check)
    return string.pack(">BBI2I2I2BBI2", 0x45, 0, length + 20, 0, 0x4000, 64, UDP, check) .. source .. target
  end
  return head(checksum(head(0))) .. udp
end

local writer = {}
writer.__index = writer

--- A writer for one capture. out(bytes) is called with the file's bytes in order.
function pcapng.writer(out)
  out(block(SECTION, string.pack("<I4I2I2i8", 0x1A2B3C4D, 1, 0, -1)))
  return setmetatable({ out = out, interfaces = 0 }, writer)
end

--- Declares an interface, such as "client > server"; returns its number for `packet`.
function writer:interface(name)
  self.out(block(INTERFACE, string.pack("<I2I2I4", LINKTYPE_RAW, 0, 0)
    .. option(IF_NAME, name) .. option(END_OF_OPTIONS, "")))
  self.interfaces = self.interfaces + 1
  return self.interfaces - 1
end

--- Writes a datagram: p.at in µs since the world began, p.interface, p.from and p.to ("10.0.0.1:29900"), p.data, and p.note or nil.
function writer:packet(p)
  local bytes = datagram(p.from, p.to, p.data)
  local comment = p.note and option(COMMENT, p.note) .. option(END_OF_OPTIONS, "") or ""
  self.out(block(ENHANCED_PACKET, string.pack("<I4I4I4I4I4", p.interface, p.at >> 32, p.at & 0xffffffff, #bytes, #bytes)
    .. padded(bytes) .. comment))
end

--- Writes how many packets of an interface are missing.
function writer:statistics(interface, at, dropped)
  self.out(block(STATISTICS, string.pack("<I4I4I4", interface, at >> 32, at & 0xffffffff) .. option(IF_DROP, string.pack("<I8", dropped))
    .. option(END_OF_OPTIONS, "")))
end

return pcapng
