-- mirror.lua: a second server gets what clients send, and cannot harm them.
local sim = require "kt.sim"

describe("mirror.lua", function()
  local w, client, server, far, copies
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    client, server, copies = w:host "client", w:host "server", {}
    w:link("client", "server", { delay = "20ms" })
    w:name("vps.example", "server")
    server:serve { on = "127.0.0.1:8388", kind = "echo" }
    client:run "scripts/examples/client.lua"
  end)

  local function start(percent) far = server:run("scripts/examples/mirror.lua", { args = { percent } }) end
  local function copy(fn) server:serve { on = "127.0.0.1:9388", fn = fn } end
  local function keep(conn) copies[#copies + 1] = conn:read_all { timeout = "1m" } end

  it("copies what clients send, and not what they get", function()
    start()
    copy(keep)
    local app = client:connect "127.0.0.1:12948"
    app:echo "hello"
    app:close()
    w:settle()
    assert.same({ "hello\0echo-1\n" }, copies)
  end)

  it("copies the share of the connections that it was told", function()
    start "25"
    copy(keep)
    for _ = 1, 60 do
      local app = client:connect "127.0.0.1:12948"
      app:echo "hello"
      app:close()
    end
    w:settle()
    assert.is_true(#copies > 5 and #copies < 27, #copies)
  end)

  it("serves clients while the second server is down, hangs, or resets", function()
    start()
    w:transfer({ from = "client", to = "127.0.0.1:12948", bytes = "2MB", kind = "echo" }):wait()
    copy(function(conn)
      if conn:read_exactly(1000) then w:sleep "1m" end
    end)
    w:transfer({ from = "client", to = "127.0.0.1:12948", bytes = "2MB", kind = "echo" }):wait()
    far:wait_log "the copy lacks %d+ of 2000%d%d%d bytes"
  end)
end)
