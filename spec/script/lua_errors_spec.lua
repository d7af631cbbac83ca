-- err objects that a script makes: they look like kt's own, and travel as the reason of a reset.
local sim = require "kt.sim"

describe("kt.err", function()
  it("makes an err like kt's own, which a task may return, raise, and reset a conn with", function()
    local w = sim.world { seed = 1 }
    local host = w:host "a"
    host:file("s.lua", [[
local kt = require "kt"
local function admit() return nil, kt.err { code = "quota", message = "c1 is over its\nquota" } end
kt.listen { on = "127.0.0.1:80" }:serve(function(conn)
  local ok, err = admit()
  print(ok, err, err.code, err.text == tostring(err), "no: " .. err, kt.err { code = "timeout", message = "x" }.code)
  print(select(2, pcall(function() return err.msg end)))
  conn:reset(err)
  local _, timeout = kt.connect { to = "127.0.0.1:81" }
  print(timeout.code, timeout.text)
  error(err)
end)]])
    local script = host:run "s.lua"
    local conn = host:connect "127.0.0.1:80"
    w:run "1s"
    assert.equal("nil\tc1 is over its?quota\tquota\ttrue\tno: c1 is over its?quota\ttimeout\n"
      .. "s.lua:6: err.msg: no such field; expected one of code, text\n"
      .. "refused\t127.0.0.1:81: connection refused\n", script:output())
    assert.matches("conn of [%d.:]+: reset: c1 is over its%?quota\n", script:log())
    assert.matches("task failed: c1 is over its?quota (at s.lua:", script:log(), 1, true)
    assert.is_true(conn:read() == nil)
  end)

  it("reaches a kt peer with its message, and with its code if that is one of kt's", function()
    local w = sim.world { seed = 1, files = { psk = "our secret" } }
    local far, near = w:host "far", w:host "near"
    w:link("near", "far", { delay = "10ms" })
    w:name("far.example", "far")
    far:file("s.lua", [[
local kt = require "kt"
kt.accept { on = ":29900", wire = "kt", key = kt.secret_file "psk" }:serve(function(stream)
  local code = stream:read_exactly(1) == "q" and "quota" or "denied"
  stream:reset(kt.err { code = code, message = "not today" })
end)]])
    near:file("s.lua", [[
local kt = require "kt"
local far = kt.link { remote = "far.example:29900", wire = "kt", key = kt.secret_file "psk" }
kt.listen { on = "127.0.0.1:80" }:serve(function(conn)
  local sum = kt.splice(conn, far:open { timeout = "5s" })
  print(sum.reason, sum.cause.code, sum.cause.text)
end)]])
    far:run "s.lua"
    local script = near:run "s.lua"
    for _, byte in ipairs { "q", "d" } do
      near:connect("127.0.0.1:80"):write(byte)
      w:run_for "1s"
    end
    assert.equal("reset\tcanceled\tnot today\nreset\tdenied\tnot today\n", script:output())
  end)
end)
