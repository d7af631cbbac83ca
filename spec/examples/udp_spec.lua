-- scripts/examples/udp.lua, both ends.
local uv = require "luv"
local ends = require "harness.ends"
local h = require "harness"
local scripts = require "harness.scripts"

describe("the UDP example", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  it("carries questions to the DNS server and answers back", function()
    h.run(function()
      local server, near_port = uv.new_udp(), h.sockets.free_port "udp"
      assert(server:bind("127.0.0.1", 0))
      server:recv_start(function(_, data, from)
        if from then assert(server:try_send("answer to " .. data, from.ip, from.port)) end
      end)
      local far = ends.far(s, "udp.lua", { { '"127.0.0.1:53"', ('"127.0.0.1:%d"'):format(server:getsockname().port) } })
      local near = ends.near(s, "udp.lua", far, { { '"127.0.0.1:5353"', ('"127.0.0.1:%d"'):format(near_port) } }, "near")
      near:wait_udp(near_port)
      local client, got = uv.new_udp(), {}
      assert(client:bind("127.0.0.1", 0))
      client:recv_start(function(_, data) got[#got + 1] = data end)
      for i = 1, 5 do
        assert(client:try_send("question " .. i, "127.0.0.1", near_port))
        h.loop.eventually("an answer", 10, function() return got[i] end)
        assert.equal("answer to question " .. i, got[i])
      end
      assert.equal(0, near:stop())
      assert.equal(0, far:stop())
    end)
  end)
end)
