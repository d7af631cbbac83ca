-- docs/testing.md: every block of Lua in it runs and holds.
local sim = require "kt.sim"
local kt = os.getenv "KT_BIN" or "build/kt"

-- The page's blocks of Lua: { name = "spec/x_spec.lua" or "in a spec", text, line }.
local function blocks()
  local list, current, n = {}, nil, 0
  for line in io.lines "docs/testing.md" do
    n = n + 1
    if line == "```lua" then
      current = { line = n, text = {} }
    elseif line == "```" and current then
      current.name = current.text[1]:match "^%-%- (.*)$"
      current.text = table.concat(current.text, "\n")
      list[#list + 1], current = current, nil
    elseif current then
      table.insert(current.text, line)
    end
  end
  return list
end

-- The world that the page's first spec makes.
local function tunnel()
  local w = sim.world { seed = 7, files = { ["psk.key"] = "our secret" } }
  w:host "client"
  w:host "server"
  w:link("client", "server", { delay = "40ms", loss = "2%" })
  w:name("vps.example", "server")
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host("server"):run "scripts/examples/server.lua"
  w:host("client"):run "scripts/examples/client.lua"
  return w
end

describe("the guide to testing", function()
  for _, block in ipairs(blocks()) do
    if block.name == "in a spec" then
      it("holds at line " .. block.line, function()
        local chunk = assert(load(block.text, "@docs/testing.md, block at line " .. block.line, "t",
          setmetatable({ w = tunnel(), assert = assert }, { __index = _G })))
        chunk()
      end)
    else
      it("has a " .. block.name .. " that passes", function()
        local folder = os.tmpname()
        os.remove(folder)
        assert(os.execute("mkdir " .. folder))
        local path = folder .. "/" .. block.name:match "[^/]+$"
        local file = assert(io.open(path, "w"))
        file:write(block.text)
        file:close()
        local pipe = io.popen(("%s test -o plainTerminal %s 2>&1"):format(kt, path))
        local said = pipe:read "a"
        pipe:close()
        os.execute("rm -r " .. folder)
        assert.matches("1 success / 0 failures / 0 errors", said, 1, true)
      end)
    end
  end

  it("has all of these", function() assert.equal(7, #blocks()) end)
end)
