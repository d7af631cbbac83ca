--- The part of kt.sim.api that describes what a spec has at the ends of a tunnel: apps, servers, transfers, keystrokes.
local shape = require "kt.sim.shape"

return function(with)
  local handle, method, record = with.handle, with.method, with.record

  handle {
    name = "app", doc = "What users have: a TCP conn of a host, that the spec opened, or that a server of the spec's accepted.",
    fields = {
      { name = "peer", type = "string", doc = 'The other end, "ip:port".' },
      { name = "local_addr", type = "string", doc = "This end." },
    },
  }
  local waits = { context = "waits", optional = true, argument = shape.timeout }
  local function waiting(m)
    for key, value in next, waits do m[key] = value end
    m.path = "app:" .. m.name
    method("app", m)
  end
  local text = { name = "text", type = "string", doc = "What is sent." }
  waiting {
    name = "echo", returns = "reply", signature = 'echo(text, { timeout = "10s" }) → reply', params = { text },
    doc = "Sends a text to an echo server, behind whatever is between, and waits until all of it has come back unharmed; raises if it does not.",
  }
  waiting {
    name = "try_echo", returns = "reply | nil, err", signature = 'try_echo(text, { timeout = "10s" }) → reply | nil, err', params = { text },
    doc = "The same, for who expects it to fail.", fails = { "timeout", "reset", "eof", "closed", "protocol" },
  }
  local fails = { "eof", "timeout", "reset", "closed" }
  waiting {
    name = "read", returns = "string | nil, err", signature = "read([max]) → data | nil, err", fails = fails,
    doc = "What is there: at least a byte.", params = { { name = "max", type = "integer", optional = true, doc = "At most so many." } },
  }
  waiting {
    name = "read_exactly", returns = "string | nil, err", signature = "read_exactly(n) → data | nil, err", fails = fails,
    doc = "So many bytes.", params = { { name = "n", type = "integer", doc = "How many." } },
  }
  waiting {
    name = "read_until", returns = "string | nil, err", signature = 'read_until "\\n" → data | nil, err', fails = fails,
    doc = "All up to and with a delimiter.", params = { { name = "delimiter", type = "string", doc = "What it ends with." } },
  }
  waiting {
    name = "read_all", returns = "string | nil, err", signature = "read_all() → data | nil, err", fails = { "timeout", "reset", "closed" },
    doc = "All until the other end finishes.",
  }
  local data = { name = "data", type = "string", doc = "The bytes." }
  waiting {
    name = "write", returns = "boolean | nil, err", signature = "write(data) → true | nil, err", fails = { "timeout", "reset", "closed" }, params = { data },
    doc = "Writes all of it. That it was taken does not mean that it has arrived.",
  }
  waiting {
    name = "send", returns = "boolean | nil, err", signature = "send(data) → true | nil, err", fails = { "timeout", "reset", "closed" }, params = { data },
    doc = "Another name for app:write.",
  }
  method("app", { name = "shutdown", context = "spec", signature = "shutdown()", doc = "Finishes sending; reading goes on." })
  method("app", { name = "close", context = "spec", signature = "close()", doc = "Closes it; what was written is delivered. Closing twice is harmless." })
  method("app", { name = "reset", context = "spec", signature = "reset()", doc = "Breaks it: the other end reads a reset." })
  method("app", {
    name = "is_open", context = "spec", returns = "boolean", signature = "is_open() → boolean",
    doc = "Neither closed nor broken, as far as this end has heard.",
  })

  handle {
    name = "server", doc = "A server of the spec's own, as host:serve made it.",
    fields = {
      { name = "address", type = "string", doc = 'Where it listens, "ip:port".' },
      { name = "conns", type = "integer", doc = "Conns that it has accepted." },
    },
  }
  method("server", { name = "close", context = "spec", signature = "close()", doc = "Listens no more; its conns go on. Closing twice is harmless." })

  handle {
    name = "transfer", doc = "Bytes on their way through a tunnel, each of which is checked.",
    fields = {
      { name = "received", type = "integer", doc = "Bytes that have arrived." },
      { name = "bytes", type = "integer", doc = "Bytes that are sent." },
      { name = "server", type = "string | nil", doc = "The host whose sink they came to, of kind up." },
    },
  }
  method("transfer", {
    name = "wait", context = "waits", returns = "transfer", signature = "wait() → transfer",
    doc = "Waits for its end; raises if it did not arrive whole, once and in order, or not in time.",
  })
  method("transfer", {
    name = "intact", context = "spec", returns = "boolean", signature = "intact() → boolean", doc = "Whether every byte has arrived, once and in order.",
  })
  method("transfer", {
    name = "fault", context = "spec", returns = "string | nil", signature = "fault() → sentence | nil", doc = "What keeps it from being intact.",
  })
  method("transfer", {
    name = "goodput", context = "spec", returns = "number", signature = "goodput() → bytes a second",
    doc = "From its beginning to the last byte that has arrived.",
  })
  method("transfer", {
    name = "worst_stall", context = "spec", returns = "number", signature = "worst_stall() → seconds",
    doc = "The longest time in which nothing arrived, once the first byte was there.",
  })

  handle { name = "keystrokes", like = "transfer", doc = "Single bytes that are echoed and timed: a transfer, with all that one has, and more." }
  method("keystrokes", {
    name = "median", context = "spec", returns = "number", signature = "median() → seconds", doc = "The median of their latencies.",
  })
  method("keystrokes", {
    name = "worst", context = "spec", returns = "number", signature = "worst() → seconds", doc = "The longest of their latencies.",
  })
  method("keystrokes", {
    name = "latencies", context = "spec", returns = "number[]", signature = "latencies() → { seconds, … }", doc = "From each keystroke to its echo, in order.",
  })

  record {
    name = "reply", doc = "What came of an echo.",
    fields = {
      { name = "server", type = "string | nil", doc = "The host that echoed it; nil if it is no server of the spec's." },
      { name = "time", type = "number", doc = "Seconds that it took." },
      { name = "text", type = "string", doc = "What came back." },
    },
  }
  record {
    name = "err", doc = "What failed as it may in a network. tostring gives the sentence.",
    fields = {
      { name = "code", type = "string", doc = "Which of the codes that scripts know." },
      { name = "text", type = "string", doc = "The sentence." },
      { name = "partial", type = "string | nil", doc = "What came of a read that failed." },
    },
  }
end
