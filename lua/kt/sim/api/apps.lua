--- Describes the ends of a tunnel in a spec, for kt.sim.api: apps, servers, transfers, keystrokes.
local shape = require "kt.sim.shape"

return function(with)
  local handle, method, record = with.handle, with.method, with.record

  handle {
    name = "app", doc = "An application's TCP conn on a host; opened by the spec, or accepted by one of the spec's servers.",
    fields = {
      { name = "peer", type = "string", doc = 'Address of the other end, "ip:port".' },
      { name = "local_addr", type = "string", doc = "Address of this end." },
    },
  }
  local waits = { context = "waits", optional = true, argument = shape.timeout }
  local function waiting(m)
    for key, value in next, waits do m[key] = value end
    m.path = "app:" .. m.name
    method("app", m)
  end
  local text = { name = "text", type = "string", doc = "The text to send." }
  waiting {
    name = "echo", returns = "reply", signature = 'echo(text, { timeout = "10s" }) → reply', params = { text },
    doc = "Sends a text to an echo server and waits until all of it has come back unchanged; raises if it does not. It sends the "
      .. 'text, then "\\0echo-N\\n", where N numbers the echoes of the world; by that an echo server says which host it is on.',
  }
  waiting {
    name = "try_echo", returns = "reply | nil, err", signature = 'try_echo(text, { timeout = "10s" }) → reply | nil, err', params = { text },
    doc = "Like echo, but returns nil and an err instead of raising.", fails = { "timeout", "reset", "eof", "closed", "protocol" },
  }
  local fails = { "eof", "timeout", "reset", "closed" }
  waiting {
    name = "read", returns = "string | nil, err", signature = "read([max]) → data | nil, err", fails = fails,
    doc = "Reads at least one byte; waits if none have arrived.",
    params = { { name = "max", type = "integer", optional = true, doc = "Maximum number of bytes." } },
  }
  waiting {
    name = "read_exactly", returns = "string | nil, err", signature = "read_exactly(n) → data | nil, err", fails = fails,
    doc = "Reads exactly n bytes.", params = { { name = "n", type = "integer", doc = "Number of bytes." } },
  }
  waiting {
    name = "read_until", returns = "string | nil, err", signature = 'read_until "\\n" → data | nil, err', fails = fails,
    doc = "Reads up to and including the delimiter. Unlike conn:read_until, takes no maximum: the timeout is the second argument.",
    params = { { name = "delimiter", type = "string", doc = "The delimiter." } },
  }
  waiting {
    name = "read_all", returns = "string | nil, err", signature = "read_all() → data | nil, err", fails = { "timeout", "reset", "closed" },
    doc = "Reads until the other end finishes sending.",
  }
  local data = { name = "data", type = "string", doc = "The bytes to write." }
  waiting {
    name = "write", returns = "boolean | nil, err", signature = "write(data) → true | nil, err", fails = { "timeout", "reset", "closed" }, params = { data },
    doc = "Writes all of the data; waits until it has been accepted, not until it has arrived.",
  }
  waiting {
    name = "send", returns = "boolean | nil, err", signature = "send(data) → true | nil, err", fails = { "timeout", "reset", "closed" }, params = { data },
    doc = "Another name for app:write.",
  }
  method("app", { name = "shutdown", context = "spec", signature = "shutdown()", doc = "Half-closes it: ends sending; this end can still read." })
  method("app", { name = "close", context = "spec", signature = "close()", doc = "Closes it after delivering what was written. Safe to call twice." })
  method("app", { name = "reset", context = "spec", signature = "reset()", doc = "Ends it immediately; the other end sees a reset." })
  method("app", {
    name = "is_open", context = "spec", returns = "boolean", signature = "is_open() → boolean",
    doc = "Whether it is neither closed nor broken, as far as this end knows.",
  })

  handle {
    name = "server", doc = "A server run by the spec; made by host:serve.",
    fields = {
      { name = "address", type = "string", doc = 'The address it listens on, "ip:port".' },
      { name = "conns", type = "integer", doc = "Number of conns accepted." },
      { name = "datagrams", type = "integer", doc = "Number of datagrams received." },
    },
  }
  method("server", { name = "close", context = "spec", signature = "close()", doc = "Stops listening. Conns already accepted stay open. Safe to call twice." })

  handle {
    name = "socket", doc = "A UDP socket of the spec; made by host:udp.",
    fields = {
      { name = "local_addr", type = "string", doc = 'The address it is bound to, "ip:port".' },
      { name = "peer", type = "string | nil", doc = "The address of its only peer; nil without `to`." },
    },
  }
  method("socket", {
    name = "send", context = "waits", returns = "boolean | nil, err", path = "socket:send", optional = true, argument = shape.timeout,
    signature = 'send(data [, "host:port"]) → true | nil, err', fails = { "name", "timeout", "closed" },
    doc = "Sends a datagram; waits while the host's send buffer is full (host:udp_full). It may be lost on its way.",
    params = {
      { name = "data", type = "string", doc = "The datagram, at most 2048 bytes." },
      { name = "to", type = "string", optional = true, doc = "The destination, such as `from`. Only for a socket without `to`." },
    },
  })
  method("socket", {
    name = "receive", context = "waits", returns = "string | nil, string | err", path = "socket:receive", optional = true,
    argument = shape.timeout, signature = 'receive { timeout = "10s" } → data, from | nil, err', fails = { "timeout", "refused", "closed" },
    doc = "Returns the next datagram and its sender's address. With `to`, it fails with \"refused\" when nobody listens at the peer's port.",
  })
  method("socket", { name = "close", context = "spec", signature = "close()", doc = "Closes it. Safe to call twice." })

  handle {
    name = "transfer", doc = "A transfer through a tunnel. Every byte is checked on arrival.",
    fields = {
      { name = "received", type = "integer", doc = "Bytes that have arrived." },
      { name = "bytes", type = "integer", doc = "Bytes to transfer." },
      { name = "server", type = "string | nil", doc = 'With kind "up": the host of the sink that received it.' },
    },
  }
  method("transfer", {
    name = "wait", context = "waits", returns = "transfer", signature = "wait() → transfer",
    doc = "Waits until it ends; raises if it did not arrive complete, once and in order, or not in time.",
  })
  method("transfer", {
    name = "intact", context = "spec", returns = "boolean", signature = "intact() → boolean", doc = "Whether every byte has arrived, once and in order.",
  })
  method("transfer", {
    name = "fault", context = "spec", returns = "string | nil", signature = "fault() → sentence | nil", doc = "Says why it is not intact; nil if it is.",
  })
  method("transfer", {
    name = "goodput", context = "spec", returns = "number", signature = "goodput() → bytes per second",
    doc = "Bytes per second from the start to the last byte that arrived.",
  })
  method("transfer", {
    name = "worst_stall", context = "spec", returns = "number", signature = "worst_stall() → seconds",
    doc = "Returns the longest time without a byte arriving, after the first byte.",
  })

  handle { name = "keystrokes", like = "transfer", doc = "Single bytes that are echoed and timed. Has all fields and methods of a transfer." }
  method("keystrokes", {
    name = "median", context = "spec", returns = "number", signature = "median() → seconds", doc = "Returns the median latency.",
  })
  method("keystrokes", {
    name = "worst", context = "spec", returns = "number", signature = "worst() → seconds", doc = "Returns the highest latency.",
  })
  method("keystrokes", {
    name = "latencies", context = "spec", returns = "number[]", signature = "latencies() → { seconds, … }",
    doc = "Returns the time from each keystroke to its echo, in order.",
  })

  record {
    name = "reply", doc = "The result of an echo.",
    fields = {
      { name = "server", type = "string | nil", doc = "The host that echoed it; nil if the server is not one of the spec's." },
      { name = "time", type = "number", doc = "Round-trip time in seconds." },
      { name = "text", type = "string", doc = "The text that came back." },
    },
  }
  record {
    name = "err", doc = "A network failure. tostring(err) is a sentence.",
    fields = {
      { name = "code", type = "string", doc = "The err.code, as in scripts." },
      { name = "text", type = "string", doc = "The sentence." },
      { name = "partial", type = "string | nil", doc = "The bytes that a failed read did receive." },
    },
  }
end
