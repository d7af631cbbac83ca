-- Coroutines on luv's event loop, for specs that talk to real processes and real sockets.
--
-- Invariants: every wait has a deadline, and its error names what it waited for; an error in any task, even a background one, ends `run`
-- with that error; `forget_tasks` and `close_handles` leave nothing that could wake in the next spec.
local uv = require "luv"

local loop = { default_timeout = 20 }

local generation = 0 -- tasks of an earlier spec must not wake in this one
local failure -- the first error of a task: {value}

local function resume(co, ...)
  local ok, err = coroutine.resume(co, ...)
  if not ok and not failure then
    if type(err) == "string" then err = debug.traceback(co, err) end
    failure = { err }
  end
end

--- Runs fn as a separate task. An error in it fails the running spec.
function loop.spawn(fn, ...)
  local task = { done = false }
  resume(coroutine.create(function(...)
    task.results = table.pack(fn(...))
    task.done = true
    if task.on_done then task.on_done() end
  end), ...)
  return task
end

--- Suspends the task until `arm`'s argument is called, and returns true and what that was called with; or false, after
--- `seconds`.
function loop.wait_until(seconds, arm)
  local co, mine = coroutine.running(), generation
  local results, suspended
  local timer = uv.new_timer()
  local function finish(...)
    if results or mine ~= generation then return end
    timer:close()
    results = table.pack(...)
    if suspended then resume(co) end
  end
  timer:start(math.ceil(seconds * 1000), 0, function() finish(false) end)
  arm(function(...) finish(true, ...) end)
  if not results then
    suspended = true
    coroutine.yield()
  end
  return table.unpack(results, 1, results.n)
end

--- The same, returning only what the argument was called with: when the time is over, it raises an error that names
--- `what`.
function loop.wait(what, seconds, arm)
  seconds = seconds or loop.default_timeout
  local results = table.pack(loop.wait_until(seconds, arm))
  if not results[1] then error(("waited %g s for %s"):format(seconds, what), 2) end
  return table.unpack(results, 2, results.n)
end

--- Lets the loop run for this long. For pacing, and for showing that nothing happens; never to wait for something.
function loop.sleep(seconds) loop.wait_until(seconds, function() end) end

--- Calls `predicate` repeatedly until it returns a true value, and returns that.
function loop.eventually(what, seconds, predicate)
  local deadline = uv.hrtime() + (seconds or loop.default_timeout) * 1e9
  repeat
    local got = predicate()
    if got then return got end
    loop.sleep(0.01)
  until uv.hrtime() > deadline
  error(("waited %g s for %s"):format(seconds or loop.default_timeout, what), 2)
end

--- Waits for a spawned task; returns its results.
function loop.join(task, seconds)
  if not task.done then
    loop.wait("a task to end", seconds, function(wake) task.on_done = wake end)
  end
  return table.unpack(task.results, 1, task.results.n)
end

--- Runs the functions side by side and waits for all of them.
function loop.all(seconds, ...)
  local tasks = {}
  for i, fn in ipairs { ... } do tasks[i] = loop.spawn(fn) end
  for _, task in ipairs(tasks) do loop.join(task, seconds) end
end

--- Seconds on a monotonic clock.
function loop.now() return uv.hrtime() / 1e9 end

--- Runs fn as a task, and the loop until it has ended, any task has failed, or `seconds` are over.
function loop.run(fn, seconds)
  seconds = seconds or 120
  local expired = false
  local watchdog = uv.new_timer()
  watchdog:start(math.ceil(seconds * 1000), 0, function() expired = true end)
  local sigpipe = uv.new_signal() -- writing to a closed connection must fail, not kill the process
  sigpipe:start("sigpipe", function() end)
  failure = nil
  local task = loop.spawn(fn)
  while not (task.done or failure or expired) do uv.run("once") end
  watchdog:close()
  sigpipe:close()
  local failed = failure
  failure = nil
  if failed then error(failed[1], 0) end
  if not task.done then error(("the whole spec took more than %g s"):format(seconds), 2) end
  return table.unpack(task.results, 1, task.results.n)
end

--- Forgets every task of this spec, so that none wakes again.
function loop.forget_tasks() generation = generation + 1 end

--- Wraps a callback so that it does nothing once the tasks of this spec are forgotten.
function loop.bound(callback)
  local mine = generation
  return function(...)
    if mine == generation then return callback(...) end
  end
end

--- Closes every handle.
function loop.close_handles()
  uv.walk(function(handle)
    if not handle:is_closing() then handle:close() end
  end)
  uv.run("default")
end

return loop
