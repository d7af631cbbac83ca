-- Conns whose other end is gone, in every state of a conn, on either side of a tunnel: a minute after the end can be detected
-- nothing is left of it. In virtual time; spec/io/conn_spec.lua has the same of real sockets.
local sim = require "kt.sim"

local FAR = [[
local kt = require "kt"
kt.accept { on = ":29900", wire = %q, key = "k" }:serve(function(stream)
  local conn = assert(kt.connect { to = %q, timeout = "5s" })
  print("far", kt.splice(stream, conn).reason)
end)]]
local NEAR = [[
local kt = require "kt"
local far = kt.link { remote = "far:29900", wire = %q, key = "k" }
kt.listen { on = %q }:serve(function(conn)
  print("near", kt.splice(conn, assert(far:open())).reason)
end)]]

local BULK = ("x"):rep(20000000)

--- The target: its handling of a conn, by the state that the app's conn is brought into.
local targets = {
  reading = function(c, w) c:read_exactly(3) w:sleep "1h" end,
  paused = function(c, w) c:read_exactly(3) w:sleep "1h" end, -- reads no more, so that the app's conn is not read either
  ["half-closed"] = function(c, w) repeat local data = c:read { timeout = "1h" } until not data w:sleep "1h" end,
  -- Somewhat more than the app's end takes unread: 64 KiB in its program, 256 KiB in its kernel.
  draining = function(c) repeat local data = c:read { timeout = "1h" } until not data c:write(BULK:sub(1, 350000)) c:close() end,
}

--- Something is always on its way to the app.
local function chat(c, w)
  w:task(function() while c:write(("y"):rep(1000)) do w:sleep "1s" end end)
end

--- Brings the app's conn into the state.
local apps = {
  reading = function() end,
  paused = function(app, w) w:task(function() app:write(BULK, { timeout = "1h" }) end) end,
  ["half-closed"] = function(app) app:shutdown() end,
  draining = function(app) app:shutdown() end, -- it reads nothing of what the target said and ended with
}

--- How the app's end goes away. "vanished": its host is gone, and data was sent to it; "keepalive verdict": no data was.
local ends = {
  FIN = function(app) app:close() end,
  RST = function(app) app:reset() end,
  vanished = function(_, host) host:crash() end,
  ["keepalive verdict"] = function(_, host) host:crash() end,
}

local function tunnel(opts)
  local w = sim.world { seed = 7, files = {
    ["far.lua"] = FAR:format(opts.wire, opts.target or "db:8388"), ["near.lua"] = NEAR:format(opts.wire, opts.listen or ":12948") } }
  w:host "phone" w:host "near" w:host "far" w:host "db"
  w:link("phone", "near", { delay = "2ms" })
  w:link("near", "far", { delay = "20ms" })
  w:link("far", "db", { delay = "1ms" })
  return w, w:host("near"):run "near.lua", w:host("far"):run "far.lua"
end

--- Counts of the two kts: sockets, conns and streams, tasks, and streams in their sessions.
local function held(w)
  local out = {}
  for i, name in ipairs { "near", "far" } do
    local s, streams = w:host(name):stats(), 0
    for _, link in ipairs(s.links) do streams = streams + link.streams end
    out[i] = { sockets = s.sockets, conns = s.conns, tasks = s.tasks, streams = streams }
  end
  return out
end

--- One cell of the matrix. app_on: the host of the app; at: where it connects.
local function cell(state, ending, opts)
  local w, near, far = tunnel(opts)
  local phone = w:host(opts.app_on)
  w:host("db"):serve { on = ":8388", fn = function(c)
    if ending == "vanished" and state ~= "draining" then chat(c, w) end
    targets[state](c, w)
  end }
  phone:connect(opts.at):close()
  w:run_for "90s"
  local idle = held(w)

  local app = phone:connect(opts.at)
  app:write "GET"
  apps[state](app, w)
  w:run_for "5s"
  local before = held(w)[1]
  assert.equal(idle[1].sockets + (opts.app_on == "near" and 2 or 1), before.sockets)
  assert.equal(state == "draining" and 0 or 2, before.conns)
  ends[ending](app, phone)
  w:run_for "160s" -- 70 s for keepalive, 30 s until the wait for the rest ends, and a minute more
  assert.same(idle, held(w))
  assert.is_true(near:is_running() and far:is_running())
end

for _, wire in ipairs { "kcptun", "kt" } do
  describe(("over %s wire, a conn that is"):format(wire == "kt" and "kt's" or "kcptun's"), function()
    for state in pairs(apps) do
      for ending in pairs(ends) do
        it(state .. " ends, and so does the other end's, after: " .. ending, function()
          cell(state, ending, { app_on = "phone", at = "near:12948", listen = ":12948", wire = wire })
        end)
      end
      for _, ending in ipairs { "FIN", "RST" } do
        it(state .. " and a unix socket ends, and so does the other end's, after: " .. ending, function()
          cell(state, ending, { app_on = "near", at = "unix:/run/kt.sock", listen = "unix:/run/kt.sock", wire = wire })
        end)
      end
    end
  end)
end

describe("the user timeout of a conn whose application vanishes in mid-transfer", function()
  --- How long both kts still hold conns after the application's host is gone.
  local function noticed(near, far)
    local w = sim.world { seed = 7, files = { ["near.lua"] = near or "" } }
    w:host "phone" w:host "near" w:host "far"
    w:link("phone", "near", { delay = "2ms" })
    w:link("near", "far", { delay = "20ms" })
    w:host("far"):serve { on = "127.0.0.1:8388", fn = function(c) chat(c, w) w:sleep "1h" end }
    w:host("far"):run("kt server", { args = { "--wire", "kcptun", "-t", "127.0.0.1:8388", "--key", "k" } })
    if near then
      w:host("near"):run "near.lua"
    else
      w:host("near"):run("kt client", { args = { "--wire", "kcptun", "-r", "far:29900", "--key", "k", table.unpack(far or {}) } })
    end
    w:host("phone"):connect "near:12948":write "GET"
    w:run_for "5s"
    assert.equal(2, held(w)[1].conns)
    w:host("phone"):crash()
    local began = w:now()
    w:run_until(function() return held(w)[1].conns + held(w)[2].conns == 0 end, { timeout = "2000s" })
    return w:now() - began
  end

  local function script(set)
    return ([[
local kt = require "kt"
local far = kt.link { remote = "far:29900", wire = "kcptun", key = "k" }
kt.listen { on = ":12948" }:serve(function(conn)
  %s
  kt.splice(conn, assert(far:open()))
end)]]):format(set)
  end

  local function assert_between(low, high, value) assert.is_true(value > low and value < high, ("%.1f s"):format(value)) end

  it("is a minute by default", function()
    assert_between(59, 62, noticed(script ""))
    assert_between(59, 62, noticed())
  end)

  it("is set by a script", function() assert_between(6, 9, noticed(script 'conn:set { user_timeout = "7s" }')) end)

  it("is set by --usertimeout", function() assert_between(6, 9, noticed(nil, { "--usertimeout", "7" })) end)

  it("defaults to the system's when set to 0", function() assert_between(69, 1000, noticed(nil, { "--usertimeout", "0" })) end)
end)
