-- kt.http with other programs: curl as the client of kt.http.serve, over TCP and a unix socket; Python's http.server as the server of
-- kt.http.request.
local h = require "harness"
local scripts = require "harness.scripts"

describe("kt.http with other programs", function()
  local s = scripts.each(before_each, after_each)

  local function curl(...)
    local p = h.start { name = "curl", cmd = { "curl", "-sS", "--max-time", "20", ... }, cwd = s.dir }
    local code = p:wait_exit(30)
    assert.equal(0, code, p.stderr)
    return p.stdout
  end

  it("serves curl: large bodies both ways, Expect, keep-alive, events, a proxy by CONNECT", function()
    h.run(function()
      local port, other = h.sockets.free_port "tcp", h.sockets.free_port "tcp"
      s.start([[
local routes = {
  ["PUT /whole"] = function(r) return r.body end,
  ["PUT /count"] = { stream = true, max_body = "1GiB", handler = function(r)
    local n = 0
    for data in function() return r:read(1 << 20) end do n = n + #data end
    return n .. "\n"
  end },
  ["GET /events"] = function(_, response) for i = 1, 3 do response:event { data = i .. "" } end end,
  ["GET /where"] = function(r) return r.headers.host .. "\n" end,
}
kt.http.serve { on = "127.0.0.1:%d", max_body = "8MiB", routes = routes }
kt.http.serve { on = "unix:%s/s.sock", routes = routes }
kt.http.serve { on = "127.0.0.1:%d", routes = { ["CONNECT *"] = function(r) kt.splice(r:take(), kt.connect { to = r.target }) end } }
]], port, s.dir, other):expect "listening on.*listening on.*listening on"
      local url = ("http://127.0.0.1:%d"):format(port)
      s.write("big", ("x"):rep(3 << 20))
      curl("-T", "big", "-o", "back", url .. "/whole")
      assert.equal(("x"):rep(3 << 20), h.read_file(s.dir .. "/back"))
      assert.equal("3145728\n3145728\n", curl("-H", "Transfer-Encoding: chunked", "-T", "{big,big}", url .. "/count"))
      assert.equal("data: 1\n\ndata: 2\n\ndata: 3\n\n", curl("-N", url .. "/events"))
      assert.equal("here.example\n", curl("--unix-socket", "s.sock", "http://here.example/where"))
      local proxy = ("http://127.0.0.1:%d"):format(other)
      assert.equal(("127.0.0.1:%d\n1 127.0.0.1:%d\n0 "):format(port, port), -- the second request uses the same conn
        curl("-w", "%{num_connects} ", "-p", "-x", proxy, url .. "/where", url .. "/where"))
    end)
  end)

  it("requests from Python's http.server: a large file, HEAD, an error", function()
    h.run(function()
      local port = h.sockets.free_port "tcp"
      s.write("big", ("x"):rep(3 << 20))
      h.start { name = "python", cmd = { "python3", "-m", "http.server", "-b", "127.0.0.1", tostring(port) }, cwd = s.dir }:wait_tcp(port)
      assert.equal("200 3145728 3145728 3145728\n200 0\n404 File not found\n", s.task([[
        local url = "http://127.0.0.1:%d/"
        local r = assert(kt.http.request { url = url .. "big", max_body = "4MiB" })
        local _, n = r.body:gsub("x", "")
        print(r.status .. " " .. #r.body .. " " .. r.headers["Content-Length"] .. " " .. n)
        r = assert(kt.http.request { url = url .. "big", method = "HEAD" })
        print(r.status .. " " .. #r.body)
        r = assert(kt.http.request { url = url .. "none" })
        print(r.status .. " " .. r.reason)
      ]], port))
    end)
  end)
end)
