--- One HTTP request: prepares it, writes it to a conn or stream, and reads the response.
---
--- env: kt.core, or what kt.sim has of it.
local body = require "kt.http.body"
local message = require "kt.http.message"

local client = {}

local NO_TLS = "https is not supported, as kt has no TLS; send http to a program on this machine that adds TLS, such as stunnel"
local HEAD_MAX, INTERIM_MAX = 65535, 10 -- bytes of a head, and responses 1xx before the one that counts

--- The URL in parts, with `authority`, `at` (host:port) and `target`; nil and an err.
local function read_url(env, text)
  local url, wrong = env.http_url(text)
  if not url then return nil, env.err("config", wrong) end
  if (text .. "/"):find "^%a[%w+.-]*://[^/?#]*:0+[/?#]" then -- env.http_url does not tell port 0 from none
    return nil, env.err("config", "expected a port from 1 to 65535 in the URL")
  end
  if url.https then return nil, env.err("unsupported", NO_TLS) end
  if not url.host then return nil, env.err("config", 'expected a URL such as "http://host:port/path"') end
  if url.userinfo then return nil, env.err("config", "a user and a password belong in headers = { Authorization = ... }") end
  local host = url.host:find ":" and "[" .. url.host .. "]" or url.host
  url.authority = host .. (url.port and url.port ~= 80 and ":" .. url.port or "")
  url.at = ("%s:%d"):format(host, url.port or 80)
  url.target = (url.path or "/") .. (url.query and "?" .. url.query or "")
  return url
end

--- Why a URL cannot be requested: "what is wrong; what to do", or only the first; nil if it can.
function client.objection(env, text)
  local url, err = read_url(env, text)
  return not url and err.text or nil
end

--- The URL for messages, without its user and password. In a malformed one, all up to the last "@" may be part of them.
function client.shown(env, text)
  local url = env.http_url(text)
  if url and not url.userinfo then return text end
  local scheme = text:match "^%a[%w+.-]*://" or ""
  return scheme .. text:sub(#scheme + 1):gsub("^.*@", "")
end

local function late(env, what, timeout)
  return env.err("timeout", timeout < 1 and ("%s within %.4g ms"):format(what, timeout * 1000) or ("%s within %.6g s"):format(what, timeout))
end

local function head_of(env, request, url)
  local lines = { ("%s %s HTTP/1.1"):format(request.method, url.target) }
  local given = message.add_fields(env, lines, request.headers, "kt.http.request")
  if not given.host then lines[#lines + 1] = "host: " .. url.authority end
  if not given["user-agent"] then lines[#lines + 1] = "user-agent: kt/" .. env.version end
  if not given.accept then lines[#lines + 1] = "accept: */*" end
  local text = request.body
  if text or request.method == "POST" or request.method == "PUT" or request.method == "PATCH" then
    lines[#lines + 1] = ("content-length: %d"):format(#(text or ""))
  end
  if not request.keepalive or request.via then lines[#lines + 1] = "connection: close" end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

--- request: { url, method, headers, body, keepalive, via }. Returns where to connect, "host:port", and the head to send; or nil and an err.
--- Raises for fields that no message can hold.
function client.prepare(env, request)
  local url, err = read_url(env, request.url)
  if not url then return nil, err end
  return url.at, head_of(env, request, url)
end

local idempotent = { GET = true, HEAD = true, OPTIONS = true, TRACE = true, PUT = true, DELETE = true }

--- Whether a request that failed on a used conn may be sent again on a new one (RFC 9112, section 9.3.1): the server had closed the conn
--- before it answered anything, and doing the request twice has the same effect as once.
function client.may_repeat(request, err, came)
  return idempotent[request.method] and not came and (err.code == "reset" or err.code == "closed")
end

--- Sends a request and waits for the response. deadline: by env.now(). Returns { status, reason, headers, body }, and whether the conn can
--- carry another request; or nil, an err, and whether a part of a response came.
function client.exchange(env, conn, request, head_text, deadline)
  local function patience() return { timeout = math.max(deadline - env.now(), 0) } end
  local _, unsent = conn:write(head_text .. (request.body or ""), patience())
  local came = false
  for _ = 1, INTERIM_MAX do
    local text, err, part = conn:read_until("\r\n\r\n", HEAD_MAX, patience()) -- also if it was not sent: the server may have said why
    if not text then
      came = came or part ~= nil and part ~= ""
      err = unsent or err
      if err.code == "timeout" then return nil, late(env, "no response", request.timeout) end
      if err.code == "eof" then err = env.err("reset", "the server closed without a response") end
      if err.code == "limit" then err = env.err("limit", "the header of the response is too long") end
      return nil, err, came
    end
    came = true
    local head, _, why = env.http_head(text, request.method == "HEAD" and "head" or "response")
    if not head then return nil, env.err("protocol", "malformed response: " .. why), true end
    if head.status == 101 then return nil, env.err("protocol", "the server switched to another protocol"), true end
    if head.status >= 200 then
      local reader = body.new(env, conn, head, request.max_body, math.max(deadline - env.now(), 0), true)
      local data, failed = reader:all()
      if not data then return nil, failed.code == "timeout" and late(env, "no complete response", request.timeout) or failed, true end
      return { status = head.status, reason = head.reason, headers = message.any_case(head.headers), body = data },
        head.keep_alive and not head.to_end and not unsent
    end
  end
  return nil, env.err("protocol", "too many interim responses"), true
end

return client
