-- Flows through a simulated network: errors for mistakes in a spec, and reports of flows that were not waited for.
local sim = require "kt.sim"

local function two(opts)
  local w = sim.world { seed = 1 }
  w:host "client"
  w:host "server"
  w:link("client", "server", opts or { delay = "10ms" })
  return w
end

-- The error that w:transfer{…}:wait() raises, and when.
local function failure(w, opts)
  opts.from, opts.to = "client", "server:1"
  local ok, why = pcall(function() w:transfer(opts):wait() end)
  assert.is_false(ok)
  return why, w:now()
end

describe("a transfer to the wrong kind of server fails at once:", function()
  local cases = {
    { "up", "echo", 'the server sent data; expected a server of kind "sink"' },
    { "up", "source", 'the server sent data; expected a server of kind "sink"' },
    { "down", "sink", 'host server has a server of kind "sink"; expected kind "source"' },
    { "down", "echo", 'byte 0 differs from the one sent; is the server of kind "source"?' },
    { "echo", "sink", 'host server has a server of kind "sink"; expected kind "echo"' },
    { "echo", "source", 'byte 0 differs from the one sent; is the server of kind "echo"?' },
  }
  for _, case in ipairs(cases) do
    it(case[1] .. " to one of kind " .. case[2], function()
      local w = two()
      w:host "server":serve { on = ":1", kind = case[2] }
      local why, now = failure(w, { kind = case[1] })
      assert.matches(case[3], why, 1, true)
      assert.is_true(now < 1)
    end)
  end
end)

describe("a transfer", function()
  it("from a source with too few or too many bytes reports the size of the source", function()
    for _, has in ipairs { 1000, 5000 } do
      local w = two()
      w:host "server":serve { on = ":1", kind = "source", bytes = has }
      assert.matches(has .. ' of 3000 bytes arrived; the source sent no more, see bytes in host:serve { kind = "source", bytes = ... }',
        failure(w, { kind = "down", bytes = 3000 }), 1, true)
    end
  end)

  it("that receives nothing suggests the server it needs", function()
    local w = two()
    w:host "server":serve { on = ":1", fn = function(conn) conn:read_all { timeout = "1h" } end }
    assert.matches('0 of 1000000 bytes arrived; is there a server of kind "sink"?', failure(w, { kind = "up", timeout = "20s" }), 1, true)
  end)

  it("accepts a host as well as its name", function()
    local w = two()
    local client, server = w:host "client", w:host "server"
    server:serve { on = ":1", kind = "sink" }
    assert.is_true(w:transfer { from = client, to = "server:1", bytes = 1000 }:wait():intact())
    local seen = 0
    local rule = w:rule { from = client, to = server, fn = function() seen = seen + 1 end }
    rule:remove()
    w:link(client, server):cut(client):heal(client)
    assert.is_true(w:link(client, server):stats(client).sent_packets > 0)
  end)

  it("comes from a source at the given rate", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "source", bytes = "500kB", rate = "1Mbit" }
    local t = w:transfer { from = "client", to = "server:1", bytes = "500kB", kind = "down" }:wait()
    assert.near(125e3, t:goodput(), 5e3)
  end)
end)

describe("keystrokes", function()
  it("to a server that talks first fail with that reason", function()
    local w = two()
    w:host "server":serve { on = ":1", fn = function(conn) conn:write "220 welcome\r\n" end }
    assert.error_matches(function() w:keystrokes { from = "client", to = "server:1" }:wait() end,
      'the server sent data that was not typed; expected a server of kind "echo"', 1, true)
  end)

  it("have no median and no worst time before the first answer", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "sink" }
    local k = w:keystrokes { from = "client", to = "server:1" }
    w:run "1s"
    for _, what in ipairs { "median", "worst" } do
      assert.error_matches(function() k[what](k) end, "flow:" .. what .. ": no keystroke has been answered yet", 1, true)
    end
    assert.error_matches(function() k:wait() end, '0 of 100 bytes arrived; is there a server of kind "echo"?', 1, true)
  end)
end)

describe("settling", function()
  it("reports a failed transfer that was not waited for", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "echo" }
    w:transfer { from = "client", to = "server:1", bytes = 1000 }
    assert.error_matches(function() w:settle() end,
      "w:settle: transfer of 1000 bytes, client to server:1 (up): 0 of 1000 bytes arrived; the server sent data", 1, true)
  end)

  it("leaves the flows that the spec has waited for to the spec", function()
    local w = two()
    w:host "server":serve { on = ":1", kind = "echo" }
    local t = w:transfer { from = "client", to = "server:1", bytes = 1000 }
    assert.is_false((pcall(t.wait, t)))
    w:settle()
  end)

  -- A script of which a task fails, and which lives on.
  local function failing(w, fn)
    w:host "client":file("s.lua", [[local kt = require "kt"
      kt.spawn(function() kt.sleep "1s" error "ouch" end)
      kt.spawn(function() kt.sleep "2s" end)]])
    local script = w:host "client":run "s.lua"
    fn(script)
    return script
  end

  it("reports a failed task of a script, unless that was expected", function()
    local w = two()
    failing(w, function() w:run "1.5s" end)
    assert.error_matches(function() w:settle() end, "w:settle: script s.lua on host client: 1 of its tasks failed: .*task failed: s.lua:2: ouch")
    w:settle { failed_tasks = true }
  end)

  for what, ending in pairs {
    ["its end"] = function(w) w:run "5s" end,
    ["a kill"] = function(w, script) w:run "1.5s" script:kill() end,
    ["a crash"] = function(w) w:run "1.5s" w:host "client":crash() end,
    ["a restart"] = function(w) w:run "1.5s" w:host "client":crash() w:host "client":restart() end,
  } do
    it("still reports it after " .. what, function()
      local w = two()
      failing(w, function(script) ending(w, script) end)
      assert.error_matches(function() w:settle() end, "script s.lua on host client: 1 of its tasks failed", 1, true)
    end)
  end
end)

describe("waiting for a line of a script's log", function()
  local function talker(w)
    w:host "client":file("s.lua", [[local kt = require "kt"
      kt.log.info "one"
      kt.spawn(function() kt.sleep "3s" kt.log.info "number two" kt.sleep "1h" end)]])
    return w:host "client":run "s.lua"
  end

  it("ends at the instant it is logged, or at once if it was logged before", function()
    local w = two()
    local script = talker(w)
    assert.matches("one", script:wait_log "one", 1, true)
    assert.equal(0, w:now())
    assert.matches("number two", script:wait_log "number %a+", 1, true)
    assert.near(3, w:now(), 0.001)
  end)

  it("works like any other wait in a task", function()
    local w = two()
    local script, at = talker(w), nil
    w:task(function()
      script:wait_log "two"
      at = w:now()
    end)
    w:run "5s"
    assert.near(3, at, 0.001)
  end)

  it("raises with the last line when it never appears", function()
    local w = two()
    local script = talker(w)
    local ok, why = pcall(function() script:wait_log("three", { timeout = "10s" }) end)
    assert.is_false(ok)
    assert.matches('^spec/sim/flow_spec.lua:%d+: script:wait_log: s.lua logged no line matching "three" within 10 s; last line: .*number two', why)
    assert.equal(10, w:now())
  end)
end)
