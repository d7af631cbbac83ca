-- See bench/auto. For each line: the throughput of one transfer in 20 s after the first 2 s, when it first reached four fifths of that, the
-- standing queue (median and 95th percentile of the smoothed round trip, less the line's own) and single bytes that are echoed beside the transfer.
local sim = require "kt.sim"

-- The first byte of a stream says where it goes.
local far = [[local kt = require "kt"
kt.accept { on = ":29900", key = "k", %s }:serve(function(stream)
  local conn = kt.connect { to = stream:read(1) == "e" and "127.0.0.1:7" or "127.0.0.1:9" }
  if conn then kt.splice(stream, conn) end
end)]]

local near = [[local kt = require "kt"
local far = kt.link { remote = "10.0.0.2:29900", key = "k", %s }
local function forward(on, first)
  kt.listen { on = on }:serve(function(conn)
    local stream = far:open()
    stream:write(first)
    kt.splice(conn, stream)
  end)
end
forward(":12947", "e")
forward(":12949", "s")]]

local STEP, WARM, SECONDS = 0.05, 2, tonumber(os.getenv "SECONDS" or 20)
local filter, settings = os.getenv "FILTER" or "", os.getenv "SETTINGS" or ('wire = "kcptun", mode = "%s"'):format(os.getenv "MODE" or "auto")

local function percentile(list, share)
  table.sort(list)
  return list[math.max(1, math.ceil(share * #list))] or 0
end

local function measure(name, line, rtt, mbit)
  if not name:find(filter, 1, true) then return end
  local w = sim.world {
    seed = tonumber(os.getenv "SEED" or 1), files = { ["far.lua"] = far:format(settings), ["near.lua"] = near:format(settings) },
  }
  w:host("near", { address = "10.0.0.1" })
  w:host("far", { address = "10.0.0.2" })
  line.delay, line.rate = ("%fms"):format(rtt / 2), ("%dMbit"):format(mbit)
  w:link("near", "far", line)
  w:host("far"):serve { on = "127.0.0.1:7", kind = "echo" }
  w:host("far"):serve { on = "127.0.0.1:9", kind = "sink" }
  w:host("far"):run "far.lua"
  w:host("near"):run "near.lua"
  local up = w:transfer { from = "near", to = "127.0.0.1:12949", bytes = ("%dMB"):format(mbit * (SECONDS + 4) // 8), kind = "up" }
  local keys = w:keystrokes { from = "near", to = "127.0.0.1:12947", every = "50ms", count = (WARM + SECONDS) * 20 - 10 }
  local rates, queue, before, from = {}, {}, 0, 0
  for i = 1, math.floor((WARM + SECONDS) / STEP) do
    w:run_for(STEP)
    local link = w:host("near"):stats().links[1]
    rates[i] = up.received
    if i * STEP == WARM then from = rates[i] end
    if i * STEP > WARM and link then queue[#queue + 1] = link.srtt * 1000 - rtt end
    before = link
  end
  local rate = (rates[#rates] - from) * 8 / SECONDS / 1e6
  local reached = 0
  for i = 5, #rates do
    if (rates[i] - rates[i - 4]) * 8 / (4 * STEP) / 1e6 >= 0.8 * rate then reached = i * STEP break end
  end
  local times = table.move(keys:latencies(), WARM * 20 + 1, (WARM + SECONDS) * 20, 1, {})
  print(("%-44s %7.1f %6.2f %8.1f %7.1f %8.1f %8.1f  %.3f"):format(name, rate, reached, percentile(queue, 0.5), percentile(queue, 0.95),
    percentile(times, 0.5) * 1000, percentile(times, 0.99) * 1000, before.segs_retrans / before.segs_out))
  w:close()
end

local function bursts(share) return { enter = share / 8 / (1 - share), leave = 0.125 } end

it("measures", function()
  print(("%-44s %7s %6s %8s %7s %8s %8s  %s"):format("line", "Mbit/s", "start", "queue50", "queue95", "echo50", "echo99", "resent"))
  for _, mbit in ipairs { 20, 100, 500 } do
    for _, rtt in ipairs { 20, 100, 300 } do
      for _, loss in ipairs { 0, 0.01, 0.1 } do
        for _, queue in ipairs { 50, 1000 } do
          measure(("%d Mbit/s, %d ms, %d %% loss, queue %d"):format(mbit, rtt, loss * 100, queue),
            { loss = loss, queue = { packets = queue } }, rtt, mbit)
        end
      end
    end
  end
  for _, loss in ipairs { 0, 0.1 } do
    measure(("20 Mbit/s, 100 ms, policer 32 KB, %g %% loss"):format(loss * 100), { police = "32KB", loss = loss }, 100, 20)
  end
  measure("100 Mbit/s, 100 ms, bursts of 8, 1 %", { burst = bursts(0.01) }, 100, 100)
  measure("100 Mbit/s, 100 ms, bursts of 8, 5 %", { burst = bursts(0.05) }, 100, 100)
  measure("100 Mbit/s, 100 ms, jitter 30 ms", { jitter = "30ms" }, 100, 100)
  measure("100 Mbit/s, 100 ms, reordering 5 %", { reorder = 0.05 }, 100, 100)
  measure("20 Mbit/s, 100 ms, jitter 30 ms", { jitter = "30ms" }, 100, 20)
end)
