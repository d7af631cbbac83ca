-- scripts/examples/interactive-vs-bulk.lua, at both ends.
local ends = require "harness.ends"
local h = require "harness"
local scripts = require "harness.scripts"

describe("the interactive-vs-bulk example", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- Both ends, the far one sending at most 1 MiB/s; returns the near ends of the ports 22 and 443, which lead to the targets.
  local function tunnel(ssh, web)
    local near_ssh, near_rdp, near_web = h.sockets.free_port "tcp", h.sockets.free_port "tcp", h.sockets.free_port "tcp"
    local changes = {
      { "[22] = true", ("[%d] = true"):format(ssh.at) },
      { '[22]   = "127.0.0.1:10022"', ('[%d] = "127.0.0.1:%d"'):format(ssh.at, near_ssh) },
      { '"127.0.0.1:13389"', ('"127.0.0.1:%d"'):format(near_rdp) },
      { '[443]  = "127.0.0.1:10443"', ('[%d] = "127.0.0.1:%d"'):format(web.at, near_web) },
    }
    local far = ends.far(s, "interactive-vs-bulk.lua", changes, "far", "1MiB")
    local near = ends.near(s, "interactive-vs-bulk.lua", far, changes)
    for _, port in ipairs { near_ssh, near_rdp, near_web } do near:wait_tcp(port) end
    return near_ssh, near_web, near, far
  end

  --- A target that sends `size` bytes to each client that sends something.
  local function sender(size)
    return h.sockets.serve(function(conn)
      if conn:recv(60) then h.transfer.push(conn, 1, size, 60) end
      conn:recv(60)
    end)
  end

  it("lets data on port 22 overtake a running download", function()
    h.run(function()
      local size = 512 << 10
      local near_ssh, near_web = tunnel(sender(size), sender(1 << 30))
      local bulk, got = assert(h.sockets.connect(near_web)), 0
      bulk:send "go"
      h.loop.spawn(function()
        for chunk in function() return bulk:recv(60) end do got = got + #chunk end
      end)
      h.loop.eventually("the download to fill the line", 20, function() return got > 256 << 10 end)

      local ssh = assert(h.sockets.connect(near_ssh))
      ssh:send "go"
      ssh:recv_exactly(1, 20) -- what the download had sent before that, has come
      local before = got
      ssh:recv_exactly(size - 1, 20)
      local meanwhile = got - before
      assert.is_true(meanwhile < size // 5, ("the download got %d bytes meanwhile"):format(meanwhile))
      h.loop.eventually("the download to continue", 20, function() return got - before > meanwhile + (256 << 10) end)
    end)
  end)

  it("carries an application's data to each port", function()
    h.run(function()
      local ssh, web = h.transfer.echo(), h.transfer.echo()
      local near_ssh, near_web, near, far = tunnel(ssh, web)
      for i, port in ipairs { near_ssh, near_web } do
        local app = assert(h.sockets.connect(port))
        app:send("hello " .. i)
        app:shutdown()
        assert.equal("hello " .. i, (app:recv_all(20)))
      end
      assert.equal(1, ssh.accepted)
      assert.equal(1, web.accepted)
      assert.equal(0, near:stop())
      assert.equal(0, far:stop())
    end)
  end)

  it("connects to no port that is not in the far end's table", function()
    h.run(function()
      local target, near = h.transfer.echo(), h.sockets.free_port "tcp"
      local far = ends.far(s, "interactive-vs-bulk.lua", nil, "far")
      ends.near(s, "client.lua", far, { { "127.0.0.1:12948", "127.0.0.1:" .. near } }):wait_tcp(near)
      for _, line in ipairs { target.at .. "\n", "ssh\n", "22.5\n", "\n" } do
        local app = assert(h.sockets.connect(near))
        app:send(line)
        assert.equal("", (app:recv_all(20)))
        far:expect "unknown port"
        far:mark()
      end
      assert.equal(0, target.accepted)
    end)
  end)
end)
