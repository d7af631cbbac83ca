--- pool:on: the script's functions for what happens to a pool, each run as a task of its own.
local events = {}

events.names = { "switch", "up", "down" }

function events.on(pool, name, fn)
  local list = pool.handlers[name] or {}
  pool.handlers[name] = list
  list[#list + 1] = { fn = fn, origin = pool.env.origin() }
end

--- Tells each handler, with a table of its own. A task that cannot be had is told in the log; the pool goes on.
function events.emit(pool, name, event)
  for _, handler in ipairs(pool.handlers[name] or {}) do
    local copy = {}
    for key, value in next, event do copy[key] = value end
    local ok, wrong = pcall(pool.env.task, handler.origin, handler.fn, copy)
    if not ok then pool.env.log.warn("%s: nobody was told \"%s\": %s", pool.name, name, wrong) end
  end
end

return events
