-- kt.http.status in virtual time: what each path shows, who is refused, and what it costs. Prometheus and a browser:
-- spec/control/http_status_spec.lua.
local sim = require "kt.sim"
package.path = "./lua/?.lua;" .. package.path
local decode = require "json_value"
local openmetrics = require "openmetrics"

local w, host, script, line

--- Starts a script on a host of its own, with a server of status at port 80.
local function start(more, options, files)
  w = sim.world { seed = 1, log = "debug" }
  host = w:host "a"
  files = files or {}
  files["s.lua"] = ([[
    local kt = require "kt"
    %s
    kt.http.status { on = "127.0.0.1:80", %s }
  ]]):format(more or "", options or "")
  script = host:run("s.lua", { files = files })
end

local function ask(text)
  local conn <close> = host:connect "127.0.0.1:80"
  conn:write(text)
  return conn:read_all { timeout = "2m" }
end

local function get(target, fields)
  local answer = ask(("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n"):format(target, fields or ""))
  local status, head, body = answer:match "^HTTP/1.1 (%d%d%d) [^\r]*\r\n(.-\r\n)\r\n(.*)$"
  return tonumber(status), body, head
end

local function metrics(fields)
  local status, body, head = get("/metrics", fields)
  assert.equal(200, status)
  assert.matches("content%-type: application/openmetrics%-text; version=1%.0%.0; charset=utf%-8\r\n", head)
  return openmetrics.read(body)
end

--- A tunnel from "a" to "b", which echoes.
local FAR = [[
  local far = kt.link { remote = "far.example:29900", key = "k", wire = "kt", %s }
  kt.listen { on = "127.0.0.1:90" }:serve(function(conn)
    local stream = far:open { timeout = "5s" }
    if stream then kt.splice(conn, stream) end
  end)]]

local function tunnel(link)
  start(FAR:format(link or ""))
  local far = w:host "b"
  line = w:link("a", "b", { delay = "20ms", rate = "50Mbit" })
  w:name("far.example", "b")
  far:serve { on = "127.0.0.1:8388", kind = "echo" }
  far:run("f.lua", { files = { ["f.lua"] = [[
    local kt = require "kt"
    kt.accept { on = ":29900", key = "k" }:serve(function(stream)
      local conn = kt.connect { to = "127.0.0.1:8388" }
      if conn then kt.splice(stream, conn) end
    end)
    kt.http.status { on = "127.0.0.1:80" }]] } })
  return far
end

describe("kt.http.status", function()
  it("has a metric for each row of the tables of statistics, with units and help", function()
    tunnel()
    local client = host:connect "127.0.0.1:90"
    client:write "hello"
    w:run "5s"
    local families, value = metrics()
    local counters = require "kt.api.counters"
    local names = require "kt.http.metrics".name
    for _, row in ipairs(counters.process) do
      local name, unit = names("kt_", row)
      assert.same({ row.kind, row.doc, unit }, { families[name].type, families[name].help, families[name].unit })
    end
    for _, which in ipairs { "link", "native" } do
      for _, row in ipairs(counters[which]) do assert.truthy(families[names("kt_link_", row)], row.name) end
    end
    assert.equal("seconds", families.kt_link_srtt_seconds.unit)
    assert.equal("bytes", families.kt_received_bytes.unit)
    local of = { link = "far.example:29900" }
    assert.equal(5, value("kt_link_out_bytes", of))
    assert.equal(1, value("kt_link_up", of))
    assert.equal(1, value("kt_streams_opened"))
    assert.equal(1, value("kt_listener_open", { listener = "127.0.0.1:90", by = "kt.listen" }))
    assert.equal("0.1.0", families.kt_build.samples[1].labels.version)
  end)

  it("counts how long link:open took, and srtt every 2 s while the link is up", function()
    tunnel()
    for _ = 1, 2 do host:connect "127.0.0.1:90":write "hello" end
    w:run "11s"
    local _, value = metrics()
    local of = { link = "far.example:29900" }
    assert.equal(2, value("kt_link_open_duration_seconds", of, "_count"))
    local sum = value("kt_link_open_duration_seconds", of, "_sum")
    assert(sum > 0.03 and sum < 0.2, sum) -- the first waits for the handshake
    assert.equal(5, value("kt_link_rtt_seconds", of, "_count"))
    assert.equal(0, value("kt_link_rtt_seconds", { le = "0.025" }, "_bucket"))
    assert.equal(5, value("kt_link_rtt_seconds", { le = "0.1" }, "_bucket"))
  end)

  it("has no labels for conns and for links of peers, and shows those of an acceptor in one", function()
    local far = tunnel()
    for _ = 1, 5 do host:connect "127.0.0.1:90":write "hello" end
    w:run "2s"
    local before = host
    host = far
    local families, value = metrics()
    host = before
    assert.equal(5, value("kt_listener_streams", { listener = "[::]:29900" }) or value("kt_listener_streams"))
    assert.is_nil(families.kt_link_up)
    for _, family in pairs(families) do
      for _, s in ipairs(family.samples) do
        for label in pairs(s.labels) do assert.truthy(({ listener = true, by = true, version = true })[label], label) end
      end
    end
  end)

  it("escapes labels, tells rows with one name apart, and leaves out what is too many", function()
    start [[
      local links = {}
      for i = 1, 300 do links[i] = kt.link { remote = "127.0.0.1:9", key = "k" } end
      kt.pool { name = 'a\\"b\n', links = { { link = links[1], name = "<x>" } }, check = false }]]
    local families, value = metrics()
    assert.equal(1, value("kt_pool_link_up", { pool = 'a\\"b\n', link = "<x>" }))
    assert.equal(256, #families.kt_link_up.samples)
    assert.equal(0, value("kt_link_up", { link = "127.0.0.1:9#256" }))
    assert.equal(44, value "kt_omitted_rows")
  end)

  it("writes Prometheus's text format for a client that asks for text only", function()
    start(FAR:format "")
    local status, body, head = get("/metrics", "Accept: text/plain;version=0.0.4\r\n")
    assert.equal(200, status)
    assert.matches("content%-type: text/plain; version=0%.0%.4", head)
    assert.matches("\n# TYPE kt_sent_bytes_total counter\nkt_sent_bytes_total 0\n", body)
    assert.matches("# TYPE kt_build_info gauge\n", body)
    assert.is_nil(body:find "# UNIT" or body:find "# EOF")
    metrics "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n"
    assert.matches("content%-type: text/plain", (select(3, get("/metrics", "Accept: application/openmetrics-text;q=0.1, text/plain;q=0.9\r\n"))))
  end)

  it("is healthy while it runs, and ready unless a link is wanted and none is up, or a pool has none", function()
    tunnel()
    local function ready()
      local status, body = get "/readyz"
      return ("%d %s"):format(status, body)
    end
    assert.equal("200 ready\n", ready()) -- nothing has asked for the link
    line:cut()
    host:connect "127.0.0.1:90"
    w:run "1s"
    assert.equal("503 not ready: link far.example:29900 is down\n", ready())
    assert.equal("ok\n", (select(2, get "/healthz")))
    line:heal()
    w:run "5s"
    assert.equal("200 ready\n", ready())
    start [[kt.pool { name = "p", links = { kt.link { remote = "192.0.2.9:1", key = "k" } } }]]
    w:run "1s"
    assert.equal("503 not ready: no link of pool p is up\n", ready())
  end)

  it("gives the same JSON as kt status, with as many conns as are asked for", function()
    tunnel()
    for _ = 1, 3 do host:connect "127.0.0.1:90":write "hello" end
    w:run "2s"
    local status, body, head = get "/status.json?max=2"
    assert.equal(200, status)
    assert.matches("content%-type: application/json\r\n", head)
    local data = decode(body)
    assert.equal(2, #data.script.conns)
    assert.same({ "s", false, "far.example:29900", true, 7 },
      { data.name, data.ending, data.script.links[1].name, data.script.links[1].stats.up, data.script.conn_count })
    for _, max in ipairs { "-1", "x", "5001", "1e3", "" } do assert.equal(400, (get("/status.json?max=" .. max))) end
  end)

  it("asks for the token on every path, as Bearer or as the password of Basic", function()
    start("", 'token = kt.secret "0123456789abcdef"')
    for _, path in ipairs { "/", "/page.js", "/metrics", "/healthz", "/readyz", "/status.json", "/stream" } do
      local status, body, head = get(path)
      assert.equal(401, status)
      assert.matches('www%-authenticate: Basic realm="kt"', head)
      assert.equal("401 Unauthorized: the token is missing or wrong\n", body)
    end
    local function with(value) return (get("/healthz", "Authorization: " .. value .. "\r\n")) end
    assert.equal(401, with "Bearer 0123456789abcdeg")
    assert.equal(401, with "Bearer")
    assert.equal(401, with "Basic !")
    assert.equal(401, with "Basic MDEyMzQ1Njc4OWFiY2RlZg==") -- without a name
    assert.equal(200, with "Bearer 0123456789abcdef")
    assert.equal(200, with "basic a3Q6MDEyMzQ1Njc4OWFiY2RlZg==") -- kt:0123456789abcdef
  end)

  it("serves other machines only with a token", function()
    start [[
      local function try(t) print(select(2, pcall(kt.http.status, t))) end
      for _, on in ipairs { ":81", "0.0.0.0:81", "192.0.2.1:81", "[::]:81" } do try { on = on } end
      try { on = ":81", token = "short" }
      try { on = ":81", token = "0123456789 abcdef" }
      try { on = ":81", token = true }]]
    local out = script:output()
    local _, missing = out:gsub("s.lua:%d+: http.status.token: missing; other machines can reach %S+; give a token, a loopback address, or unix:/path", "")
    local _, short = out:gsub("http.status.token: expected 16 to 256 printable ASCII characters without spaces", "")
    assert.same({ 4, 2 }, { missing, short })
    start("", 'token = "0123456789abcdef"')
    start([[kt.http.status { on = "unix:/run/kt.sock" }
      kt.http.status { on = "[::1]:81" } ]], "")
    assert.equal(200, (get "/healthz"))
  end)

  it("refuses pages of other origins, other hosts and other methods", function()
    start()
    assert.equal(403, (get("/metrics", "Origin: http://evil.example\r\n")))
    assert.equal(403, (get("/status.json", "Origin: null\r\n")))
    assert.equal(403, (get("/stream", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n")))
    assert.equal(403, (get("/readyz", "Sec-Fetch-Site: same-site\r\n")))
    assert.equal(200, (get("/healthz", "Origin: http://localhost\r\n")))
    assert.equal(200, (get("/healthz", "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n")))
    assert.equal(200, (get("/healthz", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n")))
    assert.matches("^HTTP/1.1 421 ", ask "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert.matches("^HTTP/1.1 405 ", ask "POST /status.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert.equal(404, (get "/kt.lua"))
    local _, page, head = get "/"
    assert.matches("content%-type: text/html; charset=utf%-8\r\n", head)
    assert.is_nil(page:find "https?:" or page:find " style=" or page:find "<script>")
    for _, field in ipairs { "content%-security%-policy: default%-src 'none';", "x%-content%-type%-options: nosniff", "cache%-control: no%-store" } do
      assert.matches(field, head)
    end
  end)

  it("streams what has been for ten minutes, then the status each second and events as they come", function()
    tunnel 'stay = true'
    w:run "20m"
    local conn <close> = host:connect "127.0.0.1:80"
    conn:write "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    local text = ""
    local function read_until(pattern)
      while not text:find(pattern) do text = text .. assert(conn:read(65536, { timeout = "10s" })) end
    end
    read_until "event: status.*event: status"
    assert.matches("content%-type: text/event%-stream\r\n", text)
    local history = decode((text:match "event: history\nretry: 2000\ndata: ([^\n]+)")).history
    local ring = history.rings[1]
    assert.same({ "far.example:29900", "link", 300, 1 }, { ring.name, ring.kind, #ring.rows, ring.rows[300][1] })
    assert.equal(#history.columns, #ring.rows[1])
    local status = decode((text:match "event: status\ndata: ([^\n]+)")).status
    assert.same({ "far.example:29900", {} }, { status.script.links[1].name, status.script.conns })
    assert.matches('"rows":%[{"at":0,"kind":"link","name":"far.example:29900"}%]', text)
    line:cut()
    w:run_for "12m"
    read_until "event: events"
    local event = decode((text:match "event: events\ndata: ([^\n]+)"))[1]
    assert.same({ "down", "far.example:29900" }, { event.type, event.link })
  end)

  it("keeps the ten minutes and the events over a reload, and ends the pages that were fed", function()
    tunnel 'stay = true'
    w:run "30s"
    local conn <close> = host:connect "127.0.0.1:80"
    conn:write "GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    w:run_for "1500ms"
    script:signal "HUP"
    local began = w:now()
    assert.truthy(conn:read_all { timeout = "5s" })
    assert(w:now() - began < 0.1)
    local again <close> = host:connect "127.0.0.1:80"
    again:write "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    local text = again:read(65536, { timeout = "1s" })
    local first = decode((text:match "event: history\nretry: 2000\ndata: ([^\n]+)"))
    assert.equal(17, #first.history.rings[1].rows)
    assert.equal("up", first.events[1].type)
  end)

  it("feeds 16 pages at a time, and frees the place of one that is closed", function()
    start()
    local pages = {}
    local function page()
      local conn = host:connect "127.0.0.1:80"
      conn:write "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
      return conn, conn:read(12, { timeout = "1s" })
    end
    for i = 1, 16 do
      local conn, head = page()
      pages[i] = conn
      assert.equal("HTTP/1.1 200", head)
    end
    assert.equal("HTTP/1.1 503", select(2, page()))
    pages[1]:reset()
    w:run "3s"
    assert.equal("HTTP/1.1 200", select(2, page()))
  end)

  it("does not let 1,000 slow clients slow a tunnel down", function()
    local function seconds(clients)
      tunnel()
      local conns = {}
      for i = 1, clients do
        conns[i] = host:connect "127.0.0.1:80"
        conns[i]:write(i % 2 == 0 and "GET / HT" or "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
      end
      local client = host:connect "127.0.0.1:90"
      local began = w:now()
      client:write(("x"):rep(200000))
      client:shutdown()
      assert.equal(200000, #client:read_all { timeout = "1m" })
      return w:now() - began
    end
    local alone = seconds(0)
    local crowded = seconds(1000)
    assert(crowded < alone * 1.1, ("%g s alone, %g s with 1,000 clients"):format(alone, crowded))
    assert.equal(200, (get "/healthz"))
  end)
end)
