-- schedule.lua: the settings change at 23:00 and at 7:00, also for open conns.
local sim = require "kt.sim"

describe("schedule.lua", function()
  -- The client's script in a world that begins at this time of the day. A world's clock is in UTC; the script looks once a minute.
  local function begin(time)
    local w = sim.world { files = { ["psk.key"] = "our secret" }, start = "2026-03-02 " .. time }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "20ms", rate = "15Mbit" })
    w:name("vps.example", "server")
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "sink" }
    w:host("server"):run "scripts/examples/server.lua"
    return w, w:host("client"):run "scripts/examples/schedule.lua"
  end

  -- Bytes per second of an upload that arrive between two times.
  local function pace(w, upload, from, till)
    w:run(from)
    local before = upload.received
    w:run(till)
    return (upload.received - before) / (till - from)
  end

  for time, case in pairs { ["22:59:30"] = { "day", "night" }, ["06:59:30"] = { "night", "day" } } do
    it("limits an upload to 512 KiB/s by night only, also one that runs when the " .. case[1] .. " ends", function()
      local w, script = begin(time)
      w:run "55s"
      local upload, speed = w:transfer { from = "client", to = "127.0.0.1:12948", bytes = "100MB" }, {}
      speed[case[1]], speed[case[2]] = pace(w, upload, 56, 59), pace(w, upload, 65, 70)
      assert.is_true(speed.day > 800e3)
      assert.is_true(speed.night > 300 * 1024 and speed.night < 512 * 1024)
      script:wait_log(("it is %s: rate %s"):format(case[2], case[2] == "day" and "0" or "512KiB"))
    end)
  end

  it("applies the settings of the night at once when started at night, and logs no change by day", function()
    for _, time in ipairs { "23:00:00", "00:00:00", "06:30:00" } do
      local w, script = begin(time)
      w:run "1s"
      assert.matches("it is night: rate 512KiB", script:log())
    end
    for _, time in ipairs { "07:00:00", "22:30:00" } do
      local w, script = begin(time)
      w:run "10m"
      assert.falsy(script:log():find "it is ")
    end
  end)
end)
