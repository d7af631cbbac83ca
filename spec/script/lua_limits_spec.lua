-- Limits of a conn that a script reads and writes, in virtual time. Those of a splice: spec/link/splice_spec.lua.
local sim = require "kt.sim"

local SERVER = [[
local kt = require "kt"
kt.listen { on = ":7000" }:serve(function(conn)
%s
end)]]

--- Appended to a handler: a second listener, whose conns stay open.
local OTHER = [[

end)
kt.listen { on = "127.0.0.1:7001" }:serve(function(conn)
  conn:read()
  kt.sleep "15s"]]

--- Runs `text` as the handler of a conn; `app` (app, world) plays its other end. Returns what the script printed, and the world.
local function run(text, app)
  local w = sim.world { seed = 3, files = { ["s.lua"] = SERVER:format(text) } }
  w:host "a"
  w:host "b"
  w:link("a", "b", { delay = "5ms" })
  local script = w:host("b"):run "s.lua"
  local conn = w:host("a"):connect "b:7000"
  app(conn, w)
  w:run_for "20s"
  local out = script:output()
  assert.is_nil(script:log():find "failed", script:log())
  w:close()
  return out
end

local function feed(n)
  return function(app, w)
    w:task(function() app:write(("x"):rep(n), { timeout = "1h" }) end)
  end
end
local function silent() end

describe("a conn's rate_in", function()
  it("limits what reads return, and wakes a waiting read now and then", function()
    local out = run([[
      conn:set { rate_in = "100kB" }
      local from, n, reads = kt.now(), 0, 0
      while kt.now() - from < 2 do
        n, reads = n + #assert(conn:read(65536)), reads + 1
      end
      print(n / (kt.now() - from), reads)]], feed(1000000))
    local rate, reads = out:match "(%S+)\t(%d+)"
    assert.is_true(tonumber(rate) > 95e3 and tonumber(rate) < 110e3, out)
    assert.is_true(tonumber(reads) > 20 and tonumber(reads) < 150, out)
  end)

  it("shows all bytes before the end of data", function()
    assert.equal("30000\teof\ttrue\n", run([[
      conn:set { rate_in = "10kB" }
      kt.sleep "1s"
      local from, n, data, err = kt.now(), 0
      repeat
        data, err = conn:read { timeout = "10s" }
        n = n + #(data or "")
      until not data
      print(n, err.code, kt.now() - from > 2)]], function(app)
      app:write(("x"):rep(30000))
      app:shutdown()
    end))
  end)

  it("bounds read_exactly and read_until too", function()
    assert.equal("true\t20000\ttrue\t20000\n", run([[
      conn:set { rate_in = "10kB" }
      local from = kt.now()
      local data = assert(conn:read_exactly(20000))
      local first = kt.now() - from > 1.7
      from = kt.now()
      local line = assert(conn:read_until("\n", 30000))
      print(first, #data, kt.now() - from > 1.8, #line)]], function(app, w)
      w:task(function() app:write(("x"):rep(20000) .. ("y"):rep(19999) .. "\n", { timeout = "1h" }) end)
    end))
  end)

  it("can be lifted while a read waits for it", function()
    assert.equal("100000\ttrue\n", run([[
      conn:set { rate_in = 1 }
      kt.spawn(function() kt.sleep "2s" conn:set { rate_in = 0 } end)
      local from = kt.now()
      local data = assert(conn:read_exactly(100000, { timeout = "10s" }))
      print(#data, kt.now() - from < 2.5)]], feed(100000)))
  end)

  it("does not hold up a write", function()
    assert.equal("true\n", run([[
      conn:set { rate_in = 1 }
      kt.spawn(function() conn:read_exactly(5000, { timeout = "10s" }) end)
      local from = kt.now()
      assert(conn:write(("x"):rep(50000)))
      print(kt.now() - from < 1)
      kt.sleep "15s"]], function(app, w)
      feed(5000)(app, w)
      w:task(function() app:read_exactly(50000) end)
    end))
  end)
end)

describe("a conn's rate_out", function()
  it("limits what writes send, and wakes a waiting write", function()
    local out = run([[
      conn:set { rate_out = "100kB" }
      local from = kt.now()
      assert(conn:write(("x"):rep(300000)))
      print(300000 / (kt.now() - from), conn:stats().bytes_out)]], function(app, w)
      w:task(function() app:read_exactly(300000) end)
    end)
    local rate, sent = out:match "(%S+)\t(%d+)"
    assert.is_true(tonumber(rate) > 95e3 and tonumber(rate) < 110e3, out)
    assert.equal("300000", sent)
  end)
end)

describe("a conn's idle time", function()
  it("counts from the last byte in either direction, and ends a waiting call", function()
    assert.equal("true\tidle\n", run([[
      conn:set { idle = "1s" }
      local from = kt.now()
      for _ = 1, 4 do
        kt.sleep "900ms"
        conn:write "x"
        kt.sleep "900ms"
        assert(conn:read(1))
      end
      local data, err = conn:read()
      print(math.abs(kt.now() - from - 8.2) < 0.1, err.code)]], function(app, w)
      w:task(function() app:write "yyyy" end)
    end))
  end)

  it("lets calls fail with its code until the conn is closed, and keeps the figures", function()
    assert.equal("idle\tidle\tidle\tclosed\t3\t2\t<conn a:40000>\n<conn a:40000, closed>\n", (run([[
      assert(conn:read_exactly(3))
      conn:write "hi"
      conn:set { idle = "1s" }
      kt.sleep "3s"
      local function code(_, err) return err.code end
      local s = conn:stats()
      print(code(conn:read()), code(conn:read_exactly(1)), code(conn:write "x"), code(conn:set { idle = 0 }), s.bytes_in, s.bytes_out, conn)
      conn:shutdown()
      conn:close()
      print(conn)]], function(app) app:write "abc" end):gsub("<conn [^ ,>]+", "<conn a:40000")))
  end)

  it("resets the conn at once, before the script notices", function()
    local reset
    run([[
      conn:set { idle = "1s" }
      kt.sleep "15s"]], function(app, w)
      w:task(function()
        local _, err = app:read { timeout = "10s" }
        reset = err.code
      end)
    end)
    assert.equal("reset", reset)
  end)

  it("hands its code to a splice that begins later", function()
    assert.equal("idle\tnil\n", run([[
      conn:set { idle = "1s" }
      kt.sleep "2s"
      local other = assert(kt.connect { to = "127.0.0.1:7001" })
      print(kt.splice(conn, other).reason, conn.local_addr)]] .. OTHER, silent))
  end)

  it("counts on in a splice, with what moves there", function()
    assert.equal("idle\ttrue\n", run([[
      local other = assert(kt.connect { to = "127.0.0.1:7001" })
      local from = kt.now()
      conn:set { idle = "2s" }
      kt.sleep "1s"
      local sum = kt.splice(conn, other)
      print(sum.reason, math.abs(kt.now() - from - 3.5) < 0.1)]] .. OTHER, function(app, w)
      w:task(function()
        w:sleep "1500ms"
        app:write "x"
      end)
    end))
  end)
end)

describe("a conn's total time", function()
  it("counts from when the conn was opened", function()
    assert.equal("total\ttrue\n", run([[
      local from = kt.now()
      kt.sleep "1s"
      conn:set { total = "3s" }
      local data, err
      repeat data, err = conn:read() until not data
      print(err.code, math.abs(kt.now() - from - 3) < 0.1)]], function(app, w)
      w:task(function() while app:write "x" do w:sleep "100ms" end end)
    end))
  end)
end)
