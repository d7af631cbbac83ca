-- scripts/examples/route-by-port.lua, at both ends.
local ends = require "harness.ends"
local h = require "harness"
local scripts = require "harness.scripts"

describe("the route-by-port example", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- A target that sends its name to each connection at once, as SSH does, and then echoes.
  local function target(greeting, where)
    return h.sockets.serve(function(conn)
      conn:send(greeting)
      for chunk in function() return conn:recv(60) end do conn:send(chunk) end
      conn:shutdown()
    end, where)
  end

  --- Both ends; returns them, and the near end's ports by route.
  local function tunnel(targets)
    local ports, changes = {}, {}
    for name, default in pairs { ssh = "2222", web = "8080", sql = "5432" } do
      ports[name] = h.sockets.free_port "tcp"
      changes[#changes + 1] = { '"127.0.0.1:' .. default .. '"', ('"127.0.0.1:%d"'):format(ports[name]) }
    end
    changes[#changes + 1] = { '"127.0.0.1:22"', ('"127.0.0.1:%d"'):format(targets.ssh) }
    changes[#changes + 1] = { "intranet.example:80", "localhost:" .. targets.web }
    changes[#changes + 1] = { "unix:/run/postgresql/.s.PGSQL.5432", "unix:" .. targets.sql }
    local far = ends.far(s, "route-by-port.lua", changes, "far")
    local near = ends.near(s, "route-by-port.lua", far, changes)
    for _, port in pairs(ports) do near:wait_tcp(port) end
    return near, far, ports
  end

  it("leads each port to its own target, over one link", function()
    h.run(function()
      local sql = s.dir .. "/sql"
      local near, far, ports = tunnel {
        ssh = target "I am ssh".at, web = target "I am web".at, sql = target("I am sql", sql).at }
      local apps = {}
      for name, port in pairs(ports) do
        apps[name] = assert(h.sockets.connect(port))
        assert.equal("I am " .. name, apps[name]:recv_exactly(8, 20))
      end
      for name, app in pairs(apps) do
        app:send("hello " .. name)
        app:shutdown()
        assert.equal("hello " .. name, (app:recv_all(20)))
      end
      assert.equal(0, near:stop())
      assert.equal(0, far:stop())
    end)
  end)

  it("resets the connection to a target that refuses, and no other", function()
    h.run(function()
      local _, far, ports = tunnel { ssh = h.sockets.refusing(), web = target "I am web".at, sql = s.dir .. "/nobody" }
      local web = assert(h.sockets.connect(ports.web))
      assert.equal("I am web", web:recv_exactly(8, 20))
      assert.is_true(h.sockets.is_reset(ports.ssh, 20))
      far:expect "refused"
      web:send "still there"
      assert.equal("still there", web:recv_exactly(11, 20))
    end)
  end)

  it("connects only to targets in the far end's table", function()
    h.run(function()
      local near = h.sockets.free_port "tcp"
      local far = ends.far(s, "route-by-port.lua", nil, "far")
      ends.near(s, "client.lua", far, { { "127.0.0.1:12948", "127.0.0.1:" .. near } }):wait_tcp(near)
      for sent, said in pairs { ["ftp\n"] = 'unknown route "ftp"', [("x"):rep(100)] = "limit" } do
        local app = assert(h.sockets.connect(near))
        app:send(sent)
        assert.equal("", (app:recv_all(20)))
        far:expect(said)
      end
    end)
  end)

  it("explains its usage", function()
    h.run(function()
      s.key()
      local p = s.kt("run", s.example("route-by-port.lua", {}), "middle")
      assert.equal(1, p:wait_exit(20))
      assert.equal("kt: usage: kt run route-by-port.lua [near | far]\n", p.stderr)
    end)
  end)
end)
