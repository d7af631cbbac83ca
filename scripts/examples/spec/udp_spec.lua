-- udp.lua: questions and answers get through a lossy line, and the far end sends datagrams only where it allows it.
local sim = require "kt.sim"

local SERVER = [[
local kt = require "kt"
local socket = kt.udp { on = "127.0.0.1:53" }
kt.spawn(function()
  while true do
    local question, from = socket:receive { timeout = "24h" }
    if question then socket:send("answer to " .. question, from) end
  end
end)]]

-- Asks 100 questions, each once and from a port of its own, as DNS clients do.
local CLIENT = [[
local kt = require "kt"
for i = 1, 100 do
  kt.spawn(function()
    kt.sleep(i * 0.1)
    local socket <close> = assert(kt.udp { to = "127.0.0.1:5353" })
    socket:send("question " .. i)
    print(socket:receive { timeout = "2s" })
  end)
end]]

describe("udp.lua", function()
  local w, near, far
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret", ["server.lua"] = SERVER, ["client.lua"] = CLIENT } }
    near, far = w:host "near", w:host "far"
    w:link("near", "far", { delay = "40ms", loss = "10%" })
    w:name("vps.example", "far")
    far:run("server.lua")
    far:run("scripts/examples/udp.lua", { beside = true })
  end)

  it("brings nearly all of 100 answers over a line that loses a tenth each way", function()
    near:run("scripts/examples/udp.lua", { args = { "near" } })
    local client = near:run("client.lua", { beside = true })
    w:run "20s"
    local _, answers = client:output():gsub("answer to question", "")
    assert.is_true(answers >= 95, answers)
  end)

  it("sends nothing to a target that is not in the list", function()
    near:file("curious.lua", [[
local kt = require "kt"
local link = kt.link { remote = "vps.example:29900", wire = "kt", key = kt.secret_file "psk.key" }
kt.listen { udp = "127.0.0.1:5353" }:serve(function(flow)
  local out <close> = assert(link:flow { to = "10.0.2.1:22" })
  kt.splice(flow, out)
end)]])
    near:run("curious.lua")
    local client = near:run("client.lua", { beside = true })
    w:run "20s"
    assert.falsy(client:output():find "answer")
  end)
end)
