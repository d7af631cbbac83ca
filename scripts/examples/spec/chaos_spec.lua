-- client.lua and server.lua under faults at random: cuts, loss, crashes, a NAT that forgets. Five seeds here; try hundreds
-- before you deploy. Whatever happens, a connection carries every byte or is reset, none hangs, and the tunnel works again once the
-- network does.
local sim = require "kt.sim"

describe("client.lua and server.lua", function()
  it("lose no byte, and recover, whatever happens", function()
    sim.sweep(5, function(w)
      local client, server = w:host "client", w:host("server", { address = "203.0.113.9" })
      local line = w:link("client", "server", { delay = w:random(5, 150) / 1000, loss = w:random() * 0.05 })
      w:name("vps.example", "server")
      client:nat { public = "198.51.100.1", timeout = "30s" }
      server:serve { on = "127.0.0.1:8388", kind = "echo" }
      server:run "scripts/examples/server.lua"
      client:run "scripts/examples/client.lua"

      local faults = {
        { "cut", function() line:cut() end, function() line:heal() end },
        { "loss", function() line:set { loss = "40%" } end, function() line:set { loss = 0 } end },
        { "crash", function() server:crash() end, function() server:restart() end },
        { "rebind", function() client:nat_rebind() end, function() end },
        { "full", function() client:udp_full "2s" end, function() end },
      }
      for i = 1, 4 do
        local name, begin, mend = table.unpack(faults[w:random(#faults)])
        local at = i * 10 + w:random() * 4
        w:fault(at, name, begin)
        w:fault(at + w:random() * 5, "end of " .. name, mend)
      end

      local transfers = {}
      for i = 1, 10 do
        w:run(i * 4)
        transfers[i] = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = w:random(300000), kind = "echo", timeout = "2m" }
      end
      w:run "1m"
      for _, t in ipairs(transfers) do
        local ok, why = pcall(t.wait, t)
        assert(ok or tostring(why):find("reset", 1, true), why) -- neither damaged nor left hanging
      end
      assert.equal("server", client:connect "127.0.0.1:12948":echo("all is well").server)
    end, { files = { ["psk.key"] = "our secret" } })
  end)
end)
