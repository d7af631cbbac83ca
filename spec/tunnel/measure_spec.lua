-- kt ping, kt speed and kt doctor against real servers, over real sockets.
local h = require "harness"

-- Runs a verb of kt to its end: returns its exit code and what it printed.
local function kt(verb, port, ...)
  local p = h.start { name = "kt " .. verb, cmd = { h.peer.kt, verb, "127.0.0.1:" .. port, ... }, graceful = false }
  local code = p:wait_exit(120) -- kt doctor takes 20 s, and a minute where packets are lost
  h.loop.eventually("its output", 5, function() return p.stdout .. p.stderr ~= "" end)
  return code, p.stdout .. p.stderr
end

describe("kt ping, kt speed and kt doctor", function()
  after_each(h.cleanup)

  it("measure the path to a kt server", function()
    h.run(function()
      local server = h.peer.server(1)
      local code, text = kt("ping", server.port, "--count", "5", "--every", "0.02")
      assert.equal(0, code, text)
      assert.matches("5 sent, 5 received, 0% lost (0% there, 0% back)", text, 1, true)
      code, text = kt("speed", server.port, "--seconds", "1")
      assert.equal(0, code, text)
      assert.matches("up +%d+%.%d Mbit/s, .*down +%d+%.%d Mbit/s, ", text)
      code, text = kt("doctor", server.port, "--seconds", "1", "--count", "20")
      assert.is_true(code == 0 or code == 1, text) -- 1: this machine's limits of socket buffers are too small for loopback
      assert.not_matches("unknown +buffers", text)
      assert.matches("ok +server +kt %d.*loss up .*loss down .*rtt .*speed up .*policing up .*speed down .*mtu .*buffers +client: .*nat +none", text)
    end)
  end)

  it("find that nothing listens, or what a kcptun server is", function()
    h.run(function()
      local code, text = kt("doctor", h.sockets.free_port "udp")
      assert.equal(2, code, text)
      assert.matches("FINDING +address +127%.0%.0%.1:%d+ %(IPv4%) refuses: nothing listens", text)
      local server = h.peer.server(1, { impl = "kcptun" })
      code, text = kt("doctor", server.port, "--wire", "kcptun")
      assert.equal(0, code, text)
      assert.matches("note +server +speaks kcptun's wire.*ok +rtt ", text)
    end)
  end)

  -- kt on kcptun's wire says which setting differs before it ends the session; kcptun ends it without a word.
  for _, impl in ipairs { "kcptun", "kt" } do
    it(("find out that a %s server speaks smux 1, as Debian's kcptun does by default"):format(impl), function()
      h.run(function()
        local server = h.peer.server(1, { impl = impl, wire = impl == "kt" and "kcptun" or nil, smuxver = 1 })
        local code, text = kt("doctor", server.port)
        assert.equal(1, code, text)
        assert.matches("ok +address .*FINDING +smux +the server speaks smux 1.*at the client: %-%-smuxver 1\n", text)
        code, text = kt("ping", server.port, "--count", "2", "--every", "0.05")
        assert.equal(0, code, text)
        assert.matches("2 sent, 2 received.*kt client needs %-%-smuxver 1\n", text)
      end)
    end)

    it(("find that a %s server ends each session because its settings differ"):format(impl), function()
      h.run(function()
        local server = h.peer.server(1, { impl = impl, wire = impl == "kt" and "kcptun" or nil, nocomp = true })
        local code, text = kt("doctor", server.port, "--wire", "kcptun")
        assert.equal(2, code, text)
        assert.matches("FINDING +address .* answers, and ends each session at once\n.*compare %-%-smuxver", text)
      end)
    end)
  end

  it("ping a kcptun server by the link, and say that its speed cannot be measured", function()
    h.run(function()
      local server = h.peer.server(1, { impl = "kcptun" })
      local code, text = kt("ping", server.port, "--wire", "kcptun", "--count", "2", "--every", "0.1")
      assert.equal(0, code, text)
      assert.matches("has no echo; .*2 sent, 2 received, 0%% lost", text)
      code, text = kt("speed", server.port, "--wire", "kcptun")
      assert.equal(1, code, text)
      assert.matches("cannot measure: the server speaks kcptun's wire", text, 1, true)
    end)
  end)
end)
