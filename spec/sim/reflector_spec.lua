-- A client can use the part of kt server that helps kt doctor only as the wire's page says.
local sim = require "kt.sim"

local function world(script)
  local w = sim.world { seed = 3 }
  w:host "client" w:host "server"
  w:link("client", "server", { delay = "10ms", rate = "20Mbit" })
  local server = w:host "server":run("kt server", { args = { "-l", ":29900", "-t", "127.0.0.1:1", "--key", "k" } })
  local client = w:host "client":run("c.lua", { files = { ["c.lua"] = [[
    local kt = require "kt"
    local link = kt.link { remote = "server:29900", key = "k", wire = "kt" }
    local function open(request)
      local stream = assert(link:open { to = "kt:diagnose" })
      assert(stream:read_until("\n", 1024))
      if request then stream:write(request) end
      return stream
    end
    kt.spawn(function() ]] .. script .. " end)" } })
  return w, client, server
end

describe("kt:diagnose", function()
  it("takes no request that is none, and ends each in time", function()
    local w, client, server = world [[
      for _, request in ipairs { "up\n", "down -1\n", "down 1e9\n", "down 5\r\n", ("x"):rep(1000), "sideways 5\n", "\n", "down 0\n", "down 5 0\n" } do
        local stream, bytes = open(request), 0
        while true do
          local data = stream:read(65536, { timeout = "20s" })
          if not data then break end
          bytes = bytes + #data
        end
        print(bytes)
        stream:close()
      end
      local before, bytes, stream = kt.now(), 0, open "down 99999\n"
      while true do
        local data = stream:read(65536, { timeout = "20s" })
        if not data then break end
        bytes = bytes + #data
      end
      print(("%.0f s, %s"):format(kt.now() - before, bytes > 1e7))
      for _, rate in ipairs { "1", "100000", "99999999999999999999" } do
        local began, got, paced = kt.now(), 0, open("down 4 " .. rate .. "\n")
        while true do
          local data = paced:read(65536, { timeout = "20s" })
          if not data then break end
          got = got + #data
        end
        print(("%.0f s, %.1f kB"):format(kt.now() - began, math.min(got, 1e6) / 1000))
      end
    ]]
    w:run_for "150s"
    assert.equal(("0\n"):rep(9) .. "15 s, true\n4 s, 1.0 kB\n4 s, 400.0 kB\n4 s, 1000.0 kB\n", client:output())
    assert.equal(0, server:failed_tasks())
    assert.equal(0, server:stats().counters.StreamsNow)
  end)

  it("gives its places back, also those of clients that say nothing or go away", function()
    local w, client, server = world [[
      for round = 1, 3 do
        local streams = {}
        for i = 1, 16 do streams[i] = open(round == 2 and "down 15\n" or nil) end
        print(select(2, pcall(open)) ~= nil and "full" or "not full")
        if round == 2 then for _, s in ipairs(streams) do s:reset() end end
        kt.sleep "60s"
      end
      open():close()
      print "open"
    ]]
    w:run_for "200s"
    assert.equal(("full\n"):rep(3) .. "open\n", client:output())
    assert.equal(0, server:failed_tasks())
  end)

  it("answers a datagram with no more than its length, and none that it does not know", function()
    local w, client, server = world [[
      local at = kt.listen { udp = "127.0.0.1:0" }
      at:serve(function(flow) kt.splice(flow, assert(link:flow { to = "kt:diagnose" }), { idle = "2m" }) end)
      local socket = kt.udp { to = at.local_addr, queue = "1MiB" }
      for _, data in ipairs { "", "ktdq", ("ktdq"):rep(3) .. "abc", ("x"):rep(1000), "ktdr" .. ("\0"):rep(12), ("ktdq"):rep(4), "ktdq" .. ("\255"):rep(996),
        "ktdw" .. ("\255"):rep(12), "ktdw" .. ("\255"):rep(12) } do socket:send(data) end
      local from = kt.now()
      while true do
        local data = socket:receive { timeout = "120s" }
        if not data then break end
        print(#data, ("%.0f"):format(kt.now() - from))
      end
    ]]
    w:run_for "300s"
    assert.equal("16\t0\n1000\t0\n16\t110\n", client:output())
    assert.equal(0, server:failed_tasks())
  end)
end)
