--- Which requests a server accepts by their Host and Origin, so that a page from elsewhere cannot reach it: by a name of its own that
--- leads to the server (DNS rebinding), or with the cookies and the network position of its reader (CSRF).
local hosts = {}

local safe = { GET = true, HEAD = true, OPTIONS = true, TRACE = true, CONNECT = true }

--- "Name:80" → "name"
local function name_of(authority)
  local name = authority:match "^(%[[%x:.]+%])" or authority:match "^[^:]*"
  return name:lower():gsub("%.$", "")
end

local function is_loopback(name) return name == "localhost" or name == "[::1]" or name:find "^127%.%d+%.%d+%.%d+$" ~= nil end
local function is_address(name) return name:find "^%d+%.%d+%.%d+%.%d+$" ~= nil or name:sub(1, 1) == "[" end

--- Returns accepts(authority) for a listener on `on`. given: a list of names, or nil.
function hosts.rule(on, given)
  if given then
    local known = {}
    for _, name in ipairs(given) do known[name:lower()] = true end
    return function(authority) return known["*"] or known[name_of(authority)] or known[authority:lower()] or false end
  end
  if on:find "^unix:" then return function() return true end end -- no page can connect there
  if is_loopback(name_of(on)) then return function(authority) return is_loopback(name_of(authority)) end end
  return function(authority) -- of any name, one cannot know whether it is meant; an address is not looked up
    local name = name_of(authority)
    return is_address(name) or is_loopback(name)
  end
end

--- Whether a request that may change something, or that may open a WebSocket, comes from a page of this server, of an allowed origin, or
--- from no page. The browser lets any page open a WebSocket and read from it, with its reader's cookies (RFC 6455, section 10.2).
--- allowed: a set of origins.
function hosts.same_origin(request, authority, allowed)
  local origin = request.headers.origin
  local is_safe = safe[request.method] and not request.headers.upgrade
  if not origin or is_safe or allowed["*"] or allowed[origin:lower()] then return true end
  return origin:lower():match "^https?://(.*)$" == authority:lower()
end

--- Whether only programs of this machine can reach a listener on `on`.
function hosts.is_private(on) return on:find "^unix:" ~= nil or is_loopback(name_of(on)) end

return hosts
