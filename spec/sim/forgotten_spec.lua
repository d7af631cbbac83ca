-- Unreferenced worlds are collected with everything in them; closing them is optional.
local sim = require "kt.sim"

-- A world with a busy tunnel; with a timer, a task and a rule that refer back to it.
local function busy()
  local w = sim.world { files = { ["psk.key"] = "our secret" } }
  w:host "client"
  w:host "server"
  w:link("client", "server", { delay = "10ms" })
  w:name("vps.example", "server")
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host("server"):run "scripts/examples/server.lua"
  w:host("client"):run "scripts/examples/client.lua"
  w:every("100ms", function() w:now() end)
  w:task(function() w:sleep "1h" end)
  w:rule { fn = function() w:now() end }
  w:host("client"):connect("127.0.0.1:12948"):echo "hello"
  return w
end

local function resident_mib()
  local file = io.open "/proc/self/statm"
  local pages = file and file:read "a":match "^%d+ (%d+)"
  if file then file:close() end
  return pages and tonumber(pages) * 4096 / (1 << 20)
end

describe("an unreferenced world", function()
  it("is collected", function()
    local worlds = setmetatable({}, { __mode = "k" })
    worlds[busy()] = true
    collectgarbage()
    collectgarbage()
    assert.is_true(next(worlds) == nil)
  end)

  it("leaks nothing, time after time", function()
    -- Sanitizers keep what was freed for a while.
    if not resident_mib() or os.getenv "KT_SPEC_LIGHT" then pending "needs /proc, and no sanitizers" end
    for _ = 1, 60 do busy() end
    local before = resident_mib()
    for _ = 1, 200 do busy() end
    local grown = resident_mib() - before
    assert.is_true(grown < 30, ("200 forgotten worlds left %.1f MiB"):format(grown))
  end)

  it("lives as long as any part of it is referenced", function()
    local app = busy():host("client"):connect "127.0.0.1:12948"
    collectgarbage()
    collectgarbage()
    assert.equal("server", app:echo("still there").server)
  end)
end)
