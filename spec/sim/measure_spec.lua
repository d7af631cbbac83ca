-- kt ping and kt speed, in virtual time, on lines whose true figures are known.
local sim = require "kt.sim"

-- The output of --json, as a table. A spec has no JSON reader; the names are plain words.
local function decode(text) return load("return " .. text:gsub('"([%w_]+)":', "%1="):gsub("%[", "{"):gsub("%]", "}"))() end

-- A world with a server, and a function that runs a verb of kt to its end: returns what it printed, its exit code, and how long it took.
local function world(line, server)
  local w = sim.world { seed = 11 }
  w:host "client" w:host "server"
  w:link("client", "server", line)
  w:host "server":run("kt server", { args = { "-l", ":29900", "-t", "127.0.0.1:1", "--key", "k", table.unpack(server or {}) } })
  local function kt(verb, ...)
    local script = w:host "client":run("kt " .. verb, { args = { "server:29900", "--key", "k", ... }, beside = true })
    w:run_until(function() return not script:is_running() end, { timeout = "10m" })
    return script:output(), script.exit_code
  end
  return w, kt
end

local function near(expected, got, tolerance, what)
  assert.is_true(math.abs(got - expected) <= tolerance, ("%s: expected %g, got %g"):format(what, expected, got))
end

describe("kt ping", function()
  it("tells loss there from loss back, late packets, and the round trip", function()
    local _, kt = world { delay = "40ms", there = { loss = "4%" }, back = { loss = "10%", reorder = "5%", reorder_by = "30ms" } }
    local text, code = kt("ping", "--count", "1000", "--every", "0.01", "--json")
    local r = decode(text)
    assert.equal(0, code)
    assert.equal(1000, r.sent)
    near(0.04, r.there, 0.02, "loss there")
    near(0.10, r.back, 0.025, "loss back")
    near(0.05, r.late_back, 0.025, "late back")
    assert.equal(0, r.late_there)
    near(0.080, r.rtt.min, 0.001, "min rtt")
    near(0.080, r.rtt.median, 0.001, "median rtt")
  end)

  it("prints as ping does", function()
    local _, kt = world { delay = "10ms" }
    local text, code = kt("ping", "--count=2")
    assert.equal(0, code)
    assert.matches("^ping server:29900: 1100 bytes, kt %d.-\nserver:29900: seq=1 time=20%.%d ms\nserver:29900: seq=2 time=20%.%d ms\n\n"
      .. "%-%-%- server:29900 %-%-%-\n2 sent, 2 received, 0%% lost %(0%% there, 0%% back%)\nrtt min/avg/max/mdev = 20%.%d/20%.%d/20%.%d/0%.%d ms\n$", text)
  end)

  it("measures by the link alone if the server does not help", function()
    for _, server in ipairs { { "--nodiagnose" }, { "--wire", "kcptun" } } do
      local _, kt = world({ delay = "10ms" }, server)
      local text, code = kt("ping", "--count", "2", "--every", "0.1")
      assert.equal(0, code)
      assert.matches(server[2] and "the server speaks kcptun's wire, which has no echo; these are round trips of the link\n" or "no echo: ", text, 1, true)
      assert.matches("2 sent, 2 received, 0% lost\n", text, 1, true)
    end
  end)

  it("prints the summary on SIGINT, with and without an echo", function()
    for _, server in ipairs { {}, { "--nodiagnose" } } do
      local w = world({ delay = "10ms" }, server)
      local script = w:host "client":run("kt ping", { args = { "server:29900", "--key", "k" }, beside = true })
      w:run_for "2500ms"
      script:signal "INT"
      w:run_for "10ms"
      assert.is_false(script:is_running())
      assert.equal(0, script.exit_code)
      assert.matches("3 sent, 3 received, 0% lost", script:output(), 1, true)
    end
  end)

  it("takes a duration for --every, and refuses others with a sentence", function()
    local _, kt = world { delay = "10ms" }
    local text, code = kt("ping", "--count", "2", "--every", "20ms")
    assert.equal(0, code, text)
    assert.error_matches(function() kt("ping", "--every", "soon") end,
      'kt ping: --every: expected seconds, or a duration such as 200ms, from 0.01 to 60, got "soon"', 1, true)
    assert.error_matches(function() kt("ping", "--count", "1.5") end, 'kt ping: --count: expected an integer from 1 to 100000, got "1.5"', 1, true)
  end)

  it("exits with 2 if nothing answers", function()
    local w, kt = world { delay = "10ms" }
    w:link("client", "server"):set { loss = "100%" }
    local text, code = kt("ping")
    assert.equal(2, code)
    assert.matches("^kt ping: server:29900: 10.0.2.1:29900: no answer[^\n]*\n$", text)
  end)
end)

describe("kt speed", function()
  it("finds the bandwidth of each direction", function()
    local _, kt = world { delay = "30ms", queue = { time = "100ms" }, there = { rate = "8Mbit" }, back = { rate = "20Mbit" } }
    local text, code = kt("speed", "--json")
    local r = decode(text)
    assert.equal(0, code)
    near(8, r.up.rate * 8 / 1e6, 0.8, "up")
    near(20, r.down.rate * 8 / 1e6, 2, "down")
    assert.is_true(r.up.loss < 0.02 and r.down.loss < 0.02)
  end)

  it("prints a line for each direction, and no progress unless standard error is a terminal", function()
    local _, kt = world { delay = "10ms", rate = "8Mbit" }
    assert.matches("^up   %d+%.%d Mbit/s, [^\r\n]+ under load\ndown %d+%.%d Mbit/s, [^\r\n]+ under load\n$", (kt("speed", "--seconds", "1")))
  end)

  it("says why it cannot measure", function()
    local _, kt = world({ delay = "10ms" }, { "--wire", "kcptun" })
    local text, code = kt "speed"
    assert.equal(1, code)
    assert.equal("up   cannot measure: the server speaks kcptun's wire\ndown cannot measure: the server speaks kcptun's wire\n", text)
  end)

  it("does not trust what a server's script says, and sends nothing to one that takes the stream for another", function()
    for _, case in ipairs {
      { [['{"diagnose":1,"version":"\\u001b[2J","rmem_max":1e300,"loss":-5,"peer":{}}\n']], "kt %?%[2J", "down %d" },
      { [["SSH-2.0-x\r\n"]], "no echo: the server's script does not know kt:diagnose", "up   failed: " },
    } do
      local w = sim.world { seed = 2 }
      w:host "client" w:host "server"
      w:link("client", "server", { delay = "10ms", rate = "5Mbit" })
      local server = w:host "server":run("s.lua", { files = { ["s.lua"] = [[
        local kt = require "kt"
        kt.accept { on = ":29900", key = "k", wire = "kt" }:serve(function(stream)
          stream:write(]] .. case[1] .. [[)
          local request = stream:read(100, { timeout = "1m" })
          if request then print((request:gsub("\n.*", ""))) end
          while request and stream:write(("x"):rep(65536)) do end -- without end
        end)]] } })
      local function kt(verb, ...)
        local script = w:host "client":run("kt " .. verb, { args = { "server:29900", "--key", "k", ... }, beside = true })
        w:run_until(function() return not script:is_running() end, { timeout = "1m" })
        return script:output()
      end
      assert.matches(case[2], kt("ping", "--count", "1"))
      assert.matches(case[3], kt("speed", "--seconds", "1"))
      assert.equal(case[2]:find "2J" and "up 1\ndown 1\n" or "", server:output())
    end
  end)

  it("does not overload a server: transfers beyond its bound are reset", function()
    local w, kt = world { delay = "10ms", rate = "20Mbit" }
    for _ = 1, 16 do
      w:host "client":run("kt speed", { args = { "server:29900", "--key", "k", "--seconds", "15" }, beside = true })
    end
    w:run_for "1s"
    local text, code = kt("speed", "--seconds", "1")
    assert.equal(1, code)
    assert.matches("up   failed: ", text, 1, true)
  end)
end)
