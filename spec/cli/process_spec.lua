-- kt started by careless parents: unusual descriptors, limits, signals, umask and environment. Real processes.
local h = require "harness"
local scripts = require "harness.scripts"

local kt = scripts.kt

--- Starts kt with `...` from a shell that has run `set_up` first. The process keeps the shell's pid.
local function start(set_up, ...)
  return h.start { name = "kt", cmd = { "sh", "-c", set_up .. '\nexec "$0" "$@"', kt, ... } }
end

local function client(set_up, server, ...)
  local port = h.sockets.free_port("tcp")
  local p = start(set_up, "client", "-l", "127.0.0.1:" .. port, "-r", "127.0.0.1:" .. server.port, ...)
  p.at = port
  return p:wait_tcp(port)
end

local function echoes(at)
  local conn = assert(h.sockets.connect(at, 10))
  assert(conn:send("hello"))
  assert.equal("hello", conn:recv_exactly(5, 10))
  return conn
end

local function leads_to(p, fd)
  local pipe = io.popen(("readlink /proc/%d/fd/%d"):format(p.pid, fd))
  local target = pipe:read "l"
  pipe:close()
  return target
end

describe("kt started", function()
  after_each(h.cleanup)

  for _, closed in ipairs { "<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-" } do
    it("with " .. closed .. " keeps its sockets off the standard descriptors", function()
      h.run(function()
        local server = h.peer.server(h.transfer.echo().at)
        local p = client("exec " .. closed, server)
        for text in closed:gmatch "%S+" do
          local fd = tonumber(text:match "^%d") or (text:find "<" and 0 or 1)
          assert.equal("/dev/null", leads_to(p, fd))
        end
        for _ = 1, 10 do echoes(p.at):close() end
        assert.same({ 0, 0 }, { p:stop(10) })
      end)
    end)
  end

  -- the environment, and the shell commands that set it up
  local environments = {
    { "with standard descriptors that cannot be written", "exec 0</dev/null 1</dev/null 2</dev/null" },
    { "with a full device as standard output and error", "exec >/dev/full 2>/dev/full" },
    { "with a folder as standard input", "exec </" },
    { "with descriptors open that it does not know", "exec 3</dev/null 4>/dev/null 5</ 9</dev/null" },
    { "with its signals ignored", "trap '' HUP INT TERM PIPE CHLD USR1 ALRM" },
    { "with a umask of 0777", "umask 0777" },
    { "with empty variables", "export HOME= PATH= TZ= LANG= LC_ALL= TERM= LUA_PATH= LUA_CPATH= LUA_INIT= TMPDIR=" },
    { "without variables", "unset HOME PATH LANG TERM USER; unset PWD" },
    { "with hostile variables", "export LUA_PATH=';;;' LUA_INIT='error()' TZ=:/nowhere LC_ALL=xx_YY RES_OPTIONS=ndots:x" },
    { "in a folder that is gone", 'd=$(mktemp -d) && cd "$d" && rmdir "$d"' },
    { "in a folder that it may not read", 'd=$(mktemp -d) && cd "$d" && chmod 0 "$d" && rmdir "$d"' },
    { "with a soft limit of 40 descriptors", "ulimit -S -n 40" },
    { "with no core dumps and no locked memory", "ulimit -c 0; ulimit -l 0" },
    { "with a file size limit of 0", "ulimit -f 0" },
    { "with a stack of 256 KiB", "ulimit -S -s 256" },
  }
  for _, environment in ipairs(environments) do
    it(environment[1] .. " carries connections and ends on SIGTERM", function()
      h.run(function()
        local server = h.peer.server(h.transfer.echo().at)
        local p = client(environment[2], server)
        for _ = 1, 3 do echoes(p.at):close() end
        assert.same({ 0, 0 }, { p:stop(10) })
      end)
    end)
  end

  it("with its signals blocked carries connections and ends on SIGTERM", function()
    h.run(function()
      local server = h.peer.server(h.transfer.echo().at)
      local p = client([[exec python3 -c '
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])' "$0" "$@"]], server)
      echoes(p.at):close()
      assert.same({ 0, 0 }, { p:stop(10) })
    end)
  end)

  it("with a umask of 0777 can read the files that it writes", function()
    h.run(function()
      local script, pid_file, log = h.temporary_path(), h.temporary_path(), h.temporary_path()
      h.write_file(script, 'local kt = require "kt"\nkt.spawn(function() kt.log.info("up") kt.sleep(600) end)')
      local p = start("umask 0777", "run", "--pid-file", pid_file, "--log", log, script)
      h.loop.eventually("the log", 10, function() return io.open(log) and h.read_file(log):find "up" end)
      assert.equal(p.pid, tonumber(h.read_file(pid_file)))
      local modes = io.popen(("stat -c %%a %s %s"):format(log, pid_file)):read "a"
      assert.equal("600\n600\n", modes)
      assert.same({ 0, 0 }, { p:stop(10) })
    end)
  end)

  it("with descriptor limits that are lower than the hard ones serve up to those", function()
    h.run(function()
      local limits = "ulimit -S -n 60; ulimit -H -n 1000"
      local target, port = h.transfer.echo().at, h.sockets.free_port "udp"
      local server = start(limits, "server", "-l", "127.0.0.1:" .. port, "-t", "127.0.0.1:" .. target)
      server.port = port
      server:wait_udp(port)
      local p = client(limits, server)
      local conns = {}
      for i = 1, 150 do conns[i] = echoes(p.at) end
      for _, conn in ipairs(conns) do conn:close() end
    end)
  end)

  it("with few descriptors names the limit when it is reached, and keeps serving afterwards", function()
    h.run(function()
      local server = h.peer.server(h.transfer.echo().at)
      local p = client("ulimit -n 40", server)
      local conns = {}
      for i = 1, 40 do conns[i] = assert(h.sockets.connect(p.at)) end
      p:expect "not accepting connections for now: no file descriptors left of 40; raise the limit %(ulimit %-n%)"
      for _, conn in ipairs(conns) do conn:close() end
      echoes(p.at):close()
    end)
  end)

  it("with a soft limit of 1024 descriptors listens on a range of 1,025 ports", function()
    h.run(function()
      local p
      for low = 10000, 30000, 1100 do -- below the ports that connections get; any of them may be taken
        local ports = ("127.0.0.1:%d-%d"):format(low, low + 1024)
        p = start("ulimit -S -n 1024", "server", "-l", ports, "-t", "127.0.0.1:9")
        h.loop.eventually("the ports to be open", 20, function() return p.exited or h.proc.udp_bound(low + 1024) end)
        if not p.exited then break end
        p:wait_exit(10)
        assert.matches("address already in use", p.stderr)
      end
      assert.same({ 0, 0 }, { p:stop(10) })
    end)
  end)

  it("with too few descriptors for its ports names the limit", function()
    h.run(function()
      local p = start("ulimit -n 40", "server", "-l", "127.0.0.1:21500-21600", "-t", "127.0.0.1:9")
      assert.equal(1, (p:wait_exit(10)))
      assert.matches("no file descriptors left of 40; raise the limit %(ulimit %-n%)", p.stderr)
    end)
  end)

  it("with a low descriptor limit passes it on to programs that a script starts", function()
    h.run(function()
      local script = h.temporary_path()
      h.write_file(script, [[
        local kt = require "kt"
        kt.spawn(function()
          os.execute "ulimit -S -n"
          os.execute "(yes; echo $? >&2) | head -n 1" -- 141: killed by SIGPIPE, as programs expect
          -- last: kt writes what a script prints a little later, the programs write at once
          print(io.popen("ulimit -S -n"):read "l", os.execute("exit 3"))
        end)]])
      local p = start("ulimit -S -n 60; ulimit -H -n 500", "run", "--unsafe", script)
      assert.equal(0, (p:wait_exit(10)))
      assert.equal("60\ny\n60\tnil\texit\t3\n", p.stdout)
      assert.matches("^141\n", p.stderr)
    end)
  end)
end)
