-- Between two kts a broken connection never looks like a normal end, whatever breaks and wherever. In virtual time.
local sim = require "kt.sim"

-- The options of link and acceptor come in for %s.
local FAR = [[
local kt = require "kt"
kt.accept { on = ":29900", wire = "kcptun", key = "k", %s }:serve(function(stream)
  local conn, err = kt.connect { to = "db:8388", timeout = "5s" }
  if not conn then return stream:reset(err) end
  %s
  local sum = kt.splice(stream, conn)
  print("far", sum.reason, sum.cause and sum.cause.code, sum.cause)
end)]]
local NEAR = [[
local kt = require "kt"
local far = kt.link { remote = "far:29900", wire = "kcptun", key = "k", %s }
kt.listen { on = ":12948" }:serve(function(conn)
  local stream = assert(far:open())
  %s
  local sum = kt.splice(conn, stream)
  print("near", sum.reason, sum.cause and sum.cause.code, sum.cause)
end)]]

local REFUSED = "db:8388: cannot reach any of its 2 addresses; the last was [fd00::3]:8388: connection refused"

--- A world with both scripts running, and the line between them. opts: options, near, far (lines of script), loss, serve.
local function tunnel(opts)
  local settings = opts.options or ""
  local w = sim.world { seed = opts.seed or 7, files = {
    ["far.lua"] = FAR:format(settings, opts.far or ""), ["near.lua"] = NEAR:format(settings, opts.near or ""),
  } }
  w:host "near" w:host "far" w:host "db"
  local line = w:link("near", "far", { delay = "20ms", loss = opts.loss })
  w:link("far", "db", { delay = "1ms" })
  local far, near = w:host("far"):run "far.lua", w:host("near"):run "near.lua"
  if opts.serve then w:host("db"):serve { on = ":8388", fn = function(c) opts.serve(c, w) end } end
  return w, near, far, line
end

--- Everything that the app reads, and the reason it ended.
local function drain(app)
  local n = 0
  while true do
    local data, err = app:read(65536, { timeout = "60s" })
    if not data then return n, err.code end
    n = n + #data
  end
end

--- Checks that a minute after the app closes, nothing of it is left at either end.
local function assert_empty(w, app)
  app:close()
  w:run_for "60s"
  assert.same({}, w:leftovers())
end

describe("a target that resets in mid-transfer", function()
  for name, opts in pairs {
    ["by default"] = {},
    ["with smux 1"] = { options = "smux = { version = 1 }" },
    ["without compression"] = { options = "compress = false" },
    ["under QPP"] = { options = "qpp = true" },
    ["under tuncrypt"] = { options = "tuncrypt = true" },
    ["with a limit on the stream"] = { near = "stream:set { rate_in = '1MiB' }", far = "stream:set { rate_out = '1MiB' }" },
    ["under tuncrypt and a limit"] = { options = "tuncrypt = true", near = "stream:set { idle = '10m' }", far = "conn:set { idle = '10m' }" },
    ["over a lossy line"] = { loss = "20%" },
  } do
    it("resets the app, which gets all earlier data: " .. name, function()
      opts.serve = function(c, w)
        c:write(("x"):rep(30000))
        w:sleep "3s"
        c:reset()
      end
      local w, near, far = tunnel(opts)
      local app = w:host("near"):connect "127.0.0.1:12948"
      app:write "GET"
      assert.same({ 30000, "reset" }, { drain(app) })
      w:run_for "1s"
      assert.equal("far\treset\tnil\tnil\n", far:output())
      assert.equal("near\treset\treset\tconnection reset by the other end\n", near:output())
      assert_empty(w, app)
    end)
  end

  it("resets an app that has half-closed", function()
    local w = tunnel { serve = function(c, w)
      repeat local data = c:read() until not data
      w:sleep "1s"
      c:reset()
    end }
    local app = w:host("near"):connect "127.0.0.1:12948"
    app:write "POST"
    app:shutdown()
    assert.same({ 0, "reset" }, { drain(app) })
    assert_empty(w, app)
  end)

  it("resets an app that it had half-closed itself", function()
    local w = tunnel { serve = function(c, w)
      c:write "all there is"
      c:shutdown()
      w:sleep "1s"
      c:reset()
    end }
    local app = w:host("near"):connect "127.0.0.1:12948"
    app:write "GET"
    assert.equal("all there is", app:read_exactly(12))
    assert.equal("eof", select(2, app:read()).code)
    w:run_for "2s"
    local taken, err = app:send "more"
    assert.is_nil(taken)
    assert.equal("reset", err.code)
    assert_empty(w, app)
  end)
end)

describe("an app that resets", function()
  it("resets the target, which gets all earlier data", function()
    local got, code
    local w, near, far = tunnel { serve = function(c) got, code = drain(c) end }
    local app = w:host("near"):connect "127.0.0.1:12948"
    app:write(("x"):rep(30000))
    w:run_for "3s"
    app:reset()
    w:run_for "5s"
    assert.same({ 30000, "reset" }, { got, code })
    assert.equal("near\treset\tnil\tnil\n", near:output())
    assert.equal("far\treset\treset\tconnection reset by the other end\n", far:output())
    assert_empty(w, app)
  end)

  it("in the first round trip, before the peers know each other, still resets the target", function()
    local got, code
    local w = tunnel { serve = function(c) got, code = drain(c) end }
    local app = w:host("near"):connect "127.0.0.1:12948"
    app:write "half an upload"
    w:run_for "5ms"
    app:reset()
    w:run_for "5s"
    assert.same({ 14, "reset" }, { got, code })
    assert_empty(w, app)
  end)
end)

describe("an app that resets an upload that the target does not read", function()
  for wire, most in pairs { kt = 3, kcptun = 12 } do
    for _, stalled in ipairs { 2, 30 } do
      it(("for %d s leaves nothing at either end %d s after the reset on wire %s"):format(stalled, math.max(10 - stalled, 0) + most, wire), function()
        local w = sim.world { seed = 7 }
        w:host "near" w:host "far"
        w:link("near", "far", { delay = "20ms" })
        local reset
        w:host("far"):serve { on = "127.0.0.1:8388", fn = function(c)
          w:sleep "1h"
          reset = select(2, drain(c))
        end }
        local far = w:host("far"):run("kt server", { args = { "--wire", wire, "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k" } })
        local near = w:host("near"):run("kt client", { args = { "--wire", wire, "-r", "far:29900", "-l", "127.0.0.1:12948", "--key", "k" } })
        local app = w:host("near"):connect "127.0.0.1:12948"
        w:task(function() app:write(("x"):rep(8000000), { timeout = "1h" }) end)
        w:run_for(stalled + 1)
        app:reset()
        w:run_for(math.max(10 - stalled, 0) + most)
        assert.equal(0, near:stats().counters.StreamsNow)
        assert.equal(0, far:stats().counters.StreamsNow)
        w:run_for "1h"
        assert.equal("reset", reset)
      end)
    end
  end
end)

describe("a target without a listener", function()
  it("resets the app, and the near script learns why", function()
    local w, near = tunnel {}
    local app = w:host("near"):connect "127.0.0.1:12948"
    app:write "GET"
    assert.same({ 0, "reset" }, { drain(app) })
    w:run_for "1s"
    assert.equal("near\treset\trefused\t" .. REFUSED .. "\n", near:output())
    assert_empty(w, app)
  end)

  it("is reported to a script that reads the stream itself", function()
    local w = sim.world { seed = 7, files = { ["far.lua"] = FAR:format("", ""), ["near.lua"] = [[
      local kt = require "kt"
      local far = kt.link { remote = "far:29900", wire = "kcptun", key = "k" }
      kt.spawn(function()
        local stream = assert(far:open())
        stream:write "GET"
        local data, err = stream:read()
        print(data, err.code, err)
        print(select(2, stream:write "more"))
      end)]] } }
    w:host "near" w:host "far" w:host "db"
    w:link("near", "far", { delay = "20ms" })
    w:link("far", "db", { delay = "1ms" })
    w:host("far"):run "far.lua"
    local near = w:host("near"):run "near.lua"
    w:run_for "5s"
    local why = "connection reset by the other end: " .. REFUSED
    assert.equal("nil\treset\tstream:read: " .. why .. "\nstream:write: " .. why .. "\t0\n", near:output())
  end)
end)

describe("a script that resets a stream", function()
  it("gives its reason to the script at the other end", function()
    local w, near = tunnel { far = "conn:close() do return stream:reset 'quota used up' end", serve = function(c) drain(c) end }
    w:host("near"):connect("127.0.0.1:12948"):write "GET"
    w:run_for "5s"
    assert.equal("near\treset\tcanceled\tquota used up\n", near:output())
  end)
end)

describe("the end of a kt during a transfer", function()
  local function endless(c, w)
    while c:write(("x"):rep(1000)) do w:sleep "10ms" end
  end

  for _, loss in ipairs { "0%", "30%" } do
    it("resets the app at the other end after the drain, with " .. loss .. " loss", function()
      local w, near, far = tunnel { serve = endless, loss = loss }
      local app = w:host("near"):connect "127.0.0.1:12948"
      app:write "GET"
      assert.equal(20000, #app:read_exactly(20000))
      local began = w:now()
      far:signal "TERM"
      local _, code = drain(app)
      assert.equal("reset", code)
      assert.is_true(w:now() - began < 6.5, "the reset came late")
      w:run_for "2s"
      assert.is_false(far:is_running())
      assert.equal("near\treset\tcanceled\tkt is shutting down\n", near:output())
      assert_empty(w, app)
    end)
  end

  it("resets the target when the near kt ends", function()
    local got, code
    local w, near, far = tunnel { serve = function(c) got, code = drain(c) end }
    local app = w:host("near"):connect "127.0.0.1:12948"
    w:task(function() endless(app, w) end)
    w:run_for "1s"
    near:signal "TERM"
    w:run_for "7s"
    assert.is_true(got > 0)
    assert.equal("reset", code)
    assert.is_false(near:is_running())
    assert.equal("far\treset\tcanceled\tkt is shutting down\n", far:output())
  end)

  it("waits no longer than a second for a peer that cannot be reached", function()
    local w, _, far, line = tunnel { serve = endless }
    local app = w:host("near"):connect "127.0.0.1:12948"
    app:write "GET"
    app:read_exactly(5000)
    line:cut()
    far:signal "TERM"
    w:run_for "4.9s"
    assert.is_true(far:is_running())
    w:run_for "1.2s"
    assert.is_false(far:is_running())
  end)

  it("is an orderly end for streams that had ended in order", function()
    local w, near, far = tunnel { serve = function(c) c:write "all of it" c:close() end }
    local app = w:host("near"):connect "127.0.0.1:12948"
    app:write "GET"
    w:run_for "1s"
    far:signal "TERM"
    assert.same({ 9, "eof" }, { drain(app) })
    app:close()
    w:run_for "2s"
    assert.equal("near\tend\tnil\tnil\n", near:output())
  end)
end)

describe("an app that has half-closed before the peer could be heard", function()
  it("gets the whole reply after 13 s of silence, not an early end", function()
    local w, _, _, line = tunnel { serve = function(c)
      repeat local data = c:read { timeout = "1m" } until not data
      c:write(("x"):rep(30000))
      c:close()
    end }
    line:cut "far"
    local app = w:host("near"):connect "127.0.0.1:12948"
    app:write "GET"
    app:shutdown()
    w:run_for "13s"
    line:heal()
    assert.same({ 30000, "eof" }, { drain(app) })
    assert_empty(w, app)
  end)
end)
