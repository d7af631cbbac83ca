-- bench-line treats packets as configured, by the simulator's model, and leaves nothing behind. Needs root, TUN devices and
-- namespaces; the bounds are wide enough for a busy machine.
local spec_io = require "spec_io"
local spec_sim = require "spec_sim"

local BUILD = os.getenv "KT_BUILD" or "build"
local PROGRAM = BUILD .. "/bench/bench-line"
local MS, S = 1000, 1000000

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- Returns a command's output (stdout and stderr) and its exit status.
local function sh(command)
  local f = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local text = f:read "a"
  local _, _, code = f:close()
  return text, code
end

local function read_file(path)
  local f = io.open(path)
  if not f then return "" end
  local text = f:read "a"
  f:close()
  return text
end

local function why_not()
  if sh "id -u":match "%d+" ~= "0" then return "not root" end
  if not io.open("/dev/net/tun", "r+") then return "no /dev/net/tun" end
  if select(2, sh "unshare --net --pid --mount --fork true") ~= 0 then return "no namespaces" end
end

local folder

local function line(options, rest)
  return sh(("timeout -s KILL 60 %s --stats %s/stats %s %s"):format(PROGRAM, folder, options, rest or ""))
end

--- Sends datagrams from a to b over a line; what came, by index, in order of coming, and what the emulator counted.
local function carry(opts)
  local probe = "lua5.4 spec/support/line_probe.lua "
  local got = folder .. "/got"
  os.remove(got)
  local said, code = line(
    ("--there %s --back %s --seed %d --b %s"):format(quote(opts.there), quote(opts.back or ""), opts.seed or 1, quote(probe .. "sink " .. got)),
    ("-- %s send %s %s %d %d %d"):format(probe, got, opts.to or "10.77.0.2", opts.n, opts.size or 100, opts.every_ms or 0))
  assert(code == 0, said)
  local r = { list = {}, by_index = {}, stats = {} }
  for index, took, at, state in read_file(got):gmatch "(%d+) (-?%d+) (%d+) (%a+)\n" do
    local d = { index = tonumber(index), took = tonumber(took), at = tonumber(at), intact = state == "intact" }
    table.insert(r.list, d)
    r.by_index[d.index] = d
  end
  for name, value in read_file(folder .. "/stats"):match("there: ([^\n]+)"):gmatch "([%w_]+)=(%d+)" do r.stats[name] = tonumber(value) end
  return r
end

local function between(least, most, value)
  assert.is_true(value >= least and value <= most, ("%s is not between %s and %s"):format(value, least, most))
end

describe("an emulated line", function()
  local reason = why_not()
  if reason then
    pending("cannot be made here: " .. reason)
    return
  end

  before_each(function() folder = sh("mktemp -d"):match "%C+" end)
  after_each(function() os.execute("rm -rf " .. folder) end)

  it("delays each way by its own delay", function()
    local r = carry { there = "delay=60ms", back = "delay=5ms", n = 30, every_ms = 5 }
    local least = math.huge
    for _, d in ipairs(r.list) do least = math.min(least, d.took) end
    assert.equal(30, #r.list)
    between(60 * MS, 80 * MS, least)
  end)

  it("loses the very packets that the simulator loses for the same seed", function()
    local n, seed = 2000, 7
    local r = carry { there = "delay=1ms loss=5% burst_enter=1% burst_leave=20%", n = n, seed = seed }
    local w = spec_sim.new { seed = seed }
    local a, b = w:host "a", w:host "b"
    assert(w:link(a, b, { delay_us = 1 * MS, loss = 0.05, burst_enter = 0.01, burst_leave = 0.2 }))
    local ios = { spec_io.new(w:process(a), w), spec_io.new(w:process(b), w) }
    local simulated = {}
    assert(ios[2]:udp({ bind = "0.0.0.0:9" }, { batch = function(list)
      for _, d in ipairs(list) do simulated[tonumber(d[1])] = true end
    end }))
    local socket = assert(ios[1]:udp({ bind = "0.0.0.0:7" }, {}))
    for i = 1, n do w:at(i * 100, function() socket:send(tostring(i), w:addr(b) .. ":9") end) end
    w:run(10 * S)
    for _, io in ipairs(ios) do io:free() end
    w:free()
    local lost = 0
    for i = 1, n do
      assert.equal(simulated[i] or false, r.by_index[i] ~= nil, "packet " .. i)
      if not simulated[i] then lost = lost + 1 end
    end
    between(120, 300, lost)
    assert.equal(0, r.stats.not_carried)
  end)

  it("carries exactly its rate", function()
    local r = carry { there = "rate=2Mbit queue=400", n = 200, size = 972 } -- 1000 bytes of IP: 4 ms each
    assert.equal(200, #r.list)
    between(796 * MS - 5 * MS, 796 * MS + 150 * MS, r.list[200].at - r.list[1].at)
  end)

  for _, queue in ipairs { "20", "20kB", "76ms" } do
    it("drops at the tail of a queue of " .. queue, function()
      local r = carry { there = "rate=2Mbit queue=" .. queue, n = 100, size = 972 }
      between(20, 35, #r.list) -- those that left while the rest were still coming make more than 20
      assert.is_true(r.stats.lost_queue >= 100 - #r.list) -- what asks for the end may have been lost there, too
      for i = 1, 20 do assert.equal(i, r.list[i].index) end
    end)
  end

  it("polices a rate", function()
    local r = carry { there = "rate=2Mbit police=20kB", n = 100, size = 972 }
    between(20, 60, #r.list)
    assert.is_true(r.stats.lost_police >= 100 - #r.list)
  end)

  it("drops everything in an outage, and only then", function()
    local r = carry { there = "delay=10ms cut=1s..1500ms", n = 400, every_ms = 5 }
    assert.equal(400, #r.list + r.stats.lost_cut)
    between(20, 110, r.stats.lost_cut)
    local widest = 0
    for i = 2, #r.list do widest = math.max(widest, r.list[i].at - r.list[i - 1].at) end
    between(490 * MS, 700 * MS, widest)
  end)

  it("spreads delays by jitter without overtaking, and reorders when asked", function()
    local r = carry { there = "delay=40ms jitter=10ms", n = 80, every_ms = 15 }
    local least, most = math.huge, 0
    for i, d in ipairs(r.list) do
      assert.equal(i, d.index)
      least, most = math.min(least, d.took), math.max(most, d.took)
    end
    assert.equal(80, #r.list)
    between(30 * MS, 37 * MS, least)
    between(45 * MS, 90 * MS, most)
    r = carry { there = "delay=5ms reorder=20% reorder_by=30ms", n = 200, every_ms = 2 }
    local late = 0
    for i = 2, #r.list do
      if r.list[i].index < r.list[i - 1].index then late = late + 1 end
    end
    assert.equal(200, #r.list)
    between(15, 60, late)
  end)

  it("duplicates its share", function()
    local r = carry { there = "delay=1ms duplicate=20%", n = 500 }
    between(560, 640, #r.list)
  end)

  for name, to in pairs { IPv4 = "10.77.0.2", IPv6 = "fd77::2" } do
    it("damages " .. name .. " packets in ways that their checksums miss", function()
      local r = carry { there = "delay=1ms corrupt=30%", n = 200, size = 301, to = to }
      local damaged = 0
      for _, d in ipairs(r.list) do
        if not d.intact then damaged = damaged + 1 end
      end
      assert.equal(200, #r.list)
      between(30, 90, damaged) -- some damage hits the head, and the time stamp still reads as a number
    end)
  end

  it("drops packets larger than its MTU", function()
    assert.equal(5, #carry({ there = "mtu=1000", n = 5, size = 972 }).list)
    local said, code = line("--there mtu=1000 --b 'exec sleep 60'", "-- lua5.4 -e " ..
      quote [[local s = require "luv".new_udp() for _ = 1, 5 do assert(s:try_send(("x"):rep(973), "10.77.0.2", 9)) end]])
    assert(code == 0, said)
    assert.matches("there: packets=5 .* lost_mtu=5 ", read_file(folder .. "/stats"))
  end)
end)

describe("bench-line", function()
  local reason = why_not()
  if reason then
    pending("cannot run here: " .. reason)
    return
  end

  before_each(function() folder = sh("mktemp -d"):match "%C+" end)
  after_each(function() os.execute("rm -rf " .. folder) end)

  it("ends with its command, by its exit status, or by that of the first that fails without one", function()
    assert.equal(7, select(2, line("--b 'exec sleep 60'", "-- sh -c 'exit 7'")))
    assert.equal(5, select(2, line "--a true --b 'exit 5'"))
    assert.equal(0, select(2, line "--a true --b true"))
    assert.equal(127, select(2, line("", "-- /no/such/program")))
  end)

  for text, sentence in pairs {
    ["loss=2"] = "loss: expected 0 to 1, got 2", ["delay=40"] = "delay=40: expected a time such as 40ms", ["rate=fast"] = "rate=fast: expected a rate",
    ["speed=1"] = "speed: unknown; expected delay", ["loss"] = "loss: expected NAME=VALUE", ["burst_enter=1%"] = "burst_leave is 0",
    ["cut=5s..4s"] = "expected start..end", ["delay=infs"] = "expected a time", ["delay=0x10ms"] = "expected a time",
    ["queue=0"] = "expected packets, bytes or a time", ["mtu=99999"] = "mtu=99999: expected the bytes",
  } do
    it("reports the mistake in " .. text, function()
      local said, code = line("--there " .. quote(text), "-- true")
      assert.equal(2, code)
      assert.is_truthy(said:find(sentence, 1, true), said)
    end)
  end

  --- Whether any process is in the network namespace, or was started with the word.
  local function left(netns, word)
    return sh(([[for p in /proc/[0-9]*; do
      [ "$(readlink $p/ns/net 2>/dev/null)" = "%s" ] && echo $p
      cat $p/cmdline 2>/dev/null | tr '\0' ' ' | grep -q '^sleep %s' && echo $p
    done; true]]):format(netns, word))
  end

  for how, signal in pairs { ["ends"] = false, ["is asked to end"] = "TERM", ["is killed"] = "KILL" } do
    it("leaves no process, namespace or device behind when it " .. how, function()
      local word = tostring(1000000 + math.random(1 << 30))
      -- A process that ignores signals, in its own session.
      local stubborn = ("setsid sh -c 'trap \"\" TERM HUP; sleep %s; sleep %s' & wait"):format(word, word)
      local main = ("readlink /proc/self/ns/net >%s/ns.new; mv %s/ns.new %s/ns; %s"):format(folder, folder, folder, signal and "sleep " .. word or "true")
      local devices = sh "ls /sys/class/net"
      local said = sh(([[
        %s --a %s -- sh -c %s >%s/out 2>&1 & pid=$!
        n=0; until [ -s %s/ns ] || [ $n = 200 ]; do sleep 0.05; n=$((n+1)); done
        %s
        wait $pid; echo "status $?"]]):format(PROGRAM, quote(stubborn), quote(main), folder, folder, signal and "kill -" .. signal .. " $pid" or ":"))
      local netns = read_file(folder .. "/ns"):match "net:%[%d+%]"
      assert.is_truthy(netns, said .. read_file(folder .. "/out"))
      assert.matches(signal == "TERM" and "status 143" or signal == "KILL" and "status 137" or "status 0", said)
      -- A kill is not waited for by those that die of it.
      local deadline, found = os.time() + 10
      repeat found = left(netns, word) until found == "" or os.time() > deadline
      assert.equal("", found)
      assert.equal(devices, sh "ls /sys/class/net")
    end)
  end
end)
