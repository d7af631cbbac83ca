-- Stalled output: the log, print, io.stderr, --log and --snmplog never block kt; lost lines are counted; a reader that keeps up loses
-- nothing. Real processes.
local h = require "harness"
local scripts = require "harness.scripts"

local LINES = 30000 -- of some 100 bytes: several times what kt and a pipe hold

describe("kt", function()
  local s = scripts.each(before_each, after_each)

  before_each(function() assert(os.execute(("mkfifo %s/unread"):format(s.dir))) end)

  --- Starts kt from a shell that has run `set_up` before.
  local function start(set_up, ...)
    return h.start { name = "kt", cwd = s.dir, cmd = { "sh", "-c", set_up .. '\nexec "$0" "$@"', scripts.kt, ... } }
  end

  --- A pipe with a reader that never reads: kt's shell has it open itself, and more of it than fits is written by then.
  local UNREAD = "exec 3<>unread; head -c 65536 /dev/zero >&3; "

  local function exists(name) return function() return io.open(s.dir .. "/" .. name) ~= nil end end

  --- A script that says LINES lines, by the statement `say` with the number `i`, then makes the file "done".
  local function talker(say)
    s.write("s.lua", ([[
local kt = require "kt"
local pad = ("x"):rep(80)
kt.spawn(function()
  for i = 1, %d do
    %s
    if i %% 50 == 0 then kt.sleep(0) end
  end
  io.open("done", "w"):close()
  kt.sleep(600)
end)
kt.spawn(function() kt.sleep(600) end)
]]):format(LINES, say))
  end

  --- Checks the output for LINES lines: it begins with the first, has them in order and none twice, and each gap names the number missing,
  --- among which a busy machine may put a few warnings of slow slices.
  local function account(text, lost_pattern)
    local next, lost, named = 1, 0, 0
    local function reach(i)
      local missing = i - next
      assert.is_true(missing >= 0, ("line %d after line %d"):format(i, next - 1))
      assert.is_true(named >= missing and named <= missing + 5, ("%d lines missing, %d named"):format(missing, named))
      next, lost, named = i + 1, lost + missing, 0
    end
    for line in text:gmatch "[^\n]+" do
      local i = tonumber(line:match "line (%d+) xxx")
      if i then reach(i) else named = named + (tonumber(line:match(lost_pattern)) or 0) end
    end
    reach(LINES + 1)
    assert.is_true(lost > 0 and lost < LINES)
  end

  local ways = {
    { "the log", 'kt.log.info("line %d %s", i, pad)', "2>&3" },
    { "io.stderr", 'io.stderr:write("line ", i, " ", pad, "\\n")', "2>&3" },
    { "print", 'print(("line %d %s"):format(i, pad))', ">&3 2>&1" },
    { "io.write", 'io.write("line ", i, " ", pad, "\\n")', ">&3" },
  }
  for _, way in ipairs(ways) do
    it("keeps running without a reader of " .. way[1] .. ", and ends on SIGTERM", function()
      h.run(function()
        talker(way[2])
        local p = start(UNREAD .. "exec " .. way[3], "run", "--unsafe", "s.lua")
        h.loop.eventually("the script to have said all", 60, exists "done")
        local rss = p:rss()
        if h.memory_counts then assert.is_true(rss < 16 << 20, rss) end
        assert.same({ 0, 0 }, { p:stop(10) })
      end)
    end)
  end

  it("reports the number of lost log lines in their place", function()
    h.run(function()
      talker(ways[1][2])
      local p = start("exec 3<>unread 2>&3", "run", "--unsafe", "s.lua")
      h.loop.eventually("the script to have said all", 60, exists "done")
      h.start { name = "reader", cwd = s.dir, cmd = { "sh", "-c", "exec cat unread >heard" } }
      h.loop.eventually("the count of what is lost", 20, function()
        return exists "heard"() and h.read_file(s.dir .. "/heard"):find " lines lost"
      end)
      assert.same({ 0, 0 }, { p:stop(10) })
      account(h.read_file(s.dir .. "/heard"), "warn  s: (%d+) lines lost: log output was too slow")
    end)
  end)

  it("logs how much of its printed output is lost", function()
    h.run(function()
      talker(ways[3][2])
      local p = start(UNREAD .. "exec >&3", "run", "--unsafe", "s.lua")
      h.loop.eventually("the script to have said all", 60, exists "done")
      p:expect "warn  s: nothing reads standard output; dropping output\n"
      assert.same({ 0, 0 }, { p:stop(10) })
      local lost = tonumber(p.stderr:match "standard output: (%d+) lines lost\n")
      assert.is_true(lost > LINES / 2 and lost < LINES, lost)
    end)
  end)

  for _, way in ipairs(ways) do
    it("loses nothing of " .. way[1] .. " to a reader that keeps up, up to the last line", function()
      h.run(function()
        talker(way[2] .. "\n    if i == " .. LINES .. " then os.exit(0) end")
        local p = start("exec " .. way[3]:gsub(">&3", ">heard"), "run", "--unsafe", "s.lua") -- without warnings within a line
        assert.equal(0, (p:wait_exit(60)))
        local n = 0
        for line in scripts.complaints(h.read_file(s.dir .. "/heard")):gmatch "[^\n]+" do
          n = n + 1
          assert.equal(n, tonumber(line:match "line (%d+) "), line)
        end
        assert.equal(LINES, n)
      end)
    end)
  end

  it("keeps print and the log in order when both go to one file", function()
    h.run(function()
      s.write("s.lua", [[
local kt = require "kt"
kt.spawn(function() for i = 1, 2000, 2 do print(i) kt.log.info("%d", i + 1) end end)]])
      local p = start("exec 2>&1", "run", "s.lua")
      assert.equal(0, (p:wait_exit(20)))
      local n = 0
      for line in scripts.complaints(p.stdout):gmatch "[^\n]+" do
        n = n + 1
        assert.equal(n, tonumber(line:match "(%d+)$"))
      end
      assert.equal(2000, n)
    end)
  end)

  it("loses nothing where another program has made its standard error non-blocking", function()
    h.run(function()
      talker(ways[1][2] .. "\n    if i == " .. LINES .. " then os.exit(0) end")
      local p = start([[exec python3 -c '
import os, sys
r, w = os.pipe()
os.set_blocking(w, False)
if os.fork() == 0:
    os.dup2(w, 2); os.close(r); os.close(w); os.execv(sys.argv[1], sys.argv[1:])
os.close(w)
print(sum(" xxx" in line for line in os.fdopen(r)))' "$0" "$@"]], "run", "--unsafe", "s.lua")
      assert.equal(0, (p:wait_exit(60)))
      assert.equal(LINES .. "\n", p.stdout)
    end)
  end)

  -- A terminal stopped by Ctrl-S, as an example of any file whose writes block.
  local STOPPED = [==[exec python3 -c '
import os, pty, subprocess, sys, termios, time
master, slave = pty.openpty()
termios.tcflow(slave, termios.TCOOFF)
args = [os.ttyname(slave) if a == "TERMINAL" else a for a in sys.argv[1:]]
p = subprocess.Popen(args, stderr=slave if "TERMINAL" not in sys.argv else None)
while not os.path.exists("done"): time.sleep(0.05)
p.terminate()
sys.exit(p.wait())' "$0" "$@"]==]
  for _, stopped in ipairs { { "on a terminal that is stopped" }, { "with --log on a terminal that is stopped", "--log", "TERMINAL" } } do
    it(stopped[1] .. " keeps running, and ends on SIGTERM", function()
      h.run(function()
        talker(ways[1][2])
        local args = { "run", "--unsafe", "s.lua" }
        if stopped[2] then
          table.insert(args, 2, stopped[2])
          table.insert(args, 3, stopped[3])
        end
        local p = start(STOPPED, table.unpack(args))
        assert.same({ 0, 0 }, { p:wait_exit(60) })
      end)
    end)
  end

  it("carries connections while its log is not read, and with --snmplog on a stopped terminal", function()
    h.run(function()
      local server = h.peer.server(h.transfer.echo().at)
      local port = h.sockets.free_port "tcp"
      local p = start(UNREAD .. "exec 2>&3\n" .. STOPPED, "client", "-l", "127.0.0.1:" .. port, "-r", "127.0.0.1:" .. server.port,
        "--snmpperiod", "1", "--snmplog", "TERMINAL"):wait_tcp(port)
      local started = h.loop.now()
      for _ = 1, 20 do
        for _ = 1, 20 do
          local conn = assert(h.sockets.connect(port, 5))
          conn:send "x"
          assert.equal("x", conn:recv_exactly(1, 5))
          conn:close()
        end
        h.loop.sleep(0.1)
      end
      assert.is_true(h.loop.now() - started > 2) -- a row or two were due meanwhile
      s.write("done", "")
      assert.same({ 0, 0 }, { p:wait_exit(10) })
    end)
  end)

  it("writes its counters to the log file on SIGUSR1", function()
    h.run(function()
      local client = h.peer.client(9, { log = s.dir .. "/log" })
      client:signal_with "sigusr1"
      h.loop.eventually("the counters in the log", 10, function()
        local text = h.read_file(s.dir .. "/log")
        return text:find "\nBytesSent %d+\n" and text:find "\nsessions %d+\n"
      end)
      client:stop()
      assert.is_nil(client.stderr:find "BytesSent")
      s.write("s.lua", 'local kt = require "kt"\nkt.spawn(function() kt.log.info("up") kt.sleep(600) end)')
      local p = start("", "run", "--log", "log2", "s.lua")
      h.loop.eventually("the log", 10, function() return exists "log2"() and h.read_file(s.dir .. "/log2"):find "up" end)
      p:signal_with "sigusr1"
      h.loop.eventually("the counters in the log", 10, function() return h.read_file(s.dir .. "/log2"):find "\nBytesSent %d+\n" end)
      assert.same({ 0, 0 }, { p:stop(10) })
      assert.equal("", p.stderr)
    end)
  end)

  it("reopens its log and its snmplog once they are renamed", function()
    h.run(function()
      local target = h.transfer.echo()
      local client = h.peer.tunnel(target.at, {}, { client = { log = s.dir .. "/log", snmplog = s.dir .. "/csv", snmpperiod = 1 } })
      for _ = 1, 2 do
        local conn = assert(h.sockets.connect(client.at))
        conn:send "x"
        conn:recv_exactly(1)
        conn:close()
        h.loop.eventually("a log and rows", 10, function()
          return exists "log"() and h.read_file(s.dir .. "/log"):find "closed" and exists "csv"()
            and h.read_file(s.dir .. "/csv"):find "^Unix,[^\n]+\n%d+,"
        end)
        os.rename(s.dir .. "/log", s.dir .. "/log.1")
        os.rename(s.dir .. "/csv", s.dir .. "/csv.1")
      end
    end)
  end)
end)
