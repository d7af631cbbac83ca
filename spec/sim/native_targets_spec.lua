-- kt client --to and kt server --allow: clients of one server that go to different targets, in virtual time.
local sim = require "kt.sim"

local KEY = "d2hhdCBtYWtlcyBhIGtleSBpcyAzMiBieXRlcy4uLi4="

--- Two clients on one host, whose conns go to what --to says; nil: to the server's own target.
local function world(allow, ...)
  local w = sim.world { seed = 7 }
  w:host "client" w:host "server"
  w:link("client", "server", { delay = "20ms" })
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host("server"):serve { on = "127.0.0.1:22", fn = function(conn) conn:write "ssh" conn:close() end }
  local server = w:host("server"):run("kt server",
    { args = { "-l", ":29900", "-t", "127.0.0.1:8388", "--wire", "kt", "--key", KEY, table.unpack(allow and { "--allow", allow } or {}) } })
  for i, to in ipairs { ... } do
    local args = { "-l", "127.0.0.1:" .. 1000 + i, "-r", "server:29900", "--wire", "kt", "--key", KEY }
    if to then table.move({ "--to", to }, 1, 2, #args + 1, args) end
    w:host("client"):run("kt client", { beside = i > 1, args = args })
  end
  return w, server, function(i) return w:host("client"):connect("127.0.0.1:" .. 1000 + i) end
end

describe("kt server --allow", function()
  it("connects each client where it asks to go, and to --target if it asks for nothing", function()
    local _, _, connect = world("127.0.0.*:22,10.*:80", "127.0.0.1:22", false)
    assert.equal("ssh", connect(1):read_exactly(3, { timeout = "5s" }))
    assert.equal("server", connect(2):echo("hello").server)
  end)

  for why, case in pairs {
    ["no pattern matches"] = { "10.*:22,127.0.0.1:2", "127.0.0.1:22" },
    ["there is no --allow"] = { nil, "127.0.0.1:22" },
    ["the target is a unix socket"] = { "*:*", "/run/x.sock:1" },
  } do
    it("resets a connection whose target it may not reach because " .. why, function()
      local _, server, connect = world(case[1], case[2])
      local app = connect(1)
      local data, err = app:read(1, { timeout = "5s" })
      assert.is_nil(data)
      assert.equal("reset", err.code)
      assert.matches("not allowed", server:log(), 1, true)
    end)
  end

  it("refuses a pattern without a port", function()
    local ok, err = pcall(world, "10.0.0.1")
    assert.is_false(ok)
    assert.matches('--allow: "10.0.0.1": expected host:port', tostring(err), 1, true)
  end)
end)

describe("kt client --to", function()
  it("is refused on kcptun's wire, which cannot carry it", function()
    local w = sim.world { seed = 7 }
    w:host "client"
    local ok, err = pcall(function()
      w:host("client"):run("kt client", { args = { "-r", "server:29900", "--wire", "kcptun", "--key", "k", "--to", "a:1" } })
    end)
    assert.is_false(ok)
    assert.matches("--to: kcptun's wire cannot carry a target; use --wire kt", tostring(err), 1, true)
  end)
end)

describe("kt server --authorized", function()
  it("lets in the clients of the file, by their keys alone, to the targets that it has for them", function()
    local w = sim.world { seed = 7 }
    w:host "client" w:host "server"
    w:link("client", "server", { delay = "20ms" })
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    local server = w:host("server"):run("kt server", {
      args = { "-l", ":29900", "-t", "127.0.0.1:8388", "--wire", "kt", "--privatekey", "server.key", "--authorized", "clients" },
      files = {
        ["server.key"] = "ERERERERERERERERERERERERERERERERERERERERERE=",
        clients = "# who may come in\nalice D6poTtKIZ7l/Smot7l34zpdOdrcBjj8iocTPJnhXDyA= 127.0.0.1:22,10.*:*\n",
      },
    })
    w:host("server"):serve { on = "127.0.0.1:22", fn = function(conn) conn:write "ssh" conn:close() end }
    for i, to in ipairs { "", "127.0.0.1:22", "127.0.0.1:8388" } do
      w:host("client"):run("kt client", {
        args = { "-l", "127.0.0.1:100" .. i, "-r", "server:29900", "--wire", "kt", "--privatekey", "alice.key",
          "--serverkey", "e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM=", table.unpack(to ~= "" and { "--to", to } or {}) },
        files = { ["alice.key"] = "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=" }, beside = i > 1,
      })
    end
    assert.equal("server", w:host("client"):connect("127.0.0.1:1001"):echo("hello").server)
    assert.equal("ssh", w:host("client"):connect("127.0.0.1:1002"):read_exactly(3, { timeout = "5s" }))
    assert.is_nil((w:host("client"):connect("127.0.0.1:1003"):read(1, { timeout = "5s" })))
    assert.matches("127.0.0.1:8388: not allowed: no pattern of --authorized clients:2 matches", server:log(), 1, true)
    assert.is_nil(server:log():find("the key is", 1, true))
  end)

  it("refuses a file with a line that is not a name and a key", function()
    local w = sim.world { seed = 7 }
    w:host "server"
    local ok, err = pcall(function()
      w:host("server"):run("kt server", {
        args = { "--wire", "kt", "--privatekey", "server.key", "--authorized", "clients" },
        files = { ["server.key"] = "ERERERERERERERERERERERERERERERERERERERERERE=", clients = "alice\n" },
      })
    end)
    assert.is_false(ok)
    assert.matches('--authorized clients:1: expected NAME KEY [PATTERNS], got "alice"', tostring(err), 1, true)
  end)

  it("is refused without this end's private key", function()
    local w = sim.world { seed = 7 }
    w:host "server"
    local ok, err = pcall(function() w:host("server"):run("kt server", { args = { "--wire", "kt", "--authorized", "clients" } }) end)
    assert.is_false(ok)
    assert.matches("expected both --privatekey and --authorized, or neither", tostring(err), 1, true)
  end)
end)
