-- See bench/sim.
local sim = require "kt.sim"

local function round()
  local w = sim.world { seed = 7, files = { ["psk.key"] = "a secret of this bench" } }
  w:host "client"
  w:host "server"
  w:link("client", "server", { delay = "40ms", loss = "5%" })
  w:name("vps.example", "server")
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host("server"):run "scripts/examples/server.lua"
  w:host("client"):run "scripts/examples/client.lua"
  local t = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "5MB", kind = "echo" } -- both ways
  local k = w:keystrokes { from = "client", to = "127.0.0.1:12948", every = "100ms", count = 5990 }
  t:wait()
  k:wait()
  w:run "10m"
  local _, happened = w:fingerprint()
  w:close()
  return happened
end

it("passes ten minutes", function()
  for _ = 1, tonumber(os.getenv "ROUNDS" or 3) do
    local from = os.clock()
    local happened = round()
    local spent = os.clock() - from
    print(("600 s in %.2f s of processor time, %d things that happened to packets"):format(spent, happened))
  end
end)
