-- A server with several addresses, in virtual time: answers come from the address that a peer sends to.
local sim = require "kt.sim"

local ADDRESSES = { "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3" }

local function endpoint(address, port) return (address:find ":" and "[%s]:%d" or "%s:%d"):format(address, port) end

local function world(files)
  local w = sim.world { seed = 7, files = files }
  w:host "client"
  w:host("server", { address = ADDRESSES })
  w:link("client", "server", { delay = "10ms" })
  return w
end

describe("a server with two IPv4 and three IPv6 addresses", function()
  for _, address in ipairs(ADDRESSES) do
    it("serves a client that dials " .. address, function()
      local w = world()
      w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
      w:host("server"):run("kt server", { args = { "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k" } })
      w:host("client"):run("kt client", { args = { "-r", endpoint(address, 29900), "-l", "127.0.0.1:12948", "--key", "k" } })
      local app = w:host("client"):connect "127.0.0.1:12948"
      assert.equal("server", app:echo("hello", { timeout = "2s" }).server)
      app:close()
      w:settle()
    end)

    it("answers to kt.udp { to = " .. address .. " } from a socket of kt.udp", function()
      local w = world {
        ["server.lua"] = [[
local kt = require "kt"
local socket = kt.udp { on = ":5353" }
kt.spawn(function()
  while true do
    local data, from = socket:receive { timeout = "1h" }
    if data then socket:send(data, from) end
  end
end)]],
        ["client.lua"] = ([[
local kt = require "kt"
kt.spawn(function()
  local socket = kt.udp { to = "%s" }
  socket:send "anyone?"
  kt.log.info("answer: %%s", tostring(socket:receive { timeout = "1s" }))
end)]]):format(endpoint(address, 5353)),
      }
      w:host("server"):run "server.lua"
      w:host("client"):run("client.lua"):wait_log "answer: anyone%?"
    end)
  end

  it("rejects an unknown client from the address that was dialled", function()
    local w = world()
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    w:host("server"):run("kt server", { args = { "-l", ":29900", "-t", "127.0.0.1:8388", "--key", "k" } })
    local client = w:host("client"):run("kt client", { args = { "-r", "192.0.2.2:29900", "-l", "127.0.0.1:12948", "--key", "k" } })
    local app = w:host("client"):connect "127.0.0.1:12948"
    app:echo "hello"
    w:host("server"):crash()
    w:host("server"):restart()
    app:write "still there?"
    client:wait_log("it restarted", { timeout = "2s" })
  end)
end)
