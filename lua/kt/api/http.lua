--- Describes HTTP, for kt.api.

--- The keys of a response's head.
local function head(status)
  return {
    { name = "status", type = "integer", min = 101, max = 599, doc = "The status. Default: " .. status .. "." },
    { name = "headers", type = "headers", expected = "a table of strings by name",
      doc = "Header fields by name; a list of strings gives several fields. kt writes Content-Length, Transfer-Encoding, Connection and Date." },
  }
end

return function(with)
  local def, handle, method, record = with.def, with.handle, with.method, with.record
  local reply = with.concat(head "200", {
    { name = "body", type = "string", doc = "The body." }, { name = "json", type = "any", doc = "The value to send as JSON." },
  })

  def {
    name = "kt.http.serve", context = "any", returns = "httpserver | nil, err", path = "http.serve",
    signature = 'kt.http.serve { on = "127.0.0.1:9100", routes = { ["GET /metrics"] = function(request, response) … end } } → httpserver | nil, err',
    doc = "Serves HTTP/1.1 and 1.0 on a TCP or unix socket. Called in the main chunk, it opens when the script starts; in a task, immediately. A route's "
      .. "function runs as a task for each request. It returns a body (a string), a status (`404`), a status and a body, or "
      .. "`{ status = …, headers = …, body = … }`, with `json = value` in the place of a body; nothing is 204. Or it sends the response in pieces with the "
      .. "methods of `response`. If its client goes while it waits for something else, its task ends there, as by task:cancel; `<close>` variables are "
      .. "closed. A client has gone when its connection was reset or its machine is silent, not when it has only finished sending, which the next write "
      .. "tells apart. If it raises, or returns nil and an err, the client gets 500, and the log has the error and its line. One that computes "
      .. "for long calls `kt.sleep(0)` now and then: until it waits, nothing else runs; after 0.5 s it is stopped, and the connection reset. A HEAD request "
      .. "runs the function of GET. A request that is malformed, too long or too slow gets a 4xx or 5xx without running a function. When the script ends or is "
      .. "replaced, requests in progress are finished and other connections are closed.",
    fails = { "in_use", "denied" },
    argument = {
      type = "table",
      keys = {
        { name = "on", type = "endpoint", allow = "uz", required = true,
          expected = '"127.0.0.1:9100", ":9100", or "unix:/path"', doc = "Where to listen." },
        { name = "routes", type = "routes", required = true, reply = { type = "table", keys = reply },
          each = "fun(request: request, response: response): string | integer | table | nil, string | table | err | nil",
          expected = 'a table of functions by "METHOD /path"',
          doc = 'Functions by method and path. A segment `:name` matches any one segment, a final `*` the rest (`"GET /files/*"`); both are in '
            .. '`request.params`. "*" in place of a method or a path matches any: `"CONNECT *"`. The most specific path is used; `%2F` is part '
            .. 'of a segment, so `:name` may be "a/b". The value may '
            .. "also be `{ handler = fn, stream = true, max_body = … }`: with stream, the function reads the body itself, by request:read; with "
            .. "`ignore_gone = true`, it keeps running after the client has disconnected." },
        { name = "hosts", type = "list", of = { type = "string" },
          doc = 'Names to accept in the Host field of requests; "*" allows all. Default: on a loopback address localhost and loopback addresses, on a '
            .. "unix socket all, else localhost and any IP address. Others get 421, so that a web page cannot reach the server by a name of its "
            .. "own (DNS rebinding)." },
        { name = "origins", type = "list", of = { type = "string" },
          doc = 'Origins such as "https://app.example" whose pages may send requests other than GET, HEAD and OPTIONS, or with Upgrade '
            .. "(WebSockets); \"*\" allows all. Others than the server's own get 403." },
        { name = "max_header", type = "size", min = 1024, max = 65535, default = 16384, doc = "Longest header, with the request line." },
        { name = "max_body", type = "size", min = 0, max = 1 << 26, default = 1 << 20, doc = "Longest body. A route may have its own." },
        { name = "max_conns", type = "integer", min = 1, max = 65536, default = 256,
          doc = "Connections at a time. A new one replaces the one that has waited longest for its client, to send a request or to receive "
            .. "a response. If functions are running for all of them, it gets 503." },
        { name = "header_timeout", type = "duration", min = 0.1, max = 3600, default = 10, doc = "Timeout for a header." },
        { name = "body_timeout", type = "duration", min = 0.1, max = 86400, default = 30,
          doc = "Timeout for a body; with stream, for each call of request:read." },
        { name = "write_timeout", type = "duration", min = 0.1, max = 86400, default = 30, doc = "Timeout for a client to take 64 KiB of a response." },
        { name = "idle", type = "duration", min = 0.1, max = 86400, default = 60, doc = "A connection is closed after this long between two requests." },
      },
    },
    example = [[
kt.http.serve { on = "127.0.0.1:9100", routes = {
  ["GET /health"] = function() return far:stats().sessions > 0 and "ok\n" or 503 end,
  ["GET /links/:name"] = function(request)
    local link = links[request.params.name]
    return link and { json = link:stats() } or 404
  end,
} }]],
  }

  def {
    name = "kt.http.status", context = "any", returns = "httpserver | nil, err", path = "http.status",
    signature = 'kt.http.status { on = "127.0.0.1:9100" } → httpserver | nil, err',
    doc = "Serves the state of this kt over HTTP, as `kt run --http` does: `/` is a page, `/metrics` OpenMetrics for Prometheus, `/status.json` the same as "
      .. "`kt status --json`, `/healthz` and `/readyz` are for health checks (docs/monitoring.md). It is read-only.",
    fails = { "in_use", "denied" },
    argument = {
      type = "table",
      check = function(out, _, mistake)
        local token = out.token
        if token == nil and type(out.on) == "string" and not require("kt.http.hosts").is_private(out.on) then
          mistake("token", "missing; other machines can reach " .. out.on, "give a token, a loopback address, or unix:/path")
        end
        local text = type(token) == "userdata" and token:export() or token
        if type(text) == "string" and (#text < 16 or #text > 256 or text:find "[^!-~]") then
          mistake("token", "expected 16 to 256 printable ASCII characters without spaces")
        end
      end,
      keys = {
        { name = "on", type = "endpoint", allow = "uz", required = true, expected = '"127.0.0.1:9100", ":9100", or "unix:/path"', doc = "Where to listen." },
        { name = "token", type = "secret", expected = "a string or a secret",
          doc = "Requests must carry it as `Authorization: Bearer TOKEN` or as the password of Basic authentication; others get 401. 16 to 256 printable "
            .. "characters. Required unless `on` is a loopback address or a unix socket." },
        { name = "hosts", type = "list", of = { type = "string" }, doc = "As in kt.http.serve. Default: all with a token, otherwise as there." },
      },
    },
    example = 'kt.http.status { on = ":9100", token = kt.secret_file "metrics.token" }',
  }

  def {
    name = "kt.http.request", context = "task", returns = "httpresponse | nil, err", path = "kt.http.request",
    signature = 'kt.http.request { url = "http://127.0.0.1:8080/status", timeout = "5s" } → httpresponse | nil, err',
    doc = "Sends an HTTP request and returns the response, whatever its status. Redirects are not followed: see `headers.location`. There is no https, "
      .. "as kt has no TLS: err.code is \"unsupported\". The connection is kept for the next request to the same host and port (or `to`): it closes "
      .. "after `keepalive`, when the server closes it, when the script keeps more than 64 (the one idle for longest), and when the script ends. It "
      .. "does not keep the script running. If the server closes a kept connection without an answer, a request is sent once more on a new one, "
      .. "unless it is a POST, PATCH or of an unknown method: then err.code is \"reset\". With `via`, each request has a stream of its own.",
    fails = { "refused", "timeout", "name", "unreachable", "reset", "protocol", "limit", "config", "unsupported" },
    argument = {
      type = "table",
      check = function(out, _, mistake)
        if out.method and not out.method:find "^%u[%u%-]*$" then mistake("method", 'expected a method such as "GET"') end
        if out.method == "CONNECT" then mistake("method", "not supported here", "use kt.connect, and write the request") end
        if out.to == false and not out.via then mistake("to", "false is only for via") end
      end,
      keys = {
        { name = "url", type = "string", required = true, constant = { type = "url" }, expected = 'a URL such as "http://host:port/path"', doc = "The URL." },
        { name = "method", type = "string", default = "GET", doc = "The method." },
        { name = "headers", type = "headers", expected = "a table of strings by name",
          doc = "Header fields by name. kt writes Host, User-Agent and Accept unless they are given, and the length of the body." },
        { name = "body", type = "string", doc = "The body." },
        { name = "timeout", type = "duration", max = 86400, default = 30, doc = "Timeout for the whole call." },
        { name = "to", type = "string", off = true, constant = with.address,
          doc = 'Where to connect instead of the URL\'s host, "host:port" or "unix:/path". With `via`, false asks the link\'s peer for no target: it '
            .. "connects where it always does, as a kcptun server." },
        { name = "via", type = "opener", doc = "A link or a pool through which to connect; its peer gets the target as `stream.target`." },
        { name = "keepalive", type = "duration", min = 0.001, max = 3600, default = 30, off = true,
          doc = "How long the connection may stay open for another request; false: this request has one of its own, which closes after it." },
        { name = "max_body", type = "size", min = 0, max = 1 << 26, default = 1 << 20, doc = "Longest body of a response; beyond it err.code is \"limit\"." },
      },
    },
    example = [[
local response, err = kt.http.request { url = "http://docker/info", to = "unix:/var/run/docker.sock" }
if not response then return nil, err end
if response.status == 200 then print(assert(kt.json.decode(response.body)).Containers) end]],
  }

  local text = { name = "text", type = "string", doc = "The text." }
  def {
    name = "kt.http.escape", context = "any", returns = "string", signature = "kt.http.escape(text) → text",
    doc = "Percent-encodes text for a part of a URL: all bytes but letters, digits and `-._~` (RFC 3986, unreserved).",
    params = { text },
    example = 'local url = "http://127.0.0.1:8500/v1/kv/" .. kt.http.escape(name)',
  }
  def {
    name = "kt.http.unescape", context = "any", returns = "string | nil, err", signature = "kt.http.unescape(text) → text | nil, err",
    doc = "Decodes percent-encoded text. `+` stays as it is; in a query it is a space, as kt.http.query knows.",
    fails = { "invalid" }, params = { text },
  }
  def {
    name = "kt.http.query", context = "any", returns = "table", signature = 'kt.http.query "a=1&b=x+y" → { a = "1", b = "x y" }',
    doc = "Reads a query, or the body of a form (application/x-www-form-urlencoded): decoded strings by name. Of a name that comes several times, the "
      .. "last one counts. Text that is not encoded correctly stays unchanged. `request.query` is this for the query of a request.",
    params = { text },
    example = [[
local routes = {}
routes["POST /login"] = function(request)
  local form = kt.http.query(request.body)
  return form.user and ("hello %s\n"):format(form.user) or 400
end]],
  }
  def {
    name = "kt.http.build_query", context = "any", returns = "string", signature = 'kt.http.build_query { a = 1, b = "x y" } → "a=1&b=x%20y"',
    doc = "Writes a query, or the body of a form: the reverse of kt.http.query, in order of the names. A list gives a name several times.",
    params = { { name = "fields", type = "table", doc = "Strings, numbers, booleans, or lists of them, by name." } },
    example = [[
local response, err = kt.http.request { url = "http://127.0.0.1:8500/search?" .. kt.http.build_query { q = name, limit = 10 } }]],
  }

  record {
    name = "httpresponse", doc = "The response to kt.http.request.",
    fields = {
      { name = "status", type = "integer", doc = "The status, such as 200." },
      { name = "reason", type = "string", doc = 'The reason phrase, such as "OK"; may be empty.' },
      { name = "headers", type = "table", doc = "The header fields, strings by name in any case. Fields that come several times are joined by \", \"." },
      { name = "body", type = "string", doc = "The body." },
    },
  }

  handle {
    name = "httpserver", doc = "Serves HTTP; made by kt.http.serve.",
    fields = { { name = "local_addr", type = "string | nil", doc = "The address it listens on, once it is open." } },
  }
  method("httpserver", {
    name = "stats", context = "any", returns = "httpstats", signature = "stats() → httpstats", doc = "Returns its current statistics.",
  })
  method("httpserver", {
    name = "close", context = "any", signature = "close()",
    doc = "Stops listening. Requests in progress are finished; other connections are closed. Safe to call twice.",
  })

  handle {
    name = "request", doc = "A request that a function of kt.http.serve handles.",
    fields = {
      { name = "method", type = "string", doc = 'The method, such as "GET".' },
      { name = "target", type = "string", doc = 'The target as it was sent: "/a?b=c", or "host:port" of CONNECT.' },
      { name = "path", type = "string | nil",
        doc = "The path, decoded and without the query; nil if the target has none (CONNECT). It never contains a segment \"..\"." },
      { name = "query", type = "table", doc = "The decoded parameters of the query, strings by name. Of a name that comes several times, the last one." },
      { name = "params", type = "table", doc = 'What the parts of the route\'s path stand for: `params.name`, and `params["*"]` for the rest.' },
      { name = "headers", type = "table", doc = "The header fields, strings by name in any case. Fields that come several times are joined by \", \"." },
      { name = "body", type = "string | nil", doc = "The body; nil in a route with stream." },
      { name = "peer", type = "string | nil", doc = "Address of the client, as conn.peer." },
      { name = "version", type = "string", doc = '"1.1" or "1.0".' },
      { name = "gone", type = "boolean", doc = "Whether the client is known to have gone, for a route with `ignore_gone`." },
    },
  }
  method("request", {
    name = "read", context = "task", returns = "string | nil, err", signature = "read([n]) → data | nil, err",
    doc = "In a route with stream: reads the next piece of the body, at most n bytes. At the end err.code is \"eof\".",
    fails = { "eof", "timeout", "limit", "protocol", "reset" },
    params = { { name = "n", type = "integer", min = 1, max = 1 << 20, optional = true, doc = "Maximum number of bytes. Default: 16 KiB." } },
  })
  method("request", {
    name = "take", context = "task", returns = "conn | nil, err", signature = "take { status = 200, headers = { … } } → conn | nil, err",
    doc = "Accepts a CONNECT or an Upgrade: sends the header of the response and returns the conn, positioned after the request. It belongs to the "
      .. "function's task, for kt.splice or calls of its own, and closes when the function returns.",
    fails = { "timeout", "reset", "closed" },
    optional = true,
    argument = { type = "table", keys = head "200 for CONNECT, else 101" },
    example = [[
local routes = {}
routes["CONNECT *"] = function(request)
  local stream, err = far:open { to = request.target, client = request.peer }
  if not stream then return 502, err.text end
  kt.splice(request:take(), stream)
end]],
  })

  handle { name = "response",
    doc = "The response to a request, to be sent in pieces. The client gets it chunked, or with HTTP/1.0 until the connection closes." }
  method("response", {
    name = "start", context = "task", returns = "boolean | nil, err", signature = "start { status = 200, headers = { … } } → true | nil, err",
    doc = "Sends the header. Without this call, the first piece sends one with status 200.", fails = { "timeout", "reset", "closed" },
    optional = true,
    argument = { type = "table", keys = head "200" },
  })
  method("response", {
    name = "write", context = "task", returns = "integer | nil, err", signature = "write(data) → #data | nil, err",
    doc = "Sends a piece of the body; waits until it has been accepted. err.code is \"closed\" if the response has no body (HEAD).",
    fails = { "timeout", "reset", "closed" },
    params = { { name = "data", type = "string", doc = "The bytes to send." } },
  })
  method("response", {
    name = "event", context = "task", returns = "boolean | nil, err", signature = "event { data = …, event = …, id = …, retry = … } → true | nil, err",
    doc = "Sends a server-sent event (EventSource in a browser). err.code is \"closed\" once the server stops or the response has no body, so a loop "
      .. "ends when this fails.",
    fails = { "closed", "reset", "timeout" },
    argument = { type = "table", keys = {
      { name = "data", type = "string", doc = "The data; may have several lines." },
      { name = "event", type = "string", doc = "The event's type. Default: \"message\"." },
      { name = "id", type = "string", doc = "Its id, which a client that reconnects sends as Last-Event-ID." },
      { name = "retry", type = "duration", typical = 5, doc = "How long a client waits before it reconnects." },
    } },
    example = [[
local routes = {}
routes["GET /events"] = function(_, response)
  while response:event { event = "stats", data = kt.json.encode(far:stats()) } do kt.sleep "1s" end
end]],
  })

  record {
    name = "httpstats", doc = "Statistics of an HTTP server.",
    fields = {
      { name = "conns", type = "integer", doc = "Open connections." },
      { name = "accepted", type = "integer", doc = "Connections accepted; a counter." },
      { name = "dropped", type = "integer", doc = "Connections closed or refused because there were max_conns; a counter." },
      { name = "requests", type = "integer", doc = "Requests that ran a function; a counter." },
      { name = "client_errors", type = "integer", doc = "Answers with a status from 400 to 499; a counter." },
      { name = "server_errors", type = "integer", doc = "Answers with a status from 500 to 599; a counter." },
    },
  }
end
