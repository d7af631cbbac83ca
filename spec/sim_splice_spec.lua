-- What is left of two pipes whose splice has ended: figures, which were read while the pipes were there.
local sim = require "kt.sim"

describe("the figures of a stream that a splice had", function()
  it("are those of its last moment, also where the session died and the stream was gone at once", function()
    local w = sim.world { seed = 1 }
    w:host "near"
    w:host "far"
    w:link("near", "far", { delay = "10ms" })
    w:host("far"):serve { on = "127.0.0.1:9", kind = "echo" }
    w:host("far"):file("far.lua", [[
      local kt = require "kt"
      kt.accept { on = ":29900", key = "k", dead_after = "1s", smux = { keepalive = "1s" } }:serve(function(stream)
        local sum = kt.splice(stream, kt.connect { to = "127.0.0.1:9" })
        local s = stream:stats()
        print(sum.reason, sum.a_to_b, s.bytes_in, s.bytes_out)
      end)]])
    w:host("near"):file("near.lua", [[
      local kt = require "kt"
      local link = kt.link { remote = "far:29900", key = "k" }
      kt.listen { on = "127.0.0.1:1" }:serve(function(conn) kt.splice(conn, link:open()) end)]])
    local script = w:host("far"):run "far.lua"
    w:host("near"):run "near.lua"
    local app = w:host("near"):connect "127.0.0.1:1"
    app:echo "hello"
    w:link("near", "far"):cut()
    w:run "9s"
    assert.equal("dead\t13\t13\t13\n", script:output()) -- what an echo is asked has a mark of 8 bytes
  end)
end)
