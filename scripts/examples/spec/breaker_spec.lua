-- breaker.lua: a target that keeps failing is left alone, and used again when it has recovered.
local sim = require "kt.sim"

describe("breaker.lua", function()
  local w, client, server, far
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    client, server = w:host "client", w:host "server"
    w:link("client", "server", { delay = "20ms" })
    w:name("vps.example", "server")
    far = server:run "scripts/examples/breaker.lua"
    client:run "scripts/examples/client.lua"
  end)

  -- Whether a client is served, and how many seconds that took to find out.
  local function ask()
    local from = w:now()
    local reply = client:connect "127.0.0.1:12948":try_echo("hello", { timeout = "5s" })
    return reply ~= nil, w:now() - from
  end

  it("refuses clients after five failures, tries once after 10 s, and recovers with the target", function()
    local tries = 0
    local target = server:serve { on = "127.0.0.1:8388", kind = "echo" }
    assert.is_true((ask()))
    target:close()
    for _ = 1, 5 do assert.is_false((ask())) end
    far:wait_log "127.0.0.1:8388 has failed 5 times in a row: .*refused"
    server:serve { on = "127.0.0.1:8388", fn = function(conn)
      tries = tries + 1
      if tries == 1 then w:sleep "1s" end
      conn:write(conn:read())
    end }
    for _ = 1, 5 do
      local served, seconds = ask()
      assert.is_false(served)
      assert.is_true(seconds < 0.2)
    end
    assert.equal(0, tries)
    w:run_for "10s"
    assert.is_true((ask()))
    far:wait_log "127.0.0.1:8388 answers again"
    assert.is_true((ask()))
  end)

  it("counts failures in a row only", function()
    for _ = 1, 4 do
      for _ = 1, 4 do assert.is_false((ask())) end
      local target <close> = server:serve { on = "127.0.0.1:8388", kind = "echo" }
      assert.is_true((ask()))
      target:close()
    end
  end)
end)
