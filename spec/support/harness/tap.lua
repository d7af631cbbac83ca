-- Observes a tunnel end from outside, whichever program it is: where it listens, where it dials, and the form of its first datagrams. To
-- read datagrams, the end must run with crypt none.
local uv = require "luv"
local loop = require "harness.loop"
local sockets = require "harness.sockets"

local tap = {}

local function lines(path)
  local file = io.open(path)
  if not file then return function() end end
  local text = file:read "a"
  file:close()
  return text:gmatch "[^\n]+"
end

-- The inodes of a process' sockets.
local function inodes(pid)
  local set, scan = {}, uv.fs_scandir(("/proc/%d/fd"):format(pid))
  while scan do
    local fd = uv.fs_scandir_next(scan)
    if not fd then break end
    local inode = (uv.fs_readlink(("/proc/%d/fd/%s"):format(pid, fd)) or ""):match "^socket:%[(%d+)%]$"
    if inode then set[inode] = true end
  end
  return set
end

-- "0100007F" → "127.0.0.1"; IPv6 in groups of four bytes, each little-endian.
local function host(hex)
  if #hex == 8 then
    local a, b, c, d = hex:match "(..)(..)(..)(..)"
    return ("%d.%d.%d.%d"):format(tonumber(d, 16), tonumber(c, 16), tonumber(b, 16), tonumber(a, 16))
  end
  local known = { [("0"):rep(32)] = "[::]", [("0"):rep(24) .. "01000000"] = "[::1]" }
  return known[hex] or hex
end

--- Where a process listens: a sorted list of "tcp 127.0.0.1:80", "udp [::]:29900", "unix /path". UDP sockets count only on `port`, because
--- an end that dials has others.
function tap.listening(pid, port)
  local mine, found = inodes(pid), {}
  for _, kind in ipairs { "tcp", "tcp6", "udp", "udp6" } do
    for line in lines("/proc/net/" .. kind) do
      local at, at_port, state, inode = line:match "^%s*%d+: (%x+):(%x+) %x+:%x+ (%x+) %x+:%x+ %x+:%x+ %x+ +%d+ +%d+ (%d+)"
      at_port = at_port and tonumber(at_port, 16)
      if inode and mine[inode] and (state == "0A" or kind:find "udp" and at_port == port) then
        found[#found + 1] = ("%s %s:%d"):format(kind:sub(1, 3), host(at), at_port)
      end
    end
  end
  for line in lines "/proc/net/unix" do
    local flags, inode, path = line:match "^%S+ %S+ %S+ (%S+) %S+ %S+ +(%d+) (.*)$"
    if inode and mine[inode] and flags == "00010000" then found[#found + 1] = "unix " .. path end
  end
  table.sort(found)
  return found
end

local Tap = {}
Tap.__index = Tap

--- Listens on one UDP port of 127.0.0.1 and of ::1, and keeps what arrives: each { at = "127.0.0.1" or "[::1]", from = port, data }.
function tap.open()
  local self = setmetatable({ got = {}, port = sockets.free_port "udp" }, Tap)
  for _, ip in ipairs { "127.0.0.1", "::1" } do
    local socket = uv.new_udp()
    assert(socket:bind(ip, self.port))
    socket:recv_buffer_size(4 << 20)
    socket:recv_start(loop.bound(function(_, data, from)
      if not data or not from then return end
      self.got[#self.got + 1] = { at = ip == "::1" and "[::1]" or ip, from = from.port, data = data }
      local wake = self.waiting
      self.waiting = nil
      if wake then wake() end
    end))
  end
  return self
end

--- Forgets what has arrived.
function Tap:clear() self.got = {} end

--- Waits until `predicate(got)` returns something true.
function Tap:wait_for(what, predicate)
  local deadline = loop.now() + 10
  while true do
    local found = predicate(self.got)
    if found then return found end
    if loop.now() > deadline then error("waited 10 s for " .. what, 2) end
    loop.wait_until(1, function(wake) self.waiting = wake end)
  end
end

local HEAD = 20 -- crypt none: nonce and CRC

--- The KCP PUSH segments of a datagram, each { conv, wnd, sn, data }, and whether it has a FEC header. Parity has none.
function tap.segments(data)
  local body = data:sub(HEAD + 1)
  local kind = #body >= 6 and ("<I2"):unpack(body, 5)
  local fec = kind == 0xf1 or kind == 0xf2
  if kind == 0xf2 then return {}, fec end
  local list, at = {}, fec and 9 or 1
  while at + 24 <= #body + 1 do
    local conv, cmd, _, wnd, _, sn, _, len, next = ("<I4BBI2I4I4I4I4"):unpack(body, at)
    if cmd == 81 then list[#list + 1] = { conv = conv, wnd = wnd, sn = sn, data = body:sub(next, next + len - 1) } end
    at = next + len
  end
  return list, fec
end

--- The form of one session's datagrams: { fec, rcvwnd, compressed, smux, largest, outstanding }. outstanding: segments sent before the
--- first retransmission; nil: none yet.
function tap.facts(got)
  local facts, seen, first = { fec = false, largest = 0 }, {}, {}
  local n = 0
  for _, datagram in ipairs(got) do
    if datagram.from == got[1].from then
      facts.largest = math.max(facts.largest, #datagram.data)
      local list, fec = tap.segments(datagram.data)
      facts.fec = facts.fec or fec
      for _, s in ipairs(list) do
        facts.rcvwnd = facts.rcvwnd or s.wnd
        if s.sn == 0 then first[#first + 1] = s.data end
        if seen[s.sn] and s.sn == 0 then facts.outstanding = facts.outstanding or n end
        if not seen[s.sn] then n = n + 1 end
        seen[s.sn] = true
      end
    end
  end
  local head = first[1] or ""
  facts.compressed = head:sub(1, 10) == "\xff\6\0\0sNaPpY"
  if not facts.compressed and head ~= "" then facts.smux = head:byte() end
  return facts
end

return tap
