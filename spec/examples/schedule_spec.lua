-- scripts/examples/schedule.lua at the near end, server.lua at the far one; the clock is the spec's: noon, midnight, noon.
local ends = require "harness.ends"
local h = require "harness"
local scripts = require "harness.scripts"

describe("the schedule example", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- A tunnel to `target` whose hour is in the file "hour"; returns the near end, with its port as `at`.
  local function tunnel(target)
    local port = h.sockets.free_port "tcp"
    local far = ends.far(s, "server.lua", { { "127.0.0.1:8388", "127.0.0.1:" .. target } })
    local near = s.kt("run", "--unsafe", s.example("schedule.lua", {
      { "vps.example:29900", "127.0.0.1:" .. far.at }, { "127.0.0.1:12948", "127.0.0.1:" .. port },
      { '"512KiB"', '"64KiB"' }, { '"1m"', '"50ms"' }, { "kt.date().hour", "assert(io.open 'hour'):read 'n'" } }))
    near:wait_tcp(port)
    near.at = port
    return near
  end

  local function set_hour(hour)
    s.write("hour.new", ("%d"):format(hour))
    assert(os.rename(s.dir .. "/hour.new", s.dir .. "/hour"))
  end

  --- How long it takes to send 256 KiB, half of which compress well, and to hear that they have come.
  local function upload(app, seed)
    local since = h.loop.now()
    h.transfer.push(app, seed, 256 << 10)
    assert.equal("!", app:recv_exactly(1, 30))
    return h.loop.now() - since
  end

  it("slows a running link down for the night, and speeds it up in the morning", function()
    h.run(function()
      local target = h.sockets.serve(function(conn)
        for seed = 1, 3 do
          h.transfer.pull(conn, seed, 256 << 10, 60)
          conn:send "!"
        end
        conn:recv(60)
      end)
      set_hour(12)
      local near = tunnel(target.at)
      local app = assert(h.sockets.connect(near.at))
      local day = upload(app, 1)
      set_hour(23)
      near:expect "it is night: mode normal\n"
      local night = upload(app, 2)
      set_hour(7)
      near:expect "it is day: mode fast2\n"
      local morning = upload(app, 3)
      assert.is_true(night > 1.5, "at night it took " .. night .. " s")
      assert.is_true(day < night / 2 and morning < night / 2, ("by day %f s, at night %f s, in the morning %f s"):format(day, night, morning))
    end)
  end)

  it("logs nothing while the period does not change", function()
    h.run(function()
      local target = h.transfer.echo()
      for _, hour in ipairs { 7, 22 } do
        set_hour(hour)
        local near = tunnel(target.at)
        local app = assert(h.sockets.connect(near.at))
        app:send "hello"
        assert.equal("hello", app:recv_exactly(5, 20))
        app:close()
        near:stop()
        assert.is_nil(near.stderr:find "it is ")
      end
    end)
  end)

  it("applies the night rate at once when started at night", function()
    h.run(function()
      for _, hour in ipairs { 23, 0, 6 } do
        set_hour(hour)
        local near = tunnel(h.sockets.refusing())
        near:expect "it is night: mode normal\n"
        near:stop()
      end
    end)
  end)
end)
