-- udp.lua: questions and answers get through a lossy line, and the far end sends datagrams only where it allows it.
local sim = require "kt.sim"

describe("udp.lua", function()
  local w, near, far, server
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret" } }
    near, far = w:host "near", w:host "far"
    w:link("near", "far", { delay = "40ms", loss = "10%" })
    w:name("vps.example", "far")
    server = far:serve { udp = "127.0.0.1:53", fn = function(question) return "answer to " .. question end }
    far:run("scripts/examples/udp.lua")
  end)

  -- Asks 100 questions, each once and from a port of its own, as DNS clients do. Returns the number of answers.
  local function ask()
    local answers = 0
    for i = 1, 100 do
      w:at(i * 0.1, function()
        local socket <close> = near:udp { to = "127.0.0.1:5353" }
        socket:send("question " .. i)
        if socket:receive { timeout = "2s" } == "answer to question " .. i then answers = answers + 1 end
      end)
    end
    w:run "20s"
    return answers
  end

  it("brings nearly all of 100 answers over a line that loses a tenth each way", function()
    near:run("scripts/examples/udp.lua", { args = { "near" } })
    local answers = ask()
    assert.is_true(answers >= 95, answers)
  end)

  it("sends nothing to a target that is not in the list", function()
    near:file("curious.lua", [[
local kt = require "kt"
local link = kt.link { remote = "vps.example:29900", wire = "kt", key = kt.secret_file "psk.key" }
kt.listen { udp = "127.0.0.1:5353" }:serve(function(flow)
  local out <close> = assert(link:flow { to = "127.0.0.1:53" })
  kt.splice(flow, out)
end)]])
    near:run("curious.lua")
    assert.equal(0, ask())
    assert.equal(0, server.datagrams)
  end)
end)
