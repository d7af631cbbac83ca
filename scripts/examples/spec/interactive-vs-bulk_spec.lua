-- interactive-vs-bulk.lua: keystrokes do not wait behind bulk transfers.
local sim = require "kt.sim"

describe("interactive-vs-bulk.lua", function()
  local w, far
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "20ms", rate = "4Mbit", queue = { time = "100ms" } })
    w:name("vps.example", "server")
    w:host("server"):serve { on = "127.0.0.1:22", kind = "echo" }
    w:host("server"):serve { on = "127.0.0.1:443", kind = "echo" }
    far = w:host("server"):run("scripts/examples/interactive-vs-bulk.lua", { args = { "far", "3.6Mbit" } })
  end)

  it("answers keystrokes on port 22 almost as fast as on an idle line while port 443 fills it", function()
    w:host("client"):run("scripts/examples/interactive-vs-bulk.lua", { args = { "near", "3.6Mbit" } })
    local function keystrokes(port) return w:keystrokes({ from = "client", to = "127.0.0.1:" .. port, count = 50 }):wait():median() end

    local idle = keystrokes(10022)
    local bulk = {}
    for i = 1, 8 do bulk[i] = w:transfer { from = "client", to = "127.0.0.1:10443", bytes = "500kB", kind = "echo" } end
    assert.is_true(keystrokes(10022) < 2 * idle)
    local from = w:now()
    w:transfer({ from = "client", to = "127.0.0.1:10022", bytes = "200kB", kind = "echo" }):wait()
    assert.is_true(w:now() - from < 2) -- its share alone would take 4 s
    for _, transfer in ipairs(bulk) do transfer:wait() end -- served last, but not starved
  end)

  it("connects to no port that is not in the far end's table", function()
    w:host("client"):run "scripts/examples/client.lua" -- its apps choose the first line of a stream
    for _, line in ipairs { "8388\n", "ssh\n", "22.5\n", "\n" } do
      local app = w:host("client"):connect "127.0.0.1:12948"
      app:write(line)
      assert.equal("reset", select(2, app:read_all()).code)
    end
    assert.equal(4, select(2, far:log():gsub("unknown port", "")))
  end)
end)
