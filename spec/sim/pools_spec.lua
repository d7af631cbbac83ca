-- Pools of scripts, as kt.sim shows them.
local sim = require "kt.sim"

local SCRIPT = [[
  local kt = require "kt"
  local function to(host) return kt.link { remote = host .. ":29900", key = "our secret" } end
  local pool = kt.pool { name = "main", links = { { link = to "a", name = "first" }, to "b" }, policy = "first", hold = "1s" }
  local other = kt.pool { links = { to "a" }, check = false }
  local closed = kt.pool { name = "closed", links = { to "a" } }
  closed:close()
  kt.listen { on = "127.0.0.1:1" }:serve(function(conn)
    local stream, err = pool:open { timeout = "3s" }
    if not stream then return conn:reset(err) end
    kt.splice(conn, stream)
  end)
  kt.spawn(function() kt.sleep "20s" print "in the script's own slice" kt.sleep "1h" print(other, closed) end)]]

local function network(opts)
  local w = sim.world { seed = 3, files = { ["psk.key"] = "our secret" } }
  w:host "client":file("s.lua", SCRIPT)
  for i, name in ipairs { "a", "b" } do
    w:host(name):serve { on = "127.0.0.1:8388", kind = "echo" }
    w:host(name):run "scripts/examples/server.lua"
    w:link("client", name, { delay = 0.02 * i, loss = "1%" })
  end
  return w, w:host "client":run("s.lua", opts)
end

describe("the pools of a script", function()
  it("are found by number and by name, with their links", function()
    local w, script = network()
    local app
    w:at("5s", function()
      app = w:host "client":connect "127.0.0.1:1"
      app:echo "hello"
    end)
    w:run "6s"
    local pools = script:pools()
    assert.equal(2, #pools)
    assert.equal(pools[1], pools.main)
    assert.equal("pool", pools[2].name)
    local main = pools.main
    assert.same({ 2, 2, "first", 1, 0, 0 }, { #main.links, main.up, main.current, main.opened, main.failed, main.switches })
    local first, second = main.links[1], main.links[2]
    assert.same({ "first", "a:29900", true, true, 1 }, { first.name, first.remote, first.up, first.proven, first.streams })
    assert.same({ "b:29900", "b:29900", 0, 1 }, { second.name, second.remote, second.streams, second.weight })
    assert.near(0.04, first.srtt, 0.03)
    assert.is_nil(pools[2].links[1].error)
    assert.equal(first.name, w:host "client":pools().main.links[1].name)
    app:close()
  end)

  it("have the current number of streams, not that of the last policy call or check", function()
    local w = network()
    w:host "client":file("now.lua", [[
      local kt = require "kt"
      local link = kt.link { remote = "a:29900", key = "our secret" }
      local pool = kt.pool { links = { link }, policy = "least_loaded" }
      kt.spawn(function()
        local streams = {}
        for i = 1, 3 do
          streams[i] = assert(pool:open())
          print(pool:links()[1].streams, link:stats().streams)
        end
        for _, stream in ipairs(streams) do stream:reset() end
        print(pool:links()[1].streams, link:stats().streams)
        kt.sleep "200ms" -- the reset waits for the hello of the server
        print(pool:links()[1].streams, link:stats().streams)
      end)]])
    local script = w:host "client":run("now.lua", { beside = true })
    w:run "10s"
    assert.equal("1\t1\n2\t2\n3\t3\n3\t3\n0\t0\n", script:output())
  end)

  for _, wire in ipairs { "kt", "kcptun" } do
    it("race for the first link whose peer acknowledges the stream, and close the others, on the wire " .. wire, function()
      local w = sim.world { seed = 3 }
      w:host "client":file("race.lua", ([[
        local kt = require "kt"
        local function to(host) return kt.link { remote = host .. ":29900", key = "our secret", wire = "%s" } end
        local slow, fast = to "a", to "b"
        local pool = kt.pool { links = { { link = slow, name = "slow" }, { link = fast, name = "fast" } }, check = false }
        local function streams() return slow:stats().streams, fast:stats().streams end
        kt.spawn(function()
          for _, link in ipairs { slow, fast } do assert(link:probe { timeout = "5s" }) end
          local asked = kt.now()
          local stream = assert(pool:race { timeout = "5s" })
          local took = kt.now() - asked -- a round trip, without the delay of an acknowledgement
          assert("%s" == "kcptun" or took < 0.21, took)
          print(stream.link, stream:write "x", (stream:read(1, { timeout = "5s" })))
          kt.sleep "1s"
          print(streams())
          stream:close()
          kt.sleep "1s" -- now both lines are cut: open returns at once, race does not
          local opened = assert(slow:open())
          opened:reset()
          local began = kt.now()
          local raced, err = pool:race { timeout = "2s" }
          print(raced, err, kt.now() - began, pool:stats().failed)
        end)]]):format(wire, wire))
      for i, name in ipairs { "a", "b" } do
        w:host(name):serve { on = "127.0.0.1:9", kind = "echo" }
        w:host(name):file("server.lua", ([[
          local kt = require "kt"
          kt.accept { on = ":29900", key = "our secret", wire = "%s" }:serve(function(stream)
            local conn = assert(kt.connect { to = "127.0.0.1:9" })
            kt.splice(stream, conn)
          end)]]):format(wire))
        w:host(name):run "server.lua"
        w:link("client", name, { delay = 0.2 / i })
      end
      local script = w:host "client":run "race.lua"
      w:at("2800ms", function() for _, name in ipairs { "a", "b" } do w:link("client", name):cut() end end)
      w:run "20s"
      assert.equal("fast\t1\tx\n0\t1\nnil\tpool: no link opened a stream: slow: pool:race: no answer within 2 s; "
        .. "fast: pool:race: no answer within 2 s\t2.0\t1\n", (script:output():gsub("2%.0%d*", "2.0")))
    end)
  end

  it("show when links went down and which link serves instead", function()
    local w, script = network()
    w:at("5s", function() w:host "client":connect("127.0.0.1:1"):echo "hello" end)
    w:at("6s", function() w:link("client", "a"):cut() end)
    w:run "15s"
    local main = script:pools().main
    assert.same({ 1, "b:29900", 1 }, { main.up, main.current, main.switches })
    assert.is_false(main.links[1].up)
    assert.is_string(main.links[1].error)
    assert.is_true(main.links[1].since > 2 and main.links[1].since < 9)
  end)

  it("are listed by name when a name is unknown", function()
    local _, script = network()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, why = pcall(function() return script:pools().mian end)
    assert.is_false(ok)
    assert.equal(('spec/sim/pools_spec.lua:%d: script s.lua on host client: unknown pool "mian"; did you mean "main"?'):format(line), why)
  end)

  it("are snapshots, and reading them changes nothing", function()
    local function run(looks)
      local w, script = network()
      w:at("5s", function() w:host "client":connect("127.0.0.1:1"):echo "hello" end)
      local seen = 0
      if looks then
        w:every("10ms", function()
          local pools = script:pools()
          pools.main.links[1].up, pools.main.links[2] = false, nil
          assert.equal(2, script:pools().main.up)
          seen = seen + 1
        end)
      end
      w:run "30s"
      return w:fingerprint(), seen
    end
    local plain = run(false)
    local looked_at, times = run(true)
    assert.is_true(times > 2000)
    assert.equal(plain, looked_at)
  end)

  it("can be read while the script itself runs, and during a packet", function()
    local w, script = network()
    local seen = {}
    local on_print = script.on_print
    function script:on_print(text) -- what a spec's task might do, woken by it
      seen.printing = self:pools().main.up
      on_print(self, text)
    end
    w:rule { from = "client", fn = function() seen.sending = script:pools().main.up end }
    w:run "25s"
    assert.same({ printing = 2, sending = 2 }, seen)
  end)

  it("are empty for a script without pools, and gone when a script has ended", function()
    local w, script = network()
    assert.same({}, w:host "a".scripts[1]:pools())
    assert.same({}, w:host "b":pools())
    script:kill()
    assert.is_nil(script:pools())
    assert.same({}, w:host "client":pools())
    w:host "a":crash()
    assert.is_nil(w:host "a".scripts[1]:pools())
  end)
end)
