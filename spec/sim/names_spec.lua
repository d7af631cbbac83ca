-- Errors for a peer that cannot be dialled, in virtual time.
local sim = require "kt.sim"

--- The code and the message with which `call` on a link to `remote` fails.
local function failure(remote, call, prepare)
  local w = sim.world { seed = 7, files = { ["client.lua"] = ([[
local kt = require "kt"
local far = kt.link { remote = "%s", wire = "kcptun", key = "k" }
kt.spawn(function()
  local _, err = far:%s
  kt.log.info("<%%s> <%%s>", err.code, err)
end)]]):format(remote, call) } }
  w:host "client"
  if prepare then prepare(w) end
  local client = w:host("client"):run "client.lua"
  client:wait_log("<.*>", { timeout = "10s" })
  return client:log():match "<(.-)> <(.-)>"
end

describe("a link whose server moves to where its name leads", function()
  for _, wire in ipairs { "kcptun", "kt" } do
    it(("carries new connections there within 6 s, over %s wire"):format(wire == "kt" and "kt's" or "kcptun's"), function()
      local w = sim.world { seed = 7, files = { ["far.lua"] = ([[
local kt = require "kt"
kt.accept { on = ":29900", wire = %q, key = "k" }:serve(function(stream)
  kt.splice(stream, assert(kt.connect { to = "127.0.0.1:8388" }))
end)]]):format(wire), ["near.lua"] = ([[
local kt = require "kt"
local far = kt.link { remote = "far.example:29900", wire = %q, key = "k" }
kt.listen { on = ":12948" }:serve(function(conn) kt.splice(conn, assert(far:open())) end)]]):format(wire) } }
      w:host "near"
      for _, name in ipairs { "a", "b" } do
        w:host(name):serve { on = "127.0.0.1:8388", kind = "echo" }
        w:host(name):run "far.lua"
        w:link("near", name, { delay = "40ms" })
      end
      w:name("far.example", "a")
      w:host("near"):run "near.lua"
      local app = w:host("near"):connect "127.0.0.1:12948"
      assert.equal("a", app:echo("hello").server)
      w:link("near", "a"):cut()
      w:name("far.example", "b")
      app:write "x"
      w:run_for "5500ms"
      assert.equal("b", w:host("near"):connect("127.0.0.1:12948"):echo("hello", { timeout = "500ms" }).server)
    end)
  end
end)

describe("a link that cannot be dialled", function()
  for _, call in ipairs { "open", "probe" } do
    local function fails(remote, ...)
      return { failure(remote, call .. ' { timeout = "3s" }', ...) }
    end

    it("reports at the timeout of link:" .. call .. " that its name is unknown", function()
      assert.same({ "name", ("link:%s: nosuch.example: no such host name"):format(call) }, fails "nosuch.example:29900")
    end)

    it("reports that the name server does not answer", function()
      assert.same({ "name", ("link:%s: far.example: the name server does not answer"):format(call) },
        fails("far.example:29900", function(w) w:name("far.example", nil, { fail = true }) end))
    end)

    it("reports that the scope is missing from a link-local address", function()
      assert.same({ "unreachable", ("link:%s: [fe80::1]:29900: a link-local address needs a scope; append the interface, "
        .. "such as fe80::1%%eth0"):format(call) }, fails "[fe80::1]:29900")
    end)
  end

  it("opens as soon as its name is known, within the time", function()
    local w = sim.world { seed = 7, files = { ["client.lua"] = [[
local kt = require "kt"
local far = kt.link { remote = "far.example:29900", wire = "kcptun", key = "k" }
kt.spawn(function()
  local stream, err = far:open { timeout = "5s" }
  kt.log.info("<%s>", stream and "open" or err)
end)]] } }
    w:host "client"
    local client = w:host("client"):run "client.lua"
    w:at("2s", function() w:name("far.example", "client") end)
    client:wait_log("<open>", { timeout = "4s" })
  end)
end)
