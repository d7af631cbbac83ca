-- An HTTP proxy at the near end: browsers name their target by CONNECT, except what deny.txt lists.
--     kt run http-proxy.lua                                               -- near
--     KCPTUN_KEY=$(cat psk.key) kt server --allow '*:443,*:80'            -- far: connects, as far as --allow says
--     curl --proxy http://127.0.0.1:3128 https://example.com/
-- deny.txt, beside this script, has a line for each: "ads.example", ".example" with all hosts below it, "mail.example:25" for one
-- port, "10.0.0.0/8" or "2001:db8::1" for addresses, or a comment after "#". A change of it applies at once, to new connections. Names
-- are resolved at the far end, so the list must have the names of a server, and its addresses.
local kt = require "kt"

local far = kt.link { remote = "vps.example:29900", wire = "kt", key = kt.secret_file "psk.key" }

local hosts, networks -- what is denied

local function read(text, err)
  if not text then return kt.log.warn("deny.txt: %s; the list stays as it is", err) end
  local names, addresses = {}, {}
  for line in text:gmatch "[^\n]+" do
    local entry = line:match "^%s*([^%s#]+)"
    local host, port = kt.address(entry or "")
    if entry and (entry:find "/" or kt.cidr(entry)) then addresses[#addresses + 1] = entry
    elseif entry then names[host and ("%s:%d"):format(host, port) or entry:lower():gsub("%.+$", "")] = true end
  end
  hosts, networks = names, assert(kt.cidr(addresses))
end
read(assert(kt.file "deny.txt"))
kt.watch("deny.txt", read)

--- Whether the list has a host, with or without the port, or a domain that it is in.
local function is_denied(host, port)
  host = host:gsub("%.+$", "")
  if networks:contains(host) or hosts[host] or hosts[host .. ":" .. port] then return true end
  for at in host:gmatch "()%." do
    if hosts[host:sub(at)] then return true end
  end
  return false
end

kt.http.serve { on = "127.0.0.1:3128", idle = "5m", max_conns = 4096, routes = {
  ["CONNECT *"] = function(request)
    local target = request.target
    local host, port = kt.address(target) -- nil for what could be read in two ways, such as 0x7f.1
    if not host or is_denied(host, port) then
      kt.log.info("%s: %s is denied", request.peer, target)
      return 403, target .. " is denied here\n"
    end
    local stream, err = far:open { to = target, client = request.peer, timeout = "10s" }
    if not stream then return err.code == "timeout" and 504 or 502, err.text .. "\n" end
    local conn = request:take()
    if conn then kt.splice(conn, stream, { idle = "10m" }) end
  end,
} }
