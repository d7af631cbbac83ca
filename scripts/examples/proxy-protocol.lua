-- PROXY protocol v2: the target sees the real client's address instead of the tunnel's.
--     kt run proxy-protocol.lua     -- near
--     kt run server.lua             -- far; or kt server, or a kcptun server
-- Each stream begins with the header of haproxy's doc/proxy-protocol.txt, section 2.2, which the far end passes on like any
-- other data. The target must expect it: `listen 8388 proxy_protocol` in nginx, `accept-proxy` in haproxy.
local kt = require "kt"

local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key", mode = "fast2" }

local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"
local LOCAL, PROXY = 0x20, 0x21 -- version 2 and the command
local UNSPEC, TCP4, TCP6 = 0x00, 0x11, 0x21 -- address family and protocol

local function groups(text)
  return (text:gsub("(%x+):?", function(group) return string.pack(">I2", tonumber(group, 16)) end))
end

--- "192.0.2.1:80" or "[2001:db8::1]:80" → family, address bytes, port; nil for a unix socket.
local function parse(address)
  local a, b, c, d, port = address:match "^(%d+)%.(%d+)%.(%d+)%.(%d+):(%d+)$"
  if a then return TCP4, string.char(a, b, c, d), port end
  local text
  text, port = address:match "^%[([%x:]+)[^%]]*%]:(%d+)$" -- [^%]]* skips a zone such as %eth0
  if not text then return end
  local head, tail = text:match "^(.*)::(.*)$"
  head, tail = groups(head or text), groups(tail or "")
  return TCP6, head .. ("\0"):rep(16 - #head - #tail) .. tail, port
end

local function header(conn)
  local family, from, from_port = parse(conn.peer or "")
  local same, to, to_port = parse(conn.local_addr or "")
  if not family or family ~= same then -- a unix socket: LOCAL tells the target to use the connection's own addresses
    return SIGNATURE .. string.pack(">BBs2", LOCAL, UNSPEC, "")
  end
  return SIGNATURE .. string.pack(">BBs2", PROXY, family, from .. to .. string.pack(">I2I2", from_port, to_port))
end

kt.listen { on = ":12948" }:serve(function(conn)
  local stream, err = far:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  stream:write(header(conn))
  kt.splice(conn, stream, { idle = "10m" })
end)
