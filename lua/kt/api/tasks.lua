--- Describes tasks, and how they wait for time and for each other, for kt.api.

return function(with)
  local def, handle, method = with.def, with.handle, with.method

  --- The argument of waits that other tasks end.
  local function timeout(doc) return { type = "table", keys = { { name = "timeout", type = "duration", typical = 10, doc = doc .. " Default: none." } } } end

  def {
    name = "kt.sleep", context = "task", path = "kt.sleep",
    signature = 'kt.sleep "500ms"',
    doc = "Waits for a time. kt.sleep(0) lets other tasks run.",
    argument = { type = "duration", expected = 'a duration such as "500ms"' },
  }

  def {
    name = "kt.spawn", context = "any", returns = "task", signature = "kt.spawn(fn, …) → task",
    doc = "Runs fn(…) as a new task. Called in the main chunk, the task starts with the script; called in a task, when that task next "
      .. "waits or ends. Conns, streams, flows and sockets among the arguments then belong to the new task.",
    params = {
      { name = "fn", type = "function", passes = true, doc = "The task's function." },
      { name = "...", type = "any", doc = "Its arguments." },
    },
    example = [[
local lookup = kt.spawn(kt.resolve, { name = "example.net" })
local stream, err = far:open()
local records, why = lookup:wait { timeout = "2s" }]],
  }

  handle { name = "task", doc = "A task that kt.spawn started. `local t <close> = kt.spawn(…)` cancels it at the end of the scope. Dropping the "
      .. "handle does not end it.",
    fields = {
      { name = "state", type = "string", values = { "running", "returned", "failed", "canceled" },
        doc = '"running", "returned", "failed" or "canceled".' },
    } }
  method("task", {
    name = "wait", context = "task", returns = "any | nil, err",
    signature = 'wait [{ timeout = "5s" }] → what fn returned | nil, err',
    doc = "Waits until the task has ended, and returns what its function returned, or true if that was nothing. If the task failed, err is what it "
      .. 'raised, with code "failed" unless that was an err already; the failure is then not logged. Any number of tasks may wait, also afterwards. '
      .. "Handles among the results belong to the first task that gets them.",
    fails = { "failed", "canceled", "timeout" },
    optional = true, argument = timeout "Give up after this long; the task runs on.",
  })
  method("task", {
    name = "cancel", context = "any", signature = "cancel()",
    doc = "Ends the task: in its next turn if it waits or has not begun, else at its next wait; until then its state is \"running\". "
      .. "Resets what it owns, and closes its `<close>` variables, whose "
      .. "handlers cannot wait then. pcall cannot prevent it. Does nothing if the task has ended.",
  })

  def {
    name = "kt.first", context = "task", returns = "any | nil, err",
    signature = 'kt.first(task, … [, { timeout = "5s" }]) → what the first one returned | nil, err',
    doc = "Waits until one of the tasks has returned something other than nil and false, returns that, and cancels the others. If none does, "
      .. "returns what the last one returned, or nil and its err. At the timeout, or if the calling task is canceled, all are canceled.",
    params = { {
      name = "...", type = "task", options = timeout "Give up after this long, and cancel them all.",
      instead = { ["function"] = "start it: kt.spawn(fn)" }, doc = "The tasks, then optionally a table with `timeout`.",
    } },
    fails = { "failed", "timeout", "canceled" },
    example = [[
local function open(link) return link:open { timeout = "5s", to = "db:5432" } end
local stream, err = kt.first(kt.spawn(open, near), kt.spawn(open, far))]],
  }

  def {
    name = "kt.event", context = "any", returns = "event", signature = "kt.event() → event",
    doc = "Makes an event, for which tasks can wait. It is not set at first.",
    example = [[
local ready = kt.event()
kt.spawn(function()
  while not far:probe() do kt.sleep "1s" end
  ready:set()
end)
kt.listen { on = ":80" }:serve(function(conn)
  if not ready:wait { timeout = "10s" } then return conn:reset "not ready" end
  local stream = far:open()
  if stream then kt.splice(conn, stream) end
end)]],
  }
  handle { name = "event", doc = "Something that tasks wait for; made by kt.event.",
    fields = { { name = "is_set", type = "boolean", doc = "Whether it is set." } } }
  method("event", { name = "set", context = "any", signature = "set()", doc = "Sets the event: wakes all tasks that wait for it; later ones do not wait." })
  method("event", { name = "clear", context = "any", signature = "clear()", doc = "Clears the event: later tasks wait." })
  method("event", {
    name = "wait", context = "task", returns = "boolean | nil, err", signature = 'wait [{ timeout = "5s" }] → true | nil, err',
    doc = "Waits until it is set.", fails = { "timeout" },
    optional = true, argument = timeout "Give up after this long.",
  })

  def {
    name = "kt.queue", context = "any", returns = "queue", path = "kt.queue", signature = "kt.queue { size = 64 } → queue",
    doc = "Makes a queue, which hands values from task to task in order.",
    optional = true,
    argument = { type = "table", keys = {
      { name = "size", type = "integer", min = 1, max = 1 << 20, default = 64, doc = "Values it holds; a further push waits." },
    } },
    example = [[
local jobs = kt.queue { size = 100 }
for _ = 1, 4 do
  kt.spawn(function()
    for job in function() return (jobs:pop()) end do work(job) end
  end)
end
jobs:push { client = conn.peer }]],
  }
  handle { name = "queue", doc = "A bounded queue of values; made by kt.queue.", fields = {
    { name = "count", type = "integer", doc = "Values in it." },
    { name = "size", type = "integer", doc = "Values that it can hold." },
  } }
  method("queue", {
    name = "push", context = "task", returns = "boolean | nil, err", signature = 'push(value [, { timeout = "5s" }]) → true | nil, err',
    doc = "Appends a value, other than nil; waits while the queue is full. A conn, stream, flow or socket then belongs to the task that pops it; one "
      .. "inside a table does not.",
    params = { { name = "value", type = "any", doc = "The value." } }, fails = { "timeout", "closed" },
    optional = true, argument = timeout "Give up after this long.",
  })
  method("queue", {
    name = "pop", context = "task", returns = "any | nil, err", signature = 'pop [{ timeout = "5s" }] → value | nil, err',
    doc = 'Removes the first value; waits while the queue is empty. After close, err.code is "closed" once it is empty.',
    fails = { "timeout", "closed" },
    optional = true, argument = timeout "Give up after this long.",
  })
  method("queue", {
    name = "close", context = "any", signature = "close()", doc = "Ends it: nothing more can be pushed. Values in it can still be popped.",
  })

  local function timer(name, signature, doc, example)
    def {
      name = name, context = "any", returns = "timer", signature = signature, doc = doc, example = example,
      params = {
        { name = name == "kt.every" and "interval" or "delay", type = "string | number", doc = 'A duration such as "10s", or seconds.',
          value = { type = "duration", min = name == "kt.every" and 0.001 or nil, expected = 'a duration such as "10s"' } },
        { name = "fn", type = "fun()", doc = "The function, called without arguments." },
      },
    }
  end
  timer("kt.after", 'kt.after("10s", fn) → timer', "Runs fn() as a task, once, after a time. Costs no task until then.",
    'local late = kt.after("10s", function() conn:reset "too slow" end)\nlocal request = conn:read_until("\\r\\n\\r\\n", 8192)\nlate:cancel()')
  timer("kt.every", 'kt.every("10s", fn) → timer',
    "Runs fn() as a task each time the interval, at least 1 ms, has passed. While fn still runs, further times are skipped. A failure is logged "
      .. "and does not end it. Of a script that a reload replaced, only those made in tasks continue.",
    'kt.every("1m", function() kt.log.info("%d streams", far:stats().streams) end)')
  handle { name = "timer", doc = "A function that will run; made by kt.after and kt.every. It keeps the script running. The end of a "
    .. "`local x <close>` cancels it." }
  method("timer", { name = "cancel", context = "any", signature = "cancel()", doc = "Stops further runs of the function. One that has begun continues." })
end
