-- Listening, connecting and looking names up, with both backends.
local backends = require "backends"
local spec_io = require "spec_io"

for _, backend in ipairs(backends) do
  describe("listening (" .. backend.name .. ")", function()
    local io, path

    before_each(function()
      io = backend.new()
      path = os.tmpname()
      os.remove(path)
    end)
    after_each(function()
      io:free()
      os.remove(path)
    end)

    local function ignore() end

    it("on all addresses takes v4 and v6", function()
      local peers = {}
      local listener = assert(io:listen(":0", function(conn)
        peers[#peers + 1] = conn:peer()
        conn:close()
        if #peers == 2 then io:stop() end
      end))
      local port = listener:addr():match "^%[::%]:(%d+)$"
      io:connect("127.0.0.1:" .. port, function(conn) assert(conn):close() end)
      io:connect("[::1]:" .. port, function(conn) assert(conn):close() end)
      assert.is_true(io:run(5000))
      table.sort(peers)
      assert.matches("^127%.0%.0%.1:%d+$", peers[1])
      assert.matches("^%[::1%]:%d+$", peers[2])
    end)

    it("at an address in use says so", function()
      local listener = assert(io:listen("127.0.0.1:0", ignore))
      local second, name, text = io:listen(listener:addr(), ignore)
      assert.is_nil(second)
      assert.equal("in_use", name)
      assert.equal(listener:addr() .. ": address already in use; another program or another listener of this one uses it", text)
    end)

    it("again at once after close works", function()
      local listener = assert(io:listen("127.0.0.1:0", ignore))
      local at = listener:addr()
      listener:close()
      assert(io:listen(at, ignore))
    end)

    it("at a name is refused", function()
      local listener, name, text = io:listen("localhost:0", ignore)
      assert.is_nil(listener)
      assert.equal("invalid", name)
      assert.equal("localhost:0: expected an IP address to listen on, got a name", text)
    end)

    it("at another machine's address is refused", function()
      local _, _, text = io:listen("192.0.2.7:80", ignore)
      assert.equal("192.0.2.7:80: no interface of this machine has this address", text)
    end)

    it("on a unix socket makes the file, and removes it", function()
      local listener = assert(io:listen(path, ignore))
      assert.equal("unix:" .. path, listener:addr())
      if backend.real then assert.is_true(os.execute("test -S " .. path)) end
      listener:close()
      assert.is_nil(_G.io.open(path))
    end)

    if backend.real then
      it("replaces a socket file without a listener", function()
        assert(os.execute(([[python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("%s")']]):format(path)))
        assert.is_true(os.execute("test -S " .. path))
        local served
        assert(io:listen(path, function(conn)
          served = true
          conn:close()
          io:stop()
        end))
        io:connect(path, function(conn) conn:close() end)
        assert.is_true(io:run(2000))
        assert.is_true(served)
      end)
    end

    it("does not replace a unix socket with a listener", function()
      local listener = assert(io:listen(path, ignore))
      local second, name, text = io:listen(path, ignore)
      assert.is_nil(second)
      assert.equal("in_use", name)
      assert.equal("unix:" .. path .. ": address already in use; another program or another listener of this one uses it", text)
      if backend.real then assert.is_true(os.execute("test -S " .. path)) end
      listener:close()
    end)

    if backend.real then
      it("does not replace a file that is not a socket", function()
        assert(io:append_file(path, "precious"))
        local listener, name, text = io:listen(path, ignore)
        assert.is_nil(listener)
        assert.equal("in_use", name)
        assert.matches("a file of this name exists and is not a socket", text)
        assert.equal("precious", io:read_file(path, 100))
      end)
    end

    if backend.real then
      it("does not remove a socket file that took its place", function()
        local listener = assert(io:listen(path, ignore))
        os.remove(path)
        local other = assert(io:listen(path, ignore))
        listener:close()
        assert.is_true(os.execute("test -S " .. path))
        other:close()
      end)
    end

    it("accepts many connections at once", function()
      local n, conns = 0, {}
      local listener = assert(io:listen("127.0.0.1:0", function(conn)
        n = n + 1
        conns[n] = conn
        if n == 200 then io:stop() end
      end))
      for _ = 1, 200 do io:connect(listener:addr(), function(conn) conns[#conns + 1] = assert(conn) end) end
      assert.is_true(io:run(10000))
    end)

    if backend.real then
      it("waits while it is out of descriptors, logs it once, and continues", function()
        local accepted, connected, kept = 0, 0, {}
        local listener = assert(io:listen("127.0.0.1:0", function(conn)
          accepted = accepted + 1
          kept[#kept + 1] = conn
          if accepted == 3 then io:stop() end
        end))
        -- Three clients of another process wait in the backlog.
        local client = assert(_G.io.popen(([[python3 -c '
import socket, sys
conns = [socket.create_connection(("127.0.0.1", %s)) for i in range(3)]
print("ready", flush=True)
sys.exit(0 if all(c.recv(10) == b"" for c in conns) else 1)']]):format(listener:addr():match "%d+$")))
        assert.equal("ready", client:read "l")
        local old = spec_io.limit(spec_io.next_fd())
        local ok, stopped = pcall(io.run, io, 350)
        spec_io.limit(old)
        assert.is_true(ok, stopped)
        assert.is_false(stopped)
        assert.equal(0, accepted)
        local _, lines = io:log():gsub("not accepting connections for now: no file descriptors left of %d+; raise the limit", "")
        assert.equal(1, lines)
        assert.is_true(io:run(2000))
        for _, conn in ipairs(kept) do conn:close() end
        io:run(20)
        assert.is_true(client:close())
        assert.equal(0, connected)
      end)
    end
  end)

  describe("connecting (" .. backend.name .. ")", function()
    local io

    before_each(function() io = backend.new() end)
    after_each(function() io:free() end)

    -- The result of a connect, as passed to the callback.
    local function outcome(to)
      local result
      assert(io:connect(to, function(...)
        assert.is_nil(result)
        result = table.pack(...)
        io:stop()
      end))
      assert.is_nil(result)
      assert.is_true(io:run(20000))
      return table.unpack(result, 1, result.n)
    end

    local function dead_port()
      local listener = assert(io:listen("127.0.0.1:0", function() end))
      local at = listener:addr()
      listener:close()
      return at
    end

    it("to a port without a listener is refused", function()
      local at = dead_port()
      local conn, name, text = outcome(at)
      assert.is_nil(conn)
      assert.equal("refused", name)
      assert.equal(at .. ": connection refused", text)
    end)

    it("to a missing path fails", function()
      local conn, name, text = outcome "unix:/nonexistent/socket"
      assert.is_nil(conn)
      assert.equal("not_found", name)
      assert.equal("unix:/nonexistent/socket: no such file", text)
    end)

    if backend.real then
      it("to a unix socket without a listener is refused", function()
        local path = os.tmpname()
        os.remove(path)
        assert(os.execute(([[python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("%s")']]):format(path)))
        local _, name = outcome(path)
        os.remove(path)
        assert.equal("refused", name)
      end)
    end

    it("to a name that does not exist names it", function()
      local conn, name, text = outcome "nonexistent.invalid:80"
      assert.is_nil(conn)
      assert.equal("name", name)
      assert.matches("^nonexistent%.invalid: ", text)
    end)

    it("to a name tries its addresses in turn", function()
      -- localhost has ::1 and 127.0.0.1 in most places; only the second is served.
      local listener = assert(io:listen("127.0.0.1:0", function() end))
      local conn, _, text = outcome("localhost:" .. listener:addr():match "%d+$")
      assert.is_truthy(conn, text)
      assert.matches("^127%.0%.0%.1:", conn:peer())
    end)

    it("to a name whose addresses all fail reports the last error", function()
      local conn, name, text = outcome("localhost:" .. dead_port():match "%d+$")
      assert.is_nil(conn)
      assert.equal("refused", name)
      assert.matches("^localhost:%d+ ?.*127%.0%.0%.1.*connection refused$", text)
    end)

    it("without a host is refused at once", function()
      local c, name = io:connect(":80", function() end)
      assert.is_nil(c)
      assert.equal("invalid", name)
    end)

    it("may be cancelled at any stage, without a callback", function()
      local listener = assert(io:listen("127.0.0.1:0", function(conn) conn:close() end))
      local function never() error "it was cancelled" end
      for _, to in ipairs { listener:addr(), dead_port(), "nonexistent.invalid:1", "unix:/nonexistent", "192.0.2.1:9" } do
        assert(io:connect(to, never)):close() -- at once
        local later = assert(io:connect(to, function() end))
        io:run(1)
        later:close() -- when it is under way, or done (then it is harmless)
      end
      io:run(50)
    end)

    it("leaves no descriptors behind", function()
      local listener = assert(io:listen("127.0.0.1:0", function(conn) conn:close() end))
      local at = dead_port()
      outcome(at) -- libuv opens one for itself with the first
      io:run(1)
      local before = backend.open(io)
      for _ = 1, 20 do
        outcome(at)
        local conn = outcome(listener:addr())
        conn:close()
      end
      io:run(50)
      assert.equal(before, backend.open(io))
    end)
  end)

  describe("looking up (" .. backend.name .. ")", function()
    local io

    before_each(function() io = backend.new() end)
    after_each(function() io:free() end)

    local function outcome(host, port)
      local result
      assert(io:resolve(host, port, function(...)
        assert.is_nil(result)
        result = table.pack(...)
        io:stop()
      end))
      assert.is_nil(result)
      assert.is_true(io:run(20000))
      return table.unpack(result, 1, result.n)
    end

    it("a numeric address gives it back, from the loop", function()
      assert.same({ "1.2.3.4:53" }, (outcome("1.2.3.4", 53)))
      assert.same({ "[2001:db8::1]:53" }, (outcome("2001:db8::1", 53)))
    end)

    it("a name gives its addresses with the port", function()
      local addrs = assert(outcome("localhost", 4711))
      local found
      for _, addr in ipairs(addrs) do found = found or addr == "127.0.0.1:4711" end
      assert.is_true(found)
    end)

    it("a name that does not exist names it", function()
      local addrs, name, text = outcome("nonexistent.invalid", 1)
      assert.is_nil(addrs)
      assert.equal("name", name)
      assert.matches("^nonexistent%.invalid: ", text)
    end)

    it("an invalid name is an error, not a crash", function()
      for _, bad in ipairs { "", ("a"):rep(300), ("a."):rep(200), "\xff\xfe", "a b" } do
        local r, name
        r, name = io:resolve(bad, 1, function(_, n)
          name = n
          io:stop()
        end)
        if r then assert.is_true(io:run(20000)) end
        assert.equal("name", name)
      end
    end)

    it("may be cancelled while it runs, without a callback", function()
      local cancelled = {}
      for i = 1, 30 do -- more than there are threads: some wait, some run, some are done
        local r = assert(io:resolve(i % 3 == 0 and "127.0.0.1" or "nonexistent.invalid", i, function()
          assert.is_nil(cancelled[i])
        end))
        if i % 2 == 0 then io:run(0) end
        r:close()
        cancelled[i] = true
      end
      io:run(20)
    end)
  end)
end
