-- Logs for programs: --log-format and --logformat, what each line says it is about, and SIGUSR2. Real processes.
package.path = "./lua/?.lua;" .. package.path
local decode = require "json_value"
local h = require "harness"
local scripts = require "harness.scripts"

describe("kt", function()
  local s = scripts.each(before_each, after_each)

  local TIME = '"time":"%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ"'

  --- Checks that every line is an object that begins with time, level and script; returns what follows in each, joined by newlines.
  local function objects(text, script)
    local out = {}
    for line in text:gmatch "[^\n]+" do
      local rest = line:match('^{' .. TIME .. ',"level":"%l+","script":"' .. script .. '",(.*)}$')
      assert(rest, line)
      out[#out + 1] = rest
    end
    return "\n" .. table.concat(out, "\n") .. "\n"
  end

  it("writes its log as JSON, each line with the conn, the link or the peer that it is about", function()
    h.run(function()
      local target = h.transfer.echo()
      local near, far = h.peer.tunnel(target.at, { logformat = "json" })
      local conn = assert(h.sockets.connect(near.at))
      local own = "127.0.0.1:" .. conn.handle:getsockname().port
      conn:send "x"
      conn:recv_exactly(1)
      conn:close()
      near:expect "closed"
      far:expect "closed"
      near:signal_with "sigusr1"
      near:expect "BytesSent"
      near:stop() -- all of both logs is here
      far:stop()
      local client = objects(near.stderr, "client")
      assert.truthy(client:find(('\n"conn":"%s","msg":"open %s'):format(own, own), 1, true), client)
      assert.truthy(client:find(('\n"conn":"%s","msg":"closed'):format(own), 1, true), client)
      assert.truthy(client:find('\n"link":"127.0.0.1:%d+","peer":"127.0.0.1:%d+","msg":"link to [^\n]* is up'), client)
      assert.truthy(client:find '\n"msg":"BytesSent %d+"\n', client)
      local server = objects(far.stderr, "server")
      assert.truthy(server:find(('\n"conn":"%s","peer":"127.0.0.1:%%d+","msg":"open'):format(own)), server)
    end)
  end)

  it("says why it does not start as JSON too, and what a task logs is about its conn, also in tasks that it spawned, and when it fails", function()
    h.run(function()
      s.write("s.lua", [[
        local kt = require "kt"
        kt.listen { on = "unix:/nowhere/s" }:serve(print)]])
      local p = s.kt("run", "--log-format", "json", "s.lua")
      assert.equal(1, (p:wait_exit(10)))
      assert.matches('^\n"msg":"[^\n]*/nowhere', objects(p.stderr, "s"))
      local at = s.dir .. "/in"
      s.write("t.lua", ([[
        local kt = require "kt"
        kt.log.info("one")
        kt.listen { on = "unix:%s" }:serve(function() kt.spawn(function() kt.log.info('two "2"') error "three" end) end)]]):format(at))
      p = s.kt("run", "--log-format", "json", "--control", "none", "t.lua")
      p:expect "listening"
      assert(os.execute(("python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"%s\")'"):format(at)))
      p:expect "three"
      p:stop()
      local text = objects(p.stderr, "t")
      assert.truthy(text:find('\n"msg":"one"\n', 1, true), text)
      assert.truthy(text:find('\n"conn":"unix:","msg":"two \\"2\\""\n', 1, true), text)
      assert.truthy(text:find('\n"conn":"unix:","msg":"task failed: t.lua:3: three', 1, true), text)
      s.write("p.lua", ([[
        local kt = require "kt"
        local far = kt.link { remote = "127.0.0.1:%d", key = "k" }
        kt.pool { name = "out", links = { { link = far, name = "a" } }, check = { every = "0.1s", timeout = "0.1s", fall = 1 } }
        kt.spawn(function() kt.sleep "1m" end)]]):format(
        h.sockets.free_port "udp"))
      p = s.kt("run", "--log-format", "json", "--control", "none", "p.lua")
      p:expect "a is down"
      p:expect "nothing listens"
      p:stop()
      text = objects(p.stderr, "p")
      assert.truthy(text:find('\n"link":"a","pool":"out","msg":"out: a is down', 1, true), text)
      assert.truthy(text:find '\n"link":"127.0.0.1:%d+","peer":"127.0.0.1:%d+","msg":"[^\n]*nothing listens there', text)
    end)
  end)

  it("sends its log to the journal, and never waits for it", function()
    h.run(function()
      s.write("s.lua", [[
        local kt = require "kt"
        kt.spawn(function()
          for i = 1, 20000 do
            kt.log.warn("line %d", i)
            if i % 100 == 0 then kt.sleep(0) end
          end
          io.open("done", "w"):close()
          while true do
            kt.sleep "20ms"
            kt.log.error "after"
          end
        end)]])
      local journal = h.start { name = "journal", cwd = s.dir, cmd = {
        "python3", os.getenv "PWD" .. "/spec/support/journal.py", scripts.kt, "run", "--unsafe", "--log-format", "journald", "s.lua",
      } }
      h.loop.eventually("what was lost in the journal", 20, function()
        local file = io.open(s.dir .. "/journal")
        return file and file:read("a"):find("MESSAGE=after", 1, true)
      end)
      journal:signal_with "sigterm"
      assert.equal(0, (journal:wait_exit(10)))
      assert.equal("", journal.stderr)
      local text = "\n" .. h.read_file(s.dir .. "/journal")
      assert.truthy(text:find("\nPRIORITY=4|SYSLOG_IDENTIFIER=kt|KT_SCRIPT=s|MESSAGE=line 1\n", 1, true), text:sub(1, 300))
      local lost = text:match "\nPRIORITY=4|SYSLOG_IDENTIFIER=kt|KT_SCRIPT=s|MESSAGE=(%d+) lines lost: log output was too slow\n"
      local _, lines = text:gsub("MESSAGE=line %d+\n", "")
      local missing = 20000 - lines
      assert.is_true(tonumber(lost) >= missing and tonumber(lost) <= missing + 20, ("%s lost, %d missing"):format(lost, missing))
      assert.is_true(lines > 1000, lines)
    end)
  end)

  it("is read by systemd's journald, field by field, with its sender even if kt ends at once", function()
    local code, lines
    h.run(function()
      s.write("bad.lua", "nonsense")
      s.write("good.lua", ([[
        local kt = require "kt"
        local listener = kt.listen { on = "unix:%s" }
        listener:serve(function(conn)
          kt.log.warn("two\nlines, a=b")
          listener:close()
        end)
        kt.spawn(function() kt.connect { to = "unix:%s" }:read() end)]]):format(s.dir .. "/in", s.dir .. "/in"))
      local run = ("%s run --control none --log-format journald"):format(scripts.kt)
      local p = h.start { name = "journald", cwd = s.dir, cmd = {
        "python3", os.getenv "PWD" .. "/spec/support/journald.py", "sh", "-c",
        run .. " good.lua; for i in 1 2 3 4 5 6 7 8 9 10; do " .. run .. " bad.lua; done; true",
      } }
      code, lines = p:wait_exit(30), p.stdout
    end)
    if code == 77 then return pending "systemd-journald does not start here" end
    assert.equal(0, code)
    local bad = 0
    for line in lines:gmatch "[^\n]+" do
      local entry = decode(line)
      if entry.KT_SCRIPT then
        assert.same({ "kt", "kt", "journal" }, { entry._COMM, entry.SYSLOG_IDENTIFIER, entry._TRANSPORT }, line)
        if entry.KT_SCRIPT == "bad" then bad = bad + 1 end
      end
      if entry.MESSAGE:find "^two" then assert.same({ "4", "unix:", "two?lines, a=b" }, { entry.PRIORITY, entry.KT_CONN, entry.MESSAGE }) end
    end
    assert.equal(10, bad)
    assert.truthy(lines:find('"two?lines, a=b"', 1, true), lines)
  end)

  it("counts lines that repeat, and writes how often at the end", function()
    h.run(function()
      s.write("s.lua", [[
        local kt = require "kt"
        kt.spawn(function()
          for _ = 1, 50 do kt.log.warn "again" end
          kt.log.info "then"
        end)]])
      local p = s.kt("run", "s.lua")
      assert.equal(0, (p:wait_exit(10)))
      local _, n = p.stderr:gsub("warn  s: again\n", "")
      assert.equal(10, n)
      assert.matches("info  s: then\n.*warn  s: again %(repeated 40 times%)\n$", p.stderr)
    end)
  end)

  it("refuses a journal that is not there, one beside a log file, and unknown formats", function()
    h.run(function()
      s.write("s.lua", "require 'kt'.spawn(print)")
      for _, case in ipairs {
        { { "run", "--log-format", "xml", "s.lua" }, "kt run: --log-format: expected text, json or journald, got xml" },
        { { "run", "--log-format", "journald", "--log", "l", "s.lua" }, "kt: --log: not with --log-format journald; for a file, give --log-format text" },
        { { "client", "--key", "k", "-r", "a:1", "--logformat", "xml" },
          'kt client: --logformat: unknown log format "xml"; expected one of text, json, journald' },
      } do
        local p = s.kt(table.unpack(case[1]))
        assert.equal(1, (p:wait_exit(10)))
        assert.equal(case[2], p.stderr:match "^[^\n]*")
      end
    end)
  end)

  it("continues in a new log file on SIGUSR2, and does not end of it", function()
    h.run(function()
      s.write("s.lua", 'local kt = require "kt"\nkt.log.info "up"\nkt.spawn(function() kt.sleep "1h" end)')
      local p = s.kt("run", "--log", "log", "s.lua")
      local function logged(name, what)
        h.loop.eventually(name, 10, function()
          local file = io.open(s.dir .. "/" .. name)
          local text = file and file:read "a" or ""
          if file then file:close() end
          return text:find(what, 1, true)
        end)
      end
      logged("log", "up")
      assert(os.rename(s.dir .. "/log", s.dir .. "/log.1"))
      p:signal_with "sigusr2"
      logged("log", "info  s: SIGUSR2: the log continues in log")
      p:signal_with "sigterm"
      assert.equal(0, (p:wait_exit(10)))
    end)
  end)
end)
