--- Events of a pool: tells the log and those who follow the process of them, and runs the script's handlers (pool:on), each in a task of its own.
local events = {}

events.names = { "switch", "up", "down" }

local HANDLERS_MAX = 64 -- the same limit as for a link

--- Adds a handler. Returns nil and a message if there are too many.
function events.on(pool, name, fn)
  if pool.handled == HANDLERS_MAX then
    return nil, ("limit of %d handlers per pool reached; set handlers once, not for each connection"):format(HANDLERS_MAX)
  end
  pool.handled = pool.handled + 1
  local list = pool.handlers[name] or {}
  pool.handlers[name] = list
  list[#list + 1] = { fn = fn, handler = pool.env.handler() }
  return true
end

--- Logs a line about a pool and, unless that is nil, a link's name in it.
function events.say(pool, level, link, fmt, ...)
  pool.env.log_about(level, pool.name, link, ("%s: " .. fmt):format(pool.name, ...))
end

--- Logs what has happened, and tells those who follow the process's events.
function events.tell(pool, name, link, text)
  events.say(pool, name == "down" and "warn" or "info", link, "%s", text)
  pool.env.happened(name, pool.name, link, text)
end

--- Runs each handler with its own copy of the event. If a task cannot be started, that is logged and the pool continues. A handler that
--- hangs is not started again: see runtime/script/core/handler.h.
function events.emit(pool, name, event)
  for _, handler in ipairs(pool.handlers[name] or {}) do
    local copy = {}
    for key, value in next, event do copy[key] = value end
    local ok, wrong = pcall(pool.env.handle, handler.handler, name, handler.fn, copy)
    if not ok then events.say(pool, "warn", nil, "could not run the handler of \"%s\": %s", name, wrong) end
  end
end

return events
