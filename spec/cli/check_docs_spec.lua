-- kt check on code that is right: the Lua blocks of the documentation. For the examples see spec/examples/examples_spec.lua.
local h = require "harness"
local kt = require "harness.scripts".kt

local function check(path)
  local p = io.popen(("timeout 60 '%s' check '%s' 2>&1"):format(kt, path))
  local out = p:read "a"
  p:close()
  return out
end

-- The handles that blocks use without making them.
local HEAD = [[
local kt = require "kt"
kt.spawn(print)
local _ = function()
local far, near = kt.link { remote = "a:1", key = "k" }, kt.link { remote = "b:1", key = "k" }
local acceptor, pool = kt.accept { on = ":1", key = "k" }, kt.pool { links = { far, near } }
local conn, stream = assert(kt.connect { to = "a:1" }), assert(far:open())
]]

describe("kt check finds nothing wrong with", function()
  local path = h.temporary_path()

  teardown(function() os.remove(path) end)

  it("the blocks of the documentation, but for names that they leave to the reader", function()
    local parts, n = { HEAD }, 0
    for _, page in ipairs { "README.md", "docs/scripts.md", "docs/reference.md", "docs/cookbook.md" } do
      local file = assert(io.open(page))
      for block in file:read("a"):gmatch "\n```lua\n(.-)\n```" do
        local text = ("do local _ = function(...)\n%s\nend end\n"):format(block)
        if load(text) and not block:find "kt.sim" then -- that one is a spec
          n = n + 1
          parts[#parts + 1] = text
        end
      end
      file:close()
    end
    assert.is_true(n > 30, n)
    h.write_file(path, table.concat(parts) .. "end\n")
    local wrong = {}
    for line in check(path):gmatch "[^\n]+" do
      if not line:find "global '[%w_]+' is not defined" then wrong[#wrong + 1] = line end
    end
    assert.matches("^[^\n]*: %d+ mistakes?$", table.concat(wrong, "\n")) -- the last line alone, which counts them
  end)
end)
