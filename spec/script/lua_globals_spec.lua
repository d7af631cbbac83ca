-- Globals of a script, which all its tasks share, in virtual time. What kt check says about them: check_spec.
local lone_host = require "lone_host"

describe("a global", function()
  --- Runs the text with its module m.lua; returns the script.
  local function run(text, module)
    local script, _, w = lone_host.start(text, { files = { ["m.lua"] = module or "" } })
    w:run "1s"
    return script
  end

  local SHARED = "task failed: s.lua:%d: global '%s' is shared by all connections; write: local %s"

  it("that a task assigns, and the main chunk does not, fails the task, also in functions that it calls and in coroutines", function()
    local log = run([[
kt.spawn(function() line = "x" end)
local function set() buffer = 1 end
kt.spawn(set)
kt.spawn(function() assert(coroutine.resume(coroutine.create(function() part = 1 end))) end)
kt.spawn(function() load "chunk = 1"() end)
kt.spawn(function() kt.sleep "10ms" print(rawget(_G, "line"), rawget(_G, "buffer")) end)]]):log()
    assert.matches(SHARED:format(2, "line", "line"), log, 1, true)
    assert.matches(SHARED:format(3, "buffer", "buffer"), log, 1, true)
    assert.matches("global 'part' is shared by all connections; write: local part", log, 1, true)
    assert.matches("global 'chunk' is shared by all connections; write: local chunk", log, 1, true)
  end)

  it("that the main chunk of the script or of a module declares may be assigned in tasks", function()
    local script = run([[
count, early = 0, true
kt.spawn(function()
  count = count + 1
  require "m"
  shelf = shelf .. "!"
  early = nil
  print(count, shelf, rawget(_G, "early"))
  late = 1
end)]], "shelf = 'module'")
    assert.equal("1\tmodule!\tnil\n", script:output())
    assert.matches(SHARED:format(9, "late", "late"), script:log(), 1, true)
  end)
end)
