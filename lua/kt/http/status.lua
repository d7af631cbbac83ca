--- kt.http.status: routes that show what this kt does: metrics, health, JSON, and a page with a stream of events.
---
--- Nothing here changes anything. Every route asks for the token, if there is one, and refuses what a page of another origin has sent.
--- Invariant: at most STREAMS pages are fed at a time, from one snapshot per second.
local core = require "kt.core"
local history = require "kt.http.history"
local metrics = require "kt.http.metrics"
local snapshot = require "kt.snapshot"

local status = {}
status.__index = status

local STREAMS, PERIOD, ROWS_MAX = 16, 1, 5000

local SAFE = {
  ["cache-control"] = "no-store",
  ["content-security-policy"] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; "
    .. "form-action 'none'; frame-ancestors 'none'",
  ["cross-origin-resource-policy"] = "same-origin", ["referrer-policy"] = "no-referrer", ["x-content-type-options"] = "nosniff",
  ["x-frame-options"] = "DENY",
}

local function answer(code, kind, body, more)
  local headers = { ["content-type"] = kind }
  for name, value in next, SAFE do headers[name] = value end
  for name, value in next, more or {} do headers[name] = value end
  return { status = code, headers = headers, body = body }
end

local TEXT, JSON = "text/plain; charset=utf-8", "application/json"

-- ---- access control ----

--- The token that a request brings: "Bearer TOKEN", or the password of "Basic", which is what browsers can send.
local function token_of(field)
  local scheme, value = (field or ""):match "^(%a+) +(%S+)$"
  if not scheme then return nil end
  if scheme:lower() == "bearer" then return value end
  local pair = scheme:lower() == "basic" and core.crypto.base64_decode(value)
  return pair and pair:match "^[^:]*:(.*)$"
end

--- Whether a script of another origin, or a frame in it, has sent the request; following a link to the page is allowed.
local function foreign(headers)
  local origin, site = headers.origin, headers["sec-fetch-site"]
  if origin and origin:lower():match "^https?://(.*)$" ~= (headers.host or ""):lower() then return true end
  return (site == "cross-site" or site == "same-site") and headers["sec-fetch-mode"] ~= "navigate"
end

local function guarded(self, fn)
  return function(request, response)
    if foreign(request.headers) then return answer(403, TEXT, "403 Forbidden: sent by a page of another origin\n") end
    local token = self.config.token
    if token then
      local given = token_of(request.headers.authorization)
      if not given or not core.crypto.equal(given, token) then
        return answer(401, TEXT, "401 Unauthorized: the token is missing or wrong\n", { ["www-authenticate"] = 'Basic realm="kt", charset="UTF-8"' })
      end
    end
    return fn(request, response)
  end
end

-- ---- what there is to see ----


--- Reasons why no traffic should be sent here; an empty list if there are none.
local function unready(script)
  local why, wanted, up = {}, {}, false
  for _, pool in ipairs(script.pools) do
    if pool.up == 0 and #pool.links > 0 then why[#why + 1] = ("no link of pool %s is up"):format(pool.name) end
  end
  for _, link in ipairs(metrics.own_links(script.links)) do
    if link.open and link.stats and link.stats.up then up = true
    elseif link.open and link.wanted then wanted[#wanted + 1] = ("link %s is down"):format(link.name) end
  end
  if not up then table.move(wanted, 1, #wanted, #why + 1, why) end
  return why
end

local function metrics_page(self, request)
  local weights = {} -- RFC 9110, 12.5.1
  for range in (request.headers.accept or ""):lower():gmatch "[^,]+" do
    local kind = range:match "^%s*([^%s;]+)"
    if kind then weights[kind] = tonumber(range:match ";%s*q=([%d.]+)") or 1 end
  end
  local text = (weights["text/plain"] or 0) > (weights["application/openmetrics-text"] or 0)
  local now = { process = core.process(), counters = core.counters(), bounds = core.bounds, script = snapshot.take(), rtts = self.history.kept.rtts }
  return answer(200, text and metrics.TEXT or metrics.OPENMETRICS, metrics.text(now, text, function() core.park(0) end))
end

local function ready_page()
  local why = unready(snapshot.take())
  if #why == 0 then return answer(200, TEXT, "ready\n") end
  return answer(503, TEXT, ("not ready: %s\n"):format(table.concat(why, "; ", 1, math.min(#why, 20))))
end

local function json_page(request)
  local max = request.query.max
  local n = not max and 1000 or max:find "^%d+$" and #max <= 4 and math.tointeger(tonumber(max))
  if not n or n > ROWS_MAX then return answer(400, TEXT, ("400 Bad Request: max: expected an integer from 0 to %d\n"):format(ROWS_MAX)) end
  local process = core.process()
  process.conns = core.inspect(0).conn_count
  return answer(200, JSON, ('%s,"script":%s}'):format(core.json.encode(process):sub(1, -2), snapshot.json(n)))
end

-- ---- the page ----

--- Whether a task makes the text of the next tick. One that is dead was stopped by the watchdog.
local function is_being_made(self) return self.maker and coroutine.status(self.maker) ~= "dead" end

--- The text that all pages get each second, made once for all of them: the status, and the rows of history, each with its place in the
--- status's lists. While one task makes it, the others get the last one.
local function tick(self)
  local now = core.now()
  while not self.last and is_being_made(self) do core.park(0.01) end
  if not is_being_made(self) and (not self.last or now - self.last.at >= PERIOD * 0.9) then
    self.maker = coroutine.running()
    self.history:take_events()
    local is, at, rows = core.process(), {}, core.json.array {}
    is.script = snapshot.take()
    for _, list in ipairs { is.script.links, is.script.listeners } do
      for i, row in ipairs(list) do at[row] = i - 1 end
    end
    for i, one in ipairs(history.rows(is.script)) do rows[i] = { name = one.name, kind = one.kind, at = at[one.row] } end
    self.last = { at = now, text = core.json.encode { wall = core.wall(), status = is, rows = rows } }
    self.maker = nil
  end
  return self.last.text
end

--- How many pages are being fed. Of a task that the watchdog has stopped, __close did not run.
local function feeding(self)
  local n = 0
  for task in next, self.streams do
    if coroutine.status(task) == "dead" then self.streams[task] = nil else n = n + 1 end
  end
  return n
end

local function stream(self, response)
  if feeding(self) >= STREAMS then return answer(503, TEXT, "503 Service Unavailable: too many pages are open\n", { ["retry-after"] = "10" }) end
  local task = coroutine.running()
  self.streams[task] = true
  local _ <close> = setmetatable({}, { __close = function() self.streams[task] = nil end })
  local headers = { ["content-type"] = "text/event-stream" }
  for name, value in next, SAFE do headers[name] = value end
  response:start { headers = headers }
  self.history:take_events()
  local seen = self.history.kept.sequence
  local first = { wall = core.wall(), history = self.history:data(), events = self.history:since(0) }
  local ok = response:event { event = "history", data = core.json.encode(first), retry = 2 }
  while ok and not self.stopped do
    ok = response:event { event = "status", data = tick(self) }
    if ok and self.history.kept.sequence > seen then
      ok = response:event { event = "events", data = core.json.encode(self.history:since(seen)) }
      seen = self.history.kept.sequence
    end
    if ok then core.park(PERIOD) end
  end
end

local files = {
  ["/"] = { "index.html", "text/html; charset=utf-8" }, ["/page.js"] = { "page.js", "text/javascript; charset=utf-8" },
  ["/page.css"] = { "page.css", "text/css; charset=utf-8" }, ["/dygraph.js"] = { "dygraph.js", "text/javascript; charset=utf-8" },
  ["/dygraph.css"] = { "dygraph.css", "text/css; charset=utf-8" },
}

-- ---- the service ----

--- config: kt.http.status's argument, checked. Returns an object for start and stop, and the argument for kt.http.serve.
function status.new(config)
  local self = setmetatable({ config = config, streams = {}, stopped = false, history = history.new("kt.http.status " .. config.on) }, status)
  local routes = {
    ["GET /metrics"] = function(request) return metrics_page(self, request) end,
    ["GET /healthz"] = function() return answer(200, TEXT, "ok\n") end,
    ["GET /readyz"] = ready_page,
    ["GET /status.json"] = json_page,
    ["GET /stream"] = function(_, response) return stream(self, response) end,
  }
  for path, file in next, files do
    local text = core.asset(file[1]) or "" -- kt may have been built without dygraphs
    routes["GET " .. path] = function() return answer(200, file[2], text) end
  end
  for name, fn in next, routes do routes[name] = guarded(self, fn) end
  return self, {
    on = config.on, routes = routes, max_body = 0, max_conns = 64, header_timeout = 5, body_timeout = 5, write_timeout = 10,
    -- A page that has found its way here by another name has no token, because browsers keep it by origin.
    hosts = config.hosts or config.token and { "*" } or nil,
  }
end

function status:start()
  core.spawn_aside(function() self.history:run(function() return self.stopped end) end)
end

function status:stop()
  self.stopped = true
  for task in next, self.streams do core.unpark(task) end
end

return status
