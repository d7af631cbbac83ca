-- TCP and unix sockets for tasks: connect, serve, send, receive, half-close, reset. A conn reads only while a task receives, so one without
-- a receiver stalls after a few chunks, like a stalled application.
local uv = require "luv"
local loop = require "harness.loop"
local ports = require "harness.ports"

local sockets = {}

local READ_AHEAD = 4 -- chunks

local opened = {} -- every handle of this spec
local function new(make)
  local handle = make()
  opened[#opened + 1] = handle
  return handle
end

local Conn = {}
Conn.__index = Conn

local function wrap(handle)
  return setmetatable({ handle = handle, chunks = {}, first = 1, last = 0 }, Conn)
end

local function start_reading(self)
  if self.reading or self.ended or self.handle:is_closing() then return end
  self.reading = true
  self.handle:read_start(function(err, chunk)
    if chunk then
      self.last = self.last + 1
      self.chunks[self.last] = chunk
      if self.last - self.first + 1 >= READ_AHEAD then
        self.handle:read_stop()
        self.reading = false
      end
    else
      self.ended, self.failure = true, err
    end
    local wake = self.waiting
    self.waiting = nil
    if wake then wake() end
  end)
end

--- Up to `most` of the next bytes; nil at the end of the stream; nil and an error name ("ECONNRESET") when it
--- broke.
function Conn:recv(seconds, most)
  if self.first > self.last and not self.ended then
    start_reading(self)
    loop.wait("bytes to arrive", seconds, function(wake) self.waiting = wake end)
  end
  if self.first > self.last then return nil, self.failure end
  local chunk = self.chunks[self.first]
  if most and #chunk > most then
    self.chunks[self.first] = chunk:sub(most + 1)
    return chunk:sub(1, most)
  end
  self.chunks[self.first] = nil
  self.first = self.first + 1
  if self.first > self.last then start_reading(self) end
  return chunk
end

--- Exactly n bytes; fails if the stream ends earlier.
function Conn:recv_exactly(n, seconds)
  local got, size = {}, 0
  while size < n do
    local chunk, err = self:recv(seconds, n - size)
    if not chunk then error(("the stream ended (%s) after %d of %d bytes"):format(err or "EOF", size, n), 2) end
    got[#got + 1] = chunk
    size = size + #chunk
  end
  return table.concat(got)
end

--- Everything up to the end of the stream, and the error if it broke.
function Conn:recv_all(seconds)
  local got = {}
  while true do
    local chunk, err = self:recv(seconds)
    if not chunk then return table.concat(got), err end
    got[#got + 1] = chunk
  end
end

--- Sends and waits until the kernel has taken all of it. Returns nil and an error name when the connection broke.
function Conn:send(data, seconds)
  if self.handle:is_closing() then return nil, "ECANCELED" end
  local err = loop.wait("bytes to leave", seconds, function(wake)
    local request, immediate = self.handle:write(data, wake)
    if not request then wake(immediate) end
  end)
  if err then return nil, err end
  return true
end

--- Ends its own direction.
function Conn:shutdown()
  loop.wait("the shutdown", nil, function(wake)
    local request, err = self.handle:shutdown(wake)
    if not request then wake(err) end
  end)
end

function Conn:close()
  if not self.handle:is_closing() then self.handle:close() end
end

--- Breaks the connection so that the other end sees a reset.
function Conn:reset()
  if not self.handle:is_closing() then self.handle:close_reset() end
end

local function is_path(where) return type(where) == "string" end

--- Connects to a port of 127.0.0.1 or to the path of a unix socket. Returns nil and an error name on failure.
function sockets.connect(where, seconds)
  local handle = is_path(where) and new(uv.new_pipe) or new(uv.new_tcp)
  local err = loop.wait("a connection to " .. where, seconds, function(wake)
    local request, immediate
    if is_path(where) then
      request, immediate = handle:connect(where, wake)
    else
      request, immediate = handle:connect("127.0.0.1", where, wake)
    end
    if not request then wake(immediate) end
  end)
  if err then
    handle:close()
    return nil, err
  end
  return wrap(handle)
end

--- Whether the peer resets a connection to `where` before it sends anything. The reset may come while the connect is still under way.
function sockets.is_reset(where, seconds)
  local conn, err = sockets.connect(where, seconds)
  local data
  if conn then data, err = conn:recv(seconds) end
  return not data and err == "ECONNRESET"
end

--- Serves each connection with `handler(conn, server)` in a separate task; closes what the handler leaves open. where: a port or the path
--- of a unix socket; default: a free port. Fields: at (port or path), accepted (connections so far), open (connections now).
function sockets.serve(handler, where)
  local server = { accepted = 0, open = 0, conns = {} }
  local handle
  if is_path(where) then
    handle = new(uv.new_pipe)
    assert(handle:bind(where))
    server.at = where
  else
    handle = new(uv.new_tcp)
    assert(handle:bind("127.0.0.1", where or 0))
    server.at = handle:getsockname().port
  end
  assert(handle:listen(1024, loop.bound(function(err)
    if err then return end
    local client = is_path(where) and new(uv.new_pipe) or new(uv.new_tcp)
    if not handle:accept(client) then return client:close() end
    local conn = wrap(client)
    server.accepted = server.accepted + 1
    server.open = server.open + 1
    loop.spawn(function()
      handler(conn, server)
      conn:close()
      server.open = server.open - 1
    end)
  end)))
  function server.close()
    if not handle:is_closing() then handle:close() end
  end
  return server
end

--- A port of 127.0.0.1 that refuses connections and stays taken: bound, but without a listener.
function sockets.refusing()
  local handle = uv.new_tcp()
  assert(handle:bind("127.0.0.1", 0))
  return handle:getsockname().port
end

sockets.free_port = ports.free

--- Closes everything that this spec has opened here.
function sockets.close_all()
  for _, handle in ipairs(opened) do
    if not handle:is_closing() then handle:close() end
  end
  opened = {}
end

return sockets
