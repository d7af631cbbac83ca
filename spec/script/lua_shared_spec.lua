-- Tables shared by a script and its modules cannot be overwritten in any way.
local script = require "spec_script"

--- Runs the text as a script and returns its output.
local function printed(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write('local kt = require "kt"\n' .. text .. "\nkt.spawn(function() end)")
  file:close()
  local r = script.run { file = path, seconds = 30 }
  os.remove(path)
  return r.said
end

describe("kt and kt.log cannot be changed", function()
  for _, way in ipairs {
    "rawset(kt, 'splice', 1)", "rawset(kt.log, 'info', 1)", "kt.splice = 1", "kt.log.info = 1", "table.insert(kt, 1)",
    "table.insert(kt, 1, 1)", "table.remove(kt)", "table.move({ 1 }, 1, 1, 1, kt)", "table.sort(kt)", "setmetatable(kt, nil)",
    "local _, inner = pairs(kt) rawset(inner, 'splice', 1)", "local _, inner = pairs(kt.log) inner.info = 1",
    "for k in pairs(kt) do rawset(kt, k, nil) end", "getmetatable(kt).__index.splice = 1",
  } do
    it("by " .. way, function()
      assert.equal("false\tfunction\tfunction\n",
        printed("local good = pcall(function() " .. way .. " end) print(good, type(kt.splice), type(kt.log.info))"))
    end)
  end

  it("but can be read in full", function()
    assert.equal("true\ttrue\n", printed [[
      local seen = {}
      for name, value in pairs(kt) do seen[name] = value end
      print(seen.splice == kt.splice, seen.log == kt.log)]])
  end)
end)

describe("a name that is too long", function()
  it("is reported with the reason", function()
    for _, n in ipairs { 300, 1000, 5000, 100000 } do
      local said = printed(('print(pcall(kt.secret_file, "/tmp/" .. ("x"):rep(%d)))'):format(n))
      assert.matches("/tmp/xx.*xx: File name too long\n$", said)
      assert.is_true(#said < 500)
    end
  end)
end)
