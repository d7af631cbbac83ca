--- The targets that clients of kt server may name: --allow, patterns "host:port" with * for any part, separated by commas.
local core = require "kt.core"

local allow = {}

--- Returns a function(target) → true, or false and why not. Raises a sentence if a pattern makes no sense. from: where the patterns
--- are, "--allow" unless given.
function allow.rule(patterns, from)
  from = from or "--allow"
  local list = {}
  for pattern in patterns:gmatch "[^,]+" do
    local host, port = pattern:match "^%s*(.+):([%d*]+)%s*$"
    if not host then error(('%s: "%s": expected host:port, such as "*.example:443" or "10.0.0.*:*"'):format(from, pattern), 0) end
    local lua = (host .. ":" .. port):lower():gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
    list[#list + 1] = "^" .. lua .. "$"
  end
  return function(target)
    local ok, why = core.endpoint(target, "h") -- no unix socket: that is a way around any pattern
    if not ok then return false, why end
    for _, pattern in ipairs(list) do
      if target:lower():find(pattern) then return true end
    end
    return false, #list == 0 and "no " .. from .. " was given" or "no pattern of " .. from .. " matches"
  end
end

return allow
