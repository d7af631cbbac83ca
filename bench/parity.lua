-- See bench/parity. A line of 100 Mbit/s and 100 ms. An application writes to a stream at intervals: how long until the last byte of each write
-- has arrived, in order. Then datagrams of a flow: how many are missing, and how long the others took. Bytes are those of the datagrams on the
-- line, compared with the same without parity or copies.
local sim = require "kt.sim"

local far = [[local kt = require "kt"
local peers = kt.accept { on = ":29900", wire = "kt", key = kt.secret_file "key", parity = %s }
peers:on("flow", function(flow)
  local out <close> = kt.connect { udp = flow.target }
  kt.splice(flow, out)
end)
peers:serve(function(stream)
  local conn <close> = assert(kt.connect { to = "127.0.0.1:9" })
  kt.splice(stream, conn)
end)]]

local near = [[local kt = require "kt"
local far = kt.link { remote = "10.0.0.2:29900", wire = "kt", key = kt.secret_file "key" }
kt.listen { on = ":1" }:serve(function(conn)
  local stream <close> = assert(far:open())
  kt.splice(conn, stream)
end)
kt.listen { udp = "127.0.0.1:53" }:serve(function(flow)
  local out <close> = assert(far:flow { to = "127.0.0.1:5300", %s })
  kt.splice(flow, out)
end)]]

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="
local SECONDS, WARM = 24, 4
local filter, seed = os.getenv "FILTER" or "", tonumber(os.getenv "SEED" or 1)

local function percentile(list, share)
  table.sort(list)
  return list[math.max(1, math.ceil(share * #list))] or 0
end

local function world(line, parity, flow)
  local w = sim.world { seed = seed, files = { key = KEY, ["far.lua"] = far:format(parity), ["near.lua"] = near:format(flow) } }
  w:host("near", { address = "10.0.0.1" })
  w:host("far", { address = "10.0.0.2" })
  line.delay, line.rate, line.queue = "50ms", "100Mbit", { packets = 1000 }
  w:link("near", "far", line)
  local scripts = { far = w:host("far"):run "far.lua", near = w:host("near"):run "near.lua" }
  return w, function(host, name) return scripts[host]:stats().counters[name] end
end

local plain = {} -- bytes of a case without protection, by its name

local function report(name, how, count, list, missing)
  local bytes = count("near", "OutBytes")
  plain[name] = plain[name] or bytes
  print(("%-42s %-14s %8s %7.1f %7.1f %7.1f %7.1f %7d %7d"):format(name, how, missing and ("%.2f %%"):format(missing * 100) or "",
    percentile(list, 0.5), percentile(list, 0.99), percentile(list, 1), (bytes / plain[name] - 1) * 100, count("near", "FECParityOut"),
    count("far", "FECRecovered")))
end

local function writes(name, line, size, every)
  for _, parity in ipairs { false, true } do
    local w, count = world(line(), parity, "")
    local at, arrived, got, took = {}, {}, 0, {}
    w:host("far"):serve { on = "127.0.0.1:9", fn = function(conn)
      while true do
        local data = conn:read()
        if not data then return end
        got = got + #data
        while (#arrived + 1) * size <= got do arrived[#arrived + 1] = w:now() end
      end
    end }
    w:task(function()
      local conn = w:host("near"):connect "127.0.0.1:1"
      while w:now() < SECONDS do
        at[#at + 1] = w:now()
        conn:write(("x"):rep(size))
        w:sleep(every)
      end
    end)
    w:run(SECONDS + 2)
    for i, t in ipairs(arrived) do
      if at[i] > WARM then took[#took + 1] = (t - at[i]) * 1000 end
    end
    report(name, parity and "parity" or "none", count, took)
    w:close()
  end
end

local function datagrams(name, line, size, every)
  for _, flow in ipairs { "", "fec = true", "copies = 1", "copies = 2" } do
    local w, count = world(line(), true, flow)
    local at, took, sent = {}, {}, 0
    w:host("far"):serve { udp = "127.0.0.1:5300", fn = function(data)
      local i = tonumber(data:match "^%d+")
      if at[i] > WARM then took[#took + 1] = (w:now() - at[i]) * 1000 end
    end }
    w:run(0.5)
    w:task(function()
      local socket = w:host("near"):udp {}
      while w:now() < SECONDS do
        at[#at + 1] = w:now()
        if w:now() > WARM then sent = sent + 1 end
        local head = #at .. ":"
        socket:send(head .. ("."):rep(size - #head), "127.0.0.1:53")
        w:sleep(every)
      end
    end)
    w:run(SECONDS + 2)
    report(name, flow == "" and "none" or flow, count, took, (sent - #took) / sent)
    w:close()
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
