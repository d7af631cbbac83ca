-- The two ends of an association of kt's own wire with streams between them, for specs: one world at a time, which must
-- end without an error.
local assert = require "luassert"
local streams = require "spec_native_streams"

local ends = {}
local current

function ends.world(settings)
  current = streams.world(settings or {})
  return current
end

--- For after_each: closes the world.
function ends.close()
  if current then
    assert.is_nil(current:error())
    current:close()
  end
  current = nil
end

--- A stream of the client, and the server's end of it.
function ends.pair(options)
  local s = current:open("client", options)
  current:run(60000)
  return s, assert(current:accepted("server"), "no stream arrived")
end

return ends
