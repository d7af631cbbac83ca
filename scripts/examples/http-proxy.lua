-- An HTTP proxy at the near end: browsers name their target by CONNECT, except what deny.txt lists.
--     kt run http-proxy.lua                                               -- near
--     KCPTUN_KEY=$(cat psk.key) kt server --allow '*:443,*:80'            -- far: connects, as far as --allow says
--     curl --proxy http://127.0.0.1:3128 https://example.com/
-- deny.txt, beside this script, has a line for each host: "ads.example", ".example" with all hosts below it, "mail.example:25" for one
-- port, or a comment after "#". A change of it applies at once, to new connections. Names are resolved at the far end. Addresses in
-- other forms than 192.0.2.1, IPv6 among them, are refused: each address has many, so a list could not name them all.
local kt = require "kt"

local far = kt.link { remote = "vps.example:29900", wire = "kt", key = kt.secret_file "psk.key" }

local denied = {}

local function read(text, err)
  if not text then return kt.log.warn("deny.txt: %s; the list stays as it is", err) end
  denied = {}
  for line in text:gmatch "[^\n]+" do
    local entry = line:match "^%s*([^%s#]+)"
    if entry then denied[entry:lower():gsub("%.+$", "")] = true end
  end
end
read(assert(kt.file "deny.txt"))
kt.watch("deny.txt", read)

--- The host and the port of a target, each in the one form that the list has.
local function parts(target)
  local host, port = target:lower():match "^([%w._-]*[%w_-])%.*:0*(%d+)$"
  if not host then return nil end
  local numeric = host:find "^%d+$" or host:find "%.%d+$" or host:find "^0x%x*$" or host:find "%.0x%x*$"
  local a, b, c, d = host:match "^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$"
  if numeric and not (a and ("%d.%d.%d.%d"):format(a, b, c, d) == host) then return nil end -- 167772161, 010.0.0.1
  return host, port
end

--- Whether the list has a host, with or without the port, or a domain that it is in.
local function is_denied(host, port)
  if denied[host] or denied[host .. ":" .. port] then return true end
  for at in host:gmatch "()%." do
    if denied[host:sub(at)] then return true end
  end
  return false
end

kt.http.serve { on = "127.0.0.1:3128", idle = "5m", max_conns = 4096, routes = {
  ["CONNECT *"] = function(request)
    local target = request.target
    local host, port = parts(target)
    if not host or is_denied(host, port) then
      kt.log.info("%s: %s is denied", request.peer, target)
      return 403, target .. " is denied here\n"
    end
    local stream, err = far:open { to = host .. ":" .. port, client = request.peer, timeout = "10s" }
    if not stream then return err.code == "timeout" and 504 or 502, err.text .. "\n" end
    local conn = request:take()
    if conn then kt.splice(conn, stream, { idle = "10m" }) end
  end,
} }
