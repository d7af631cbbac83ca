-- The counters of links and acceptors never fall: they are sums over all sessions, those that have ended included.
local sim = require "kt.sim"

-- Both ends check their counters ten times a second, and report one that has fallen.
local WATCH = [[
  local function watch(what, link)
    kt.spawn(function()
      local last = link:stats()
      while true do
        kt.sleep "100ms"
        local now = link:stats()
        for _, name in ipairs { "segs_out", "segs_retrans", "segs_recovered", "bytes_in", "bytes_out" } do
          if now[name] < last[name] then print(what, name, "fell from", last[name], "to", now[name]) end
        end
        last = now
      end
    end)
  end
]]

-- Further settings of each wire with which a session ends soon: at an acceptor, at a link.
local WIRES = {
  kcptun = { 'wire = "kcptun", fec = { data = 3, parity = 2 }', 'wire = "kcptun", fec = { data = 3, parity = 2 }, dead_after = "5s"' },
  kt = { 'wire = "kt", survive = "5s"', 'wire = "kt", survive = "5s"' },
}

local function network(wire)
  local w = sim.world { seed = 5 }
  w:host "near"
  w:host "far"
  w:link("near", "far", { delay = "20ms", loss = "10%" })
  w:host("far"):serve { on = "127.0.0.1:9", kind = "echo" }
  w:host("far"):file("far.lua", [[
    local kt = require "kt"
    local acceptor = kt.accept { on = ":29900", key = "k", ]] .. WIRES[wire][1] .. [[ }
    ]] .. WATCH .. [[
    acceptor:serve(function(stream) kt.splice(stream, kt.connect { to = "127.0.0.1:9" }) end)
    watch("acceptor", acceptor)
    acceptor:on("link", function(link)
      watch("accepted", link)
      link:on("down", function(stats) print("accepted down", stats.bytes_in > 10000, link:stats().bytes_in > 10000) end)
    end)
    kt.spawn(function()
      kt.sleep "110s"
      local open = acceptor:stats()
      acceptor:close()
      print("closed acceptor", open.bytes_in > 40000, acceptor:stats().bytes_in == open.bytes_in)
    end)]])
  w:host("near"):file("near.lua", [[
    local kt = require "kt"
    local link = kt.link { remote = "far:29900", key = "k", ]] .. WIRES[wire][2] .. [[ }
    ]] .. WATCH .. [[
    kt.listen { on = "127.0.0.1:1" }:serve(function(conn) kt.splice(conn, link:open()) end)
    watch("link", link)
    kt.spawn(function()
      kt.sleep "110s"
      local open = link:stats()
      link:close()
      print("closed link", open.bytes_in > 40000, link:stats().bytes_in == open.bytes_in, link:stats().sessions)
    end)]])
  return w, w:host("far"):run "far.lua", w:host("near"):run "near.lua"
end

-- Incompressible data.
local TEXT = {}
for i = 1, 5000 do TEXT[i] = ("%d "):format(i * i * 7919 % 1000003) end
TEXT = table.concat(TEXT)

local function carry(w) w:host("near"):connect("127.0.0.1:1"):echo(TEXT) end

local function link_of(script) return script:stats().links[1] end

describe("the counters of a link", function()
  for _, wire in ipairs { "kcptun", "kt" } do
    it("keep counting when a session dies and another replaces it, at both ends, on the wire " .. wire, function()
      local w, far, near = network(wire)
      w:at("1s", function() carry(w) end)
      w:run "10s"
      local first = { far = link_of(far), near = link_of(near) }
      w:link("near", "far"):cut()
      w:at("11s", function() w:host("near"):connect "127.0.0.1:1" end) -- so that the peer owes an answer
      w:run "70s"
      assert.equal(0, link_of(far).sessions)
      w:link("near", "far"):heal()
      w:at("75s", function() carry(w) end)
      w:run "100s"
      for end_, script in pairs { far = far, near = near } do
        local was, is = first[end_], link_of(script)
        for _, name in ipairs { "segs_out", "segs_retrans", "segs_recovered", "bytes_in", "bytes_out" } do
          assert.is_true(is[name] >= was[name], ("%s %s: %s, then %s"):format(end_, name, was[name], is[name]))
        end
        assert.is_true(is.bytes_in > 1.5 * was.bytes_in and is.segs_out > 1.5 * was.segs_out)
      end
      w:run "120s"
      assert.equal(("accepted down\ttrue\ttrue\n"):rep(2), (far:output():gsub("closed acceptor\ttrue\ttrue\n", "")))
      assert.matches("closed acceptor\ttrue\ttrue\n", far:output())
      assert.equal("closed link\ttrue\ttrue\t0\n", near:output())
    end)
  end
end)
