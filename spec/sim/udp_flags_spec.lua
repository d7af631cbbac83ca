-- kt client --udp and kt server --udp, in virtual time.
local sim = require "kt.sim"

local function tunnel(client, server)
  local w = sim.world { seed = 7 }
  w:host "client" w:host "server"
  w:link("client", "server", { delay = "20ms" })
  for _, at in ipairs { "127.0.0.1:53", "127.0.0.1:123" } do
    w:host "server":run("spec/fixtures/flows/echo.lua", { args = { at }, beside = true })
  end
  local function args(list, more) return { args = table.move(more, 1, #more, #list + 1, list), beside = true } end
  local t = { w = w }
  t.server = w:host "server":run("kt server", args({ "-l", ":29900", "-t", "127.0.0.1:1", "--key", "k" }, server))
  t.client = w:host "client":run("kt client", args({ "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "k" }, client))
  --- The answers to 20 questions at an address of the client's host.
  function t.answers(at)
    local asker = w:host "client":run("spec/fixtures/flows/ask.lua", { args = { at, "20", "0.05", "40" }, beside = true })
    w:run_for "10s"
    return tonumber(asker:output():match "answered (%d+)")
  end
  return t
end

describe("--udp", function()
  it("carries datagrams to where the server's --udp says", function()
    local t = tunnel({ "--wire", "kt", "--udp", "127.0.0.1:5353" }, { "--wire", "kt", "--udp", "127.0.0.1:53" })
    assert.equal(20, t.answers "127.0.0.1:5353")
    assert.matches("udp 127.0.0.1:5353,", t.client:log(), 1, true)
    assert.matches("udp 127.0.0.1:53,", t.server:log(), 1, true)
  end)

  it("takes several addresses, each with a target that the server's --allow has", function()
    local t = tunnel({ "--wire", "auto", "--udp", "127.0.0.1:5353=127.0.0.1:53, 127.0.0.1:1123=127.0.0.1:123,127.0.0.1:5354=127.0.0.1:54" },
      { "--wire", "auto", "--allow", "127.0.0.1:53,127.0.0.1:123" })
    assert.equal(20, t.answers "127.0.0.1:5353")
    assert.equal(20, t.answers "127.0.0.1:1123")
    assert.equal(0, t.answers "127.0.0.1:5354")
    assert.matches("target 127.0.0.1:54: not allowed: no pattern of --allow matches", t.server:log(), 1, true)
  end)

  it("at the client only: the server says what it lacks, or refuses", function()
    local t = tunnel({ "--wire", "kt", "--udp", "127.0.0.1:5353" }, { "--wire", "kt", "--allow", "*:53" })
    assert.equal(0, t.answers "127.0.0.1:5353")
    assert.matches("dropped its datagrams, no target; set --udp", t.server:log(), 1, true)
    t = tunnel({ "--wire", "kt", "--udp", "127.0.0.1:5353" }, { "--wire", "kt" })
    assert.equal(0, t.answers "127.0.0.1:5353")
  end)

  it("ends flows after --udpidle", function()
    local t = tunnel({ "--wire", "kt", "--udp", "127.0.0.1:5353", "--udpidle", "20" }, { "--wire", "kt", "--udp", ":53" })
    assert.equal(20, t.answers "127.0.0.1:5353")
    assert.equal(1, t.server:stats().counters.FlowsNow)
    t.w:run_for "16s"
    assert.equal(0, t.server:stats().counters.FlowsNow)
  end)

  it("needs kt's wire, and addresses that make sense", function()
    for _, case in ipairs {
      { "--udp: kcptun's wire carries no datagrams; use --wire kt or --wire auto", { "--wire", "kcptun", "--udp", ":53" } },
      { '--udp: "nonsense": missing port', { "--wire", "kt", "--udp", "nonsense" } },
    } do
      local ok, err = pcall(tunnel, case[2], {})
      assert.is_false(ok)
      assert.matches(case[1], tostring(err), 1, true)
    end
  end)
end)
