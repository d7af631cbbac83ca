-- Compares kt on both wires with Debian's kcptun over loopback in one run. Started by bench/loopback, which builds everything first.
--
-- usage: loopback.lua BENCH-TRAFFIC [MEGABYTES [ROUNDS [IMPL…]]]
--
-- For each setting and implementation: a server and a client connected by UDP on loopback; MEGABYTES of random data sent to the
-- target and received from it, checked by CRC-32. Figures are medians of ROUNDS; implementations take turns, so that a busy machine
-- affects them equally. CPU is user and system time of both tunnel ends, without the traffic program.
local h = require "harness"

local traffic, megabytes, rounds = arg[1], tonumber(arg[2] or 256), tonumber(arg[3] or 3)
local impls = { table.unpack(arg, 4) }
if #impls == 0 then impls = { "kcptun", "kt", "own" } end

-- own: kt on its own wire, where nothing is set.
local KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" -- as keygen makes them, so no time goes into a passphrase

local settings = {
  { name = "defaults", options = {} },
  {
    name = "--mode fast3 --nocomp --sndwnd 4096 --rcvwnd 4096 --ds 0 --ps 0",
    options = { mode = "fast3", nocomp = true, sndwnd = 4096, rcvwnd = 4096, datashard = 0, parityshard = 0 },
  },
  {
    name = "the same with --crypt aes-128-gcm, which Debian's kcptun lacks", without = { kcptun = true },
    options = {
      mode = "fast3", nocomp = true, sndwnd = 4096, rcvwnd = 4096, datashard = 0, parityshard = 0, crypt = "aes-128-gcm",
    },
  },
}

local function run_traffic(direction, port, bytes)
  local p = h.start { name = "traffic", cmd = { traffic, direction, "127.0.0.1", tostring(port), ("%d"):format(bytes) } }
  local code = p:wait_exit(300)
  assert(code == 0, p.stderr)
  return tonumber(p.stdout:match("^%d+ (%S+)"))
end

--- One round of one implementation; returns the numbers for the table.
local function measure(impl, options)
  local result = {}
  h.loop.run(function()
    local target = h.start { name = "target", cmd = { traffic, "serve", "127.0.0.1", "0" } }
    local port = tonumber((target:expect("listening (%d+)")))
    local with_impl = { impl = impl }
    for name, value in pairs(options) do with_impl[name] = value end
    if impl == "own" then with_impl = { impl = "kt", wire = "kt", key = KEY } end
    if impl == "kt" then with_impl.wire = "kcptun" end
    local client, server = h.peer.tunnel(port, with_impl)
    run_traffic("send", client.at, 1 << 20) -- warm-up: opens sessions and grows buffers
    for _, direction in ipairs { "send", "recv" } do
      local bytes = megabytes * 1000000
      local cpu = client:cpu() + server:cpu()
      local seconds = run_traffic(direction, client.at, bytes)
      result[direction .. "_mbit"] = bytes * 8 / seconds / 1e6
      result[direction .. "_cpu"] = (client:cpu() + server:cpu() - cpu) / (bytes / 1e9)
    end
    result.memory = (client:peak_rss() + server:peak_rss()) / (1 << 20)
  end, 900)
  h.cleanup()
  return result
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local columns = {
  { "send_mbit", "Mbit/s up" }, { "recv_mbit", "Mbit/s down" }, { "send_cpu", "CPU s/GB up" },
  { "recv_cpu", "CPU s/GB down" }, { "memory", "peak MiB" },
}

local function row(label, format, value)
  local cells = { ("%-8s"):format(label) }
  for _, column in ipairs(columns) do cells[#cells + 1] = ("%13s"):format(format:format(value(column[1]))) end
  print(table.concat(cells, "  "))
end

print(("%d MB each way, %d rounds, medians; %s"):format(megabytes, rounds, io.popen("uname -srm"):read("l")))
for _, setting in ipairs(settings) do
  local samples, medians, present = {}, {}, {}
  for _, impl in ipairs(impls) do
    if not (setting.without or {})[impl] then
      present[#present + 1], samples[impl] = impl, {}
    end
  end
  for _ = 1, rounds do
    for _, impl in ipairs(present) do table.insert(samples[impl], measure(impl, setting.options)) end
  end
  print("\n" .. setting.name)
  local names = { (" "):rep(8) }
  for _, column in ipairs(columns) do names[#names + 1] = ("%13s"):format(column[2]) end
  print(table.concat(names, "  "))
  for _, impl in ipairs(present) do
    medians[impl] = {}
    for _, column in ipairs(columns) do
      local values = {}
      for i, sample in ipairs(samples[impl]) do values[i] = sample[column[1]] end
      medians[impl][column[1]] = median(values)
    end
    row(impl, "%.1f", function(key) return medians[impl][key] end)
  end
  if medians.kt and medians.kcptun then
    row("kt/kcptun", "%.2f", function(key) return medians.kt[key] / medians.kcptun[key] end)
  end
  if medians.own and medians.kt then
    row("own/kt", "%.2f", function(key) return medians.own[key] / medians.kt[key] end)
  end
end
