-- kt doctor, in virtual time, on lines whose true figures are known.
local sim = require "kt.sim"

-- A world with a server whose host has the addresses given. Returns it, and a function that runs kt doctor to its end and returns what it
-- printed and its exit code.
local function world(line, opts)
  opts = opts or {}
  local w = sim.world { seed = 5 }
  w:host("client", { files = { ["/proc/sys/net/core/rmem_max"] = "212992\n", ["/proc/sys/net/core/wmem_max"] = "4194304\n" } })
  w:host("server", { address = opts.address, files = opts.files })
  w:link("client", "server", line)
  local server = w:host "server":run("kt server", {
    args = { "-l", opts.listen or ":29900", "-t", "127.0.0.1:1", "--key", "k", table.unpack(opts.server or {}) },
  })
  return w, function(...)
    local script = w:host "client":run("kt doctor", { args = { "server:29900", "--key", "k", ... } })
    w:run_until(function() return not script:is_running() end, { timeout = "10m" })
    return script:output(), script.exit_code
  end, server
end

local function figure(text, pattern)
  local found = text:match(pattern)
  assert.is_truthy(found, text .. "\nhas no " .. pattern)
  return tonumber(found)
end

local function near(expected, got, tolerance) assert.is_true(math.abs(got - expected) <= tolerance, ("expected %g, got %g"):format(expected, got)) end

describe("kt doctor", function()
  it("finds nothing to change on a good line", function()
    local _, doctor, server = world { delay = "10ms", rate = "20Mbit" }
    local text, code = doctor("--seconds", "2")
    assert.equal(0, code, text)
    assert.not_matches("authenticate", server:log())
    assert.matches("link from", server:log(), 1, true)
    assert.matches("Nothing to change.", text, 1, true)
    assert.matches("ok +address +10%.0%.2%.1:29900 %(IPv4%) answers", text)
    assert.matches("ok +server +kt %d", text)
    assert.matches("ok +clock +the server's clock is 0%.0 s", text)
    assert.matches("ok +mtu +1472 bytes", text)
    assert.matches("ok +nat +none", text)
    near(20, figure(text, "speed up +([%d.]+) Mbit/s"), 2)
    near(20, figure(text, "speed down +([%d.]+) Mbit/s"), 2)
    near(21, figure(text, "rtt +([%d.]+) ms"), 1)
  end)

  it("finds loss, late packets, a small MTU and a small socket buffer", function()
    local w, doctor = world({ delay = "40ms", rate = "40Mbit", mtu = 1400, there = { loss = "6%" },
      back = { loss = "3%", reorder = "8%", reorder_by = "30ms" } },
      { files = { ["/proc/sys/net/core/rmem_max"] = "" } }) -- unreadable, as with ProcSubset=pid
    w:host "server":clock_jump "40s"
    local text, code = doctor("--seconds", "2")
    assert.equal(1, code, text)
    near(6, figure(text, "FINDING +loss up +([%d.]+)%% of packets to the server are lost"), 3)
    assert.matches("FINDING +loss down", text)
    assert.matches(". loss up, loss down: kt retransmits", text, 1, true)
    near(8, figure(text, "note +order down +([%d.]+)%% of packets back"), 3)
    assert.matches("note +mtu +the largest packets found to pass have 1350 bytes of UDP payload %(IP packets of 1378%)", text)
    assert.matches("FINDING +clock +the server's clock is 40%.0 s ahead", text)
    assert.matches("FINDING +buffers +client: net%.core%.rmem_max is 212992; 512 KiB is needed for %d+%.%d Mbit/s at 80%.%d ms", text)
    assert.matches("at the client: sysctl -w net.core.rmem_max=524288\n", text, 1, true)
    assert.matches("unknown +buffers +server: net%.core%.rmem_max cannot be read there\n", text)
  end)

  it("sees packets that are displaced by less than the time between its echoes", function()
    local _, doctor = world { delay = "10ms", rate = "50Mbit", there = { reorder = "20%", reorder_by = "3ms" } }
    local text, code = doctor("--seconds", "0")
    assert.equal(0, code, text)
    near(20, figure(text, "note +order up +([%d.]+)%% of packets to the server, in bursts, arrive after later ones; kt allows for that"), 6)
    assert.matches("ok +order down +0%% of packets back, in bursts,", text)
  end)

  -- The figures of many more lines and seeds than these are in the commit that added the check.
  it("finds a policer of either direction, and none where packets are lost by chance or by a short queue", function()
    local policer, jittery = { police = "32KB" }, { police = "32KB", jitter = "4ms", loss = "0.5%" }
    for _, case in ipairs {
      { "up", { delay = "20ms", rate = "3Mbit", there = policer }, "client" },
      { "down", { delay = "40ms", rate = "3Mbit", back = jittery }, "server" },
      { false, { delay = "20ms", rate = "3Mbit", there = { burst = { enter = "0.5%", leave = "5%", loss = "50%" } }, back = { queue = { packets = 5 } } } },
    } do
      local _, doctor = world(case[2])
      local text = doctor("--count", "150", "--seconds", "2")
      for _, way in ipairs { "up", "down" } do assert.equal(case[1] == way, text:find("FINDING  policing " .. way, 1, true) ~= nil, text) end
      if case[1] then
        assert.matches("at [%d.]+ Mbit/s [%l ]+ %d+%.?%d*%% of packets are lost, at half of that [%d.]+%%, and round trips do not grow", text)
        assert.matches("set %-%-bandwidth %d+kbit at the " .. case[3], text)
      end
    end
  end)

  it("finds loss that depends on the size of packets, and none where it does not", function()
    for _, least in ipairs { 0, 600 } do
      local w, doctor = world { delay = "20ms", rate = "10Mbit" }
      w:rule { from = "client", to = "server", fn = function(p) return #p.data >= least and w:random() < 0.15 and "drop" or nil end }
      local text = doctor("--seconds", "0")
      assert.matches("FINDING +loss up +1%d%% of packets to the server are lost", text)
      assert.equal(least > 0, text:find("FINDING  size up", 1, true) ~= nil, text)
      assert.not_matches("size down", text)
    end
  end)

  it("tries each address, and says which is silent and which refuses", function()
    local w, doctor = world({ delay = "10ms" }, { address = { "192.0.2.1", "192.0.2.2", "2001:db8::1" }, listen = "192.0.2.1:29900" })
    w:name("server", { "2001:db8::1", "192.0.2.1", "192.0.2.2" })
    w:rule { to = "server", fn = function(p) return p.dst:find "^192%.0%.2%.2:" and "drop" or nil end }
    local text, code = doctor("--seconds", "0")
    assert.equal(1, code, text)
    assert.matches("ok +address +192.0.2.1:29900 %(IPv4%) answers", text)
    assert.matches("FINDING +address +%[2001:db8::1%]:29900 %(IPv6%) refuses", text)
    assert.matches("FINDING +address +192.0.2.2:29900 %(IPv4%) is silent", text)
    assert.matches("compare keys, or remove the address from the name\n", text, 1, true)
    text = doctor("--seconds", "0", "--remoteaddr", "192.0.2.2:29900")
    assert.matches("through firewalls, and compare keys\n", text, 1, true)
  end)

  it("finds out for how long a NAT keeps its mapping", function()
    for _, case in ipairs { { "12s", "60", 1, "gone after 15 s of silence, but not after 10 s, and kt keeps silent for 20 s", "set --keepalive 5" },
      { "50s", "60", 0, "lives for 45 to 60 s of silence; kt sends after 20 s" }, { "0s", "30", 0, "lives for 30 s of silence or more" } } do
      local w, doctor = world { delay = "10ms" }
      w:host "client":nat { public = "198.51.100.1", timeout = case[1] }
      local text, code = doctor("--seconds", "0", "--nat", case[2])
      assert.equal(case[3], code, text)
      assert.matches("note +nat +the server sees 198.51.100.1, this machine has 10.0.1.1", text)
      assert.matches(case[4], text, 1, true)
      assert.matches(case[5] or "Nothing to change", text, 1, true)
    end
  end)

  it("finds out whether a NAT's mapping depends on the destination, where the server has two addresses or a range of ports", function()
    for _, case in ipairs {
      { false, { "192.0.2.1", "192.0.2.2" }, ":29900",
        "ok +nat type +a socket is (198.51.100.1:%d+) to both 192.0.2.1:29900 and 192.0.2.2:29900: .* the destination" },
      { false, nil, ":29900-29909", "ok +nat type +a socket is (198.51.100.1:%d+) to both 10.0.2.1:29900 and 10.0.2.1:29909: .* the port" },
      { true, nil, ":29900-29909", "note +nat type +a socket is (198.51.100.1:%d+) to 10.0.2.1:29900 and 198.51.100.1:%d+ to 10.0.2.1:29909: .*symmetric" },
      { true, nil, ":29900", "unknown +nat type +whether a mapping depends on the destination" },
    } do
      local w, doctor = world({ delay = "10ms" }, { address = case[2], listen = case[3] })
      w:host "client":nat { public = "198.51.100.1", symmetric = case[1] }
      local text = doctor("--seconds", "0", "--count", "10", "--remoteaddr", "server" .. case[3])
      assert.matches(case[4], text)
      assert.matches("note +nat +the server sees 198.51.100.1, this machine has 10.0.1.1; the port %d+ becomes %d+\n", text)
      assert.matches("unknown +nat lifetime +not measured: %-%-nat 60", text)
      assert.not_matches("FINDING +nat", text)
    end
  end)

  it("prints what it has measured on SIGINT", function()
    local w = world { delay = "10ms" }
    local script = w:host "client":run("kt doctor", { args = { "server:29900", "--key", "k" } })
    w:run_for "2s"
    script:signal "INT"
    w:run_for "10ms"
    assert.equal(130, script.exit_code)
    assert.matches("ok +server +kt .*ok +rtt +", script:output())
    assert.is_nil(script:output():find("Nothing to change", 1, true))
  end)

  it("finds a queue that fills under load", function()
    local w, doctor = world { delay = "10ms", rate = "20Mbit" }
    local recent = {}
    w:rule { from = "client", to = "server", fn = function() -- a radio that gathers packets once there are many
      local now = w:now()
      recent[#recent + 1] = now
      if now - recent[math.max(1, #recent - 15)] < 0.05 and #recent > 15 then return { delay = "100ms" } end
    end }
    local text, code = doctor("--seconds", "2")
    assert.equal(1, code, text)
    assert.matches("FINDING +queue up +under load to the server the round trip grows from 21%.%d ms to [12]%d%d ms", text)
    assert.matches("set %-%-bandwidth %d+kbit at the client", text)
  end)

  it("says what it cannot tell with a server that speaks kcptun's wire, or does not help, and why", function()
    for _, case in ipairs { { "--wire", "kcptun", "speaks kcptun's wire and takes the key" },
      { "--nodiagnose", nil, "takes the key, but does not help: the server refuses to help with measurements, as with --nodiagnose" } } do
      local _, doctor = world({ delay = "10ms" }, { server = { case[1], case[2] } })
      local text, code = doctor()
      assert.equal(0, code, text)
      assert.matches("note     server         " .. case[3], text, 1, true)
      assert.matches("ok +rtt +%d", text)
      for _, name in ipairs { "clock", "loss", "speed", "mtu", "buffers", "nat" } do assert.matches("unknown +" .. name .. " +%l", text) end
    end
  end)

  it("exits with 2 if no address answers, and says why", function()
    local w, doctor = world { delay = "10ms" }
    w:host "server":clock_jump "10m"
    local text, code = doctor("--wire", "kt")
    assert.equal(2, code, text)
    assert.matches("turns this client away: this machine's clock is 599 s behind", text, 1, true)
    w:name("server", false)
    text, code = doctor()
    assert.equal(2, code, text)
    assert.matches("kt doctor: server:29900: ", text, 1, true)
  end)
end)
