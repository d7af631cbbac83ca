-- A real TCP peer that vanishes silently: in a network namespace whose loopback goes down while a conn over it is open. What was
-- sent last is in flight, or waits for the peer's window to open.
local KT = assert(os.getenv "KT_BIN")

local SCRIPT = [[
local kt = require "kt"
kt.listen { on = "127.0.0.1:4711" }:serve(function(conn)
  kt.sleep "1h"
  conn:close()
end)
kt.spawn(function()
  local conn = assert(kt.connect { to = "127.0.0.1:4711" })
  conn:set { user_timeout = "1s" }
  if %s then repeat local taken = conn:write(("x"):rep(100000), { timeout = "200ms" }) until not taken end
  kt.spawn(function() while conn:write "ping" do kt.sleep "50ms" end end)
  print "ready"
  print(select(2, conn:read(1, { timeout = "20s" })))
end)]]

local apart = os.execute "unshare --map-root-user --net ip link set lo up 2>/dev/null" and it or pending

describe("a conn whose peer vanishes", function()
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
  end)
  after_each(function() os.execute("rm -rf " .. folder) end)

  for name, full in pairs { ["while segments are in flight"] = "false", ["while its window is closed"] = "true" } do
    apart("breaks when the user timeout has passed " .. name, function()
      local f = assert(io.open(folder .. "/s.lua", "w"))
      f:write(SCRIPT:format(full))
      f:close()
      local p = assert(io.popen(([[cd %s && timeout 30 unshare --map-root-user --net sh -c '
        ip link set lo up
        %s run s.lua >out 2>log &
        until grep -q ready out; do sleep 0.05; done
        ip link set lo down
        until grep -q conn:read out; do sleep 0.05; done
        kill -9 $!' 2>&1; cat out log]]):format(folder, KT)))
      local said = p:read "a"
      p:close()
      assert.matches("ready\nconn:read: timed out\n", said, 1, true)
    end)
  end
end)
