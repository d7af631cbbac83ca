--- The part of kt.api that describes tasks, time, secrets, the log, and the script itself.

return function(with)
  local def, handle, record = with.def, with.handle, with.record

  def {
    name = "kt.sleep", context = "task", path = "kt.sleep",
    signature = 'kt.sleep "500ms"',
    doc = "Waits. kt.sleep(0) lets the others run.",
    argument = { type = "duration", expected = 'a duration such as "500ms"' },
  }

  def {
    name = "kt.spawn", context = "any", signature = "kt.spawn(fn, …)",
    doc = "Runs fn(…) as a task: when the runtime starts, or once the task that calls this waits or ends. Conns, streams and sockets among the arguments "
      .. "become the new task's.",
    params = {
      { name = "fn", type = "function", doc = "The task." },
      { name = "...", type = "any", doc = "What it is called with." },
    },
  }

  def {
    name = "kt.reload", context = "declare", path = "kt.reload",
    signature = 'kt.reload { old = "drain", timeout = "30s" }',
    doc = "What becomes of this script's conns once a reload (SIGHUP, kt reload) has brought another script in its place. Addresses "
      .. "that both have are handed over; a listener that the new script does not have is closed. The tasks of this script go on as "
      .. "long as any conn or stream of it does, then they end. A script that cannot be loaded or opened replaces nothing. Links are "
      .. "made anew; those of the old script serve its conns to the end. An acceptor keeps its sessions: with other settings new "
      .. "sessions have these and the others keep theirs; with another key or cipher those end with the streams that they have "
      .. "(dscp and sockbuf of an acceptor need a restart). When 16 replaced scripts still have conns, a reload is refused.",
    argument = {
      type = "table",
      check = function(out, raw, mistake)
        if raw.timeout ~= nil and out.old == "keep" then
          mistake("timeout", 'there is none with old = "keep"', 'give old = "drain" to bound the time')
        end
      end,
      keys = {
        { name = "old", type = "enum", values = { "keep", "drain" }, default = "keep",
          doc = '"keep": they go on as long as they live. "drain": those still there after timeout are reset.' },
        { name = "timeout", type = "duration", max = 30 * 86400, default = 30, doc = 'How long, with old = "drain".' },
      },
    },
    example = 'kt.reload { old = "drain", timeout = "10m" }',
  }

  def {
    name = "kt.now", context = "any", returns = "number", signature = "kt.now() → seconds",
    doc = "A clock that only goes forward, in seconds; it stands still while a task runs.",
  }

  def {
    name = "kt.wall", context = "any", returns = "number", signature = "kt.wall() → seconds",
    doc = "The wall clock: seconds since 1970-01-01 UTC. It jumps when the clock is set; kt.now is for measuring.",
  }

  def {
    name = "kt.date", context = "any", returns = "date", path = "kt.date",
    signature = 'kt.date { zone = "local" | "utc" } → date',
    doc = "The date and the time of day, by the wall clock.",
    optional = true,
    argument = {
      type = "table",
      keys = {
        { name = "zone", type = "enum", values = { "local", "utc" }, default = "local", doc = "Of where: here (TZ), or UTC." },
      },
    },
    example = [[
local now = kt.date()
local night = now.hour >= 23 or now.hour < 7]],
  }

  def {
    name = "kt.secret", context = "any", returns = "secret", signature = "kt.secret(string) → secret",
    doc = "A string that never prints.",
    params = { { name = "text", type = "string", doc = "What is secret." } },
  }

  def {
    name = "kt.secret_file", context = "any", returns = "secret", signature = 'kt.secret_file "psk.key" → secret',
    doc = "A file's content, without one trailing newline. A relative path starts at the script's own folder. Raises when the "
      .. "file is empty or cannot be read; warns when every user can read it.",
    params = { { name = "path", type = "string", doc = "The file." } },
  }

  for _, level in ipairs { "debug", "info", "warn", "error" } do
    def {
      name = "kt.log." .. level, context = "any", signature = ("kt.log.%s(fmt, …)"):format(level),
      doc = "One line in the log, formatted as by string.format; a message alone is taken as it is.",
      params = {
        { name = "fmt", type = "any", doc = "The message, or a format for it." },
        { name = "...", type = "any", doc = "What the format asks for." },
      },
    }
  end

  handle { name = "secret", doc = "Bytes that never print: it shows as `<secret>`. Its memory is wiped when it is collected." }

  handle {
    name = "err", doc = "What an expected failure returns beside nil: tostring(err) is a sentence, and `..` joins it to strings.",
    fields = { { name = "code", type = "string", doc = "A stable name, such as \"timeout\"." } },
  }

  record {
    name = "date", doc = "A date and a time of day.",
    fields = {
      { name = "year", type = "integer", doc = "Such as 2031." },
      { name = "month", type = "integer", doc = "January is 1." },
      { name = "day", type = "integer", doc = "Of the month, from 1." },
      { name = "hour", type = "integer", doc = "Up to 23." },
      { name = "minute", type = "integer", doc = "Up to 59." },
      { name = "second", type = "integer", doc = "Up to 59; 60 in a leap second." },
      { name = "weekday", type = "integer", doc = "Monday is 1, Sunday 7." },
    },
  }
end
