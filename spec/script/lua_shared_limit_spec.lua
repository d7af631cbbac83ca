-- kt.limit: one rate that conns, streams and splices share, in virtual time.
local sim = require "kt.sim"

--- A relay: conns to `relay` are spliced to `source`, where each gets bytes without end. script: the relay's. It defines use(conn, other),
--- which returns the options of the splice. Returns the world and the apps of this many clients.
local function relay(script, clients)
  local w = sim.world { seed = 4 }
  w:host "relay":file("s.lua", 'local kt = require "kt"\n' .. script .. [[

    kt.listen { on = ":7000" }:serve(function(conn)
      local other = assert(kt.connect { to = "source:9" })
      kt.splice(conn, other, use(conn, other))
    end)]])
  w:host "source":file("s.lua", [[
    local kt = require "kt"
    kt.listen { on = ":9" }:serve(function(conn)
      local block = ("x"):rep(16384)
      while conn:write(block, { timeout = "1h" }) do end
    end)]])
  w:host "sink":serve { on = ":9", kind = "sink" }
  w:link("relay", "source", { delay = "1ms" })
  w:link("relay", "sink", { delay = "1ms" })
  w:host "source":run "s.lua"
  local run = w:host "relay":run "s.lua"
  local apps = {}
  for i = 1, clients do
    w:host("c" .. i)
    w:link("c" .. i, "relay", { delay = ("%dms"):format(i) })
    apps[i] = w:host("c" .. i):connect "relay:7000"
  end
  return w, apps, run
end

--- Reads what arrives for each app in this many seconds; returns the numbers of bytes.
local function received(w, apps, seconds)
  local counts, till = {}, w:now() + seconds
  for i, app in ipairs(apps) do
    counts[i] = 0
    w:task(function()
      while w:now() < till do
        local data = app:read(65536, { timeout = "1h" })
        if w:now() < till then counts[i] = counts[i] + #data end
      end
    end)
  end
  w:run_for(seconds)
  return counts
end

local function sum(counts)
  local total = 0
  for _, n in ipairs(counts) do total = total + n end
  return total
end

describe("a shared limit", function()
  it("gives each splice that has bytes to move the same share, and all together its rate", function()
    local w, apps = relay([[
      local bucket = kt.limit { rate = "100kB" }
      function use(conn, other)
        conn:set { limit = bucket } -- twice in each direction, but each byte counts once
        return { limit = bucket }
      end]], 4)
    local counts = received(w, apps, 10)
    assert.near(1e6, sum(counts), 60e3)
    for _, n in ipairs(counts) do assert.near(250e3, n, 15e3) end
    apps[1]:close()
    apps[2]:close()
    counts = received(w, { apps[3], apps[4] }, 10) -- the others get what these leave
    assert.near(500e3, counts[1], 60e3)
    assert.near(500e3, counts[2], 60e3)
  end)

  it("binds together with a second one that only some use", function()
    local w, apps = relay([[
      local all, few, n = kt.limit { rate = "100kB" }, kt.limit { rate = "20kB" }, 0
      function use(conn)
        n = n + 1
        if n <= 2 then conn:set { limit_out = few } end
        return { limit = { b_to_a = all } }
      end]], 4)
    local counts = received(w, apps, 10)
    for i = 1, 2 do assert.near(100e3, counts[i], 10e3) end
    for i = 3, 4 do assert.near(400e3, counts[i], 20e3) end
  end)

  it("changes while it runs, and ends", function()
    local w, apps = relay([[
      local bucket = kt.limit { rate = "10kB", burst = "2KiB" }
      local conns = {}
      function use(conn)
        conns[#conns + 1] = conn
        return { limit = bucket }
      end
      kt.spawn(function()
        kt.sleep "10s"
        bucket:set { rate = "100kB" }
        kt.sleep "10s"
        for _, conn in ipairs(conns) do conn:set { limit = kt.limit { rate = "1kB" } } end
        kt.sleep "11s"
        for _, conn in ipairs(conns) do conn:set { limit = false } end
        bucket:set { rate = 0 }
      end)]], 2)
    assert.near(100e3, sum(received(w, apps, 10)), 15e3)
    assert.near(1e6, sum(received(w, apps, 10)), 60e3)
    assert.near(20e3, sum(received(w, apps, 10)), 12e3)
    w:run_for "1s"
    assert.is_true(sum(received(w, apps, 0.1)) > 500e3)
  end)

  it("holds reads and writes of tasks, in turn with splices", function()
    local w, apps, run = relay([[
      local bucket = kt.limit { rate = "100kB" }
      function use() return { limit = bucket } end
      kt.spawn(function()
        local conn = assert(kt.connect { to = "source:9" })
        conn:set { limit = bucket }
        kt.sleep "5s"
        local n, till = 0, kt.now() + 10
        while kt.now() < till do n = n + #assert(conn:read(4096, { timeout = "5s" })) end
        print("read", n)
      end)
      kt.spawn(function()
        local conn = assert(kt.connect { to = "sink:9" })
        conn:set { limit_out = bucket }
        kt.sleep "5s"
        local n, till, block = 0, kt.now() + 10, ("x"):rep(10000)
        while kt.now() < till do n = n + assert(conn:write(block)) end
        print("written", n)
      end)]], 1)
    received(w, apps, 5)
    local counts = received(w, apps, 10)
    w:run_for "1s"
    local read, written = run:output():match "read\t(%d+)", run:output():match "written\t(%d+)"
    assert.near(1e6 / 3, counts[1], 50e3)
    assert.near(1e6 / 3, tonumber(read), 50e3)
    assert.near(1e6 / 3, tonumber(written), 50e3)
  end)
end)
