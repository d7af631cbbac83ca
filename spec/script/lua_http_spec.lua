-- kt.http.serve in virtual time: what it accepts and refuses, its limits and deadlines, and how it ends. The parser's own checks:
-- spec/fuzz/fuzz_http.c. Other programs as clients: spec/script/http_peers_spec.lua.
local sim = require "kt.sim"

local w, host, script

--- Starts a server with these routes, options and further lines, on a host of its own.
local function serve(routes, options, more)
  w = sim.world { seed = 1, log = "debug" }
  host = w:host "a"
  script = host:run("s.lua", { files = { ["s.lua"] = ([[
    local kt = require "kt"
    local server
    server = kt.http.serve { on = "127.0.0.1:80", %s routes = { %s } }
    %s]]):format(options or "", routes, more or "") } })
end

local HELLO = '["GET /"] = function() return "hello" end,'

--- Sends text on a new conn; returns all that comes back until the server closes.
local function ask(text, timeout)
  local conn <close> = host:connect "127.0.0.1:80"
  conn:write(text)
  return conn:read_all { timeout = timeout or "2m" }
end

local function get(target, fields) return ("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"):format(target, fields or "") end
local function last(target) return get(target, "Connection: close\r\n") end
local function status_of(answer) return answer and tonumber(answer:match "^HTTP/1.1 (%d%d%d) ") end
local function body_of(answer) return answer:match "\r\n\r\n(.*)$" end

describe("kt.http.serve", function()
  it("answers with what the function returns: a body, a status, a table, JSON, nothing", function()
    serve [[
      ["GET /text"] = function() return "hello" end,
      ["GET /status"] = function() return 404 end,
      ["GET /both"] = function() return 201, "made" end,
      ["GET /table"] = function() return { status = 202, headers = { ["X-List"] = { "a", "b" }, ["Content-Type"] = "text/html" }, body = "<p>" } end,
      ["GET /json"] = function() return { json = { a = 1 } } end,
      ["GET /nothing"] = function() end,]]
    assert.equal("HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 5\r\n"
      .. "connection: close\r\n\r\nhello", ask(last "/text"))
    assert.matches("^HTTP/1.1 404 Not Found.*content%-length: 14\r\n.*\r\n404 Not Found\n$", ask(last "/status"))
    assert.matches("^HTTP/1.1 201 Created\r\n.*\r\n\r\nmade$", ask(last "/both"))
    assert.matches("^HTTP/1.1 202 Accepted\r\nContent%-Type: text/html\r\nX%-List: a\r\nX%-List: b\r\ndate: .*\r\n\r\n<p>$", ask(last "/table"))
    assert.matches('content%-type: application/json\r\n.*\r\n\r\n{"a":1}$', ask(last "/json"))
    assert.matches("^HTTP/1.1 204 No Content\r\ndate: [^\r]*\r\nconnection: close\r\n\r\n$", ask(last "/nothing"))
  end)

  it("gives the function the decoded path, query, parameters, fields in any case, and the body", function()
    serve [[
      ["POST /users/:id/*"] = function(r)
        return table.concat({ r.method, r.target, r.path, r.params.id, r.params["*"], r.query.q, r.query.n, r.headers["X-ONE"], r.headers.cookie,
          r.body, r.version, (r.peer:match "^[%d.]+") }, "|")
      end,]]
    assert.equal("POST|/users/a%20b/c/d?q=x+%26&n=1&n=2|/users/a b/c/d|a b|c/d|x &|2|1, 2|a=1; b=2|body|1.1|127.0.0.1",
      body_of(ask("POST /users/a%20b/c/d?q=x+%26&n=1&n=2 HTTP/1.1\r\nHost: localhost\r\nx-one: 1\r\nX-One:2 \r\nCookie: a=1\r\nCookie: b=2\r\n"
        .. "Content-Length: 4\r\nConnection: close\r\n\r\nbody")))
  end)

  it("chooses the most specific route, answers HEAD by GET's without a body, and 404 and 405 with Allow", function()
    serve [[
      ["GET /a/b"] = function() return "text" end, ["GET /a/:x"] = function() return "parameter" end,
      ["GET /a/*"] = function() return "rest" end, ["PUT /a/:x"] = function() return "put" end,
      ["GET /n/:x"] = function(r) return r.params.x end, ["GET /n/a/b"] = function() return "two" end, ["* /any"] = function(r) return r.method end,]]
    local got = {}
    for _, path in ipairs { "/a/b", "/a/c", "/a/c/d", "/a/", "/any", "/n/a%2Fb" } do got[#got + 1] = body_of(ask(last(path))) end
    assert.equal("text parameter rest rest GET a/b", table.concat(got, " "))
    assert.matches("^HTTP/1.1 200 OK\r\n.*content%-length: 4\r\n.*\r\n\r\n$", ask((last "/a/b":gsub("^GET", "HEAD"))))
    assert.equal(404, status_of(ask(last "/b")))
    assert.matches("^HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD, PUT\r\n", ask((last "/a/b":gsub("^GET", "DELETE"))))
    assert.equal("DELETE", body_of(ask((last "/any":gsub("^GET", "DELETE")))))
  end)

  it("closes the conn after a method or a CONNECT that it refuses", function()
    serve(HELLO)
    for head, status in pairs { ["CONNECT a:1"] = 404, ["DELETE /"] = 405 } do
      local answer = ask(head .. " HTTP/1.1\r\nHost: localhost\r\n\r\n", "100ms")
      assert.equal(status, status_of(answer))
      assert.matches("connection: close", answer)
    end
  end)

  it("does not count CONNECT among the methods of a path", function()
    serve(HELLO .. '["CONNECT *"] = function() return 403 end,')
    assert.equal(404, status_of(ask(last "/unknown")))
    assert.matches("^HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n", ask((last "/":gsub("^GET", "OPTIONS"))))
    assert.equal(403, status_of(ask "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n"))
  end)

  it("keeps the conn for further requests, also after 404, and answers pipelined ones in order", function()
    serve '["GET /:n"] = function(r) kt.sleep(r.params.n == "1" and 1 or 0) return r.params.n end,'
    local answers = ask("\r\n" .. get "/1" .. "\r\n" .. get "/none/at/all" .. get "/2" .. last "/3")
    local statuses = {}
    for status, size, at in answers:gmatch "HTTP/1.1 (%d+).-content%-length: (%d+).-\r\n\r\n()" do
      statuses[#statuses + 1] = status .. " " .. answers:sub(at, at + size - 1)
    end
    assert.same({ "200 1", "404 404 Not Found: no such path\n", "200 2", "200 3" }, statuses)
    assert.matches("close\r\n\r\n3$", answers)
  end)

  it("speaks HTTP/1.0: closes, keeps the conn if asked to, and ends a body sent in pieces by closing", function()
    serve(HELLO .. '["GET /pieces"] = function(_, response) response:write "a" response:write "b" end,')
    assert.matches("connection: close\r\n\r\nhello$", ask "GET / HTTP/1.0\r\n\r\n")
    assert.matches("connection: keep%-alive\r\n\r\nhelloHTTP.*close\r\n\r\nhello$",
      ask "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
    assert.matches("connection: close\r\n\r\nab$", ask "GET /pieces HTTP/1.0\r\n\r\n")
  end)

  it("sends a response in pieces, chunked, and server-sent events", function()
    serve [[
      ["GET /pieces"] = function(_, response)
        response:start { status = 206, headers = { ["X-A"] = "b" } }
        response:write "hello" response:write "" response:write(("x"):rep(17))
      end,
      ["GET /events"] = function(_, response)
        response:event { data = "one\r\ntwo", event = "n", id = "7", retry = "1.5s" }
        response:event {}
      end,]]
    assert.matches("^HTTP/1.1 206 Partial Content\r\nX%-A: b\r\n.*transfer%-encoding: chunked\r\n.*\r\n\r\n5\r\nhello\r\n11\r\nx+\r\n0\r\n\r\n$",
      ask(last "/pieces"))
    assert.matches("content%-type: text/event%-stream\r\n.*\r\n\r\n%x+\r\nevent: n\nid: 7\nretry: 1500\ndata: one\ndata: two\n\n\r\n"
      .. "%x+\r\ndata: \n\n\r\n0\r\n\r\n$", ask(last "/events"))
    assert.matches("\r\n\r\n$", ask((last "/events":gsub("^GET", "HEAD"))))
  end)

  it("reads chunked bodies with extensions and trailers, whole or in pieces, and never beyond them", function()
    serve [[
      ["POST /whole"] = function(r) return r.body end,
      ["POST /pieces"] = { stream = true, handler = function(r)
        local got = {}
        for data in function() return r:read(3) end do got[#got + 1] = data end
        return table.concat(got, "|") .. " " .. select(2, r:read()).code
      end },]]
    local chunked = "POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n00B\r\n wide world\r\n0\r\nX-T: 1\r\n\r\n"
    local answers = ask(chunked:format "/whole" .. chunked:format "/pieces" .. last "/")
    assert.matches("\r\n\r\nhello wide worldHTTP/1.1 200.*\r\n\r\nhel|lo| wi|de |wor|ld eofHTTP/1.1 404", answers)
  end)

  it("ends a function whose client has gone, and frees its place", function()
    serve(HELLO .. [[
      ["GET /wait"] = function()
        local _ <close> = setmetatable({}, { __close = function() print "closed" end })
        kt.event():wait()
      end,
      ["GET /slow"] = function() kt.sleep "1s" return "slow" end,
      ["GET /finish"] = { ignore_gone = true, handler = function(r)
        kt.sleep "1s"
        print("finished", r.gone)
      end },
      ["GET /events"] = function(_, response)
        local _ <close> = setmetatable({}, { __close = function() print "no events" end })
        response:event { data = "one" }
        kt.event():wait()
      end,]], "max_conns = 2,")
    local function send(target)
      local conn = host:connect "127.0.0.1:80"
      conn:write(get(target))
      w:run_for "100ms"
      return conn
    end
    local one, two = send "/wait", send "/wait"
    assert.equal(503, status_of(ask(last "/")))
    one:reset() two:reset()
    w:run_for "10ms"
    assert.equal("hello", body_of(ask(last "/")))
    send "/finish":reset()
    local half <close> = send "/slow"
    half:shutdown()
    assert.equal("slow", body_of(half:read_all()))
    local reader, vanished = send "/events", send "/events"
    vanished:close()
    w:run_for "50s"
    local _, comments = reader:read():gsub("3\r\n:\n\n\r\n", "")
    assert.equal(2, comments)
    assert.equal("closed\nclosed\nfinished\ttrue\nno events\n", script:output())
    assert.equal("hello", body_of(ask(last "/")))
    assert.equal(0, (script:failed_tasks()))
  end)

  it("takes no body for complete that ends early, wherever that is", function()
    serve [[
      ["POST /whole"] = function(r) kt.log.info("whole: %s", r.body) end,
      ["POST /pieces"] = { stream = true, handler = function(r)
        local data, err
        repeat data, err = r:read() until not data
        kt.log.info("pieces: %s", err.code)
      end },]]
    local pieces = 0
    for _, body in ipairs { "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n", "Content-Length: 3\r\n\r\nabc" } do
      for _, path in ipairs { "/whole", "/pieces" } do
        local text = ("POST %s HTTP/1.1\r\nHost: localhost\r\n"):format(path) .. body
        local head = text:find("\r\n\r\n", 1, true) + 3
        for at = 0, #text - 1 do
          local conn <close> = host:connect "127.0.0.1:80"
          conn:write(text:sub(1, at))
          conn:shutdown()
          local answer = conn:read_all { timeout = "10s" }
          if path == "/whole" then assert.not_matches("^HTTP/1.1 2", answer, text:sub(1, at)) end
          if path == "/pieces" and at >= head then pieces = pieces + 1 end
        end
      end
    end
    local _, resets = script:log():gsub("pieces: reset", "")
    assert.equal(pieces, resets)
    assert.not_matches("pieces: eof", script:log())
    assert.not_matches("whole: ", script:log())
  end)

  it("asks for a body with Expect only once the function may read it", function()
    serve('["POST /"] = function(r) return r.body end,', "max_body = 10,")
    local head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: %s\r\nContent-Length: %d\r\n\r\n"
    local conn <close> = host:connect "127.0.0.1:80"
    conn:write(head:format("100-continue", 4))
    assert.equal("HTTP/1.1 100 Continue\r\n\r\n", conn:read_until "\r\n\r\n")
    conn:write "body"
    assert.matches("^HTTP/1.1 200 OK\r\n.*\r\n\r\nbody$", conn:read_all())
    assert.equal(413, status_of(ask(head:format("100-continue", 11))))
    assert.equal(417, status_of(ask(head:format("miracle", 4))))
  end)

  it("refuses what is malformed or ambiguous, and closes", function()
    serve(HELLO .. '["POST /"] = function(r) return r.body end,', "max_header = 1024,")
    local function post(fields, body) return ("POST / HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s"):format(fields, body or "") end
    local cases = {
      { 400, "nonsense\r\n\r\n" }, { 400, "\22\3\1" },
      { 400, "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n" }, { 400, "GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n" },
      { 400, "GET /\r\n\r\n" }, { 400, "GET /\1 HTTP/1.1\r\nHost: localhost\r\n\r\n" }, { 400, "GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n" },
      { 400, "G(T / HTTP/1.1\r\nHost: localhost\r\n\r\n" }, { 400, "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n" },
      { 501, "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n" }, { 505, "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n" },
      { 400, "GET / HTTP/1.1\r\n\r\n" }, { 400, get("/", "Host: localhost\r\n") }, { 400, get("/", "Name : x\r\n") },
      { 400, get("/", "A: b\r\n c\r\n") }, { 400, get("/", "A: b\0\r\n") }, { 400, get("/", "A: b\nB: c\r\n") }, { 400, get("/", "A: b\rc\r\n") },
      { 400, get("/", ": x\r\n") }, { 400, get("/", "no colon\r\n") }, { 431, get("/", ("A:b\r\n"):rep(101)) },
      { 431, get("/", "A: " .. ("x"):rep(2000) .. "\r\n") }, { 414, get("/" .. ("x"):rep(2000)) },
      { 400, "GET / HTTP/1.1\nHost: localhost\n\n" }, { 400, "\r\n\r\n" .. get "/" },
      { 400, get "/%zz" }, { 400, get "/a/../b" }, { 400, get "/a/%2e%2e/b" }, { 400, get "/a%2f..%2fb" }, { 400, get "/a%00" },
      { 400, post "Content-Length: 1\r\nContent-Length: 1\r\n" }, { 400, post "Content-Length: +1\r\n" }, { 400, post "Content-Length: 1, 1\r\n" },
      { 400, post "Content-Length:\r\n" }, { 400, post "Content-Length: 99999999999999999999\r\n" },
      { 400, post "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" }, { 501, post "Transfer-Encoding: gzip, chunked\r\n" },
      { 400, post "Transfer-Encoding: xchunked\r\n" }, { 400, post "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" },
      { 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" }, { 411, "POST / HTTP/1.0\r\n\r\n" },
    }
    for _, chunk in ipairs { "x\r\n", "5\nhello", "5 \r\nhello\r\n", "0x5\r\nhello\r\n", "5\r\nhelloo\r\n", "5\r\nhello\n\n", "-1\r\n", "\r\n",
      "fffffffffffffffff\r\n", "0\r\nA : b\r\n\r\n", "0\r\n folded\r\n\r\n", "0\r\nA: b\nB: c\r\n\r\n", "1;\1\r\na\r\n" } do
      cases[#cases + 1] = { 400, post("Transfer-Encoding: chunked\r\n", chunk .. ("\r\n"):rep(2)) }
    end
    for _, case in ipairs(cases) do
      local answer = ask(case[2])
      assert.equal(case[1], status_of(answer), ("%q\n%s"):format(case[2], tostring(answer)))
      assert.matches("\r\nconnection: close\r\n", answer)
    end
    assert.equal(0, (script:failed_tasks()))
  end)

  it("answers 500 when a function fails, raises for bad fields, and logs the line", function()
    serve [[
      ["GET /fails"] = function() return nothing.there end,
      ["GET /err"] = function() return nil, kt.err { code = "x", message = "the disk is full" } end,
      ["GET /split"] = function() return { headers = { ["X-A"] = "a\r\nX-B: c" }, body = "" } end,
      ["GET /name"] = function() return { headers = { ["X A"] = "a" }, body = "" } end,
      ["GET /length"] = function() return { headers = { ["Content-Length"] = "1" }, body = "" } end,
      ["GET /kind"] = function() return true end,
      ["GET /late"] = function(_, response) response:write "a" error "late" end,]]
    for _, path in ipairs { "/fails", "/err", "/split", "/name", "/length", "/kind" } do
      local answer = ask(last(path))
      assert.equal(500, status_of(answer), path)
      assert.equal("500 Internal Server Error\n", body_of(answer))
      assert.is_nil(answer:lower():find("x-b", 1, true))
    end
    local _, err = ask(last "/late")
    assert.equal("reset", err.code)
    local log = script:log()
    assert.matches("request failed: GET /fails: s.lua:3: global 'nothing' is not defined %(at s.lua:3 in handler; served at s.lua:3%)", log)
    assert.matches("request failed: GET /err: the disk is full", log)
    assert.matches("request failed: GET /length: response: headers: Content%-Length: leave it out; kt counts the body", log)
    assert.equal(7, (script:failed_tasks()))
  end)

  it("serves only the hosts that a page elsewhere cannot name, and no posts and WebSockets from pages of other origins", function()
    local function ask_as(target, authority, fields)
      return status_of(ask(("%s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\nContent-Length: 0\r\n\r\n"):format(target, authority, fields or "")))
    end
    local routes = HELLO .. '["POST /"] = function() return "posted" end,'
    serve(routes, 'origins = { "https://app.example" },')
    for _, authority in ipairs { "localhost", "LOCALHOST:80", "127.0.0.1:80", "[::1]" } do assert.equal(200, ask_as("GET /", authority)) end
    for _, authority in ipairs { "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "" } do
      assert.equal(421, ask_as("GET /", authority), authority)
    end
    assert.equal(421, ask_as("GET http://evil.example/", "localhost")) -- the target counts, not Host
    assert.equal(403, ask_as("POST /", "localhost", "Origin: http://evil.example\r\n"))
    assert.equal(403, ask_as("POST /", "localhost:80", "Origin: null\r\n"))
    assert.equal(200, ask_as("POST /", "localhost:80", "Origin: http://localhost:80\r\n"))
    assert.equal(200, ask_as("POST /", "localhost", "Origin: https://app.example\r\n"))
    assert.equal(200, ask_as("GET /", "localhost", "Origin: http://evil.example\r\n"))
    for origin, status in pairs { ["http://evil.example"] = 403, null = 403, ["https://app.example"] = 200, ["http://localhost"] = 200 } do
      local upgrade = ("Origin: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"):format(origin)
      assert.equal(status, ask_as("GET /", "localhost", upgrade), origin)
    end
    serve(routes, 'hosts = { "status.example" },')
    assert.equal(200, ask_as("GET /", "Status.example:80"))
    assert.equal(421, ask_as("GET /", "localhost"))
  end)

  it("hands over the conn of a CONNECT or an Upgrade right after the header", function()
    serve [[
      ["CONNECT *"] = function(r)
        if r.target:find "^denied" then return 403 end
        local conn = r:take()
        conn:write(r.target .. " " .. conn:read_exactly(5))
      end,
      ["GET /chat"] = function(r)
        local conn = r:take { headers = { ["X-A"] = "b" } }
        conn:write(conn:read_until("\n", 100))
      end,
      ["GET /plain"] = function(r) return tostring(select(2, pcall(r.take, r))) end,]]
    assert.equal("HTTP/1.1 200 OK\r\n\r\nexample:443 first", ask "CONNECT example:443 HTTP/1.1\r\nHost: example:443\r\n\r\nfirst")
    assert.equal(403, status_of(ask "CONNECT denied:443 HTTP/1.1\r\nHost: denied:443\r\nConnection: close\r\n\r\n"))
    assert.equal("HTTP/1.1 101 Switching Protocols\r\nX-A: b\r\nupgrade: chat\r\nconnection: upgrade\r\n\r\nhello\n",
      ask(get("/chat", "Connection: upgrade\r\nUpgrade: chat\r\n") .. "hello\n"))
    assert.matches("only for CONNECT, and for a request with Upgrade$", body_of(ask(last "/plain")))
  end)
end)

describe("a slow or greedy client of kt.http.serve", function()
  local function elapsed(fn)
    local from = w:now()
    local answer = fn()
    return math.floor(w:now() - from), answer
  end

  it("meets a deadline in each state: idle, header, body, and while it reads nothing", function()
    serve(HELLO .. [[["POST /"] = function(r) return r.body end,
      ["GET /much"] = function(_, response)
        local _, err
        repeat _, err = response:write(("x"):rep(65536)) until err
        print(err.code)
      end,]], 'header_timeout = "5s", body_timeout = "7s", idle = "20s", write_timeout = "9s",')
    assert.same({ 5, "" }, { elapsed(function() return ask "" end) })
    local took, answer = elapsed(function() return ask "GET / HTTP/1.1\r\nHost:" end)
    assert.same({ 5, 408 }, { took, status_of(answer) })
    took, answer = elapsed(function() return ask "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabc" end)
    assert.same({ 7, 408 }, { took, status_of(answer) })
    assert.equal("408 Request Timeout: the body did not arrive in time\n", body_of(answer))
    took, answer = elapsed(function() return ask(get "/") end)
    assert.same({ 20, "hello" }, { took, body_of(answer) })
    local reader = host:connect "127.0.0.1:80"
    reader:write(get "/much")
    w:run_for "30s"
    assert.equal("timeout\n", script:output())
    assert.equal(0, host:stats().conns)
  end)

  it("cannot stretch a header by sending a byte now and then", function()
    serve(HELLO, 'header_timeout = "5s",')
    local conn <close> = host:connect "127.0.0.1:80"
    for byte in ("GET /"):gmatch "." do
      conn:write(byte)
      w:run_for "999ms"
    end
    conn:write " "
    assert.same({ 0, 408 }, { elapsed(function() return status_of(conn:read_all()) end) })
  end)

  it("gives way to a new one when there are a thousand, so that a request is answered at once", function()
    serve(HELLO, 'max_conns = 100, header_timeout = "10m",', 'kt.every("1s", function() print(server:stats().conns, server:stats().dropped) end)')
    local slow = {}
    for i = 1, 1000 do
      slow[i] = host:connect "127.0.0.1:80"
      slow[i]:write "GET / HTTP/1.1\r\nHost: localhost\r\nX: "
    end
    w:run_for "1s"
    local from = w:now()
    assert.equal("hello", body_of(ask(last "/")))
    assert.is_true(w:now() - from < 0.1)
    w:run_for "2s"
    assert.matches("99\t901\n$", script:output())
    assert.is_true(host:stats().memory < 4 << 20, host:stats().memory)
  end)

  it("cannot keep others out by bodies that do not arrive, after its answer, or by reading nothing", function()
    serve(HELLO .. [[["POST /"] = function(r) return r.body end, ["POST /pieces"] = { stream = true, handler = function(r) return r:read(5) and r:read(5) end },
      ["GET /much"] = function() return ("x"):rep(10000000) end,]], "max_conns = 10,")
    local post = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabc"
    for _, text in ipairs { post:format "/", post:format "/pieces", "nonsense\r\n\r\n", get "/much" } do
      for _ = 1, 100 do host:connect "127.0.0.1:80":write(text) end
      w:run_for "100ms"
      assert.equal("hello", body_of(ask(last "/")))
    end
  end)

  it("cannot keep others out by many requests at once whose answers nobody reads; not all are served", function()
    serve(HELLO .. '["GET /big"] = function() print "big" return ("x"):rep(100000) end,', "max_conns = 10,")
    for _, path in ipairs { "/", "/missing", "/big" } do
      for _ = 1, 100 do host:connect "127.0.0.1:80":write(get(path):rep(200)) end
      for _ = 1, 10 do assert.equal("hello", body_of(ask(last "/"))) end
    end
    assert.is_true(select(2, script:output():gsub("big", "")) < 1000)
  end)

  it("logs no failure of a function whose client gave way to another, or left", function()
    serve([[
      ["POST /"] = { stream = true, handler = function(r, response)
        local data = r:read(5) and r:read(5)
        print(data, r:read(5), (response:write "x"))
        assert(response:write "x")
      end },
      ["POST /read"] = { stream = true, handler = function(r) r:read(5) assert(r:read(5)) end },
      ["POST /mistake"] = { stream = true, handler = function(r) return r:read(5) and #r:read(5) end },]], "max_conns = 1,")
    local post = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabc"
    for _, path in ipairs { "/", "/read" } do
      host:connect "127.0.0.1:80":write(post:format(path))
      w:run_for "100ms"
    end
    local leaves = host:connect "127.0.0.1:80"
    leaves:write(post:format "/read")
    w:run_for "100ms"
    leaves:reset()
    w:run_for "100ms"
    assert.matches("^nil\tnil\tnil\n$", script:output())
    assert.is_nil(script:log():find("request failed", 1, true), script:log())
    host:connect "127.0.0.1:80":write(post:format "/mistake")
    w:run_for "100ms"
    assert.equal(405, status_of(ask(last "/")))
    assert.matches("request failed: POST /mistake", script:log())
  end)

  it("takes turns with others if it sends many requests at once, or tiny chunks", function()
    serve([[
      ["GET /:n"] = function(r) print(r.params.n) return r.params.n end,
      ["POST /"] = function(r) print "c" return tostring(#r.body) end,]], 'idle = "1s",')
    local a, b, c = host:connect "127.0.0.1:80", host:connect "127.0.0.1:80", host:connect "127.0.0.1:80"
    c:write("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" .. ("1\r\na\r\n"):rep(10000) .. "0\r\n\r\n")
    a:write(get("/a"):rep(100))
    b:write(get("/b"):rep(100))
    assert.matches("\r\n\r\n10000$", c:read_all())
    assert.equal(100, select(2, a:read_all():gsub("\r\n\r\na", "")))
    local order = script:output():gsub("\n", "")
    assert.truthy(order:find(("ab"):rep(90), 1, true), order)
    assert.matches("c$", order) -- ten thousand chunks are more turns than a hundred requests
  end)

  it("loses its place when the watchdog stops its function", function()
    serve(HELLO .. '["GET /loop"] = function() while true do end end,', "max_conns = 1,")
    local conn = host:connect "127.0.0.1:80"
    conn:write(get "/loop")
    assert.equal("reset", select(2, conn:read_all()).code)
    w:run_for "2s"
    assert.equal("hello", body_of(ask(last "/")))
  end)

  it("is answered 503 when all conns are in the middle of a request", function()
    serve('["GET /"] = function() kt.sleep "10s" return "late" end,', "max_conns = 2,")
    for _ = 1, 2 do host:connect "127.0.0.1:80":write(get "/") end
    w:run_for "1s"
    assert.equal(503, status_of(ask(get "/")))
  end)

  it("gets 413 for a body that is too long, however it is framed, and has not to send it", function()
    serve('["POST /"] = function(r) return tostring(#r.body) end, ["POST /big"] = { max_body = "1MiB", handler = function(r) return tostring(#r.body) end },',
      'max_body = "1KiB",')
    assert.equal(413, status_of(ask "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n\r\n"))
    local chunked = "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. ("400\r\n" .. ("x"):rep(1024) .. "\r\n"):rep(2) .. "0\r\n\r\n"
    assert.equal(413, status_of(ask(chunked:format "/")))
    assert.equal("2048", body_of(ask(chunked:format "/big")))
  end)
end)

describe("the end of kt.http.serve", function()
  it("lets requests finish, ends events, closes idle conns at once, and takes no more", function()
    serve(HELLO .. [[
      ["GET /slow"] = function() kt.sleep "3s" return "done" end,
      ["GET /much"] = function() return ("x"):rep(1000000) end,
      ["POST /"] = function(r) return r.body end,
      ["GET /events"] = function(_, response) while response:event {} do kt.sleep "100ms" end end,]])
    local idle, slow, events, much, post = host:connect "127.0.0.1:80", host:connect "127.0.0.1:80", host:connect "127.0.0.1:80",
      host:connect "127.0.0.1:80", host:connect "127.0.0.1:80"
    idle:write(get "/")
    much:write(get "/much")
    post:write "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabc"
    slow:write(get "/slow")
    events:write(get "/events")
    w:run_for "1s"
    script:signal "TERM"
    w:run_for "500ms"
    assert.matches("hello$", idle:read_all())
    post:write "de"
    assert.matches("connection: close\r\n\r\nabcde$", post:read_all())
    assert.equal(1000000, #body_of(much:read_all()))
    assert.matches("\r\n0\r\n\r\n$", events:read_all())
    assert.equal("refused", select(2, host:try_connect "127.0.0.1:80").code)
    assert.matches("connection: close\r\n\r\ndone$", slow:read_all())
    w:run_for "2s"
    assert.equal(0, script.exit_code)
  end)

  it("by close does the same and leaves the script running", function()
    serve(HELLO, "", 'kt.after("1s", function() server:close() server:close() print(server.local_addr, server:stats().conns) end) kt.after("1h", print)')
    local idle = host:connect "127.0.0.1:80"
    w:run_for "2s"
    assert.equal("", idle:read_all())
    assert.is_true(script:is_running())
    assert.equal("refused", select(2, host:try_connect "127.0.0.1:80").code)
  end)

  it("by a reload hands the socket to the new script, and the old one answers what it has begun", function()
    serve('["GET /"] = function() kt.sleep "2s" return "old" end,')
    local conn = host:connect "127.0.0.1:80"
    conn:write(get "/")
    w:run_for "1s"
    host:file("s.lua", 'local kt = require "kt" kt.http.serve { on = "127.0.0.1:80", routes = { ["GET /"] = function() return "new" end } }')
    script:signal "HUP"
    w:run_for "500ms"
    assert.equal("new", body_of(ask(last "/")))
    local answer, err = conn:read_all()
    assert.is_string(answer, tostring(err) .. script:log())
    assert.matches("connection: close\r\n\r\nold$", answer)
  end)
end)

describe("the arguments of kt.http.serve", function()
  it("are checked, with routes by name", function()
    local function refused(text)
      local ok, why = pcall(function()
        local lines = 'local kt = require "kt" kt.http.serve { on = "127.0.0.1:80", ' .. text .. " }"
        sim.world { seed = 1 }:host "a":run("s.lua", { files = { ["s.lua"] = lines } })
      end)
      assert.is_false(ok)
      return why:match "http%.serve.*"
    end
    assert.matches("^http.serve.routes: missing", refused "")
    for routes, why in pairs {
      ['["/metrics"] = print'] = 'expected a method and a path, such as "GET /metrics"',
      ['["GET metrics"] = print'] = 'expected a path such as "/metrics", without a query',
      ['["GET /a?b"] = print'] = 'expected a path such as "/metrics", without a query',
      ['["GET /*/b"] = print'] = '"%*" is for the end of a path',
      ['["GET /a/../b"] = print'] = 'a path with a segment ".." is never served',
      ['["GET /%41"] = print'] = "write %%41 decoded, as paths are compared",
      ['["FOO /"] = print'] = "no such method in HTTP",
      ['["GET /a/:x"] = print, ["GET /a/:y"] = print'] = 'takes the same requests as %["GET /a/:x"%]',
      ['["GET /:1"] = print'] = "malformed parameter :1",
      ['["GET /"] = "text"'] = 'expected a function, or { handler = function }, got "text"',
      ['["GET /"] = { handler = print, body = 1 }'] = "unknown key body; expected one of handler, stream, max_body, ignore_gone",
      ['["GET /"] = { handler = print, max_body = "x" }'] = 'max_body: expected a size.*got "x"',
    } do assert.matches("^http.serve.routes: %[\"[^\"]*\"%]: " .. why, refused("routes = { " .. routes .. " }")) end
  end)
end)
