-- schedule.lua: the settings change at 23:00, also for open conns.
local sim = require "kt.sim"

describe("schedule.lua", function()
  it("lets an upload fill the line until 23:00, and limits it to 512 KiB/s after", function()
    -- A world's clock is in UTC. The script checks the time once a minute.
    local w = sim.world { files = { ["psk.key"] = "our secret" }, start = "2026-03-02 22:59:30" }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "20ms", rate = "50Mbit" })
    w:name("vps.example", "server")
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "sink" }
    w:host("server"):run "scripts/examples/server.lua"
    w:host("client"):run "scripts/examples/schedule.lua"

    w:run "55s"
    local upload = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "100MB" }
    local function pace(from, till) -- bytes per second that arrive between two times
      w:run(from)
      local before = upload.received
      w:run(till)
      return (upload.received - before) / (till - from)
    end
    local day, night = pace(56, 59), pace(65, 75)
    assert.is_true(day > 3e6)
    assert.is_true(night > 300 * 1024 and night < 512 * 1024)
  end)
end)
