-- The log of tasks that fail repeatedly, in virtual time: the first failures of a line in full, then the number of the others,
-- which misses none. The message of a single failure: lua_messages_spec.
local lone_host = require "lone_host"

describe("tasks that fail", function()
  --- A world in which a host runs the text as a task.
  local function failing(text)
    local script, _, w = lone_host.start("kt.spawn(function()\n" .. text .. "\nend)")
    return w, script
  end

  local function full(log) return select(2, log:gsub("task failed: s%.lua:%d+: oops %d+ %(at s%.lua:%d+; spawned at s%.lua:%d+%)", "")) end

  local function sum(log)
    local n = 0
    for more in log:gmatch "task failed: (%d+) more times in" do n = n + tonumber(more) end
    return n
  end

  local FLOOD = [[
  for i = 1, 5000 do
    kt.spawn(function() error("oops " .. i) end)
    if i % 100 == 0 then kt.sleep "50ms" end
  end
  kt.sleep "1h"]]

  it("are logged ten times in full, and the number of the others once, ten seconds after the first", function()
    local w, script = failing(FLOOD)
    w:run "9s"
    assert.equal(10, full(script:log()))
    assert.equal(0, sum(script:log()))
    w:run "11s"
    assert.equal(10, full(script:log()))
    assert.matches("error s: task failed: 4990 more times in 10 s (spawned at s.lua:4), such as: s.lua:4: oops 1", script:log(), 1, true)
    w:run "1m"
    assert.equal(4990, sum(script:log()))
    assert.equal(1, select(2, script:log():gsub("more times", "")))
  end)

  it("endlessly are all counted, including the last ones at exit", function()
    local w, script = failing [[
  for i = 1, 3333 do
    kt.spawn(function() error("oops " .. i) end)
    kt.sleep "10ms"
  end
  kt.sleep "100ms"]]
    w:run "1m"
    assert.equal(1, script.exit_code)
    assert.equal(3333, full(script:log()) + sum(script:log()))
    assert.equal(40, full(script:log())) -- four times ten seconds have begun
    assert.matches("more times in [34]%.%d* s %(spawned at s.lua:4%)", script:log())
  end)

  it("now and then are all logged", function()
    local w, script = failing [[
  for i = 1, 50 do
    kt.spawn(function() error("oops " .. i) end)
    kt.sleep "1001ms"
  end]]
    w:run "2m"
    assert.equal(50, full(script:log()))
    assert.equal(0, sum(script:log()))
  end)

  it("at one line do not hide those of another", function()
    local w, script = failing [[
  for i = 1, 500 do
    kt.spawn(function() error("oops " .. i) end)
    if i % 100 == 0 then kt.spawn(function() error("oops " .. i) end) end
  end
  kt.sleep "1h"]]
    w:run "11s"
    assert.equal(15, full(script:log()))
    assert.matches("task failed: 490 more times in 10 s (spawned at s.lua:4)", script:log(), 1, true)
    assert.equal(490, sum(script:log()))
  end)

  it("with another message are logged at the same line, up to 16 messages before the rest share a limit", function()
    local w, script = failing [[
  for i = 1, 50 do kt.spawn(function() error("oops " .. i) end) end
  for i = 65, 90 do kt.spawn(function(letter) error(letter) end, string.char(i)) end
  for i = 65, 90 do kt.spawn(function(letter) error(letter) end, ("x"):rep(i - 64)) end
  kt.sleep "1h"]]
    w:run "11s"
    assert.equal(10, full(script:log()))
    assert.matches("40 more times in 10 s (spawned at s.lua:3), such as: s.lua:3: oops 1", script:log(), 1, true)
    assert.equal(26, select(2, script:log():gsub("task failed: s%.lua:4: %u ", "")))
    assert.equal(26, select(2, script:log():gsub("task failed: s%.lua:5: x+ ", "")))
  end)

  it("in a handler of conns are grouped by the line of its :serve", function()
    local script, host, w = lone_host.start 'kt.listen { on = ":80" }:serve(function() error "oops 1" end)'
    for _ = 1, 100 do
      local app = host:try_connect "127.0.0.1:80"
      if app then app:close() end
    end
    w:run "11s"
    assert.equal(10, full(script:log()))
    assert.matches("task failed: 90 more times in 10 s (spawned at s.lua:2)", script:log(), 1, true)
  end)
end)
