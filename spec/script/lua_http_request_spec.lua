-- kt.http.request in virtual time: what it sends, what it makes of responses, and how it fails. Other programs as servers:
-- spec/script/lua_http_peers_spec.lua.
local sim = require "kt.sim"

--- Runs the lines as a task on a host whose port 80 answers each conn with `answer`, a string or a function of the request's head;
--- returns what it printed, and what the servers received.
local function run(answer, text)
  local w = sim.world { seed = 1 }
  local host, got = w:host "a", {}
  for _, on in ipairs { "127.0.0.1:80", "unix:/run/a.sock" } do
    host:serve { on = on, fn = function(conn)
      local head = conn:read_until "\r\n\r\n"
      local size = head:match "content%-length: (%d+)"
      got[#got + 1] = head .. (size and size ~= "0" and conn:read_exactly(math.tointeger(size)) or "")
      conn:write(type(answer) == "string" and answer or answer(head))
    end }
  end
  local script = host:run("s.lua", { files = { ["s.lua"] = [[
    local kt = require "kt"
    local function show(r, err)
      if r then print(r.status, r.reason, r.headers["X-A"], r.body) else print(err.code, err) end
    end
    kt.spawn(function() ]] .. text .. " end)" } })
  w:run_for "2m"
  assert.equal(0, (script:failed_tasks()), script:log())
  return script:output(), got
end

describe("kt.http.request", function()
  it("sends method, target, fields and body, over TCP or a unix socket", function()
    local _, got = run("HTTP/1.1 204 No Content\r\n\r\n", [[
      show(kt.http.request { url = "http://127.0.0.1" })
      show(kt.http.request { url = "http://name.example:81/a%20b?c=d", to = "127.0.0.1:80", method = "PUT", body = "text", headers = {
        Accept = "text/plain", ["X-B"] = { "1", "2" } } })
      show(kt.http.request { url = "http://docker/info", to = "unix:/run/a.sock", method = "POST", headers = { Host = "other" } })]])
    assert.same({
      "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: kt/0.1.0\r\naccept: */*\r\n\r\n",
      "PUT /a%20b?c=d HTTP/1.1\r\nAccept: text/plain\r\nX-B: 1\r\nX-B: 2\r\nhost: name.example:81\r\nuser-agent: kt/0.1.0\r\n"
        .. "content-length: 4\r\n\r\ntext",
      "POST /info HTTP/1.1\r\nHost: other\r\nuser-agent: kt/0.1.0\r\naccept: */*\r\ncontent-length: 0\r\n\r\n",
    }, got)
  end)

  it("reads a body by its length, chunked, or up to the end, and none where there is none", function()
    local answers = {
      a = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello, and more",
      b = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n",
      c = "HTTP/1.0 200 \r\n\r\nto the end", d = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", e = "HTTP/1.1 200\r\nContent-Length: 7\r\n\r\n",
    }
    assert.equal("200\tOK\t1, 2\thello\n404\tNot Found\tnil\tabcde\n200\t\tnil\tto the end\n304\tNot Modified\tnil\t\n200\t\tnil\t\n",
      (run(function(head) return answers[head:match "/(%l) "] end, [[
        for _, path in ipairs { "a", "b", "c", "d" } do show(kt.http.request { url = "http://127.0.0.1/" .. path }) end
        show(kt.http.request { url = "http://127.0.0.1/e", method = "HEAD" })]])))
  end)

  it("takes no response for complete that ends early, wherever that is", function()
    local chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n"
    local sized = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    local expected = {}
    for _, text in ipairs { chunked, sized } do
      for at = 0, #text do expected[#expected + 1] = ("%d %s\n"):format(at, at == #text and "abc" or "reset") end
    end
    assert.equal(table.concat(expected), (run(function(head)
      local kind, at = head:match "/(%l)(%d+) "
      return (kind == "c" and chunked or sized):sub(1, math.tointeger(at))
    end, ([[
      for kind, last in ("c%d s%d"):gmatch "(%%l)(%%d+)" do
        for at = 0, math.tointeger(last) do
          local r, err = kt.http.request { url = ("http://127.0.0.1/%%s%%d"):format(kind, at), keepalive = false }
          print(("%%d %%s"):format(at, r and r.body or err.code))
        end
      end]]):format(#chunked, #sized))))
  end)

  it("fails with a code: for the URL, the conn, the response, and its length", function()
    local answers = {
      a = "nonsense\r\n\r\n", b = "", c = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
      d = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      e = "HTTP/1.1 200 OK\r\n\r\n" .. ("x"):rep(2000), f = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      g = ("HTTP/1.1 102 Processing\r\n\r\n"):rep(20), h = "HTTP/1.1 200 OK\r\n" .. ("A: b\r\n"):rep(20000), i = "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    }
    assert.equal([[
protocol	kt.http.request: http://127.0.0.1/a: malformed response: malformed status line
reset	kt.http.request: http://127.0.0.1/b: the server closed without a response
reset	kt.http.request: http://127.0.0.1/c: the body broke off
protocol	kt.http.request: http://127.0.0.1/d: malformed body: malformed chunk size
limit	kt.http.request: http://127.0.0.1/e: the body is longer than 1000 bytes
protocol	kt.http.request: http://127.0.0.1/f: malformed response: unexpected content-length header
protocol	kt.http.request: http://127.0.0.1/g: too many interim responses
limit	kt.http.request: http://127.0.0.1/h: the header of the response is too long
protocol	kt.http.request: http://127.0.0.1/i: malformed response: folded header field
unsupported	kt.http.request: https://127.0.0.1/: https is not supported, as kt has no TLS; send http to a program on this machine that adds TLS, such as stunnel
config	kt.http.request: http://a b/: malformed URL
config	kt.http.request: ftp://a/: expected an http:// URL
config	kt.http.request: /a: expected a URL such as "http://host:port/path"
config	kt.http.request: http://a/: a user and a password belong in headers = { Authorization = ... }
config	kt.http.request: http://a/#b: remove the #fragment from the URL
config	kt.http.request: http://a:0/: expected a port from 1 to 65535 in the URL
refused	kt.http.request: http://127.0.0.1:81/: 127.0.0.1:81: connection refused
]], (run(function(head) return answers[head:match "/(%l) "] end, [[
      for byte in ("abcdefghi"):gmatch "." do show(kt.http.request { url = "http://127.0.0.1/" .. byte, max_body = 1000 }) end
      for _, url in ipairs { "https://127.0.0.1/", "http://a b/", "ftp://a/", "/a", "http://u:p@a/", "http://a/#b", "http://a:0/", "http://127.0.0.1:81/" } do
        show(kt.http.request { url = url })
      end]])))
  end)

  it("never repeats a user and password of the URL", function()
    assert.equal([[
unsupported	kt.http.request: https://a/: https is not supported, as kt has no TLS; send http to a program on this machine that adds TLS, such as stunnel
config	kt.http.request: ftp://a/: expected an http:// URL
config	kt.http.request: http://a/: malformed URL
config	kt.http.request: a/: malformed URL
refused	kt.http.request: http://127.0.0.1:81/@b: 127.0.0.1:81: connection refused
]], (run("", [[
      for _, url in ipairs { "https://u:secret@a/", "ftp://u:secret@a/", "http://u:sec/ret@a/", "u:sec ret@a/", "http://127.0.0.1:81/@b" } do
        show(kt.http.request { url = url })
      end]])))
  end)

  it("gives up at its timeout, whatever the server does until then", function()
    local w = sim.world { seed = 1 }
    local host = w:host "a"
    host:serve { on = "127.0.0.1:80", fn = function(conn)
      if conn:read_until "\r\n\r\n":find "/silent" then return w:sleep "20s" end
      conn:write "HTTP/1.1 200 OK\r\n\r\n"
      while conn:write "x" do w:sleep "1s" end
    end }
    local script = host:run("s.lua", { files = { ["s.lua"] = [[
      local kt = require "kt"
      kt.spawn(function()
        local from, _, err = kt.now(), kt.http.request { url = "http://127.0.0.1/", timeout = "5s" }
        print(err, err.code, math.floor(kt.now() - from + 0.5))
        print(select(2, kt.http.request { url = "http://127.0.0.1/silent", timeout = "300ms" }))
      end)]] } })
    w:run_for "1m"
    assert.equal("kt.http.request: http://127.0.0.1/: no complete response within 5 s\ttimeout\t5\n"
      .. "kt.http.request: http://127.0.0.1/silent: no response within 300 ms\n", script:output())
    assert.equal(0, host:stats().apps)
  end)

  it("goes through a link, which gets the target, or leaves it to a kcptun server", function()
    local w = sim.world { seed = 1 }
    for _, name in ipairs { "a", "b" } do w:host(name) end
    w:link("a", "b", { delay = "10ms" })
    w:host("b"):serve { on = "127.0.0.1:80", fn = function(conn) conn:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" conn:read_all() end }
    w:host("b"):run("s.lua", { files = { ["s.lua"] = [[
      local kt = require "kt"
      kt.accept { on = ":29900", key = "our secret" }:serve(function(stream)
        print(stream.target)
        kt.splice(stream, kt.connect { to = stream.target or "127.0.0.1:80" })
      end)]] } })
    local script = w:host("a"):run("c.lua", { files = { ["c.lua"] = [[
      local kt = require "kt"
      local near = kt.link { remote = "b:29900", key = "our secret", wire = "kt" }
      local old = kt.link { remote = "b:29900", key = "our secret", wire = "kcptun" }
      local pool = kt.pool { links = { near } }
      kt.spawn(function()
        for _, request in ipairs { { via = near }, { via = pool, to = "127.0.0.1:80" }, { via = old, to = false }, { via = old } } do
          request.url = "http://127.0.0.1/"
          local r, err = kt.http.request(request)
          print(r and r.body or err.code)
        end
      end)]] } })
    w:run_for "30s"
    assert.equal("ok\nok\nok\nunsupported\n", script:output())
    assert.equal("127.0.0.1:80\n127.0.0.1:80\nnil\n", w:host("b").scripts[1]:output())
  end)

  --- Runs the lines as a task on a host with a server whose conns are numbered: it answers GET /ID with the conn's number, and does what the
  --- path says: /close, /now (closes without an answer), /junk (sends more than the answer).
  local function numbered(text)
    local w = sim.world { seed = 1 }
    local host, conns = w:host "a", 0
    for _, on in ipairs { "127.0.0.1:80", "127.0.0.1:81", "unix:/run/a.sock" } do
      host:serve { on = on, fn = function(conn)
        conns = conns + 1
        local me, last = conns, false
        while not last do
          local head = conn:read_until("\r\n\r\n", { timeout = "1h" })
          if not head then return end
          if head:find "/now" and me < 3 then return end
          last = head:find "/close" or head:find "connection: close"
          conn:write(("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%d%s"):format(last and "Connection: close\r\n" or "", #tostring(me), me,
            head:find "/junk" and "x" or ""))
          if head:find "/leave" then return end
        end
      end }
    end
    local script = host:run("s.lua", { files = { ["s.lua"] = [[
      local kt = require "kt"
      local function get(path, more)
        local request = more or {}
        request.url = "http://127.0.0.1" .. (path or "/")
        local r, err = kt.http.request(request)
        return r and r.body or err.code
      end
      kt.spawn(function() ]] .. text .. " end)" } })
    w:run_for "5m"
    assert.equal(0, (script:failed_tasks()), script:log())
    return script:output(), host, conns, w
  end

  it("keeps a connection for the next request to the same address, in any task, unless either end closes it", function()
    local out, host = numbered [[
      print(get(), get(), kt.spawn(get):wait())                        -- one
      print(get "/close", get "/", get("/", { keepalive = false }), get "/")
      print(get ":81/", get "/", get("/", { to = "unix:/run/a.sock" }), get "/")
      print(get "/junk", get "/")]]
    assert.equal("1\t1\t1\n1\t2\t3\t2\n4\t2\t5\t2\n2\t6\n", out)
    assert.equal(0, host:stats().apps)
  end)

  it("closes a kept connection after its time, and when the server closes it", function()
    local out, _, conns = numbered [[
      print(get "/", get "/leave")
      kt.sleep "1s"
      print(get "/")
      kt.sleep "29s"
      print(get "/")
      kt.sleep "31s"
      print(get("/", { keepalive = "1s" }))
      kt.sleep "1500ms"
      print(get "/")]]
    assert.equal("1\t1\n2\n2\n3\n4\n", out)
    assert.equal(4, conns)
  end)

  it("repeats a request on a new connection if the kept one closes without an answer, but no POST", function()
    local out, _, conns = numbered [[
      print(get "/", get("/now", { method = "POST" }))
      print(get "/", get("/now", { method = "PUT" }))]]
    assert.equal("1\treset\n2\t3\n", out)
    assert.equal(3, conns)
  end)

  it("keeps at most 64 connections, and neither the script nor a host's accounts wait for them", function()
    local out, host, conns, w = numbered([[
      local tasks = {}
      for i = 1, 80 do tasks[i] = kt.spawn(get) end
      for _, task in ipairs(tasks) do task:wait() end
      print(kt.inspect().conn_count)
      for i = 1, 80 do tasks[i] = kt.spawn(get) end
      for _, task in ipairs(tasks) do task:wait() end]])
    assert.equal("0\n", out)
    assert.equal(80 + 16, conns)
    assert.equal(0, host:stats().apps)
    w:settle()
  end)

  it("raises for what no message can hold, and for wrong arguments", function()
    assert.equal("s.lua:5: kt.http.request: headers: \"A\": a field's name or value with a character that HTTP does not allow in it\n"
      .. "s.lua:6: kt.http.request.method: expected a method such as \"GET\"\n"
      .. "s.lua:7: kt.http.request.via: expected a link or a pool, got \"x\"\n", (run("HTTP/1.1 200 OK\r\n\r\n", [[
      print(select(2, pcall(kt.http.request, { url = "http://127.0.0.1/", headers = { A = "b\r\nC: d" } })))
      print(select(2, pcall(kt.http.request, { url = "http://127.0.0.1/", method = "GET /" })))
      print(select(2, pcall(kt.http.request, { url = "http://127.0.0.1/", via = "x" })))]])))
  end)
end)

describe("host:http in a spec", function()
  it("sends a request from a host, and raises if there is no response", function()
    local w = sim.world { seed = 1 }
    local host = w:host "a"
    host:run("s.lua", { files = { ["s.lua"] = [[
      local kt = require "kt"
      kt.http.serve { on = "127.0.0.1:80", routes = { ["POST /"] = function(r)
        return { status = 201, headers = { ["X-A"] = r.headers["x-b"] }, body = r.body:rep(100000) }
      end } }]] } })
    local response = host:http { url = "http://127.0.0.1/", method = "POST", body = "abc", headers = { ["X-B"] = 1 } }
    assert.same({ 201, "Created", "1", ("abc"):rep(100000) }, { response.status, response.reason, response.headers["X-A"], response.body })
    assert.error_matches(function() host:http { url = "http://127.0.0.1:81/" } end, "host:http: http://127.0.0.1:81/: .*refused")
  end)
end)

describe("kt.http", function()
  it("encodes and decodes parts of a URL, queries and forms", function()
    assert.equal([[
a%20b%2Fc%3D%26%2B%25%C3%A9-._~	a b/c=&+%é-._~
a b+c/	nil	invalid: a "%" without two hexadecimal digits after it
1	x y	&=	last	true
a=1&b=x%20y&c=&list=1&list=two&t=true	1	x y	true	two	true
s.lua:14: kt.http.build_query: a: expected a string, a number, a boolean, or a list of them, got a function
s.lua:15: kt.http.build_query: x: expected a finite number, got NaN
id=9007199254740992&x=0.1
s.lua:17: kt.http.query: expected a string, got nil
]], (run("", [[
local text = "a b/c=&+%é-._~"
print(kt.http.escape(text), (kt.http.unescape(kt.http.escape(text))))
local none, err = kt.http.unescape "%zz"
print(kt.http.unescape "a%20b+c%2f", none, err.code .. ": " .. err)
local q = kt.http.query "a=1&b=x+y&c%20d=%26%3D&e=first&e=last&f"
print(q.a, q.b, q["c d"], q.e, q.f == "")
local made = kt.http.build_query { a = 1, b = "x y", c = "", list = { 1, "two" }, t = true }
q = kt.http.query(made)
print(made, q.a, q.b, q.c == "", q.list, q.t)
print((select(2, pcall(function() kt.http.build_query { a = print } end))))
print((select(2, pcall(function() kt.http.build_query { x = 0 / 0 } end))))
print(kt.http.build_query { id = 2^53, x = 0.1 })
print((select(2, pcall(function() kt.http.query(nil) end))))]])))
  end)
end)
