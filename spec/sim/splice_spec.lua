-- A link that dies while a splice uses one of its streams, in virtual time. Under asan: no use after free.
local sim = require "kt.sim"

local FAR = [[
local kt = require "kt"
kt.accept { on = ":29900", wire = "kcptun", key = "k" }:serve(function(stream)
  stream:write(("x"):rep(3000000), { timeout = "10s" })
  kt.sleep "1h"
end)]]

-- The stream's bytes arrive, are not read, and the link dies; then `text` runs.
local NEAR = [[
local kt = require "kt"
local far = kt.link { remote = "server:29900", wire = "kcptun", key = "k", smux = { stream_buffer = "4MiB", buffer = "8MiB" } }
kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
  local stream = assert(far:open())
  stream:write "go"
  %s
end)]]

local function world(text)
  local w = sim.world { files = { ["far.lua"] = FAR, ["near.lua"] = NEAR:format(text) } }
  w:host "client"
  w:host "server"
  local line = w:link("client", "server", { delay = "10ms" })
  w:host("server"):run "far.lua"
  local near = w:host("client"):run "near.lua"
  local app = w:host("client"):connect "127.0.0.1:12948"
  return w, near, app, line
end

local function drain(w, app)
  local n = 0
  while true do
    local data = app:read()
    if not data then return n end
    n = n + #data
    w:run_for "1ms"
  end
end

describe("a splice whose link dies", function()
  it("resets the conn, and the figures of both remain available", function()
    local w, near, app, line = world [[
      local summary = kt.splice(conn, stream)
      local c, s = conn:stats(), stream:stats()
      print(summary.reason, summary.b_to_a == c.bytes_out, summary.b_to_a == s.bytes_in, summary.a_to_b, s.bytes_out)]]
    app:write "hello"
    w:run "2s"
    line:cut()
    drain(w, app)
    w:run "60s"
    assert.equal("dead\ttrue\ttrue\t5\t7\n", near:output())
    w:close()
  end)

  for where, text in pairs {
    ["in the splice"] = [[
      far:on("down", function() assert(%s) end)
      kt.splice(conn, stream)]],
    ["and the script reads"] = [[
      local down
      far:on("down", function() down = true end)
      repeat kt.sleep "100ms" until down
      assert(%s)
      for data in function() return stream:read() end do conn:write(data, { timeout = "1h" }) end]],
  } do
    it("delivers the bytes that had arrived when a rate is set only then, " .. where, function()
      local function delivered(set)
        local w, near, app, line = world(text:format(set))
        w:run "5s"
        line:cut()
        w:run "40.5s" -- the stream breaks at 40 s
        local n = drain(w, app)
        assert.is_nil(near:log():find "failed")
        w:close()
        return n
      end
      local all = delivered "true"
      assert.is_true(all > 200000)
      assert.equal(all, delivered 'stream:set { rate_in = "10KiB" }')
    end)
  end
end)

describe("an answer of which the first packet is lost for 15 s", function()
  -- Whether a packet without encryption, compression and FEC has the first segment of its direction.
  local function is_first(packet)
    local at = 1
    while at + 23 <= #packet.data do
      local cmd, sn, len = ("<xxxxB xxx xxxx I4 xxxx I4"):unpack(packet.data, at)
      if cmd == 81 and sn == 0 then return true end
      at = at + 24 + len
    end
    return false
  end

  it("arrives whole after the end of the request, although only that packet tells that the peer can half-close", function()
    local w = sim.world { seed = 3 }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "10ms" })
    w:host("server"):serve { on = "127.0.0.1:8388", fn = function(conn)
      conn:read_exactly(7)
      conn:write(("x"):rep(50000))
      conn:shutdown()
    end }
    local flags = { "--key", "k", "--crypt", "null", "--nocomp", "--datashard", "0", "--parityshard", "0" }
    w:host("server"):run("kt server", { args = { "--wire", "kcptun", "-l", ":29900", "-t", "127.0.0.1:8388", table.unpack(flags) } })
    w:host("client"):run("kt client", { args = { "--wire", "kcptun", "-r", "server:29900", "-l", "127.0.0.1:12948", table.unpack(flags) } })
    w:rule { from = "server", to = "client", fn = function(packet)
      return packet.at < 15 and is_first(packet) and "drop" or nil
    end }
    local app = w:host("client"):connect "127.0.0.1:12948"
    app:write "request"
    app:shutdown()
    assert.equal(50000, #app:read_all { timeout = "60s" })
    assert.is_true(w:now() > 15)
  end)
end)
