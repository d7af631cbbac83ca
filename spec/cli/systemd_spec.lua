-- kt under a service manager that speaks systemd's protocols, which spec/support/manager.py does: sd_notify(3) and sd_listen_fds(3).
local uv = require "luv"
local h = require "harness"
local scripts = require "harness.scripts"

describe("kt under a service manager", function()
  local s = scripts.each(before_each, after_each)

  --- Starts kt run with a script, and with sockets as manager.py takes them. Returns the process, and kt's pid.
  local function managed(text, ...)
    local cmd = { "python3", "spec/support/manager.py", ... }
    table.move({ "--", h.peer.kt, "run", s.dir .. "/" .. s.write("s.lua", text) }, 1, 4, #cmd + 1, cmd)
    local p = h.start { name = "manager", cmd = cmd }
    return p, tonumber((p:expect "pid (%d+)\n"))
  end

  it("says when it is ready, alive, reloading and stopping", function()
    h.run(function()
      local p, pid = managed 'local kt = require "kt" kt.every("1h", function() end)'
      p:expect "notify READY=1\n"
      p:expect "notify WATCHDOG=1\n.*notify WATCHDOG=1\n"
      p:mark()
      uv.kill(pid, "sighup")
      p:expect "notify RELOADING=1 MONOTONIC_USEC=%d+\n.*notify READY=1\n"
      s.write("s.lua", "local kt = require 'kt' kt.listn {}") -- a script with a mistake: the previous one continues
      p:mark()
      uv.kill(pid, "sighup")
      p:expect "notify RELOADING=1 MONOTONIC_USEC=%d+\n.*notify READY=1\n"
      p:mark()
      uv.kill(pid, "sigterm")
      p:expect "notify STOPPING=1\n"
      p:expect "exit 0\n"
    end)
  end)

  it("says nothing if the script does not start", function()
    h.run(function()
      local p = managed "local kt = require 'kt' kt.listn {}"
      p:expect "exit 1\n"
      assert.is_nil(p.stdout:find("READY", 1, true))
    end)
  end)

  it("uses the sockets that it was given where it listens on their addresses, also after a reload", function()
    h.run(function()
      local tcp, udp, other = h.sockets.free_port(), h.sockets.free_port "udp", h.sockets.free_port()
      local path = h.temporary_path()
      local p, pid = managed(([[
local kt = require "kt"
local far = kt.link { remote = "127.0.0.1:%d", key = "k", wire = "kt" }
kt.accept { on = "127.0.0.1:%d", key = "k", wire = "kt" }:serve(function(stream) stream:write "far" stream:close() end)
kt.listen { on = "unix:%s" }:serve(function(conn) conn:write "unix" conn:close() end)
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local stream = assert(far:open { timeout = "20s" })
  kt.splice(conn, stream)
end)]]):format(udp, udp, path, tcp), "tcp:near:" .. tcp, "udp:wire:" .. udp, "unix:local:" .. path, "tcp:spare:" .. other)
      local function works()
        assert.equal("far", assert(h.sockets.connect(tcp)):recv_all())
        assert.equal("unix", assert(h.sockets.connect(path)):recv_all())
      end
      p:expect("127.0.0.1:" .. other .. " %(spare%): passed by the service manager, but nothing listens there")
      p:expect "notify READY=1\n"
      works()
      p:mark()
      uv.kill(pid, "sighup")
      p:expect "notify READY=1\n"
      works()
      uv.kill(pid, "sigterm")
      p:expect "exit 0\n"
      p:wait_exit(10)
      assert.is_nil(p.stderr:find("(near)", 1, true))
      assert.truthy(uv.fs_stat(path)) -- the manager's, to be used again
    end)
  end)
end)
