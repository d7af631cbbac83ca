-- Conns and streams as tasks read and write them: the real kt, real sockets.
local h = require "harness"
local scripts = require "harness.scripts"

describe("a script's conn", function()
  local s = scripts.each(before_each, after_each)

  --- A target that does `handler(conn)`, and a task that is connected to it as `conn`; returns what the task printed.
  local function with_conn(handler, text, ...)
    local target = h.sockets.serve(handler)
    return s.task(('local conn = assert(kt.connect { to = "127.0.0.1:%d" }) '):format(target.at) .. text, ...)
  end

  --- Sends the pieces with a pause between, so that they arrive one by one; then ends, unless asked not to.
  local function pieces(list, stay)
    return function(conn)
      for i, piece in ipairs(list) do
        if i > 1 then h.loop.sleep(0.03) end
        conn:send(piece)
      end
      if stay then conn:recv_all(20) else conn:shutdown() end
    end
  end

  describe("reads", function()
    it("the bytes that have arrived, up to the requested number", function()
      h.run(function()
        assert.equal("hel\tlo\n", with_conn(pieces { "hello" }, "print(conn:read(3), conn:read(100))"))
      end)
    end)

    it("up to 16 KiB by default", function()
      h.run(function()
        assert.equal("16384\n", with_conn(pieces { ("x"):rep(50000) }, [[
          kt.sleep "50ms"
          print(#conn:read())]]))
      end)
    end)

    it("when data arrives", function()
      h.run(function()
        assert.equal("a\tb\n", with_conn(pieces { "a", "b" }, 'print(conn:read(10), conn:read { timeout = "10s" })'))
      end)
    end)

    it("nil and eof at the end of the data, again and again", function()
      h.run(function()
        assert.equal("a\nnil\teof\tconn:read: the other end has finished sending\nnil\teof\n", with_conn(pieces { "a" }, [[
          print(conn:read())
          local data, err = conn:read()
          print(data, err.code, tostring(err))
          data, err = conn:read()
          print(data, err.code)]]))
      end)
    end)

    it("nil and timeout when no data arrives, and works again later", function()
      h.run(function()
        local go
        local out = with_conn(function(conn)
          conn:recv_exactly(1)
          conn:send("late")
          go = conn:recv(10)
        end, [[
          local from = kt.now()
          local data, err = conn:read { timeout = "60ms" }
          print(data, err.code, tostring(err), kt.now() - from >= 0.06, kt.now() - from < 5)
          conn:write "g"
          print(conn:read())]])
        assert.equal("nil\ttimeout\tconn:read: no data within 0.06 s\ttrue\ttrue\nlate\n", out)
        assert.is_nil(go)
      end)
    end)

    it("nil and timeout at once when asked not to wait", function()
      h.run(function()
        assert.equal("nil\ttimeout\n", with_conn(pieces({}, true), "print(nil, select(2, conn:read { timeout = 0 }).code)"))
      end)
    end)

    it("data that arrived before it broke, even without a waiting reader, and so does a splice", function()
      h.run(function()
        local got
        local sink = h.sockets.serve(function(conn) got = conn:recv_all(20) end)
        local function with_broken(text, ...)
          return with_conn(function(conn)
            conn:send("rest")
            conn:recv(20)
            conn:reset()
          end, 'assert(conn:read_exactly(1)) conn:write "now" kt.sleep "200ms" ' .. text, ...)
        end
        assert.equal("est\nnil\treset\n", with_broken "print(conn:read()) local data, err = conn:read() print(data, err.code)")
        local out = with_broken(([[
          local other = assert(kt.connect { to = "127.0.0.1:%d" })
          local summary = assert(kt.splice(conn, other))
          print(summary.a_to_b, summary.reason)]]):format(sink.at))
        assert.equal("3\treset\n", out)
        h.loop.eventually("the rest", 5, function() return got end)
        assert.equal("est", got)
      end)
    end)

    it("nil and reset when it breaks, and cannot be spliced then", function()
      h.run(function()
        local out = with_conn(function(conn)
          if conn:recv(20) then conn:reset() end
        end, [[
          conn:write "x"
          local data, err = conn:read()
          print(data, err.code)
          data, err = conn:read_exactly(5)
          print(data, err.code)
          local other = kt.connect { to = conn.peer }
          local sum, why = kt.splice(conn, other)
          print(sum, why.code)
          print(conn:write "y")]])
        assert.matches("^nil\treset\nnil\treset\nnil\treset\nnil\t[^\n]*conn:write: [^\n]*\t0\n$", out)
      end)
    end)
  end)

  describe("reads exactly", function()
    it("as many bytes as were asked for, and leaves the rest", function()
      h.run(function()
        assert.equal("abcde\tfg\tnil\n", with_conn(pieces { "ab", "cd", "efg" },
          "print(conn:read_exactly(5), conn:read_exactly(2), (conn:read()))"))
      end)
    end)

    it("nothing", function()
      h.run(function()
        assert.equal('""\n', with_conn(pieces({}, true), "print(('%%q'):format(conn:read_exactly(0)))"))
      end)
    end)

    it("a megabyte", function()
      h.run(function()
        local data = {}
        for i = 1, 1 << 17 do data[i] = string.pack(">I8", i * 0x9e3779b97f4a7c15) end
        local out = with_conn(pieces { table.concat(data) .. "!" }, [[
          local data, good = conn:read_exactly(1 << 20), true
          for i = 1, 1 << 17 do good = good and string.unpack(">i8", data, i * 8 - 7) == i * 0x9e3779b97f4a7c15 end
          print(#data, good, conn:read())]])
        assert.equal("1048576\ttrue\t!\n", out)
      end)
    end)

    it("and returns partial data when the data ends early", function()
      h.run(function()
        assert.equal("nil\teof\tabc\n", with_conn(pieces { "a", "bc" }, [[
          local data, err, came = conn:read_exactly(5)
          print(data, err.code, came)]]))
      end)
    end)

    it("and returns partial data at the timeout", function()
      h.run(function()
        assert.equal("nil\ttimeout\tabc\tconn:read_exactly: not all bytes arrived within 0.05 s\n", with_conn(pieces({ "abc" }, true), [[
          local data, err, came = conn:read_exactly(5, { timeout = "50ms" })
          print(data, err.code, came, err)]]))
      end)
    end)

    it("within half of the script's memory, all such calls together; past it the call fails, and its conn stays usable", function()
      h.run(function()
        local port, all, part = h.sockets.free_port "tcp", 1 << 20, 600000
        local p = s.kt("run", "--memory", "5MiB", s.write("s.lua", ([[
local kt = require "kt"
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local data, err, came = conn:read_exactly(%d)
  if data then return conn:write "all of it" end
  conn:write(("%%s, %%s, "):format(err.code, err))
  conn:write(#came + #conn:read_exactly(%d - #came) .. " bytes")
end)]]):format(port, all, part))):wait_tcp(port)
        local function send(bytes)
          local conn = assert(h.sockets.connect(port))
          conn:send(("x"):rep(bytes))
          return conn
        end
        -- Each needs room for 1 MiB; there is room for 2.5.
        local conns, said = { send(part), send(part), send(part) }, nil
        h.loop.eventually("one of them to be refused", 20, function()
          for i, conn in ipairs(conns) do
            local told, words = pcall(conn.recv, conn, 0.05)
            if told then
              said = words .. conn:recv_all(10)
              return table.remove(conns, i)
            end
          end
        end)
        assert.equal("memory, conn:read_exactly: out of memory: read_exactly and read_until may buffer 2.5 MiB, half of kt run --memory, "
          .. part .. " bytes", said)
        for _, conn in ipairs(conns) do
          conn:send(("x"):rep(all - part))
          assert.equal("all of it", conn:recv_exactly(9, 10))
        end
        assert.equal("all of it", send(all):recv_exactly(9, 10))
        p:kill()
      end)
    end)
  end)

  describe("reads until a delimiter", function()
    it("including it, and leaves the rest", function()
      h.run(function()
        assert.equal("GET /|\t|rest|\n", with_conn(pieces { "GET /\nrest" },
          [[print((conn:read_until("\n", 100):gsub("\n", "|")), "|" .. conn:read() .. "|")]]))
      end)
    end)

    it("that comes in pieces", function()
      h.run(function()
        assert.equal("a\rb\r\n\r\tx\nnil\n", with_conn(pieces { "a\rb\r", "\n\r", "\nx" }, [[
          local head = conn:read_until("\r\n\r\n", 100)
          print(head:sub(1, -2), conn:read())
          print((conn:read_until("x", 9)))]]))
      end)
    end)

    it("among many, one at a time", function()
      h.run(function()
        assert.equal("1;2;;3;\n", with_conn(pieces { "1;2;;3;4" },
          "print(conn:read_until(';', 9) .. conn:read_until(';', 9) .. conn:read_until(';', 9) .. conn:read_until(';', 9))"))
      end)
    end)

    it("no further than allowed", function()
      h.run(function()
        assert.equal("nil\tlimit\tabcd\tconn:read_until: no delimiter within 4 bytes\nef\n", with_conn(pieces { "abcdef\n" }, [[
          local data, err, came = conn:read_until("\n", 4)
          print(data, err.code, came, err)
          print((conn:read_until("\n", 3):gsub("\n", "")))]]))
      end)
    end)

    it("with the same error when the bytes arrive one by one", function()
      h.run(function()
        assert.equal("nil\tlimit\tabc\tconn:read_until: no delimiter within 3 bytes\n", with_conn(pieces { "a", "b", "c" }, [[
          local data, err, came = conn:read_until("\n", 3)
          print(data, err.code, came, err)]]))
      end)
    end)

    it("and returns partial data when the data ends early, or the time", function()
      h.run(function()
        assert.equal("nil\ttimeout\tab\nnil\teof\tc\n", with_conn(function(conn)
          conn:send("ab")
          conn:recv_exactly(1)
          conn:send("c")
          conn:shutdown()
        end, [[
          local data, err, came = conn:read_until("\n", 100, { timeout = "50ms" })
          print(data, err.code, came)
          conn:write "."
          data, err, came = conn:read_until("\n", 100)
          print(data, err.code, came)]]))
      end)
    end)
  end)

  describe("writes", function()
    it("everything in order to a slow reader", function()
      h.run(function()
        local total = 8 << 20
        local ok
        local out = with_conn(function(conn)
          h.loop.sleep(0.1)
          local check = 0
          local all = true
          while check < total do
            local chunk = assert(conn:recv(20))
            for i = 1, #chunk, 4099 do all = all and chunk:byte(i) == (check + i - 1) % 251 end
            check = check + #chunk
          end
          ok = all and check == total
          conn:send("!")
        end, [[
          local block = {}
          for i = 0, 250 do block[#block + 1] = string.char(i) end
          local data = table.concat(block):rep((%d // 251) + 1):sub(1, %d)
          print(conn:write(data), conn:read())]], total, total)
        assert.equal(("%d\t!\n"):format(total), out)
        assert.is_true(ok)
      end)
    end)

    it("nothing", function()
      h.run(function() assert.equal("0\n", with_conn(pieces({}, true), 'print(conn:write "")')) end)
    end)

    it("until the timeout, and returns how much was written", function()
      h.run(function()
        local taken
        local out = with_conn(function(conn)
          h.loop.sleep(0.3) -- reads nothing
          taken = #conn:recv_all(20)
        end, [[
          local n, err, taken = conn:write(("x"):rep(16 << 20), { timeout = "100ms" }) -- more than the system holds
          print(n, err.code, math.type(taken), taken > 0, taken < 16 << 20)
          print(taken)
          conn:close()]])
        local said = out:match("^nil\ttimeout\tinteger\ttrue\ttrue\n(%d+)\n$")
        assert.truthy(said, out)
        h.loop.eventually("the target to have read all", 10, function() return taken end)
        assert.equal(tonumber(said), taken)
      end)
    end)

    it("nil and an err when the other end is gone", function()
      h.run(function()
        local out = with_conn(function(conn)
          conn:recv_exactly(1)
          conn:reset()
        end, [[
          local n, err, taken
          for _ = 1, 100 do
            n, err, taken = conn:write(("x"):rep(100000))
            if not n then break end
          end
          print(n, err.code, math.type(taken))]])
        assert.equal("nil\treset\tinteger\n", out)
      end)
    end)

    it("ends with shutdown, and the reply is still read", function()
      h.run(function()
        assert.equal("stressed\n", with_conn(function(conn) conn:send(conn:recv_all(10):reverse()) end, [[
          conn:write "desserts"
          conn:shutdown()
          conn:shutdown()
          print(conn:read_exactly(8))]]))
      end)
    end)

    it("while another task reads", function()
      h.run(function()
        local total = 4 << 20
        local out = with_conn(function(conn)
          for chunk in function() return conn:recv(20) end do conn:send(chunk) end
          conn:shutdown()
        end, [[
          local got, done = 0, false
          kt.spawn(function()
            for data in function() return (conn:read(65536)) end do got = got + #data end
            done = true
          end)
          for _ = 1, 64 do conn:write(("x"):rep(%d // 64)) end
          conn:shutdown()
          while not done do kt.sleep "1ms" end
          print(got)]], total)
        assert.equal(total .. "\n", out)
      end)
    end)
  end)

  describe("is not read ahead", function()
    it("by more than a conn holds, even for a slow script", function()
      h.run(function()
        local near = h.sockets.free_port("tcp")
        local p = s.start([[
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  conn:read_exactly(1)
  print "waiting"
  kt.sleep "30s"
end)]], near)
        p:wait_tcp(near)
        local before = p:rss()
        local conn = assert(h.sockets.connect(near))
        local pushed = 0
        h.loop.spawn(function()
          local block = ("x"):rep(1 << 20)
          while pushed < 200 << 20 and conn:send(block, 600) do pushed = pushed + #block end
        end)
        p:expect("waiting\n")
        h.loop.sleep(0.5)
        assert.is_true(pushed < 32 << 20, "taken: " .. pushed) -- what the kernel's buffers hold
        if h.memory_counts then assert.is_true(p:rss() - before < 2 << 20, "the memory grew by " .. p:rss() - before) end
      end)
    end)

    it("before a splice: unread data goes through the splice", function()
      h.run(function()
        local target = h.transfer.echo()
        local near = h.sockets.free_port("tcp")
        local p = s.start([[
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local line = conn:read_until("\n", 100)
  local other = kt.connect { to = "127.0.0.1:%d" }
  other:write("<" .. line:sub(1, -2) .. ">")
  local sum = kt.splice(conn, other)
  print(sum.a_to_b, sum.b_to_a, sum.reason)
end)]], near, target.at)
        p:wait_tcp(near)
        local conn = assert(h.sockets.connect(near))
        local body = ("0123456789"):rep(30000)
        h.loop.all(20,
          function()
            conn:send("hello\n" .. body)
            conn:shutdown()
          end,
          function() assert.equal("<hello>" .. body, (conn:recv_all(20))) end)
        p:expect("300000\t300007\tend\n", 10)
      end)
    end)
  end)

  describe("refuses misuse:", function()
    local function refused(expected, text, ...)
      local args = { ... }
      h.run(function()
        local out = with_conn(pieces({}, true), text, table.unpack(args))
        assert.equal(expected .. "\n", out)
      end)
    end

    it("two tasks that read at once", function()
      refused("false\ts.lua:5: conn:read_exactly: another task (spawned at s.lua:3) is already reading from it; only one task may at a time",
        [[kt.spawn(function() conn:read() end)
          kt.sleep "1ms"
          print(pcall(function() conn:read_exactly(3) end))]])
    end)

    it("two tasks that write at once", function()
      h.run(function()
        local done
        local function reads_nothing()
          h.loop.eventually("the script to end", 10, function() return done end)
        end
        local out = with_conn(reads_nothing, [[kt.spawn(function() conn:write(("x"):rep(16 << 20)) end)
          kt.sleep "1ms"
          print(pcall(function() conn:write "x" end))
          conn:reset()]])
        done = true
        assert.equal("false\ts.lua:5: conn:write: another task (spawned at s.lua:3) is already writing to it; only one task may at a time\n", out)
      end)
    end)

    it("a splice of what is being read", function()
      refused("false\ts.lua:6: kt.splice: argument 1: another task is reading from this conn",
        [[kt.spawn(function() conn:read() end)
          local other = kt.connect { to = conn.peer }
          kt.sleep "1ms"
          print(pcall(function() kt.splice(conn, other) end))]])
    end)

    it("a closed one", function()
      refused("false\ts.lua:4: conn:read: this conn was closed, or taken over by a splice", [[conn:close()
          print(pcall(function() conn:read() end))]])
    end)

    it("writing after shutdown", function()
      refused("false\ts.lua:4: conn:write: not allowed after :shutdown()", [[conn:shutdown()
          print(pcall(function() conn:write "x" end))]])
    end)

    it("numbers out of range", function()
      refused("false\ts.lua:3: conn:read: argument 1: expected a number of bytes from 1 to 1048576, got 0",
        "print(pcall(function() conn:read(0) end))")
      refused("false\ts.lua:3: conn:read_exactly: argument 1: expected a number of bytes from 0 to 1048576, got 1048577",
        "print(pcall(function() conn:read_exactly((1 << 20) + 1) end))")
      refused("false\ts.lua:3: conn:read_exactly: argument 1: expected a number of bytes from 0 to 1048576, got nil",
        "print(pcall(function() conn:read_exactly() end))")
      refused("false\ts.lua:3: conn:read_until: argument 2: expected a number of bytes from 2 to 1048576, got 1",
        "print(pcall(function() conn:read_until('ab', 1) end))")
    end)

    it("an empty delimiter", function()
      refused("false\ts.lua:3: conn:read_until: argument 1: expected a delimiter of 1 to 256 bytes, got 0",
        "print(pcall(function() conn:read_until('', 1) end))")
    end)

    it("writing a value that is not a string", function()
      refused("false\ts.lua:3: conn:write: argument 1: expected a string, got table", "print(pcall(function() conn:write {} end))")
    end)

    it("an unknown option", function()
      refused("false\ts.lua:3: conn:read.timout: unknown key; did you mean timeout?", "print(pcall(function() conn:read { timout = 1 } end))")
    end)
  end)

  it("ends the reading of another task when it is closed", function()
    h.run(function()
      assert.equal("nil\tclosed\tconn:read_exactly: closed during the call\tab\n", with_conn(pieces({ "ab" }, true), [[
        kt.spawn(function()
          local data, err, came = conn:read_exactly(5)
          print(data, err.code, err, came)
        end)
        kt.sleep "100ms"
        conn:close()
        kt.sleep "1ms"]]))
    end)
  end)

  it("ends the reading of another task when its owner ends", function()
    h.run(function()
      assert.equal("nil\tclosed\n", with_conn(pieces({}, true), [[
        kt.spawn(function() print(nil, select(2, conn:read()).code) end)
        kt.sleep "20ms"]]))
    end)
  end)

  it("waits no longer than the script lives", function()
    h.run(function()
      local near = h.sockets.free_port("tcp")
      local p = s.start([[kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
        kt.spawn(function() conn:write(("x"):rep(32 << 20)) end)
        print(pcall(conn.read_exactly, conn, 100))
      end)]], near)
      p:wait_tcp(near)
      local conn = assert(h.sockets.connect(near))
      conn:send("abc")
      h.loop.sleep(0.05)
      p:signal_with("sigterm")
      p:expect("SIGTERM: ending")
      p:signal_with("sigterm")
      assert.equal(0, p:wait_exit(5))
      assert.equal("", p.stdout)
    end)
  end)

  describe("of a unix socket", function()
    it("is served and reached like any other", function()
      h.run(function()
        local path = h.temporary_path()
        local p = s.start([[
kt.listen { on = "unix:%s" }:serve(function(conn)
  print(conn.local_addr)
  conn:write("you said " .. conn:read_until("\n", 100))
end)
kt.spawn(function()
  local conn = assert(kt.connect { to = "unix:%s" })
  print(conn.peer)
  conn:write "hi\n"
  print(conn:read_until("\n", 100))
  print(select(2, conn:read()).code)
end)]], path, path)
        p:expect("you said hi\n\neof\n", 10)
        assert.truthy(p.stdout:find("unix:" .. path .. "\n", 1, true))
        assert.equal(2, select(2, p.stdout:gsub(path:gsub("%p", "%%%0"), "")))
        local conn = assert(h.sockets.connect(path))
        conn:send("hello\n")
        assert.equal("you said hello\n", (conn:recv_all(10)))
        assert.equal(0, p:stop())
      end)
    end)

    it("knows an end that has no name as unix:", function()
      h.run(function()
        local _, out = s.run([[
kt.spawn(function()
          local listener, theirs = kt.listen { on = "unix:%s" }
          listener:serve(function(conn) theirs = conn.peer end)
          local conn = assert(kt.connect { to = listener.local_addr })
          while not theirs do kt.sleep "1ms" end
          print(theirs, conn.local_addr)
          conn:close() listener:close()
end)]], h.temporary_path())
        assert.equal("unix:\tunix:\n", out)
      end)
    end)

    it("without a listener is refused, and a missing one is not found", function()
      h.run(function()
        assert.matches("^nil\tnot_found\t[^\n]*nowhere.sock", s.task([[
          local conn, err = kt.connect { to = "unix:%s/nowhere.sock" }
          print(conn, err.code, err)]], s.dir))
      end)
    end)
  end)
end)

describe("a script's stream", function()
  local s = scripts.each(before_each, after_each)

  --- Two scripts with a link between: `far` is the body of a handler of streams, `near` that of a task with `stream`.
  local function linked(far, near, extra)
    local port = h.sockets.free_port("udp")
    extra = extra or ""
    s.write("far.lua", (scripts.HEAD .. 'kt.accept { on = "127.0.0.1:%d", key = KEY %s }:serve(function(stream)\n%s\nend)')
      :format(port, extra, far))
    s.write("near.lua", (scripts.HEAD .. [[
local far = kt.link { remote = "127.0.0.1:%d", key = KEY, mode = "fast3" %s }
kt.spawn(function()
local stream = assert(far:open { timeout = "10s" })
%s
end)]]):format(port, extra, near))
    local server = s.kt("run", "far.lua")
    server:wait_udp(port)
    local client = s.kt("run", "near.lua")
    return client, server
  end

  for name, extra in pairs { plain = "", ["end-to-end encrypted"] = ", tuncrypt = true" } do
    it(name .. ", reads and writes as a conn does", function()
      h.run(function()
        local client = linked([[
          local line = stream:read_until("\n", 100)
          stream:write("you said " .. line)
          local rest = stream:read_exactly(1000000, { timeout = "20s" })
          stream:write(rest:reverse())
          print(select(2, stream:read()).code)]], [[
          stream:write "hello\n"
          print((stream:read_until("\n", 100):gsub("\n", "")))
          local data = ("0123456789"):rep(100000)
          print(stream:write(data))
          print(stream:read_exactly(1000000, { timeout = "20s" }) == data:reverse())
          stream:shutdown()
          local data, err = stream:read()
          print(data, err.code, err)]], extra)
        assert.equal(0, client:wait_exit(30))
        assert.equal("you said hello\n1000000\ntrue\nnil\teof\tstream:read: the other end has finished sending\n", client.stdout)
      end)
    end)
  end

  for name, extra in pairs { plain = "", ["end-to-end encrypted"] = ", tuncrypt = true" } do
    it(name .. ", knows the UDP address of its own end while it is open, also in a splice, as a conn does", function()
      h.run(function()
        local client, server = linked([[
          print(stream.local_addr, stream.peer)
          stream:read()]], [[
          print(stream.local_addr)
          local listener = kt.listen { on = "127.0.0.1:0" }
          listener:serve(function(conn) conn:read() end)
          local conn = kt.connect { to = listener.local_addr }
          local before = stream.local_addr
          kt.spawn(function() kt.sleep "20ms" print(stream.local_addr == before, conn.local_addr ~= nil) far:close() end)
          kt.splice(stream, conn)
          print(stream.local_addr)
          listener:close()]], extra)
        assert.equal(0, client:wait_exit(20))
        local own = client.stdout:match "^(127%.0%.0%.1:%d+)\ntrue\ttrue\nnil\n$"
        local at = server:expect "^(127%.0%.0%.1:%d+)\t"
        assert(own and at, client.stdout .. server.stdout)
        server:wait_for("the addresses", 10, function() return server.stdout == ("%s\t%s\n"):format(at, own) end)
        assert.not_equal(at, own)
      end)
    end)
  end

  it("has timeouts", function()
    h.run(function()
      local client = linked("kt.sleep '10s'", [[
        local data, err = stream:read { timeout = "50ms" }
        print(data, err.code, err)
        local n, why, taken = stream:write(("x"):rep(64 << 20), { timeout = "300ms" })
        print(n, why.code, taken > 0)]])
      assert.equal(0, client:wait_exit(20))
      assert.equal("nil\ttimeout\tstream:read: no data within 0.05 s\nnil\ttimeout\ttrue\n", client.stdout)
    end)
  end)

  it("ends reads and writes when the other end resets it", function()
    h.run(function()
      local client = linked("stream:read_exactly(1) stream:reset()", [[
        kt.spawn(function()
          local n, err
          repeat n, err = stream:write(("x"):rep(100000)) until not n
          print("write", err.code)
        end)
        local data, err = stream:read()
        print("read", data, err.code)
        kt.sleep "200ms"]])
      assert.equal(0, client:wait_exit(20))
      assert.matches("read\tnil\t%l+\n", client.stdout)
      assert.matches("write\treset\n", client.stdout)
    end)
  end)

  it("ends a waiting call when the link is closed", function()
    h.run(function()
      local client = linked("stream:read_exactly(9)", [[
        kt.spawn(function() kt.sleep "50ms" far:close() end)
        local data, err = stream:read()
        print(data, err.code)
        data, err = stream:read()
        print(data, err.code)
        print(stream:write "x")]])
      assert.equal(0, client:wait_exit(20))
      assert.matches("^nil\tclosed\nnil\tclosed\nnil\t[^\n]*\t0\n$", client.stdout)
    end)
  end)

  it("that broke while the script was busy fails when it is read, written or spliced", function()
    h.run(function()
      local target = h.sockets.serve(function(conn) conn:recv_all(20) end)
      local client = linked("stream:read_exactly(9)", ([[
        local other = assert(kt.connect { to = "127.0.0.1:%d" })
        far:close()
        kt.sleep "50ms"
        print(select(2, stream:read()).code)
        print(select(2, stream:write "x").code)
        local sum, err = kt.splice(stream, other, { idle = "10s" })
        print(sum and sum.reason or err.code)]]):format(target.at))
      assert.equal(0, client:wait_exit(20))
      assert.equal("closed\nclosed\nclosed\n", client.stdout)
    end)
  end)
end)
