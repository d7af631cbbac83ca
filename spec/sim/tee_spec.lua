-- Looking on at a splice: conn:peek, and the tap and the mirror of kt.splice, in virtual time.
local sim = require "kt.sim"

--- A relay from `relay:7000` to an echo. The script gets `conn` and `other`, and ends with the splice. Returns the world and the script.
local function relay(script)
  local w = sim.world { seed = 6 }
  w:host("echo"):serve { on = ":9", kind = "echo" }
  w:host("copy"):file("s.lua", [[
    local kt = require "kt"
    kt.listen { on = ":9" }:serve(function(conn) -- takes everything
      local n = 0
      while true do
        local data = conn:read(65536, { timeout = "1h" })
        if not data then return print("copied", n) end
        n = n + #data
        conn:write "thanks"
      end
    end)
    kt.listen { on = ":10" }:serve(function(conn) -- takes nothing
      kt.sleep "20s"
      print(select(2, conn:read_exactly(1 << 20)).code)
    end)
    kt.listen { on = ":11" }:serve(function(conn) conn:reset() end)]])
  w:host "relay":file("s.lua", ([[
    local kt = require "kt"
    kt.listen { on = ":7000" }:serve(function(conn)
      local other = assert(kt.connect { to = "echo:9" })
      %s
    end)]]):format(script))
  w:host "client"
  for _, name in ipairs { "echo", "copy", "client" } do w:link("relay", name, { delay = "1ms" }) end
  w:host "copy":run "s.lua"
  return w, w:host "relay":run "s.lua"
end

--- Sends a text and awaits its echo.
local function say(app, text)
  app:write(text, { timeout = "60s" })
  assert.equal(text, app:read_exactly(#text, { timeout = "60s" }))
end

describe("a tap", function()
  it("gets the first bytes of each direction once: as many as it asked for, or those before the answer", function()
    local w, script = relay [[
      kt.splice(conn, other, { first = "10B", tap = function(data, direction)
        print(direction, data)
        kt.sleep "1h" -- the splice does not wait
      end })]]
    local app = w:host "client":connect "relay:7000"
    say(app, "hello")
    assert.equal("a_to_b\thello\n", script:output())
    say(app, " world, and more")
    assert.equal("a_to_b\thello\nb_to_a\thello\n", script:output())
    app:close()
    local long = w:host "client":connect "relay:7000"
    say(long, ("x"):rep(50000))
    assert.matches("a_to_b\txxxxxxxxxx\nb_to_a\txxxxxxxxxx\n$", script:output())
  end)

  it("gets what a direction sent before it ended, and nothing of one that was silent", function()
    local w, script = relay 'kt.splice(conn, other, { tap = function(data, direction) print(direction, data) end })'
    local app = w:host "client":connect "relay:7000"
    app:shutdown()
    w:run_for "1s"
    assert.equal("", script:output())
    app = w:host "client":connect "relay:7000"
    app:write "bye"
    app:shutdown()
    w:run_for "1s"
    assert.equal("a_to_b\tbye\nb_to_a\tbye\n", script:output())
    assert.is_nil(script:log():find "failed")
  end)
end)

describe("a mirror", function()
  local function mirrored(port, options)
    return ([[
      local copy = assert(kt.connect { to = "copy:%d" })
      local r = kt.splice(conn, other, { mirror = %s })
      print(r.a_to_b, r.mirrored, r.mirror_dropped, r.reason)]]):format(port, options or "copy")
  end

  local function push(w, n)
    local app = w:host "client":connect "relay:7000"
    local began = w:now()
    say(app, ("x"):rep(n))
    app:close()
    w:run_for "1s"
    return w:now() - began
  end

  it("gets a copy of one direction, and its answers go nowhere", function()
    local w, script = relay(mirrored(9))
    push(w, 300000)
    assert.equal("300000\t300000\t0\tend\n", script:output())
    assert.equal("copied\t300000\n", w:host "copy".scripts[1]:output())
  end)

  it("gets a copy of the direction that is named", function()
    local w, script = relay(mirrored(9, "{ b_to_a = copy }"))
    push(w, 1000)
    assert.equal("1000\t1000\t0\tend\n", script:output())
  end)

  it("that reads nothing is reset when it is 256 KiB behind, holds up nothing, and what it did not get is counted", function()
    local plain = relay 'kt.splice(conn, other)'
    local w, script = relay(mirrored(10))
    assert.near(push(plain, 1000000), push(w, 1000000), 0.01)
    local all, copied, dropped = script:output():match "^(%d+)\t(%d+)\t(%d+)\tend\n$"
    assert.equal("1000000", all)
    assert.equal(1000000, tonumber(copied) + tonumber(dropped))
    assert.is_true(tonumber(dropped) > 100000)
    w:run_for "30s"
    assert.equal("reset\n", w:host "copy".scripts[1]:output())
  end)

  it("that goes away holds up nothing", function()
    local w, script = relay(mirrored(11))
    push(w, 100000)
    assert.matches("^100000\t%d+\t%d+\tend\n$", script:output())
  end)

  it("cannot be an end of the splice, or something else", function()
    local w, script = relay [[
      for _, mirror in ipairs { other, { a_to_b = 1 }, { c = other }, "x" } do
        print((select(2, pcall(kt.splice, conn, other, { mirror = mirror })):gsub("^[^:]*:%d+: ", "")))
      end]]
    w:host "client":connect "relay:7000"
    w:run_for "1s"
    assert.equal("kt.splice: mirror: this conn is an end of the splice\n"
      .. "kt.splice.mirror.a_to_b: expected a conn or a stream, got 1\n"
      .. "kt.splice.mirror.c: unknown key; expected one of a_to_b, b_to_a\n"
      .. 'kt.splice.mirror: expected a conn or a stream, got "x"\n', script:output())
  end)
end)

describe("peek", function()
  it("shows bytes that the next read and a splice still get, or those there are at the end and at the timeout", function()
    local w, script = relay [[
      print(conn:peek(3), conn:peek(5), conn:read(2))
      local data, err, came = conn:peek(6, { timeout = "1s" })
      print(data, err.code, came)
      kt.splice(conn, other)]]
    local app = w:host "client":connect "relay:7000"
    app:write "he"
    w:run_for "1s"
    app:write "llo"
    w:run_for "3s"
    assert.equal("hel\thello\the\nnil\ttimeout\tllo\n", script:output())
    assert.equal("llo", app:read_exactly(3))
    app = w:host "client":connect "relay:7000"
    app:write "hello"
    app:shutdown()
    w:run_for "3s"
    assert.matches("hel\thello\the\nnil\teof\tllo\n$", script:output())
  end)

  for _, wire in ipairs { "kt", "kcptun" } do
    it("shows the bytes of a stream on the wire " .. wire, function()
      local w = sim.world { seed = 6 }
      w:host "far":file("s.lua", ([[
        local kt = require "kt"
        kt.accept { on = ":29900", key = "our secret", wire = "%s" }:serve(function(stream)
          print(#assert(stream:peek(16384)), stream:peek(5), stream:read(3))
          print(select(3, stream:peek(16384)) == ("x"):rep(16382))
        end)]]):format(wire))
      w:host "near":file("s.lua", ([[
        local kt = require "kt"
        local far = kt.link { remote = "far:29900", key = "our secret", wire = "%s" }
        kt.spawn(function()
          local stream = assert(far:open())
          stream:write("hel" .. ("x"):rep(10000))
          kt.sleep "1s"
          stream:write(("x"):rep(6382))
          stream:shutdown()
          kt.sleep "5s"
        end)]]):format(wire))
      w:link("near", "far", { delay = "5ms" })
      local script = w:host "far":run "s.lua"
      w:host "near":run "s.lua"
      w:run_for "40s"
      assert.equal("16384\thelxx\thel\ntrue\n", script:output())
    end)
  end
end)
