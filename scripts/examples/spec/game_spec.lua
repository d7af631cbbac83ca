-- game.lua: players on a bad line see each other where their moves have led.
local sim = require "kt.sim"

describe("game.lua", function()
  local w
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    for _, name in ipairs { "server", "alice", "bob" } do w:host(name) end
    w:link("server", "alice", { delay = "40ms", loss = "20%", jitter = "20ms" })
    w:link("server", "bob", { delay = "10ms" })
    w:host "server":run("scripts/examples/game.lua", { beside = true })
  end)

  local function play(name, ...)
    return w:host(name):run("scripts/examples/game.lua", { args = { name, "server:7777", ... }, beside = true })
  end

  it("shows all players the same places, and forgets those who have left", function()
    local alice, bob = play("alice", "right", "right", "right", "left", "jump"), play("bob", "left")
    w:run_for "5s"
    local last = "alice=2 bob=%-1\n$"
    assert.matches(last, alice:output())
    assert.matches(last, bob:output())
    alice:kill()
    w:run_for "6s"
    assert.matches(last, bob:output())
    w:run_for "9s"
    bob = play "bob"
    w:run_for "5s"
    assert.matches("\nbob=0\n$", bob:output())
  end)

  it("plays on when a captured packet comes again from thousands of addresses", function()
    local eve = w:host "bob":run("eve.lua", { files = { ["psk.key"] = "our secret", ["eve.lua"] = [[
      local kt = require "kt"
      local key = kt.crypto.derive(kt.crypto.hash("blake2b", kt.secret_file "psk.key"), "game")
      local captured = kt.crypto.aead_seal(key, ("\1"):rep(16) .. string.pack("<I4BBI2I4I4I4I4", 1, 81, 0, 32, 0, 0, 0, 0) .. "x")
      local left = 5000
      for _ = 1, 50 do
        kt.spawn(function()
          while left > 0 do
            left = left - 1
            local socket <close> = assert(kt.udp { to = "server:7777" })
            assert(socket:send(captured))
            if left == 0 then kt.log.info "sent" end
          end
        end)
      end]] } })
    eve:wait_log "sent"
    local alice = play("alice", "right")
    w:run_for "3s"
    assert.matches("alice=1\n$", alice:output())
  end)

  it("ignores whoever lacks the key", function()
    local bob = w:host "bob":run("scripts/examples/game.lua",
      { args = { "bob", "server:7777", "right" }, files = { ["psk.key"] = "another secret" } })
    local alice = play "alice"
    w:run_for "5s"
    assert.equal("", bob:output())
    assert.matches("^alice=0\n", alice:output())
  end)
end)
