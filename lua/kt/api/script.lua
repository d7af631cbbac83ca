--- Describes time, errors, secrets, the log, and reloading, for kt.api.

return function(with)
  local def, handle, record = with.def, with.handle, with.record

  def {
    name = "kt.reload", context = "declare", path = "kt.reload",
    signature = 'kt.reload { old = "drain", timeout = "30s" }',
    doc = "Sets what happens to this script's conns after a reload (SIGHUP, kt reload) has replaced it. Addresses that both scripts use "
      .. "are handed over. If the new script has tasks, the old one serves its other addresses for a second more, so that a task can take them "
      .. "over; then they are closed. The old script's tasks keep running as long as it has a conn "
      .. "or a stream, then they end. If the new script fails to load or to open, the old one stays. The new script makes its own links; "
      .. "the old links carry the old conns to their end. An acceptor keeps its sessions: new settings apply to new sessions, and after "
      .. "a change of key or cipher the old sessions end with their last stream (dscp and sockbuf need a restart). A reload is refused "
      .. "while 16 replaced scripts still have conns.",
    argument = {
      type = "table",
      check = function(out, raw, mistake)
        if raw.timeout ~= nil and out.old == "keep" then
          mistake("timeout", 'old = "keep" has no timeout', 'give old = "drain" to limit the time')
        end
      end,
      keys = {
        { name = "old", type = "enum", values = { "keep", "drain" }, default = "keep",
          doc = '"keep": conns stay open until they end. "drain": those still open after timeout are reset.' },
        { name = "timeout", type = "duration", max = 30 * 86400, default = 30, doc = 'Time limit with old = "drain".' },
      },
    },
    example = 'kt.reload { old = "drain", timeout = "10m" }',
  }

  def {
    name = "kt.keep", context = "declare", returns = "table", signature = 'kt.keep("name", default) → table',
    doc = "Returns a table that a reload hands to the new script: in the first script the default itself, after a reload a copy of what the old "
      .. "script's table of that name then held. Plain data only: tables without metatables, strings, numbers and booleans; up to 4 MiB in all. "
      .. "An array of kt.json.decode or kt.json.array has a metatable; keep a copy: "
      .. "`table.move(list, 1, #list, 1, {})`. "
      .. "If it holds anything else, or more than 4 MiB, the reload fails and says why; delete old entries in time. Two references "
      .. "to one table become two tables. Afterwards the tables are separate: conns that the old script still has change only its own. "
      .. "Nothing is kept when the process ends.",
    params = {
      { name = "name", type = "string", doc = "Its name, up to 64 bytes, the same in both scripts." },
      { name = "default", type = "table", doc = "What it holds at first." },
    },
    example = [[
local used = kt.keep("used", {}) -- bytes by client
kt.listen { on = ":1080" }:serve(function(conn)
  local client = kt.address(conn.peer) -- without the port
  local stream = assert(far:open())
  local sum = kt.splice(conn, stream)
  if sum then used[client] = (used[client] or 0) + sum.a_to_b + sum.b_to_a end
end)]],
  }

  def {
    name = "kt.now", context = "any", returns = "number", signature = "kt.now() → seconds",
    doc = "Returns a monotonic time in seconds. It does not advance while a task runs without waiting.",
  }

  def {
    name = "kt.wall", context = "any", returns = "number", signature = "kt.wall() → seconds",
    doc = "Returns the wall-clock time in seconds since 1970-01-01 UTC. It jumps when the clock is set; use kt.now to measure durations.",
  }

  def {
    name = "kt.date", context = "any", returns = "date", path = "kt.date",
    signature = 'kt.date { zone = "local" | "utc" } → date',
    doc = "Returns the date and time of day by the wall clock.",
    optional = true,
    argument = {
      type = "table",
      keys = {
        { name = "zone", type = "enum", values = { "local", "utc" }, default = "local", doc = "Time zone: the local one (TZ) or UTC." },
      },
    },
    example = [[
local now = kt.date()
local night = now.hour >= 23 or now.hour < 7]],
  }

  def {
    name = "kt.err", context = "any", returns = "err", path = "kt.err",
    signature = 'kt.err { code = "quota", message = "the client has used its quota" } → err',
    doc = "Makes an err of the script's own, to return after nil, to raise, or to give to conn:reset or stream:reset. A kt peer gets one of "
      .. "kt's codes as it is, and any other as \"canceled\"; it gets the message with both.",
    argument = {
      type = "table",
      check = function(out, _, mistake)
        if out.code and not (out.code:find "^%l[%l%d_]*$" and #out.code <= 32) then
          mistake("code", 'expected a name of lower-case letters, digits and "_", up to 32 bytes')
        end
        if out.message == "" then mistake("message", "is empty", "give a sentence for the log") end
      end,
      keys = {
        { name = "code", type = "string", required = true, expected = 'a name such as "quota"', doc = "A stable name, for comparing." },
        { name = "message", type = "string", required = true, expected = "a sentence", doc = "A sentence for people: `err.text`." },
      },
    },
    example = [[
local function admit(client)
  if used[client] > QUOTA then return nil, kt.err { code = "quota", message = client .. " has used its quota" } end
  return true
end
local ok, err = admit(conn.peer)
if not ok then return conn:reset(err) end]],
  }

  def {
    name = "kt.secret", context = "any", returns = "secret", signature = "kt.secret(string) → secret",
    doc = "Makes a secret: a string that is never printed. kt.crypto also makes some. A script holds at most 4096.",
    params = { { name = "text", type = "string", doc = "The text to keep secret." } },
  }

  def {
    name = "kt.secret_file", context = "any", returns = "secret", signature = 'kt.secret_file "psk.key" → secret',
    doc = "Reads a secret from a file, without one trailing newline. A relative path starts at the script's folder. Raises if the "
      .. "file is empty or cannot be read; logs a warning if other users can read it.",
    params = { { name = "path", type = "string", doc = "The file's path." } },
  }

  for _, unit in ipairs {
    { "duration", "seconds", "a duration", '"1h30m"' }, { "size", "bytes", "a size", '"64KiB"' },
    { "rate", "bytes per second", "a rate", '"20Mbit"' },
  } do
    def {
      name = "kt." .. unit[1], context = "any", returns = "number | nil, err",
      signature = ("kt.%s %s → %s | nil, err"):format(unit[1], unit[4], unit[2]),
      doc = ("Parses %s as the keys of this API do, and returns it in %s. A number is returned as it is. Text that is not %s gives nil and an err "
        .. "with the code \"invalid\"."):format(unit[3], unit[2], unit[3]),
      fails = { "invalid" },
      params = { { name = "text", type = "string | number", doc = "The text." } },
    }
  end

  def {
    name = "kt.inspect", context = "any", returns = "inspection", path = "kt.inspect", signature = "kt.inspect { max = 1000 } → inspection",
    doc = "Returns the script's current tasks, conns, links, pools, listeners and memory use, as plain data.",
    optional = true,
    argument = { type = "table", keys = {
      { name = "max", type = "integer", min = 0, max = 100000, default = 1000, doc = "Rows in the list of tasks, and in that of conns; the oldest first." },
    } },
    example = [[
for _, task in ipairs(kt.inspect().tasks) do
  if task.age > 3600 then kt.log.info("%s since %.0f s in %s", task.line, task.age, task.waits_in) end
end]],
  }

  record {
    name = "inspection", doc = "The state of a script; see kt.inspect.",
    fields = {
      { name = "memory", type = "integer", doc = "Bytes that the script holds." },
      { name = "memory_peak", type = "integer", doc = "The most that it has held." },
      { name = "task_count", type = "integer", doc = "Its tasks." },
      { name = "tasks", type = "taskrow[]", doc = "A row for each, up to `max`." },
      { name = "conn_count", type = "integer", doc = "Its conns and streams." },
      { name = "conns", type = "connrow[]", doc = "A row for each, up to `max`." },
      { name = "links", type = "servicerow[]", doc = "Its links, also those of peers." },
      { name = "listeners", type = "servicerow[]", doc = "Its listeners, acceptors and declared sockets." },
      { name = "pools", type = "table[]", doc = "Its pools: `name`, the fields of pool:stats, and in `links` those of pool:links." },
    },
  }
  record {
    name = "taskrow", doc = "A task in kt.inspect.",
    fields = {
      { name = "state", type = "string", values = { "waiting", "ready", "running" }, doc = '"waiting", "ready" or "running".' },
      { name = "waits_in", type = "string | nil", doc = 'The call that it waits in, such as "kt.splice".' },
      { name = "line", type = "string | nil", doc = 'The line it is at, such as "client.lua:12"; nil if it has not begun.' },
      { name = "spawned", type = "string | nil", doc = "The line that spawned it, or that set its handler." },
      { name = "age", type = "number", doc = "Seconds since then." },
    },
  }
  record {
    name = "connrow", doc = "A conn or a stream in kt.inspect.",
    fields = {
      { name = "id", type = "integer", doc = "Its number, for `kt close`; no other conn or stream of this kt has had it." },
      { name = "kind", type = "string", values = { "conn", "stream" }, doc = '"conn" or "stream".' },
      { name = "peer", type = "string | nil", doc = "Address of the other end; of a stream: that of the link's." },
      { name = "spliced", type = "string | nil", doc = 'What it is spliced with, such as "stream 192.0.2.1:29900".' },
      { name = "owner", type = "string | nil", doc = "If it is not spliced: the line that spawned the task which owns it." },
      { name = "age", type = "number", doc = "Seconds since it was opened." },
      { name = "bytes_in", type = "integer", doc = "Bytes read from it." },
      { name = "bytes_out", type = "integer", doc = "Bytes written to it." },
    },
  }
  record {
    name = "servicerow", doc = "A link or a listener in kt.inspect.",
    fields = {
      { name = "what", type = "string", doc = 'The function that made it, such as "kt.listen".' },
      { name = "name", type = "string", doc = "Its address." },
      { name = "open", type = "boolean", doc = "Whether it is open." },
      { name = "line", type = "string | nil", doc = "The line that made it." },
      { name = "stats", type = "stats | nil", doc = "For an open link or acceptor: its statistics." },
      { name = "accepted", type = "boolean | nil", doc = "For a link: whether an acceptor made it for a peer." },
      { name = "wanted", type = "boolean | nil",
        doc = "For a link: whether it needs its peer now, because it is to stay up, carries streams, or calls wait for it." },
      { name = "opens", type = "table | nil",
        doc = "For a link: how long its successful calls of link:open took: their `count`, their `sum` in seconds, and `buckets`: how many took up to 1, "
          .. "2.5, 5, 10, 25, 50, 100, 250 and 500 ms, 1, 2.5, 5 and 10 s, each without those before, and how many took longer." },
    },
  }

  for _, level in ipairs { "debug", "info", "warn", "error" } do
    def {
      name = "kt.log." .. level, context = "any", signature = ("kt.log.%s(fmt, …)"):format(level),
      doc = "Logs one line, formatted as by string.format. Without further arguments the message is logged as it is.",
      params = {
        { name = "fmt", type = "any", format = true, doc = "The message, or a format string." },
        { name = "...", type = "any", doc = "Arguments of the format string." },
      },
    }
  end

  handle { name = "secret", doc = "Secret bytes: tostring gives `<secret>`, and only :export() gives the bytes. Their memory is wiped when the "
    .. "value is collected." }

  handle {
    name = "err", doc = "The second result of a call that failed. tostring(err) is a sentence; `..` concatenates it with strings.",
    fields = {
      { name = "code", type = "string", codes = true, doc = "A stable name, such as \"timeout\", or one of the script's own (kt.err)." },
      { name = "text", type = "string", doc = "The sentence, the same as tostring(err)." },
    },
  }

  record {
    name = "date", doc = "A date and a time of day.",
    fields = {
      { name = "year", type = "integer", doc = "Year, four digits." },
      { name = "month", type = "integer", doc = "Month, 1 to 12." },
      { name = "day", type = "integer", doc = "Day of the month, 1 to 31." },
      { name = "hour", type = "integer", doc = "Hour, 0 to 23." },
      { name = "minute", type = "integer", doc = "Minute, 0 to 59." },
      { name = "second", type = "integer", doc = "Second, 0 to 59; 60 in a leap second." },
      { name = "weekday", type = "integer", doc = "Day of the week, 1 (Monday) to 7 (Sunday)." },
    },
  }
end
