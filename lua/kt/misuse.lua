--- Raises a mistake of the script's, behind the script's line: misuse("pool:add: expected a link, got %s", what).
local core = require "kt.core"

return function(fmt, ...) error(core.where() .. fmt:format(...), 0) end
