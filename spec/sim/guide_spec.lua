-- docs/testing.md, followed to the letter: its files are written into an empty folder, its commands run there in order and print what
-- the page shows; its shorter blocks run in the world of its first spec.
local sim = require "kt.sim"

local function absolute(path) return path:sub(1, 1) == "/" and path or require("lfs").currentdir() .. "/" .. path end
local kt = absolute(os.getenv "KT_BIN" or "build/kt")

-- The steps of the page: { line, lua = text, name = "spec/x_spec.lua" or "in a spec" } or { line, command, shows = text }.
local function steps()
  local list, block, command, n = {}, nil, nil, 0
  for line in io.lines "docs/testing.md" do
    n = n + 1
    local run = line:match "^%s+%$ (.*)$"
    if line == "```lua" then
      block = { line = n, text = {} }
    elseif line == "```" and block then
      list[#list + 1] = { line = block.line, name = block.text[1]:match "^%-%- (.*)$", lua = table.concat(block.text, "\n") .. "\n" }
      block = nil
    elseif block then
      table.insert(block.text, line)
    elseif run then
      command = { line = n, command = run, shows = "", indent = #line:match "^%s+" }
      list[#list + 1] = command
    elseif command and (line == "" or line:find "^    ") then
      command.shows = command.shows .. line:sub(command.indent + 1) .. "\n"
    else
      command = nil
    end
  end
  return list
end

-- Times and seeds differ from version to version.
local function bare(text) return (text:gsub("%d+%.?%d*", "N"):gsub("%s+$", "")) end

describe("the guide to testing", function()
  local folder, path = os.tmpname(), os.tmpname()
  setup(function()
    os.remove(folder)
    os.remove(path)
    assert(os.execute(("mkdir %s %s && ln -s %s %s/kt"):format(folder, path, kt, path)))
  end)
  teardown(function() os.execute(("rm -r %s %s"):format(folder, path)) end)

  -- The output of a command in the folder, where `kt` is the one under test.
  local function run(command)
    local pipe = io.popen(("cd %s && export PATH=%s:$PATH && { %s; } 2>&1"):format(folder, path, command))
    local said = pipe:read "a"
    pipe:close()
    return said
  end

  -- The world that the page's first spec makes.
  local function tunnel()
    local w = sim.world { seed = 7, files = { ["psk.key"] = "our secret" } }
    w:host "client"
    w:host "server"
    w:link("client", "server", { delay = "40ms", loss = "2%" })
    w:name("vps.example", "server")
    w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
    w:host("server"):run(folder .. "/server.lua")
    w:host("client"):run(folder .. "/client.lua")
    return w
  end

  local blocks, commands = 0, 0
  for _, step in ipairs(steps()) do
    if step.command then
      commands = commands + 1
      it(("shows at line %d what comes of %s"):format(step.line, step.command), function()
        local said = run(step.command)
        if step.shows:find "%S" then
          assert.equal(bare(step.shows), bare(said))
        else
          assert.is_nil(said:match "[1-9]%d* failure" or said:match "[1-9]%d* error", said)
        end
        local again = said:match "\nTo reproduce:\n([^\n]+)"
        if again then assert.equal(said:match "seed %d+ of .*with", run(again):match "seed %d+ of .*with") end
      end)
    elseif step.name == "in a spec" then
      blocks = blocks + 1
      it("holds at line " .. step.line, function()
        assert(load(step.lua, "@docs/testing.md, block at line " .. step.line, "t",
          setmetatable({ w = tunnel(), assert = assert }, { __index = _G })))()
      end)
    else
      blocks = blocks + 1
      it("has a " .. step.name .. " that passes", function()
        local file = assert(io.open(folder .. "/" .. step.name, "w"))
        file:write(step.lua)
        file:close()
        assert.matches("[1-9] successe?s? / 0 failures / 0 errors", run("kt test -o plainTerminal " .. step.name))
      end)
    end
  end

  it("has the expected number of blocks and commands", function() assert.same({ 10, 9 }, { blocks, commands }) end)
end)
