-- Names of files that are too long, and what the log says of them.
local h = require "harness"

describe("an snmplog with a name that is too long", function()
  after_each(h.cleanup)

  it("is reported with its name and the reason", function()
    h.run(function()
      local p = h.start { name = "kt", graceful = false, cmd = { h.peer.kt, "client", "-l", "127.0.0.1:" .. h.sockets.free_port "tcp",
        "-r", "127.0.0.1:9", "--key", "k", "--snmplog", "/tmp/20060102" .. ("x"):rep(600), "--snmpperiod", "1" } }
      p:expect("snmplog: /tmp/%d%d%d%d%d%d%d%dxx.*xx: File name too long", 20)
    end)
  end)
end)
