-- JSON text as a Lua value, for specs, by the reader of kt's configuration files. null is nil.
local json = require "kt.json"

local function value(node)
  if node.kind == "array" then
    local out = {}
    for i, item in ipairs(node.items) do out[i] = value(item) end
    return out
  elseif node.kind == "object" then
    local out = {}
    for _, member in ipairs(node.members) do out[member.name] = value(member.value) end
    return out
  end
  return node.kind == "number" and tonumber(node.value) or node.value
end

return function(text) return value(assert(json.read(text))) end
