-- The loop of both backends: turns, timers, clock, chance, signals and files.
local backends = require "backends"
local spec_io = require "spec_io"

local popen = io.popen

local function tmpname()
  local path = os.tmpname()
  os.remove(path)
  return path
end

for _, backend in ipairs(backends) do
  describe("the loop (" .. backend.name .. ")", function()
    local io

    before_each(function() io = backend.new() end)
    after_each(function() io:free() end)

    it("fires timers in the order of their deadlines, and none early", function()
      local fired, base = {}, io:now()
      for _, after in ipairs { 30000, 700, 5000, 100, 12000, 2600, 0 } do
        io:timer(base + after, function()
          assert.is_true(io:clock() >= base + after)
          assert.is_true(io:now() >= base + after)
          fired[#fired + 1] = after
          if after == 30000 then io:stop() end
        end)
      end
      assert.is_true(io:run(5000))
      -- Both lie in the same tick of the wheel at most; the others must be in order.
      assert.same({ 2600, 5000, 12000, 30000 }, { table.unpack(fired, 4) })
      table.sort(fired)
      assert.same({ 0, 100, 700, 2600, 5000, 12000, 30000 }, fired)
    end)

    if backend.real then
      it("fires within about a millisecond of the deadline", function()
        local best = math.huge
        local function again(n)
          local at = io:clock() + 3300
          io:timer(at, function()
            best = math.min(best, io:clock() - at)
            if n == 0 then io:stop() else again(n - 1) end
          end)
        end
        again(20)
        assert.is_true(io:run(5000))
        assert.is_true(best < 1500, "never closer than " .. best .. " us")
      end)
    end

    it("does not fire a canceled timer", function()
      local fired = false
      local t = io:timer(io:now() + 1000, function() fired = true end)
      t:close()
      assert.is_false(io:run(10))
      assert.is_false(fired)
    end)

    if backend.real then
      it("keeps one time for a turn while the clock advances", function()
        io:timer(io:now(), function()
          local now, clock = io:now(), io:clock()
          while io:clock() < clock + 2000 do end
          assert.equal(now, io:now())
          io:stop()
        end)
        assert.is_true(io:run(1000))
      end)
    end

    if backend.real then
      -- A time namespace whose boot is a million seconds earlier stands for a machine that was suspended for that long.
      local apart = "unshare --map-root-user --time --boottime 1000000 --fork "
      local test = os.execute(apart .. "true 2>/dev/null") and it or pending
      test("counts the time for which the machine was suspended, in its clock and its timers", function()
        local lua = (os.getenv "KT_BUILD" or "build") .. "/spec/spec-lua"
        local pipe <close> = assert(popen(apart .. lua .. [[ /dev/stdin 2>&1 <<'END'
          local io = require "spec_io".new()
          local after
          io:timer(io:now() + 1000, function() after = io:now() io:stop() end)
          assert(io:run(1000), "the timer has not fired")
          print(after // 1000000)
END
]]))
        local said = pipe:read "a"
        assert.is_true((tonumber(said) or 0) >= 1000000, said)
      end)

      it("returns the wall clock's time", function()
        assert.is_true(math.abs(io:wall() / 1e6 - os.time()) < 2)
      end)
    end

    if backend.real then
      it("sleeps while nothing happens", function()
        local a = assert(io:udp({ bind = "127.0.0.1:0" }, {}))
        local far = io:timer(io:now() + 3600e6 // 1 | 0, function() end)
        local before = spec_io.sleeps()
        assert.is_false(io:run(400))
        assert.is_true(spec_io.sleeps() - before < 12, "woke " .. spec_io.sleeps() - before .. " times in 400 ms")
        a:close()
        far:close()
      end)
    end

    it("runs hooks at the end of the turn, those that hooks add included, each once", function()
      local order = {}
      io:timer(io:now(), function()
        io:turn(function()
          order[#order + 1] = "first"
          io:turn(function() order[#order + 1] = "third" end)
        end)
        io:turn(function() order[#order + 1] = "second" end)
        order[#order + 1] = "timer"
      end)
      io:timer(io:now() + 3000, function() io:stop() end)
      assert.is_true(io:run(1000))
      assert.same({ "timer", "first", "second", "third" }, order)
    end)

    it("does not run a canceled hook", function()
      local ran
      io:timer(io:now(), function() io:turn(function() ran = true end):close() end)
      assert.is_false(io:run(10))
      assert.is_nil(ran)
    end)

    it("runs the hooks of the turn that stops it", function()
      local ran
      io:timer(io:now(), function()
        io:turn(function() ran = true end)
        io:stop()
      end)
      assert.is_true(io:run(1000))
      assert.is_true(ran)
    end)

    it("remembers a stop that came before the run", function()
      io:stop()
      assert.is_true(io:run(5000))
    end)

    it("can be run again after a stop", function()
      for _ = 1, 3 do
        io:timer(io:now() + 1000, function() io:stop() end)
        assert.is_true(io:run(1000))
      end
    end)

    it("gives random bytes that do not repeat, in pieces of any size", function()
      local seen = {}
      for _ = 1, 400 do
        local piece = io:random(24)
        assert.is_nil(seen[piece])
        seen[piece] = true
      end
      for _, n in ipairs { 0, 1, 4095, 4096, 4097, 100000 } do assert.equal(n, #io:random(n)) end
      local counts = {}
      for byte in io:random(65536):gmatch "." do counts[byte] = (counts[byte] or 0) + 1 end
      for _, count in pairs(counts) do assert.is_true(count > 100 and count < 450) end
    end)
  end)

  describe("signals (" .. backend.name .. ")", function()
    it("come from the loop", function()
      local io = backend.new()
      local got
      local watch = assert(io:signal(10, function(n) -- SIGUSR1
        got = n
        io:stop()
      end))
      if backend.real then
        os.execute("kill -USR1 " .. spec_io.pid())
      else
        backend.place(io):signal(backend.process(io), 10)
      end
      assert.is_nil(got)
      assert.is_true(io:run(2000))
      assert.equal(10, got)
      watch:close()
      io:free()
    end)

    it("that cannot be watched are refused", function()
      local io = backend.new()
      local watch, name, text = io:signal(9, function() end)
      assert.is_nil(watch)
      assert.equal("invalid", name)
      assert.matches("cannot watch signal 9", text)
      io:free()
    end)
  end)

  describe("files (" .. backend.name .. ")", function()
    local io, path

    before_each(function()
      io = backend.new()
      path = tmpname()
    end)
    after_each(function()
      os.remove(path)
      io:free()
    end)

    it("are appended to and read whole", function()
      assert(io:append_file(path, "one\n"))
      assert(io:append_file(path, "two\0three"))
      assert.equal("one\ntwo\0three", io:read_file(path, 100))
    end)

    if backend.real then
      it("are made for their owner alone", function()
        assert(io:append_file(path, "secret"))
        local pipe = assert(_G.io.popen("stat -c %a " .. path))
        assert.equal("600", pipe:read "l")
        pipe:close()
      end)
    end

    it("of any size up to the limit are read", function()
      for _, n in ipairs { 0, 1, 4095, 4096, 4097, 100000 } do
        local text, file = ("x"):rep(n), path .. n
        assert(io:append_file(file, text))
        assert.equal(text, io:read_file(file, n))
        os.remove(file)
      end
    end)

    it("over the limit are refused", function()
      assert(io:append_file(path, ("x"):rep(5000)))
      local _, name, text = io:read_file(path, 4999)
      assert.equal("limit", name)
      assert.equal(path .. ": larger than 4999 bytes", text)
    end)

    it("that are missing are named", function()
      local _, name, text = io:read_file(path, 100)
      assert.equal("not_found", name)
      assert.equal(path .. ": no such file", text)
    end)

    if backend.real then
      it("by their real path are not reached through symbolic links", function()
        assert(os.execute(("rm -f '%s' && mkdir -p '%s/a/b' && cd '%s' && echo x > a/b/file && ln -s b a/link && ln -s file a/b/link"):format(
          path, path, path)))
        assert.equal("x\n", io:read_file(path .. "/a/b/file", 9, true))
        for _, wrong in ipairs { "/a/link/file", "/a/b/link", "/a/b/file/file" } do
          local _, name, text = io:read_file(path .. wrong, 9, true)
          assert.same({ "denied", path .. wrong .. ": part of the path was replaced, perhaps by a symbolic link" }, { name, text })
        end
        assert.equal("not_found", select(2, io:read_file(path .. "/a/c/file", 9, true)))
        assert.equal(path .. "/a: is a folder, not a regular file", select(3, io:read_file(path .. "/a", 9, true)))
        os.execute(("rm -r '%s'"):format(path))
      end)

      it("that are directories give a sentence", function()
        local _, _, text = io:read_file("/tmp", 100)
        assert.equal("/tmp: is a folder, not a regular file", text)
      end)
    end
  end)
end
