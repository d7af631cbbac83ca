-- Compares the simulator with reality. The example scripts, unmodified, carry one transfer over the same line twice: between two
-- network namespaces joined by bench-line, in real time, and between two simulated hosts. The kernel's TCP (cubic) over the same
-- line serves as a baseline. Started by bench/agree.
--
-- usage: agree.lua BUILD [MEGABYTES [ROUNDS [LINE…]]]
--
-- Figures are median goodput (Mbit/s, from the request to the checksum or the last byte) for each line and direction, with minimum
-- and maximum in brackets. The script fails if sim/real is outside 0.85 to 1.15; with fewer than three rounds, where a single loss
-- can decide, outside 0.5 to 2. CPU is the share of one core used by the busier kt; near 1, the machine and not the line was the limit.
local bytes_of = require "bytes"
local sim = require "kt.sim"

local build, megabytes, rounds = arg[1], tonumber(arg[2] or 10), tonumber(arg[3] or 3)
local LEAST, MOST = table.unpack(rounds < 3 and { 0.5, 2 } or { 0.85, 1.15 })
local NOISE = bytes_of.noise(65536, 1) -- incompressible, because kcptun's wire compresses
local PATIENT = { timeout = "10m" }
local SIM_SEEDS = 9 -- simulated rounds are cheap
local CLIENT, TARGET = "127.0.0.1:12948", "127.0.0.1:8388" -- the addresses in the examples

-- way: the options of both directions, as for kt.sim; bench-line's arguments are derived from them. `share`: the share of the
-- megabytes to transfer on a slow line. The kernel's TCP transfers half on lossy lines, where it would otherwise need minutes.
local lines = {
  { name = "clean", way = { delay = 0.04, rate = "20Mbit", queue = { time = 0.1 } } },
  { name = "loss", way = { delay = 0.04, rate = "20Mbit", queue = { time = 0.1 }, loss = 0.02 } },
  { name = "bursts", way = { delay = 0.04, rate = "20Mbit", queue = { time = 0.1 }, burst = { enter = 0.005, leave = 0.25 } } },
  { name = "queue", way = { delay = 0.04, rate = "20Mbit", queue = { time = 0.02 } } },
  { name = "jitter", way = { delay = 0.04, rate = "20Mbit", queue = { time = 0.1 }, jitter = 0.005, reorder = 0.01 } },
  { name = "slow", way = { delay = 0.1, rate = "4Mbit", queue = { bytes = 65536 }, loss = 0.01 }, share = 0.25 },
}

local function noise(n) return NOISE:rep(n // #NOISE) .. NOISE:sub(1, n % #NOISE) end

local function read_file(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

local function write_file(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function capture(command)
  local f = assert(io.popen(command))
  local text = f:read "a"
  assert(f:close(), command .. " failed: " .. text)
  return text
end

local scripts = { client = read_file "scripts/examples/client.lua", server = read_file "scripts/examples/server.lua" }
local KEY = "a secret for two\n"

local function as_text(way)
  local words, queue, burst = {}, way.queue or {}, way.burst or {}
  local function word(format, value) if value then words[#words + 1] = format:format(value) end end
  local function us(seconds) return seconds and math.floor(seconds * 1e6 + 0.5) end
  word("delay=%dus", us(way.delay))
  word("jitter=%dus", us(way.jitter))
  word("rate=%s", way.rate)
  word("queue=%dus", us(queue.time))
  word("queue=%dB", queue.bytes)
  word("loss=%.6f", way.loss)
  word("burst_enter=%.6f", burst.enter)
  word("burst_leave=%.6f", burst.leave)
  word("reorder=%.6f", way.reorder)
  return table.concat(words, " ")
end

-- ---- on real namespaces ----

local root = capture("pwd"):match "%C+"
if build:sub(1, 1) ~= "/" then build = root .. "/" .. build end
local folder

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local started = 0

--- Starts commands at the ends of a line; returns a function that waits until they exit and returns their output.
local function emulate(line, seed, ends, command)
  started = started + 1
  local tag = folder .. "/" .. started
  local words = { build .. "/bench/bench-line --there " .. quote(as_text(line.way)), "--seed " .. seed, "--stats " .. tag .. ".stats" }
  for _, c in ipairs(ends) do words[#words + 1] = c[1] .. " " .. quote(c[2]) end
  words[#words + 1] = "-- sh -c " .. quote(command)
  local run = assert(io.popen("cd " .. folder .. " && " .. table.concat(words, " ") .. " 2>" .. tag .. ".errors"))
  return function()
    local text = run:read "a"
    if not run:close() then error(command .. " failed: " .. read_file(tag .. ".errors")) end
    for own in read_file(tag .. ".stats"):gmatch "not_carried=(%d+)" do
      if own ~= "0" then print("  the emulator itself lost " .. own .. " packets: what follows is not the line's doing alone") end
    end
    return text
  end
end

local function goodput(text, bytes)
  return bytes * 8 / tonumber(text:match("\n?" .. bytes .. " ([%d.]+) %x+\n")) / 1e6
end

-- The name that the client looks up exists only in the mount namespace of the run.
local function real(line, seed, direction, bytes)
  local traffic, kt = build .. "/bench/bench-traffic", build .. "/kt"
  local to = "127.0.0.1 " .. CLIENT:match "%d+$" .. " "
  local text = emulate(line, seed, {
    { "--b", "exec " .. kt .. " run server.lua" },
    { "--b", "exec " .. traffic .. " serve 127.0.0.1 " .. TARGET:match "%d+$" .. " >/dev/null" },
    { "--a", "mount --bind hosts /etc/hosts && exec " .. kt .. " run client.lua" },
  }, ("%s send %s 1 && %s %s %s %d && cat /proc/[0-9]*/stat"):format(traffic, to, traffic, direction, to, bytes))()
  local rate, cpu = goodput(text, bytes), 0
  for user, system in text:gmatch "%(kt%) %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)" do
    cpu = math.max(cpu, (tonumber(user) + tonumber(system)) / 100)
  end
  return rate, cpu / (bytes * 8 / rate / 1e6)
end

--- Runs all rounds in parallel, because each may take a minute. Each has its own line, and TCP uses little CPU at these rates.
local function cubic(line, n, direction, bytes)
  local traffic, runs, rates = build .. "/bench/bench-traffic", {}, {}
  for seed = 1, n do
    runs[seed] = emulate(line, seed, { { "--b", "exec " .. traffic .. " serve 10.77.0.2 9000 cubic >/dev/null" } },
      ("%s %s 10.77.0.2 9000 %d cubic"):format(traffic, direction, bytes))
  end
  for i, finish in ipairs(runs) do rates[i] = goodput(finish(), bytes) end
  return rates
end

-- ---- on simulated hosts ----

--- Acts as bench-traffic's server: reads a 16-byte request, then receives that many bytes and answers 4, or sends that many and 4.
local function serve(conn)
  local direction, n = ("<i8i8"):unpack(assert(conn:read_exactly(16, PATIENT)))
  if direction == 1 then
    while n > 0 do n = n - #assert(conn:read(PATIENT)) end
    conn:write("done", PATIENT)
  else
    conn:write(noise(n + 4), PATIENT)
  end
  conn:read_all(PATIENT)
end

--- Acts as its client; returns the seconds it took.
local function ask(w, direction, bytes)
  local app = w:host("laptop"):connect(CLIENT)
  local from = w:now()
  w:task(function()
    app:write(("<i8i8"):pack(direction == "send" and 1 or 2, bytes), PATIENT)
    if direction == "send" then app:write(noise(bytes), PATIENT) end
  end)
  local left = direction == "send" and 4 or bytes + 4
  while left > 0 do left = left - #assert(app:read(PATIENT)) end
  app:close()
  return w:now() - from
end

local function simulated(line, seed, direction, bytes)
  local w <close> = sim.world { seed = seed, tcp_buffer = 4 << 20, files = { ["psk.key"] = KEY } }
  w:host("laptop", { address = "10.77.0.1" })
  w:host("vps.example", { address = "10.77.0.2" })
  w:link("laptop", "vps.example", line.way)
  w:host("vps.example"):serve { on = TARGET, fn = serve }
  w:host("vps.example"):run "scripts/examples/server.lua"
  w:host("laptop"):run "scripts/examples/client.lua"
  ask(w, "send", 1)
  return bytes * 8 / ask(w, direction, bytes) / 1e6
end

-- ---- the table ----

local function summary(n, fn)
  local list = {}
  for i = 1, n do list[i] = fn(i) end
  table.sort(list)
  return list[(#list + 1) // 2], ("%6.2f (%5.2f..%5.2f)"):format(list[(#list + 1) // 2], list[1], list[#list])
end

local wanted = {}
for i = 4, #arg do wanted[arg[i]] = true end

folder = capture("mktemp -d"):match "%C+"
write_file(folder .. "/psk.key", KEY)
write_file(folder .. "/hosts", "127.0.0.1 localhost\n10.77.0.2 vps.example\n")
for name, text in pairs(scripts) do write_file(folder .. "/" .. name .. ".lua", text) end

local agrees = false
local ok, err = xpcall(function()
  print(("%g MB, scripts/examples, %d rounds; Mbit/s: median (least..most); %s"):format(megabytes, rounds, capture("uname -srm"):match "%C+"))
  print(("%-8s %-5s  %-22s  %-22s  %8s  %5s  %-22s"):format("line", "way", "kt, real", "kt, simulated", "sim/real", "CPU", "kernel TCP, cubic"))
  local worst = 1
  for _, line in ipairs(lines) do
    if not next(wanted) or wanted[line.name] then
      local bytes = megabytes * 1000000 * (line.share or 1) // 1 | 0
      local fewer = (line.way.loss or line.way.burst) and bytes // 2 or bytes
      for _, direction in ipairs { "send", "recv" } do
        local busiest = 0
        local r, r_text = summary(rounds, function(i)
          local rate, cpu = real(line, i, direction, bytes)
          busiest = math.max(busiest, cpu)
          return rate
        end)
        local s, s_text = summary(SIM_SEEDS, function(i) return simulated(line, i, direction, bytes) end)
        local tcp = cubic(line, rounds, direction, fewer)
        local _, c_text = summary(rounds, function(i) return tcp[i] end)
        if math.abs(math.log(s / r)) > math.abs(math.log(worst)) then worst = s / r end
        print(("%-8s %-5s  %s  %s  %8.2f  %5.2f  %s"):format(line.name, direction == "send" and "there" or "back", r_text, s_text, s / r, busiest, c_text))
        io.stdout:flush()
      end
    end
  end
  print(("furthest apart: %.2f"):format(worst))
  agrees = worst > LEAST and worst < MOST
end, debug.traceback)
os.execute("rm -rf " .. quote(folder))
if not ok then error(err, 0) end
os.exit(agrees)
