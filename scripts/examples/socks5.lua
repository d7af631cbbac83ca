-- A SOCKS5 proxy at the far end: applications name their target, and the far end resolves and connects.
--     kt run socks5.lua                                       -- far
--     kt run client.lua                                       -- near
--     curl --proxy socks5h://127.0.0.1:12948 https://example.com/
-- Implements CONNECT of RFC 1928. The near end is client.lua, unmodified: it only carries bytes.
-- Anyone with the key can connect to everything this machine can reach; restrict that in `allowed`.
local kt = require "kt"

local patience = { timeout = "10s" }

local function allowed(host, port) -- luacheck: no unused args
  return true
end

-- Reply codes of RFC 1928, section 6, by the err.code of kt.connect.
local replies = {
  denied = 2, unreachable = 3, name = 4, config = 4, timeout = 4, refused = 5,
}
local GENERAL_FAILURE, NOT_ALLOWED, NO_SUCH_COMMAND, NO_SUCH_ADDRESS_TYPE = 1, 2, 7, 8

local function reply(stream, code)
  return stream:write(string.pack("BBBB I4 I2", 5, code, 0, 1, 0, 0), patience)
end

--- Negotiates "no authentication", the only method offered: the link has authenticated the peer already. Returns true, or nil and a reason.
local function greet(stream)
  local head, err = stream:read_exactly(2, patience)
  if not head then return nil, err end
  local version, count = head:byte(1, 2)
  if version ~= 5 then return nil, "not SOCKS5" end
  local methods
  methods, err = stream:read_exactly(count, patience)
  if not methods then return nil, err end
  if methods:find("\0", 1, true) then return stream:write("\5\0", patience) end
  stream:write("\5\255", patience)
  return nil, "the client requires authentication"
end

--- Reads the request. Returns host and port; or nil, a reason, and the reply code if one should be sent.
local function request(stream)
  local head, err = stream:read_exactly(4, patience)
  if not head then return nil, err end
  local version, command, _, kind = head:byte(1, 4)
  if version ~= 5 then return nil, "not SOCKS5" end
  local size
  if kind == 1 then
    size = 4
  elseif kind == 4 then
    size = 16
  elseif kind == 3 then
    local length
    length, err = stream:read_exactly(1, patience)
    if not length then return nil, err end
    size = length:byte()
  else
    return nil, "unknown address type", NO_SUCH_ADDRESS_TYPE
  end
  local rest
  rest, err = stream:read_exactly(size + 2, patience)
  if not rest then return nil, err end
  local address, port = rest:sub(1, size), string.unpack(">I2", rest, size + 1)
  if command ~= 1 then return nil, "only CONNECT is supported", NO_SUCH_COMMAND end
  if kind == 1 then
    return ("%d.%d.%d.%d"):format(address:byte(1, 4)), port
  elseif kind == 4 then
    return ("[%x:%x:%x:%x:%x:%x:%x:%x]"):format(string.unpack(">I2I2I2I2I2I2I2I2", address)), port
  end
  return address, port
end

kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
  local ok, why = greet(stream)
  if not ok then
    kt.log.info("%s: %s", stream.peer, why)
    return
  end
  local host, port, code = request(stream)
  if not host then
    kt.log.info("%s: %s", stream.peer, port)
    if code then reply(stream, code) end
    return
  end
  if not allowed(host, port) then
    kt.log.info("%s: %s:%d is not allowed", stream.peer, host, port)
    reply(stream, NOT_ALLOWED)
    return
  end
  local conn, err = kt.connect { to = host .. ":" .. port, timeout = "10s" }
  if not conn then
    kt.log.info("%s: %s", stream.peer, err)
    reply(stream, replies[err.code] or GENERAL_FAILURE)
    return
  end
  if not reply(stream, 0) then return end
  kt.splice(stream, conn) -- includes bytes that the application has already sent
end)
