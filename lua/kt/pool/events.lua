--- pool:on: the script's functions for what happens to a pool, each run as a task of its own.
local events = {}

events.names = { "switch", "up", "down" }

local HANDLERS_MAX = 64 -- as many as a link may have

--- Sets a handler; nil and what is wrong if there are too many.
function events.on(pool, name, fn)
  if pool.handled == HANDLERS_MAX then return nil, ("this pool has %d handlers already; set them once, not for each connection"):format(HANDLERS_MAX) end
  pool.handled = pool.handled + 1
  local list = pool.handlers[name] or {}
  pool.handlers[name] = list
  list[#list + 1] = { fn = fn, handler = pool.env.handler() }
  return true
end

--- Tells each handler, with a table of its own. A task that cannot be had is told in the log; the pool goes on. One that hangs is not
--- run again and again: see runtime/script/handler.h.
function events.emit(pool, name, event)
  for _, handler in ipairs(pool.handlers[name] or {}) do
    local copy = {}
    for key, value in next, event do copy[key] = value end
    local ok, wrong = pcall(pool.env.handle, handler.handler, name, handler.fn, copy)
    if not ok then pool.env.log.warn("%s: nobody was told \"%s\": %s", pool.name, name, wrong) end
  end
end

return events
