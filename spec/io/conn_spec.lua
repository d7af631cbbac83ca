-- TCP and unix-socket conns of both backends: bytes both ways, back-pressure, half-close, reset, close.
local backends = require "backends"

local MIB = 1 << 20

-- n bytes in which every piece is different.
local function pattern(n, seed)
  local pieces = {}
  for i = 1, n // 16 + 1 do pieces[i] = ("%08x%08x"):format(i, (i * 2654435761 + seed) & 0xffffffff) end
  return table.concat(pieces):sub(1, n)
end

-- A connected pair: the connecting conn and the accepted one.
local function pair(io, at)
  local mine, theirs
  local listener = assert(io:listen(at, function(conn)
    theirs = conn
    if mine then io:stop() end
  end))
  assert(io:connect(listener:addr(), function(conn, _, text)
    mine = assert(conn, text)
    if theirs then io:stop() end
  end))
  assert.is_true(io:run(5000))
  listener:close()
  return mine, theirs
end

-- Writes all of data as there is room, several pieces at a time, then calls done().
local function feed(conn, data, events, done)
  local at = 1
  local function go()
    while at <= #data do
      local n = conn:write(data:sub(at, at + 39999), data:sub(at + 40000, at + 40000), data:sub(at + 40001, at + 99999))
      at = at + n
      if n < 100000 and at <= #data then return end
    end
    local d = done
    done = nil
    if d then d() end
  end
  events.writable = go
  return go
end

-- Collects all data; done(text) at the end.
local function collect(conn, events, done)
  local got = {}
  events.readable = function()
    local piece = conn:peek()
    if #piece > 0 then
      got[#got + 1] = piece
      conn:consume(#piece)
    end
    if conn:eof() then done(table.concat(got)) end
  end
end

for _, backend in ipairs(backends) do
  for _, kind in ipairs { "tcp over v4", "tcp over v6", "unix" } do
    describe("a conn of " .. backend.name .. " (" .. kind .. ")", function()
      local io, at, path

      before_each(function()
        io = backend.new()
        path = os.tmpname()
        os.remove(path)
        at = ({ ["tcp over v4"] = "127.0.0.1:0", ["tcp over v6"] = "[::1]:0", unix = path })[kind]
      end)
      after_each(function()
        io:free()
        assert.is_nil(_G.io.open(path))
      end)

      it("knows its two ends by name", function()
        local a, b = pair(io, at)
        if kind == "unix" then
          assert.equal("unix:" .. path, a:peer())
          assert.equal("unix:" .. path, b:addr())
          assert.equal("unix:", b:peer())
        else
          assert.equal(a:addr(), b:peer())
          assert.equal(b:addr(), a:peer())
          assert.matches(kind == "tcp over v4" and "^127%.0%.0%.1:%d+$" or "^%[::1%]:%d+$", a:addr())
        end
      end)

      it("carries megabytes both ways at once, to the byte", function()
        local a, b = pair(io, at)
        local there, back = pattern(5 * MIB + 3, 1), pattern(4 * MIB + 1, 2)
        local at_a, at_b
        local function check_done()
          if at_a and at_b then io:stop() end
        end
        local ea, eb = {}, {}
        local go_a = feed(a, there, ea, function() a:shutdown() end)
        local go_b = feed(b, back, eb, function() b:shutdown() end)
        collect(a, ea, function(text) at_a = text; check_done() end)
        collect(b, eb, function(text) at_b = text; check_done() end)
        ea.closed, eb.closed = error, error
        a:listen(ea)
        b:listen(eb)
        go_a()
        go_b()
        assert.is_true(io:run(20000))
        assert.is_true(at_b == there)
        assert.is_true(at_a == back)
      end)

      it("holds its writer back while its reader does not consume", function()
        local a, b = pair(io, at)
        local readables = 0
        b:listen { readable = function() readables = readables + 1 end }
        local data, taken = pattern(MIB, 3), 0
        local function go()
          for _ = 1, 64 do
            local n = a:write(data)
            taken = taken + n
            if n < #data then return end
          end
          error "64 MiB were taken"
        end
        a:listen { writable = go }
        go()
        io:run(100)
        assert.equal(0, a:write "more")
        local before, seen = taken, #b:peek()
        assert.is_true(readables > 0 and readables <= 64)
        assert.is_true(seen <= 65536 and seen > 32768, seen)
        io:run(30)
        assert.equal(before, taken)
        assert.equal(seen, #b:peek())
        -- It continues when the reader does.
        local all = 0
        a:listen { writable = function() a:shutdown() end }
        b:listen {
          readable = function()
            all = all + #b:peek()
            b:consume(#b:peek())
            if b:eof() then io:stop() end
          end,
        }
        all = all + #b:peek()
        b:consume(#b:peek())
        assert.is_true(io:run(5000))
        assert.equal(taken, all)
      end)

      it("shows what is not consumed again, whole or in part", function()
        local a, b = pair(io, at)
        b:listen { readable = function() io:stop() end }
        a:write "hello"
        assert.is_true(io:run(1000))
        assert.equal("hello", b:peek())
        assert.equal("hello", b:peek())
        b:consume(2)
        assert.equal("llo", b:peek())
        a:write " world"
        assert.is_true(io:run(1000))
        assert.equal("llo world", b:peek())
        b:consume(9)
        assert.equal("", b:peek())
        assert.is_false(b:eof())
      end)

      it("keeps what came before a listener was set", function()
        local a, b = pair(io, at)
        a:write "early"
        a:shutdown()
        io:run(20)
        b:listen { readable = error }
        assert.equal("early", b:peek())
        assert.is_false(b:eof())
        b:consume(5)
        assert.is_true(b:eof())
        io:run(10)
      end)

      it("ends one direction while the other stays open", function()
        local a, b = pair(io, at)
        local answer
        local ea, eb = { closed = error }, { closed = error }
        collect(a, ea, function(text) answer = text; io:stop() end)
        collect(b, eb, function(text)
          assert.equal("question", text)
          b:write "answer"
          b:shutdown()
        end)
        a:listen(ea)
        b:listen(eb)
        a:write "question"
        a:shutdown()
        assert.equal(0, a:write "more")
        assert.is_true(io:run(5000))
        assert.equal("answer", answer)
        io:run(10) -- no `closed` for a clean end
      end)

      it("delivers everything written before close, even when the peer had more to send", function()
        local a, b = pair(io, at)
        local reply, got = pattern(3 * MIB, 4), nil
        local ea = {}
        collect(a, ea, function(text) got = text; io:stop() end)
        ea.closed = function(name) error("broken: " .. name) end
        a:listen(ea)
        a:write(pattern(200000, 5)) -- never read
        b:listen {}
        local eb = {}
        local go = feed(b, reply, eb, function() b:close() end)
        b:listen(eb)
        go()
        assert.is_true(io:run(10000))
        assert.equal(#reply, #got)
        assert.is_true(got == reply)
      end)

      it("delivers data written before close when the io is freed at once", function()
        local reader = backend.beside(io)
        local got
        local listener = assert(reader:listen(at, function(conn)
          local events = {}
          collect(conn, events, function(text) got = text; reader:stop() end)
          conn:listen(events)
        end))
        io:connect(listener:addr(), function(conn)
          assert.equal(5, conn:write "bye!\n")
          conn:close()
          io:stop()
        end)
        assert.is_true(io:run(1000))
        io:free()
        assert.is_true(reader:run(1000))
        assert.equal("bye!\n", got)
        reader:free()
      end)

      it("tells a reader of the end when it is closed", function()
        local a, b = pair(io, at)
        a:listen { readable = function()
          assert.is_true(a:eof())
          io:stop()
        end, closed = error }
        b:close()
        assert.is_true(io:run(1000))
      end)

      it("does not wait forever for a peer that never finishes", function()
        local a, b = pair(io, at)
        a:listen {}
        local fds = backend.open(io)
        b:write "x"
        b:close()
        io:run(2300)
        assert.is_true(backend.open(io) < fds, "the closed conn is still open")
      end)

      it("learns while it writes that its peer has closed", function()
        local a, b = pair(io, at)
        local data, broken = pattern(100000, 6), false
        local function go()
          a:write(data)
          if not broken then io:timer(io:now() + 5000, go) end
        end
        a:listen { closed = function()
          broken = true
          io:stop()
        end }
        go()
        b:close()
        assert.is_true(io:run(5000))
        assert.equal(0, a:write "more")
      end)

      it("makes no callback from inside a call, nor after close", function()
        local a, b = pair(io, at)
        local inside, calls = false, 0
        local function event()
          calls = calls + 1
          assert.is_false(inside)
        end
        a:listen { readable = event, writable = event, closed = event }
        inside = true
        b:write "x"
        b:reset()
        for _ = 1, 100 do a:write(("y"):rep(100000)) end
        a:peek()
        inside = false
        io:run(20)
        assert.is_true(calls > 0)
        local before = calls
        a:close()
        io:run(20)
        assert.equal(before, calls)
      end)

      it("reports once that it is broken, and writes no more", function()
        local a, b = pair(io, at)
        local names = {}
        a:listen { closed = function(name) names[#names + 1] = name end }
        b:reset()
        for _ = 1, 3 do
          io:run(10)
          a:write "x"
        end
        io:run(100)
        assert.equal(1, #names, "closed came " .. #names .. " times")
        assert.equal(0, a:write "x")
      end)

      it("may be closed by any of its events", function()
        for _, event in ipairs { "readable", "writable", "closed" } do
          local a, b = pair(io, at)
          local called = 0
          a:listen { [event] = function()
            called = called + 1
            a:close()
          end }
          if event == "readable" then
            b:write(("x"):rep(200000))
          elseif event == "writable" then
            while a:write(("x"):rep(MIB)) == MIB do end
            b:listen { readable = function() b:consume(#b:peek()) end }
            b:consume(#b:peek())
          else
            b:reset()
            io:run(5)
            if called == 0 then a:write "x" end
          end
          io:run(50)
          assert.equal(1, called, event)
        end
      end)

      it("keeps what had arrived before it broke", function()
        local a, b = pair(io, at)
        local broken
        a:listen { closed = function() broken = true; io:stop() end }
        b:write "last words"
        io:run(10)
        b:reset()
        io:run(10)
        a:write "x"
        if not broken then assert.is_true(io:run(2000)) end
        assert.equal("last words", a:peek())
        a:consume(10)
        assert.equal("", a:peek())
      end)

      it("sees a reset after it has read the end of data, and sends nothing itself", function()
        local a, b = pair(io, at)
        local name, ended
        a:listen {
          readable = function() ended = ended or a:eof() if ended then io:stop() end end,
          closed = function(n) name = n io:stop() end,
        }
        a:write(("x"):rep(100000)) -- more than b reads ahead: a unix socket resets only if bytes are lost
        io:run(20)
        b:shutdown()
        assert.is_true(io:run(3000))
        assert.is_true(ended)
        b:reset()
        if not name then assert.is_true(io:run(3000), "the reset was not heard") end
        assert.equal("reset", name)
      end)

      it("sees a reset while its reader pauses, and still delivers everything that had arrived", function()
        local a, b = pair(io, at)
        local name, got = nil, 0
        a:listen { closed = function(n) name = n io:stop() end }
        a:write(("x"):rep(100000)) -- as above
        io:run(20)
        local sent = b:write(("x"):rep(100000))
        io:run(50)
        assert.is_true(#a:peek() < sent)
        b:reset()
        io:run(50)
        assert.is_nil(name)
        assert.equal(0, a:write "x")
        a:listen {
          readable = function()
            got = got + #a:peek()
            a:consume(#a:peek())
          end,
          closed = function(n) name = n io:stop() end,
        }
        got = got + #a:peek()
        a:consume(#a:peek())
        assert.is_true(io:run(3000))
        assert.equal("reset", name)
        assert.is_true(got > 65536 or kind == "unix" and got >= 65536 - 4096)
      end)

      it("frees its socket when it breaks while closing", function()
        local before = backend.open(io)
        local a, b = pair(io, at)
        b:shutdown()
        io:run(20)
        while a:write(("x"):rep(100000)) == 100000 do end
        a:close()
        io:run(20)
        b:reset()
        io:run(200)
        assert.equal(before, backend.open(io))
      end)

      it("tells a listener that came after it broke", function()
        local a, b = pair(io, at)
        b:reset()
        io:run(10)
        a:write "x"
        io:run(100)
        local name
        a:listen { closed = function(n) name = n; io:stop() end }
        a:peek()
        assert.is_nil(name)
        assert.is_true(io:run(1000))
        assert.is_string(name)
      end)
    end)
  end

  describe("a tcp conn of " .. backend.name, function()
    local io

    before_each(function() io = backend.new() end)
    after_each(function() io:free() end)

    it("or a unix one does not give up on a peer that answers but does not read", function()
      local path, broken = os.tmpname(), nil
      os.remove(path)
      for _, at in ipairs { "127.0.0.1:0", "[::1]:0", path } do
        local conn = pair(io, at)
        conn:listen { closed = function() broken = at io:stop() end }
        conn:user_timeout(500000) -- a busy machine may take a third of it to acknowledge a probe
        while conn:write(("x"):rep(100000)) == 100000 do end
      end
      io:run(3000)
      assert.is_nil(broken)
    end)

    it("that is reset shows its peer a reset, also after a shutdown", function()
      for _, shut in ipairs { false, true } do
        local a, b = pair(io, "127.0.0.1:0")
        local name
        a:listen { closed = function(n) name = n; io:stop() end }
        if shut then b:shutdown() end
        b:reset()
        -- After FIN the reader has seen the end: a write meets the reset.
        if shut then
          io:run(20)
          a:write "x"
        end
        if not name then assert.is_true(io:run(3000)) end
        assert.equal("reset", name == "closed" and "reset" or name)
      end
    end)

    it("shows a reset right behind the last data as a reset, not as a clean end", function()
      for _ = 1, 20 do
        local a, b = pair(io, "127.0.0.1:0")
        local got, name = 0, nil
        a:listen {
          readable = function()
            got = got + #a:peek()
            a:consume(#a:peek())
            assert.is_false(a:eof())
          end,
          closed = function(n) name = n; io:stop() end,
        }
        b:write(("x"):rep(1000))
        b:reset()
        assert.is_true(io:run(2000))
        assert.equal("reset", name)
        assert.equal(1000, got)
      end
    end)

    it("to or from a link-local address without a scope fails, and says that the scope is missing", function()
      local want = "[fe80::1]:5: a link-local address needs a scope; append the interface, such as fe80::1%eth0"
      local listener, name, text = io:listen("[fe80::1]:5", function() end)
      assert.same({ nil, "unreachable", want }, { listener, name, text })
      assert(io:connect("[fe80::1]:5", function(conn, _, why)
        listener, text = conn, why
        io:stop()
      end))
      assert.is_true(io:run(3000))
      assert.same({ nil, want }, { listener, text })
    end)

    it("that is reset as soon as it is accepted has been connected, and reads the reset", function()
      for _, words in ipairs { "", "sorry" } do
        local name, failed, got, peer = nil, nil, "", nil
        local listener = assert(io:listen("127.0.0.1:0", function(conn)
          if words ~= "" then conn:write(words) end
          conn:reset()
        end))
        assert(io:connect(listener:addr(), function(conn, _, text)
          if not conn then
            failed = text
            return io:stop()
          end
          peer = conn:peer()
          conn:listen {
            readable = function()
              got = got .. conn:peek()
              conn:consume(#conn:peek())
            end,
            closed = function(n) name = n; io:stop() end,
          }
        end))
        assert.is_true(io:run(3000))
        assert.is_nil(failed)
        assert.equal("reset", name)
        assert.equal(words, got)
        assert.equal(listener:addr(), peer)
        listener:close()
      end
    end)

    it("that cannot write still reads what the peer had sent", function()
      local a, b = pair(io, "127.0.0.1:0")
      local got, name = "", nil
      a:listen {
        readable = function() end,
        closed = function(n) name = n; io:stop() end,
      }
      b:write(("x"):rep(50000))
      io:run(20)
      b:reset()
      io:run(20)
      a:write "late"
      got = got .. a:peek()
      assert.equal(50000, #got)
      if not name then assert.is_true(io:run(2000)) end
      assert.is_string(name)
    end)
  end)
end
