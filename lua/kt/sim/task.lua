--- Tasks and waiting in a world. A task is a coroutine that waits for a waiter, which is woken once. The body of a spec is not a
--- task: it waits by running the world until the waiter is woken.
---
--- Runnable tasks are queued. The queue is emptied at the end of each callback of the world, so a task is never resumed from within
--- another.
local complain = require "kt.sim.complain"

local task = {}

local WAITS = {} -- the value that task.wait yields
local MOST = 100000 -- resumed tasks at one instant; more are a livelock, as is the same number of turns of scripts

--- For world.lua: initializes a world's fields.
function task.init(world)
  world.tasks = setmetatable({}, { __mode = "k" }) -- coroutine → its function
  world.origins = setmetatable({}, { __mode = "k" }) -- coroutine → the call that was given the function, and its line
  world.ready, world.timers, world.next_timer = {}, {}, 0
  world.spawned, world.last_spawned = 0, nil -- the number of tasks and the function of the newest, for kt.sim.patience
end

--- Calls fn at a time in µs; returns a timer for task.forget.
function task.timer(world, at, fn)
  local id = world.next_timer + 1
  world.next_timer = id
  local timer = { id = id }
  world.timers[id] = function()
    world.timers[id] = nil
    timer.id = nil
    fn()
  end
  timer.key = world.core:event(at, id)
  return timer
end

function task.forget(world, timer)
  if not timer or not timer.id then return end
  world.timers[timer.id] = nil
  timer.id = nil
  world.core:forget(timer.key)
end

-- "spec/x_spec.lua:12", the first line of a task's function.
local function begins_at(world, co)
  local info = debug.getinfo(world.tasks[co], "S")
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

--- Empties the queue. A failing task does not stop the others; the run ends at the end of this instant.
function task.flush(world)
  if world.flushing then return end
  world.flushing = true
  local most, at = #world.ready + MOST, 1
  while world.ready[at] and at <= most do
    local entry = world.ready[at]
    world.ready[at] = false
    at = at + 1
    local ok, why = coroutine.resume(entry.co, table.unpack(entry, 1, entry.n))
    if ok and why ~= WAITS and coroutine.status(entry.co) == "suspended" then
      ok, why = false, (complain.line(entry.co) or "?") .. ": coroutine.yield in a task: nothing resumes it; use w:sleep to wait"
    end
    if not ok then world.core:fail(complain.told(why, world.origins[entry.co], entry.co)) end
  end
  local left = world.ready[at]
  world.ready, world.flushing = {}, false
  if not left then return end
  error(("livelock at %g s: %d tasks of the spec ran without time advancing, and more are due; the next is from %s "
    .. "(seed %d)"):format(world:now(), most, begins_at(world, left.co), world.seed), 0)
end

local function queue(world, co, ...)
  local entry = table.pack(...)
  entry.co = co
  table.insert(world.ready, entry)
  if not world.core:running() and #world.ready == 1 then
    -- Called from the body: the task continues when the world runs.
    task.timer(world, world.core:now(), function() end)
  end
end

--- Runs fn(...) as a task, at this instant. origin: the call that was given the function, for errors (complain.origin).
function task.spawn(world, origin, fn, ...)
  local co = coroutine.create(fn)
  world.tasks[co], world.origins[co] = fn, origin
  world.spawned, world.last_spawned = world.spawned + 1, fn
  queue(world, co, ...)
  return co
end

--- Whether the caller is a task of the world.
function task.inside(world)
  local co, main = coroutine.running()
  return not main and world.tasks[co] ~= nil
end

function task.waiter() return {} end

--- Wakes a waiter. Safe to call twice.
function task.wake(world, waiter)
  if waiter.done then return end
  waiter.done = true
  task.forget(world, waiter.timer)
  if waiter.co then
    queue(world, waiter.co)
  elseif waiter.driving then
    world.core:stop()
  end
end

--- Waits until the waiter is woken or `deadline` (µs) passes. Returns whether it was woken.
function task.wait(world, what, waiter, deadline)
  if waiter.done then return true end
  if task.inside(world) then
    waiter.co = coroutine.running()
    waiter.timer = task.timer(world, deadline, function()
      waiter.late = true
      task.wake(world, waiter)
    end)
    coroutine.yield(WAITS)
    return not waiter.late
  end
  if world.core:running() or world.asking then
    complain.raise("%s: cannot wait here while the world runs; wait in a function given to w:at, w:task or host:serve", what)
  end
  waiter.driving = true
  while not waiter.done and world.core:now() < deadline do world:advance(deadline) end
  waiter.driving = false
  return waiter.done == true
end

return task
