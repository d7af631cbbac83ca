--- The response to a request, as kt.http.serve writes it: at once from what the handler returns, or in pieces.
---
--- Invariant: nothing reaches the conn before the status and all fields have been checked; after `started`, only pieces of the body do.
local core = require "kt.core"
local message = require "kt.http.message"
local misuse = require "kt.misuse"
local schema = require "kt.schema"

local response = {}
response.__index = response

local PIECE = 65536 -- bytes
local COMMENT, COMMENT_EVERY = ":\n\n", 15 -- seconds without an event (WHATWG HTML, section 9.2.7)
local TEXT, EVENTS = "text/plain; charset=utf-8", "text/event-stream"

--- conn: where to write. request: { minor, keep } of the request; `keep` is cleared if the conn must close. head: without a body.
--- timeout: seconds for each piece. stopping(): whether the server ends. waits(true [, writes]), waits(false): around each wait for the
--- client.
function response.new(conn, request, head, timeout, stopping, waits)
  return setmetatable({ conn = conn, request = request, head = head, patience = { timeout = timeout }, stopping = stopping, waits = waits, bytes = 0 },
    response)
end

--- Writes in pieces, each of which the client has a timeout to take.
local function write(self, data)
  if self.broken then return nil, self.broken end
  for at = 1, #data, PIECE do
    self.waits(true, true)
    local n, err = self.conn:write(#data <= PIECE and data or data:sub(at, at + PIECE - 1), self.patience)
    self.waits(false)
    if not n then
      self.broken, self.request.keep = err, false
      return nil, err
    end
  end
  self.bytes, self.silent = self.bytes + #data, false
  return #data
end

--- Whether a message with this status never has a body.
local function bodiless(status) return status == 204 or status == 304 end

--- The head. size: of the body, or nil while it is not known. kind: its content type, if the fields have none.
local function head_of(self, status, fields, size, kind)
  local lines = { ("HTTP/1.1 %d %s"):format(status, core.http_phrase(status)) }
  local given = message.add_fields(core, lines, fields, "response")
  if not given.date then lines[#lines + 1] = "date: " .. message.date(core) end
  if kind and not given["content-type"] and not bodiless(status) then lines[#lines + 1] = "content-type: " .. kind end
  if self.request.minor == 0 and not size then self.request.keep = false end
  if size and not bodiless(status) then
    lines[#lines + 1] = ("content-length: %d"):format(size)
  elseif not size and self.request.minor > 0 and not bodiless(status) then
    lines[#lines + 1] = "transfer-encoding: chunked"
    self.chunked = not self.head
  end
  if not self.request.keep or self.stopping() then
    self.request.keep = false
    lines[#lines + 1] = "connection: close"
  elseif self.request.minor == 0 then
    lines[#lines + 1] = "connection: keep-alive"
  end
  self.started, self.status, self.bodiless = true, status, self.head or bodiless(status)
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function check_status(status)
  if math.type(status) ~= "integer" or status < 200 or status > 599 then
    misuse("response: status: expected an integer from 200 to 599, got %s", schema.show(status))
  end
end

--- Sends a response with all of its body.
function response:send(status, fields, body, kind)
  check_status(status)
  local head = head_of(self, status, fields, #body, kind)
  return write(self, self.bodiless and head or head .. body)
end

--- Fails all that is written from now on.
function response:give_up(err) self.broken, self.request.keep = err, false end

-- ---- in pieces ----

local function need_open(self, what)
  if self.ended then misuse("response:%s: the handler has returned", what) end
  if self.took then misuse("response:%s: request:take has taken the conn", what) end
end

--- A piece of the body as it goes to the conn; not empty, which would end a chunked body (RFC 9112, section 7.1).
local function framed(self, data) return self.chunked and ("%x\r\n%s\r\n"):format(#data, data) or data end

--- response:start { status, headers }
function response:start(options)
  need_open(self, "start")
  if self.started then misuse("response:start: the response has begun") end
  local status = options.status or 200
  check_status(status)
  local n, err = write(self, head_of(self, status, options.headers, nil, TEXT))
  return n and true, err
end

function response:write(data)
  need_open(self, "write")
  if type(data) ~= "string" then misuse("response:write: expected a string, got %s", schema.show(data)) end
  if not self.started then
    local ok, err = self:start {}
    if not ok then return nil, err end
  end
  if self.broken then return nil, self.broken end
  if self.bodiless then return nil, core.err("closed", "this response has no body") end
  if data == "" then return 0 end
  local n, err = write(self, framed(self, data))
  if not n then return nil, err end
  return #data
end

--- A line of an event; nil if there is none.
local function line_of(name, value)
  if value == nil then return "" end
  if type(value) ~= "string" and not math.type(value) or tostring(value):find "[\r\n\0]" then
    misuse("response:event: %s: expected text without line breaks, got %s", name, schema.show(value))
  end
  return ("%s: %s\n"):format(name, value)
end

--- Sends a comment to a client that has got nothing since the last time: the answer of one that has gone ends the conn.
local function comment(self)
  if self.silent and not self.broken then core.write_now(self.conn, framed(self, COMMENT)) end
  self.silent = true
end

--- Stops sending comments.
function response:rest()
  if self.comments then self.comments:cancel() end
  self.comments = nil
end

--- response:event { data, event, id, retry } (WHATWG HTML, section 9.2)
function response:event(options)
  need_open(self, "event")
  local data = options.data or ""
  local text = line_of("event", options.event) .. line_of("id", options.id)
  if options.retry then text = text .. ("retry: %d\n"):format((options.retry * 1000) // 1) end
  for line in (data:gsub("\r\n?", "\n") .. "\n"):gmatch "(.-)\n" do text = text .. "data: " .. line .. "\n" end
  if not self.started then
    local ok, err = self:start { headers = { ["content-type"] = EVENTS, ["cache-control"] = "no-store" } }
    if not ok then return nil, err end
    if not self.bodiless then self.comments = core.every(COMMENT_EVERY, function() comment(self) end) end
  end
  if self.stopping() then return nil, core.err("closed", "the server is stopping") end
  local n, err = self:write(text .. "\n")
  return n and true, err
end

-- ---- the end ----

--- Sends what a handler returned: a body; a status and a body; or { status, headers, body, json }.
function response:returned(first, second)
  if self.took or self.started then return end
  if first == nil and second ~= nil then error(second, 0) end
  local answer = first
  if first == nil then answer = { status = 204 }
  elseif type(first) == "string" then answer = { body = first }
  elseif math.type(first) then answer = type(second) == "table" and { status = first, headers = second.headers, body = second.body, json = second.json }
    or { status = first, body = second }
  elseif type(first) ~= "table" then
    misuse("the handler returned %s; expected a string, a status, or { status = ..., headers = ..., body = ... }", schema.show(first))
  end
  for key in next, answer do
    if key ~= "status" and key ~= "headers" and key ~= "body" and key ~= "json" then
      misuse("the handler returned a table with an unknown key %s; %s", tostring(key), schema.one_of { "status", "headers", "body", "json" })
    end
  end
  local status, body, kind = answer.status or 200, answer.body, TEXT
  check_status(status)
  if answer.json ~= nil then body, kind = core.json.encode(answer.json), "application/json" end
  if body == nil then
    body = status >= 400 and ("%d %s\n"):format(status, core.http_phrase(status)) or ""
    if body == "" then kind = nil end
  end
  if type(body) ~= "string" then misuse("the handler returned a body that is not a string: %s", schema.show(body)) end
  self:send(status, answer.headers, body, kind)
end

--- Ends a response that was sent in pieces.
function response:finish()
  self.ended = true
  self:rest()
  if self.started and self.chunked and not self.broken then write(self, "0\r\n\r\n") end
end

return response
