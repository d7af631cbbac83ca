-- scripts/examples/failover.lua and balance.lua, unmodified except for names, ports and shorter times.
local h = require "harness"
local scripts = require "harness.scripts"

describe("the example", function()
  local s
  before_each(function()
    s = scripts.new()
    s.key()
  end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- scripts/examples/server.lua on a port, in front of a target that says its name and echoes.
  local function server(name)
    return s.server(name, function(port, target)
      return s.example("server.lua", { { ":29900", "127.0.0.1:" .. port }, { "127.0.0.1:8388", "127.0.0.1:" .. target } })
    end)
  end

  local function start(example, changes)
    local at = h.sockets.free_port("tcp")
    changes[#changes + 1] = { "127.0.0.1:12948", "127.0.0.1:" .. at }
    local path = s.example(example, changes)
    local checked = s.kt("check", path)
    assert.equal(0, (checked:wait_exit(20)), checked.stdout)
    local p = s.kt("run", path)
    p:wait_tcp(at)
    p.at = at
    return p
  end

  local function connect(p)
    local app = assert(h.sockets.connect(p.at))
    local ok, said = pcall(app.recv, app, 3, 64)
    return ok and said and said:match "^(%w+)\n$", app
  end

  local function up(p, n)
    p:wait_for(n .. " links that are up", 20, function() return select(2, p.stderr:gsub("pool: [^ ]+ is up", "")) >= n end)
  end

  --- Connects until it comes to this server, and returns how long that took.
  local function until_at(p, name, seconds)
    local began = h.loop.now()
    h.loop.eventually("a connection at " .. name, seconds, function()
      local at, app = connect(p)
      app:close()
      return at == name
    end)
    return h.loop.now() - began
  end

  it("failover.lua moves to another server within seconds, and moves back once the first has been well for a while", function()
    h.run(function()
      local near, far, spare = server "near", server "far", server "spare"
      local p = start("failover.lua", {
        { "near.example:29900", "127.0.0.1:" .. near.port }, { "far.example:29900", "127.0.0.1:" .. far.port },
        { "spare.example:29900", "127.0.0.1:" .. spare.port }, { '"10s"', '"2s"' },
        -- On one machine all servers are equally fast: the policy's choice must not depend on luck.
        { "l.srtt * (1 + 20 * l.loss)", "i" },
      })
      up(p, 3)
      local at, app = connect(p)
      assert.equal("near", at)
      near.kill()
      assert.is_true(until_at(p, "far", 20) < 8)
      p:expect "switched to 127.0.0.1:%d+ from 127.0.0.1:%d+: 127.0.0.1:%d+ "
      app:close()
      far.kill()
      assert.is_true(until_at(p, "spare", 20) < 8)
      near.start()
      p:mark()
      p:expect("pool: 127.0.0.1:" .. near.port .. " is up", 20)
      assert.is_true(until_at(p, "near", 20) > 1.5)
      assert.equal(0, p:stop(20))
    end)
  end)

  it("balance.lua gives the big server three connections for one of each small one", function()
    h.run(function()
      local big, one, two = server "big", server "one", server "two"
      local p = start("balance.lua", {
        { "big.example:29900", "127.0.0.1:" .. big.port }, { "small1.example:29900", "127.0.0.1:" .. one.port },
        { "small2.example:29900", "127.0.0.1:" .. two.port }, { '"1m"', '"200ms"' },
      })
      up(p, 3)
      local counts, apps = {}, {}
      for i = 1, 20 do
        local at, app = connect(p)
        apps[i] = app
        counts[at] = (counts[at] or 0) + 1
      end
      assert.same({ big = 12, one = 4, two = 4 }, counts)
      p:expect("127.0.0.1:" .. big.port .. ": up, 12 streams, %d+ ms")
      big.kill()
      p:expect("127.0.0.1:" .. big.port .. ": down: ", 20)
      for _, app in ipairs(apps) do app:close() end
      local at, app = connect(p)
      assert.not_equal("big", at)
      app:close()
    end)
  end)
end)
