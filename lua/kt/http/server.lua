--- kt.http.serve: a listener whose conns carry requests to the functions of a script.
---
--- A conn is served by one task: it waits for a request, reads the head, runs the handler, and so on, with a deadline for each. Bytes are
--- read only when they are wanted, and never beyond what they belong to, so request:take can hand over the conn after the head.
---
--- Invariant: a conn is in the list of waiting ones, longest first, exactly while it waits for its client to send or to take something,
--- or for its turn to read a further request. These give way to new conns when there are max_conns; one whose function runs does not.
local body = require "kt.http.body"
local core = require "kt.core"
local hosts = require "kt.http.hosts"
local list = require "kt.list"
local message = require "kt.http.message"
local misuse = require "kt.misuse"
local response = require "kt.http.response"
local schema = require "kt.schema"

local LINGER, LINGER_MAX = 2, 1 << 20 -- seconds and bytes for which a conn is read that is answered before its request has ended
local SKIP_MAX = 65536 -- bytes of a body that a handler left unread

-- ---- the list of waiting conns ----

local function list_add(waiting, c)
  if c.waits then return end
  list.add(waiting, c)
  c.waits = true
end

local function list_remove(waiting, c)
  if not c.waits then return end
  list.remove(waiting, c)
  c.waits = false
end

-- ---- requests, as a script has them ----

local make_request, inside_request
local make_response, inside_response
local request_methods, response_methods = {}, {}

function request_methods.read(self, most)
  local r = inside_request(self, "read")
  core.need_task "request:read"
  if most ~= nil and (math.type(most) ~= "integer" or most < 1 or most > 1 << 20) then
    misuse("request:read: expected a number of bytes from 1 to %d, got %s", 1 << 20, schema.show(most))
  end
  if r.response.broken then return nil, r.response.broken end
  if not r.reader then misuse("request:read: request.body has the body; give the route stream = true") end
  if r.expects then
    local ok, err = r.expects()
    if not ok then return nil, err end
  end
  r.waits(true)
  local data, err = r.reader:read(most or 16384)
  r.waits(false)
  return data, err
end

local function options_of(what, options)
  local f = require("kt.api").functions[what]
  local out, mistakes = schema.check(f.path, f.argument, options == nil and {} or options)
  if not out then schema.refuse(core.where(), what, mistakes) end
  return out
end

function request_methods.take(self, options)
  local r = inside_request(self, "take")
  core.need_task "request:take"
  local given = options_of("request:take", options)
  if not r.upgrade then misuse("request:take: only for CONNECT, and for a request with Upgrade") end
  if r.response.started or r.response.ended then misuse("request:take: the request has been answered") end
  if r.response.took then misuse("request:take: already taken") end
  if r.response.broken then return nil, r.response.broken end
  local connect = r.method == "CONNECT"
  local status = given.status or connect and 200 or 101
  local lines = { ("HTTP/1.1 %d %s"):format(status, core.http_phrase(status)) }
  local has = message.add_fields(core, lines, given.headers, "request:take")
  if not connect then
    if not has.upgrade then lines[#lines + 1] = "upgrade: " .. r.headers.upgrade end
    lines[#lines + 1] = "connection: upgrade"
  end
  r.response.took = true
  core.stop_if_gone(r.conn, false)
  local n, err = r.conn:write(table.concat(lines, "\r\n") .. "\r\n\r\n", r.response.patience)
  if not n then return nil, err end
  return r.conn
end

--- response:NAME(value), by the method of kt.http.response.
local function add_response_method(name, read)
  local what = "response:" .. name
  response_methods[name] = function(self, value)
    local r = inside_response(self, name)
    core.need_task(what)
    if read then value = read(what, value) end
    local out, err = r[name](r, value)
    return out, err
  end
end
add_response_method("start", options_of)
add_response_method("write")
add_response_method("event", options_of)

local function methods_of(t, order)
  local out = {}
  for i, name in ipairs(order) do out[i] = { name, t[name] } end
  return out
end

make_request, inside_request = core.kind("request", methods_of(request_methods, { "read", "take" }), false,
  { "method", "target", "path", "query", "params", "headers", "body", "peer", "version", "gone" })
make_response, inside_response = core.kind("response", methods_of(response_methods, { "start", "write", "event" }), false, {})

-- ---- one request ----

local server = {}
server.__index = server

--- Reads on for a moment, so that the answer is not lost with a reset, and gives up the conn.
local function linger(self, c)
  list_add(self.waiting, c)
  c.conn:shutdown()
  local until_, size = core.now() + LINGER, 0
  while size < LINGER_MAX and not c.dropped do
    local data = c.conn:read(16384, { timeout = math.max(until_ - core.now(), 0) })
    if not data then break end
    size = size + #data
  end
  list_remove(self.waiting, c)
end

local TEXT = "text/plain; charset=utf-8"

--- The response on a conn to a request { minor, keep }. head: without a body.
local function new_response(self, c, request, head)
  return response.new(c.conn, request, head, self.config.write_timeout, function() return self.stopped end,
    function(now, writes)
      (now and list_add or list_remove)(self.waiting, c)
      c.writes = now and writes
    end)
end

local function count(self, status)
  local name = status >= 500 and "server_errors" or status >= 400 and "client_errors"
  if name then self[name] = self[name] + 1 end
end

local last = { [400] = true, [405] = true } -- refused: what follows may be no request

--- Answers a request that gets to no handler. head: the request's, if it is known. Returns whether the conn can carry another one.
local function refuse(self, c, status, why, fields, head)
  local keep = head and head.keep_alive and head.length == 0 and head.method ~= "CONNECT" and not last[status] or false
  local request = { minor = head and head.minor or 1, keep = keep }
  local out = new_response(self, c, request, head and head.method == "HEAD")
  count(self, status)
  core.log.debug("http %s: answered %d: %s", c.conn.peer, status, why)
  local sent = out:send(status, fields, ("%d %s: %s\n"):format(status, core.http_phrase(status), why), TEXT)
  if sent and not request.keep and status ~= 503 then linger(self, c) end
  return request.keep
end

--- Reads the text of a head, or only its first line if that does not end in CRLF: its end may never come. Or nil, an err, and what came.
local function read_head(conn, config)
  local deadline = core.now() + config.header_timeout
  local function patience() return { timeout = math.max(deadline - core.now(), 0) } end
  local line, err, came = conn:read_until("\n", config.max_header, patience())
  if not line then return nil, err, came end
  if line:sub(-2) ~= "\r\n" then return line end
  local after
  after, err = conn:peek(2, patience())
  if not after then return nil, err, line end
  if after == "\r\n" then return line .. conn:read_exactly(2, patience()) end
  local rest
  rest, err, came = conn:read_until("\r\n\r\n", math.max(config.max_header - #line, 4), patience())
  if not rest then return nil, err, line .. (came or "") end
  return line .. rest
end

--- Waits for a head and reads it. nil: the conn ends.
local function next_head(self, c)
  local config, conn = self.config, c.conn
  list_add(self.waiting, c)
  c.idle = true
  local patience = { timeout = c.served and config.idle or config.header_timeout }
  local first = conn:peek(1, patience)
  if first == "\r" and conn:read_exactly(2, patience) == "\r\n" then -- one empty line is ignored (RFC 9112, section 2.2)
    first = conn:peek(1, patience)
  end
  local text, err, came
  local plain = first and first:find "^%w" -- TLS, say, is not
  if plain then text, err, came = read_head(conn, config) end
  list_remove(self.waiting, c)
  c.idle = false
  if not first or c.dropped then return nil end
  if not plain then
    refuse(self, c, 400, "not HTTP")
    return nil
  end
  if not text then
    if err.code == "timeout" then refuse(self, c, 408, "the header did not arrive in time")
    elseif err.code ~= "limit" then return nil
    elseif came:find("\r\n", 1, true) then refuse(self, c, 431, "the header is too long")
    else refuse(self, c, 414, "the request line is too long") end
    return nil
  end
  local head, status, why = core.http_head(text, "request")
  if not head then refuse(self, c, status, why) end
  return head
end

--- Checks a request before any of its body is read. Returns its route, parameters and longest body; or nil, and whether the conn can carry
--- another request, once it has been refused.
local function admit(self, c, head)
  local config, headers = self.config, head.headers
  local function no(status, why, fields) return nil, refuse(self, c, status, why, fields, head) end
  if headers.expect and headers.expect:lower() ~= "100-continue" then return no(417, "unknown Expect") end
  local authority = headers.host
  if head.host then authority = (head.host:find ":" and "[" .. head.host .. "]" or head.host) .. (head.port and ":" .. head.port or "") end
  if head.method ~= "CONNECT" and authority then
    if not self.accepts(authority) then return no(421, "this host is not served here; see hosts in kt.http.serve") end
    if not hosts.same_origin(head, authority, self.origins) then return no(403, "sent by a page of another origin") end
  end
  local path, segments, slash
  if head.method ~= "CONNECT" and head.target ~= "*" then
    path, segments, slash = message.path(head.path or "/")
    if not path then return no(400, "malformed path") end
  end
  head.decoded = path
  local route, params = config.routes:find(head.method, path, segments, slash)
  if not route and params then return no(405, "this path has other methods", { Allow = table.concat(params, ", ") }) end
  if not route then return no(404, "no such path") end
  local max = route.max_body or config.max_body
  if head.length and head.length > max then return no(413, ("the body is longer than %d bytes"):format(max)) end
  if head.minor == 0 and not headers["content-length"] and (head.method == "POST" or head.method == "PUT") then
    return no(411, "the length is missing")
  end
  return route, params, max
end

--- Whether a handler raised only that its client is gone: no mistake of the script's.
local function client_left(raised, out, reader)
  if raised == nil then return false end
  return raised == out.broken or raised == reader.failed and (raised.code == "reset" or raised.code == "closed")
end

local refused_body = { limit = 413, timeout = 408, protocol = 400 }

local function is_gone(r) return core.is_gone(r.conn) end

--- Runs the handler; true if the conn can carry another request.
local function answer(self, c, head, route, params, max)
  local config, conn = self.config, c.conn
  local reader = body.new(core, conn, head, max, config.body_timeout, not route.stream)
  local expects = head.headers.expect and head.minor > 0 and not reader.done
  local state = { minor = head.minor, keep = head.keep_alive and not self.stopped }
  local out = new_response(self, c, state, head.method == "HEAD")
  c.response = out
  local request = {
    method = head.method, target = head.target, path = head.decoded, query = message.query(head.query), params = params,
    headers = message.any_case(head.headers), peer = conn.peer, version = "1." .. head.minor, upgrade = head.upgrade and reader.done,
    conn = conn, response = out, waits = out.waits, gone = is_gone,
  }
  local function continue()
    if not expects then return true end
    expects = false
    return conn:write("HTTP/1.1 100 Continue\r\n\r\n", out.patience)
  end
  if route.stream then
    request.reader, request.expects = reader, continue
  else
    out.waits(true)
    local text, err = continue()
    if text then text, err = reader:all() end
    out.waits(false)
    if c.dropped then return false end
    if not text then
      local why = err.code == "timeout" and "the body did not arrive in time" or err.text
      if refused_body[err.code] then refuse(self, c, refused_body[err.code], why) end
      return false
    end
    request.body = text
  end
  self.requests = self.requests + 1
  if not route.ignore_gone then
    if core.is_gone(conn) then return false end
    core.stop_if_gone(conn, true) -- this task ends when the client goes while it waits for something else
  end
  local left = false
  local ok = xpcall(function()
    out:returned(route.handler(make_request(request), make_response(out)))
  end, function(raised)
    left = client_left(raised, out, reader)
    if left then return end
    core.note_failure(raised, ("request failed: %s %s"):format(head.method, head.decoded and head.path or head.target))
  end)
  core.stop_if_gone(conn, false)
  if left then
    core.log.debug("http %s: %s %s: the client left", conn.peer, head.method, head.target)
    return not c.dropped and conn:reset "the client left"
  end
  if not ok then
    state.keep = false
    if out.started or out.took then
      count(self, 500)
      return conn:reset "the handler failed"
    end
    out:send(500, nil, "500 Internal Server Error\n", TEXT)
  end
  if out.took then return false end
  count(self, out.status)
  out:finish()
  core.log.debug("http %s: %s %s: %d, %d bytes", conn.peer, head.method, head.target, out.status, out.bytes)
  if state.keep and not reader.done then
    out.waits(true)
    reader.deadline = core.now() + LINGER
    state.keep = not expects and reader:skip(SKIP_MAX)
    out.waits(false)
  end
  if not state.keep and not out.broken and not reader.done then linger(self, c) end
  return state.keep and not self.stopped and not c.dropped
end

-- ---- conns ----

local function leave(self, c)
  list_remove(self.waiting, c)
  if c.response then c.response:rest() end
  if not self.open[c] then return end
  self.open[c], self.conns = nil, self.conns - 1
end

--- Closes a waiting conn, which ends its task.
local function drop(self, c)
  leave(self, c)
  c.dropped = true
  if c.response then c.response:give_up(core.err("closed", "this conn gave way to another")) end
  if c.writes then c.conn:reset() else c.conn:close() end -- close would keep what the client does not take
end

--- Forgets conns whose task the watchdog has stopped: their __close did not run.
local function recount(self)
  self.counted = core.now()
  for c, task in next, self.open do
    if coroutine.status(task) == "dead" then leave(self, c) end
  end
end

--- Makes room for a conn; false if the functions of all others run.
local function make_room(self)
  local most, waiting = self.config.max_conns, self.waiting
  if self.conns >= most and core.now() >= self.counted + 1 then recount(self) end
  while self.conns >= most and waiting.first do
    self.dropped = self.dropped + 1
    drop(self, waiting.first)
  end
  return self.conns < most
end

--- Lets others run before the next request of a conn, which may have come already, and waits until the client takes its answer. The conn
--- stays in the list. False if it has given way.
local function next_turn(self, c)
  list_add(self.waiting, c)
  c.writes = true
  local room = core.await_room(c.conn, { timeout = self.config.write_timeout })
  if room and not c.dropped then
    c.writes = false
    core.park(0)
  end
  return room and not c.dropped
end

local function serve(self, conn)
  local c = { conn = conn, served = false }
  self.accepted = self.accepted + 1
  if not make_room(self) then
    self.dropped = self.dropped + 1
    refuse(self, c, 503, "too many connections")
    return
  end
  self.conns, self.open[c] = self.conns + 1, coroutine.running()
  local _ <close> = setmetatable({}, { __close = function() leave(self, c) end })
  repeat
    local head = next_head(self, c)
    if not head then return end
    c.served = true
    local route, params, max = admit(self, c, head)
    local again = params
    if route then again = answer(self, c, head, route, params, max) end
  until not again or not next_turn(self, c)
end

--- Ends the conns that have no request; the others end after their answer.
local function stop(self)
  self.stopped = true
  local c = self.waiting.first
  while c do
    local after = c.after
    if c.idle then drop(self, c) end
    c = after
  end
end

-- ---- the handle ----

local make, inside
local methods = {}

function methods.close(self)
  local s = inside(self, "close")
  if s.closed then return end
  s.closed = true
  s.listener:close()
end

function methods.stats(self)
  local s = inside(self, "stats")
  recount(s)
  return { conns = s.conns, accepted = s.accepted, dropped = s.dropped, requests = s.requests,
    client_errors = s.client_errors, server_errors = s.server_errors }
end

make, inside = core.kind("httpserver", methods_of(methods, { "close", "stats" }), false, { "local_addr" })

--- config: kt.http.serve's argument, checked against kt.api. on_stop: called when it begins to end; nil: nothing to call. Returns a handle, or
--- nil, err.
function server.new(config, on_stop)
  local listener, err = core.listen { on = config.on }
  if not listener then return nil, err end
  local self = setmetatable({
    config = config, listener = listener, accepts = hosts.rule(config.on, config.hosts), origins = {}, waiting = {}, stopped = false, closed = false,
    open = {}, counted = -1, conns = 0, accepted = 0, dropped = 0, requests = 0, client_errors = 0, server_errors = 0,
    local_addr = function(s) return s.listener.local_addr end,
  }, server)
  for _, origin in ipairs(config.origins or {}) do self.origins[origin:lower()] = true end
  listener:serve(function(conn) serve(self, conn) end)
  core.spawn_aside(function()
    core.await_stop(listener)
    stop(self)
    if on_stop then on_stop() end
  end)
  return make(self)
end

return server
