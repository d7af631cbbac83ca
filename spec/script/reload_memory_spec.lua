-- A reload that runs out of memory, at every allocation that it makes: nothing of what runs changes, nothing is left
-- behind. In process (spec_script), so that an allocator can be told to fail.
local script = require "spec_script"

local light = os.getenv("KT_SPEC_LIGHT") == "1"

-- Holds one of each kind of handle that is handed over, and logs the script that served a conn.
local TEXT = [[
local kt = require "kt"
local key = kt.secret "correct horse"
local far = kt.link { remote = "127.0.0.1:9", key = key }
far:on("down", print):on("stats", function() end)
kt.accept { on = "127.0.0.1:0", key = key, mode = "$mode" }:serve(function(stream) stream:close() end)
local socket = kt.udp { on = "127.0.0.1:0" }
kt.listen { on = "unix:$path" }:serve(function(conn) conn:write "$name" end)
kt.reload { old = "drain", timeout = "1s" }
kt.spawn(function()
  local conn <close> = kt.connect { to = "unix:$path" }
  print((conn:read()))
  kt.sleep "1h"
  far:close() -- held until here
  socket:close()
end)
]]

describe("a reload that runs out of memory", function()
  it("at any allocation changes nothing, and the first that succeeds changes everything", function()
    local pipe = assert(io.popen "mktemp -d")
    local dir = pipe:read "l"
    pipe:close()
    local function write(name, mode)
      local path = dir .. "/" .. name .. ".lua"
      local file = assert(io.open(path, "w"))
      file:write((TEXT:gsub("%$(%w+)", { path = dir .. "/sock", name = name, mode = mode })))
      file:close()
      return path
    end
    local r = script.reload { file = write("old", "fast"), other = write("new", "fast3"), step = light and 97 or 7 }
    os.execute("rm -r " .. dir)
    assert.equal("old\nnew\n", r.said)
    assert.equal(0, r.code)
    assert.equal(0, r.bytes)
    assert.equal(0, r.held)
    assert.is_true(r.failed > (light and 10 or 100), r.failed .. " failed")
  end)
end)
