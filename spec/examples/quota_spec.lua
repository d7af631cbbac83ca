-- scripts/examples/quota.lua at the near end, server.lua at the far one.
local ends = require "harness.ends"
local h = require "harness"
local scripts = require "harness.scripts"
local uv = require "luv"

describe("the quota example", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- A tunnel to an echo, with a quota of 10000 bytes; returns the near end, with its port as `at`.
  local function tunnel(changes)
    local target, port = h.transfer.echo(), h.sockets.free_port "tcp"
    local far = ends.far(s, "server.lua", { { "127.0.0.1:8388", "127.0.0.1:" .. target.at } })
    local near = ends.near(s, "quota.lua", far, {
      { ":12948", "0.0.0.0:" .. port }, { "2 * 1024 ^ 3", "10000" }, table.unpack(changes or {}) })
    near:wait_tcp(port)
    near.at = port
    return near
  end

  --- Connects from one of this machine's addresses, sends n bytes; returns how many of them came back.
  local function echoed(near, n, from)
    local handle, got, ended = uv.new_tcp(), 0, false
    assert(handle:bind(from or "127.0.0.1", 0))
    h.loop.wait("a connection", 20, function(wake) handle:connect("127.0.0.1", near.at, wake) end)
    handle:read_start(function(_, chunk)
      got = got + #(chunk or "")
      ended = ended or not chunk
    end)
    if n > 0 then handle:write(("x"):rep(n)) end
    handle:shutdown()
    h.loop.eventually("the end of the echo", 20, function() return ended end)
    handle:close()
    return got
  end

  it("counts both directions, and refuses only a client over its quota", function()
    h.run(function()
      local near = tunnel()
      assert.equal(3000, echoed(near, 3000))
      near:expect "127.0.0.1 has used 6000 bytes today\n"
      assert.equal(2000, echoed(near, 2000))
      near:expect "127.0.0.1 has used 10000 bytes today\n"
      assert.equal(0, echoed(near, 10))
      near:expect "127.0.0.1 has used its quota\n"
      assert.equal(10, echoed(near, 10, "127.0.0.2"))
      near:expect "127.0.0.2 has used 20 bytes today\n"
    end)
  end)

  it("counts a connection that stays open", function()
    h.run(function()
      local near = tunnel { { 'total = "1h"', 'total = "1s"' } }
      local app = assert(h.sockets.connect(near.at))
      app:send(("x"):rep(4000))
      assert.equal(4000, #app:recv_exactly(4000, 20))
      near:expect "127.0.0.1 has used 8000 bytes today\n"
      app:recv_all(20)
    end)
  end)

  it("resets at midnight", function()
    h.run(function()
      local near = tunnel { { "kt.date()", "{ year = 2031, month = 1, day = kt.now() - started < 2 and 1 or 2 }" },
        { "local today", "local started = kt.now()\nlocal today" } }
      assert.equal(5000, echoed(near, 5000))
      h.loop.eventually("the next day", 20, function() return echoed(near, 1) == 1 end)
      near:expect "127.0.0.1 has used 2 bytes today\n"
    end)
  end)

  it("counts the configured number of clients separately, and the others together", function()
    h.run(function()
      local near = tunnel { { "local CLIENTS = 10000", "local CLIENTS = 2" } }
      for last, total in ipairs { 8000, 8000, 8000, 16000 } do
        assert.equal(4000, echoed(near, 4000, "127.0.0." .. last))
        near:expect(("127.0.0.%d has used %d bytes today\n"):format(last, total))
      end
      assert.equal(0, echoed(near, 1, "127.0.0.5"))
      assert.equal(500, echoed(near, 500, "127.0.0.1"))
    end)
  end)
end)
