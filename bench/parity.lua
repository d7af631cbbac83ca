-- See bench/parity. A line of 100 Mbit/s and 100 ms. An application writes to a stream at intervals: how long until the last byte of each write
-- has arrived, in order. Then datagrams of a flow: how many are missing, and how long the others took. Bytes are those of the datagrams on the
-- line, compared with the same without parity or copies.
local parity_world = require "parity_world"
local percentile = parity_world.percentile

local SECONDS, WARM = 24, 4
local filter, seed = os.getenv "FILTER" or "", tonumber(os.getenv "SEED" or 1)

local function tunnel(line, parity, flow)
  line.delay, line.rate, line.queue = "50ms", "100Mbit", { packets = 1000 }
  return parity_world.tunnel(line, { seed = seed, parity = parity, flow = flow })
end

local plain = {} -- bytes of a case without protection, by its name

local function report(name, how, t, list, missing)
  local bytes = t.near:stats().counters.OutBytes
  plain[name] = plain[name] or bytes
  print(("%-42s %-14s %8s %7.1f %7.1f %7.1f %7.1f %7d %7d"):format(name, how, missing and ("%.2f %%"):format(missing * 100) or "",
    percentile(list, 0.5), percentile(list, 0.99), percentile(list, 1), (bytes / plain[name] - 1) * 100, t.sent(), t.rebuilt()))
  t.w:close()
end

local function writes(name, line, size, every)
  for _, parity in ipairs { false, true } do
    local t = tunnel(line(), parity)
    report(name, parity and "parity" or "none", t, (parity_world.writes(t, size, every, SECONDS, WARM)))
  end
end

local function datagrams(name, line, size, every)
  for _, flow in ipairs { "", "fec = true", "copies = 1", "copies = 2" } do
    local t = tunnel(line(), true, flow)
    report(name, flow == "" and "none" or flow, t, parity_world.datagrams(t, size, every, SECONDS - 0.5, WARM - 0.5))
  end
end

local function bursts(share, mean) return { enter = share / mean / (1 - share), leave = 1 / mean } end

it("measures", function()
  print(("%-42s %-14s %8s %7s %7s %7s %7s %7s %7s"):format("line and traffic", "protection", "missing", "p50 ms", "p99", "most", "bytes %",
    "parity", "rebuilt"))
  local lines = { { "no loss", {} }, { "bursts of 4, 5 %", { burst = bursts(0.05, 4) } }, { "bursts of 8, 5 %", { burst = bursts(0.05, 8) } } }
  for i, loss in ipairs { 0.2, 1, 5, 10, 20 } do table.insert(lines, i + 1, { ("%g %% loss"):format(loss), { loss = loss / 100 } }) end
  for _, l in ipairs(lines) do
    local function line() return { loss = l[2].loss, burst = l[2].burst } end
    if l[1]:find(filter, 1, true) then
      writes(l[1] .. ", 12,500 bytes every 10 ms", line, 12500, 0.01)
      writes(l[1] .. ", 4,000 bytes every 20 ms", line, 4000, 0.02)
      writes(l[1] .. ", 150,000 bytes every 100 ms", line, 150000, 0.1)
      datagrams(l[1] .. ", 50 datagrams of 200 bytes/s", line, 200, 0.02)
      datagrams(l[1] .. ", 200 of 1,000 bytes/s", line, 1000, 0.005)
    end
  end
end)
