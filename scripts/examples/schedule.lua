-- Different settings by day and night: the whole line by day, 512 KiB/s at night.
--     kt run schedule.lua     -- near
--     kt run server.lua       -- far
-- Hours are in this machine's time zone (TZ); kt.date { zone = "utc" } is not affected by daylight saving time.
local kt = require "kt"

local night = { from = 23, till = 7 }
local settings = {
  day   = { rate = 0 }, -- no limit
  night = { rate = "512KiB" },
}

local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key" }

local function time_of_day()
  local hour = kt.date().hour
  return (hour >= night.from or hour < night.till) and "night" or "day"
end

local was = "day" -- the settings that the link was declared with

local function follow()
  local is = time_of_day()
  if is == was then return end
  far:set(settings[is]) -- takes effect immediately, also for open streams
  kt.log.info("it is %s: rate %s", is, settings[is].rate)
  was = is
end
kt.spawn(follow)
kt.every("1m", follow)

kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream, err = far:open { timeout = "5s", client = conn.peer }
  if not stream then return conn:reset(err) end
  kt.splice(conn, stream, { idle = "10m" })
end)
