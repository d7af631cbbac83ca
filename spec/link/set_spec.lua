-- A link whose settings keep changing as megabytes run through it, to a kt and to Debian's kcptun: no byte is lost.
local h = require "harness"
local scripts = require "harness.scripts"

local SIZE = h.light and 1000000 or 10000000 -- each way

local CLIENT = [[
local kt = require "kt"
local far = kt.link { remote = "127.0.0.1:%d", key = "k", crypt = "aes-128", mode = "fast3", smux = { version = 2 } }
local changes = 0
local settings = {
  { fec = false }, { mode = "normal" }, { kcp = { sndwnd = 32, rcvwnd = 64 } }, { mode = "fast2", fec = { parity = 1 } },
  { kcp = { sndwnd = 1024, rcvwnd = 2048 } }, { fec = { parity = 2 } }, { mode = "manual", kcp = { interval = 10, nc = false, resend = 3 } },
  { fec = { data = 10, parity = 3 } }, { kcp = { sndwnd = 256, rcvwnd = 512 }, mode = "fast3" }, { rate = "20MiB" }, { rate = 0 },
}
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local stream = assert(far:open())
  kt.splice(conn, stream)
  local s = far:stats()
  print("done", s.sessions, changes)
end)
kt.spawn(function()
  while true do
    kt.sleep "5ms"
    if far:stats().sessions > 0 then
      changes = changes + 1
      assert(far:set(settings[changes %% #settings + 1]))
    end
  end
end)
]]

for _, impl in ipairs { "kt", "kcptun" } do
  describe("settings that change while bytes run to a " .. impl .. " server", function()
    local s = scripts.each(before_each, after_each)

    for _, loss in ipairs { 0, 0.03 } do
      it(("lose none, both ways, over a path that loses %d %%"):format(loss * 100), function()
        h.run(function()
          local partner = h.transfer.partner(SIZE, SIZE)
          local server = h.peer.server(partner.at, { impl = impl, key = "k", crypt = "aes-128", smuxver = 2, mode = "fast3" })
          local relay = h.relay.start(server.port, { loss = loss, delay = 0.004 }, 17)
          local at = h.sockets.free_port "tcp"
          local p = s.kt("run", s.write("client.lua", CLIENT:format(relay.port, at))):wait_tcp(at)
          h.transfer.exchange(at, 5, SIZE, SIZE)
          local changes = p:expect("done\t1\t(%d+)\n", 10)
          assert.is_true(tonumber(changes) > (h.light and 5 or 20), changes) -- a fast machine is done soon
          assert.falsy(p:logged():find " error ", p.stderr)
          if loss > 0 then assert.is_true(relay.lost > 20, "the relay lost almost nothing") end
        end)
      end)
    end
  end)
end
