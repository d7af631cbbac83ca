-- token-gate.lua: who is let in, and until when.
local sim = require "kt.sim"

local SERVICE = [[
local kt = require "kt"
kt.listen { on = "127.0.0.1:8080" }:serve(function(conn) conn:write("hello\n") end)]]

-- Shows each token in a conn of its own, and prints what it gets.
local CLIENT = [[
local kt = require "kt"
local tokens = { ... }
kt.spawn(function()
  for _, token in ipairs(tokens) do
    local conn <close> = assert(kt.connect { to = "gate:8443" })
    conn:write(token .. "\n")
    print((conn:read(100)))
  end
end)]]

describe("token-gate.lua", function()
  local w, gate, client
  before_each(function()
    w = sim.world { files = { ["psk.key"] = "our secret", ["other/psk.key"] = "another", ["service.lua"] = SERVICE, ["client.lua"] = CLIENT } }
    gate, client = w:host "gate", w:host "client"
    w:link("gate", "client", { delay = "10ms" })
    gate:run("service.lua")
    gate:run("scripts/examples/token-gate.lua", { beside = true })
  end)

  local function issue(...)
    local script = gate:run("scripts/examples/token-gate.lua", { args = { "issue", ... }, beside = true })
    w:run_for "1s"
    return (script:output():gsub("\n$", ""))
  end

  local function show(...)
    local script = client:run("client.lua", { args = { ... }, beside = true })
    w:run_for "20s"
    return script:output()
  end

  it("lets in a client with a token until the token ends", function()
    local token = issue("alice", "1h")
    assert.equal("hello\n\nhello\n\n", show(token, token))
    w:run_for "1h"
    assert.equal("nil\n", show(token))
  end)

  it("lets in nobody with a token that was changed or guessed", function()
    local token = issue("alice", "1h")
    local forged = {}
    for i = 1, #token, 7 do forged[#forged + 1] = token:sub(1, i - 1) .. (token:sub(i, i) == "A" and "B" or "A") .. token:sub(i + 1) end
    assert.equal(("nil\n"):rep(#forged + 2), show("", "guess", table.unpack(forged)))
  end)
end)
