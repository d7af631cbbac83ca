-- A slow run reports where its time goes.
local sim = require "kt.sim"
local settings = require "kt.sim.settings" -- after kt.sim, which brings it

local function two()
  local w = sim.world { seed = 1 }
  w:host "a"
  w:host "b"
  w:link("a", "b", {})
  return w
end

local answering = [[
  local kt = require "kt"
  local s = kt.udp { on = ":9" }
  kt.spawn(function()
    kt.sleep "1ms"
    %s
    while true do
      local data, from = s:receive { timeout = "1h" }
      if data then s:send(data, from) end
    end
  end)]]

describe("a run", function()
  local said, before = {}, {}
  before_each(function()
    said = {}
    before.patience, before.say = settings.patience, settings.say
    settings.say = function(text) said[#said + 1] = text end
  end)
  after_each(function() settings.patience, settings.say = before.patience, before.say end)

  it("that takes long names the spec's timer that it spends its time in", function()
    settings.patience = 0.02
    local w = two()
    local n = 0
    local function tick() -- takes more than a microsecond anywhere
      for i = 1, 500 do n = n + i end
    end
    local tick_line = debug.getinfo(tick, "S").linedefined
    w:every("1us", tick)
    w:run "60ms"
    local line = debug.getinfo(1, "l").currentline - 1
    assert.matches(("^kt.sim: spec/sim/patience_spec.lua:%d: slow run: "):format(line), said[1])
    assert.matches(("; %%d+ tasks of the spec, the last from spec/sim/patience_spec.lua:%d\n$"):format(tick_line), said[1])
    assert.matches("processor time took the world from 0.%d+ s to 0.0%d+ s %(seed 1%)", said[1])
    assert.is_true(#said < 10) -- less and less often
  end)

  it("that takes long names the scripts that it spends its time in", function()
    settings.patience = 0.02
    local w = two()
    w:host "a":file("asks.lua", (answering:format 's:send("x", "10.0.2.1:9")'))
    w:host "b":file("answers.lua", (answering:format ""))
    w:host "b":run "answers.lua"
    w:host "a":run "asks.lua"
    w:run "100ms"
    assert.matches("%d+ turns of %w+.lua on host %a, %d+ turns of %w+.lua on host %a\n$", said[1])
    assert.matches("answers.lua on host b", said[1], 1, true)
    assert.matches("asks.lua on host a", said[1], 1, true)
  end)

  it("that takes no longer than the world's time reports nothing", function()
    settings.patience = 0
    local w = two()
    w:every("100ms", function() end)
    w:run "1h"
    assert.same({}, said)
  end)
end)
