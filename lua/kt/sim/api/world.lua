--- Describes worlds, for kt.sim.api: time, chance, names, links, packets.
local shape = require "kt.sim.shape"

return function(with)
  local def, handle, method, record = with.def, with.handle, with.method, with.record

  with.api.values = { { name = "sim.version", type = "string", doc = "The version of kt.", since = "0.1.0" } }

  def {
    name = "sim.world", context = "spec", returns = "world", path = "sim.world", optional = true, argument = shape.world,
    signature = "sim.world { seed = 7, files = { … } } → world",
    doc = "Makes a world: a simulated network without hosts, with its clock at 0. The same seed and the same spec give the same run, to the byte.",
    example = [[
local w = sim.world { seed = 7, files = { ["psk.key"] = "our secret" } }
w:host "client"
w:host "server"
w:link("client", "server", { delay = "40ms", loss = "2%" })]],
  }
  def {
    name = "sim.sweep", context = "body", returns = "integer", path = "sim.sweep", optional = true, argument = shape.sweep,
    signature = "sim.sweep(n, function(w, seed) … end, { from = 1 }) → number of seeds",
    doc = "Calls the function with a new world for each of n seeds. At the first failure it removes the faults (w:fault) that the failure does "
      .. "not need, and raises the failure with the remaining faults and a command that reproduces it. With KT_SEED, runs that seed only.",
    params = {
      { name = "n", type = "integer", doc = "Number of seeds." },
      { name = "fn", type = "fun(w: world, seed: integer)", doc = "The spec to run in each world." },
    },
  }

  handle {
    name = "world", shown = "w", doc = "A simulated network. Its clock does not advance while code runs; it jumps from event to event.",
    fields = { { name = "seed", type = "integer", doc = "Its seed." } },
  }
  method("world", {
    name = "host", context = "spec", returns = "host", path = "w:host", optional = true, argument = shape.host,
    signature = "host(name, { address = …, files = { … } }) → host",
    doc = "Returns the host of that name; the first call makes it. Only that call may have options.",
    params = { { name = "name", type = "string", doc = "The host's name, by which other hosts can reach it." } },
  })
  method("world", {
    name = "link", context = "spec", returns = "link", path = "w:link", optional = true, argument = shape.link,
    signature = 'link(a, b, { delay = "40ms", loss = "2%", … }) → link',
    doc = "Links two hosts; without options, returns the existing link. A link is perfect except for the options given. Options apply to "
      .. "both directions, except those in `there` and `back`.",
    params = {
      { name = "a", type = "string | host", doc = "A host or its name." },
      { name = "b", type = "string | host", doc = "Another host or its name." },
    },
    example = [[
w:link("client", "server", {
  delay = "40ms", rate = "20Mbit", queue = { time = "100ms" },
  there = { loss = "1%" }, back = { burst = { enter = "1%", leave = "20%" } },
})]],
  })
  method("world", {
    name = "name", context = "spec", path = "w:name", optional = true, argument = shape.name,
    signature = 'name(name, to, { delay = "1ms", fail = false })', doc = "Sets what a DNS name resolves to from now on.",
    params = {
      { name = "name", type = "string", doc = "The name." },
      { name = "to", type = "string | host | string[] | false", doc = "A host, an address, or a list of addresses; false means the name does not exist." },
    },
  })
  method("world", {
    name = "now", context = "spec", returns = "number", signature = "now() → seconds", doc = "Returns the world's time: seconds since it was made.",
  })
  local time = { name = "time", type = "duration", doc = "The world's time, since it was made." }
  local span = { name = "duration", type = "duration", doc = "How long." }
  local task = { name = "fn", type = "fun()", doc = "Called as a task, so it may wait." }
  method("world", { name = "run", context = "body", signature = 'run "10s"', doc = "Runs the world until a time.", params = { time } })
  method("world", { name = "run_for", context = "body", signature = 'run_for "5s"', doc = "Runs the world for a duration.", params = { span } })
  method("world", {
    name = "run_until", context = "body", returns = "any", path = "w:run_until", optional = true, argument = shape.run_until,
    signature = 'run_until(fn, { timeout = "60s" }) → the result of fn',
    doc = "Runs the world until fn() returns a true value; raises if the timeout expires first.",
    params = { { name = "fn", type = "fun(): any", doc = "Called after each instant with an event; it cannot wait." } },
  })
  method("world", {
    name = "settle", context = "body", path = "w:settle", optional = true, argument = shape.settle, signature = 'settle { timeout = "60s" }',
    doc = "Runs the world until the spec and the scripts have nothing left open. Raises if something still is when the timeout expires (see "
      .. "w:leftovers), or if something failed unnoticed: a transfer that the spec did not wait for, or a task of a script.",
  })
  method("world", { name = "sleep", context = "waits", signature = 'sleep "500ms"', doc = "Waits for a time.", params = { span } })
  method("world", { name = "at", context = "spec", signature = 'at("10s", fn)', doc = "Calls fn at a time.", params = { time, task } })
  method("world", {
    name = "every", context = "spec", returns = "ticker", signature = 'every("1s", fn) → ticker', doc = "Calls fn at regular intervals.",
    params = { { name = "period", type = "duration", doc = "The interval." }, task },
  })
  method("world", {
    name = "task", context = "spec", signature = "task(fn, …)", doc = "Runs fn(…) as a task, concurrently with the spec.",
    params = { { name = "fn", type = "function", doc = "The task's function." }, { name = "...", type = "any", doc = "Its arguments." } },
  })
  method("world", {
    name = "fault", context = "spec", signature = 'fault("10s", "the cable is cut", fn)',
    doc = "Like w:at, for injecting a fault. When a sweep fails, it removes the faults that the failure does not need.",
    params = { time, { name = "text", type = "string", doc = "A description of the fault." }, task },
  })
  method("world", {
    name = "transfer", context = "spec", returns = "transfer", path = "w:transfer", argument = shape.transfer,
    signature = 'transfer { from = "client", to = "127.0.0.1:12948", bytes = "10MB", kind = "up" } → transfer',
    doc = "Starts a transfer that runs concurrently with the spec. Its bytes encode their position, so that lost, duplicated and reordered ones "
      .. "are detected.",
  })
  method("world", {
    name = "keystrokes", context = "spec", returns = "keystrokes", path = "w:keystrokes", argument = shape.keystrokes,
    signature = 'keystrokes { from = "client", to = "127.0.0.1:12948", every = "100ms", count = 100 } → keystrokes',
    doc = "Sends single bytes to an echo server and times the answers.",
  })
  method("world", {
    name = "rule", context = "spec", returns = "rule", path = "w:rule", argument = shape.rule,
    signature = 'rule { from = "client", fn = function(packet) … end } → rule',
    doc = "Decides what happens to single UDP packets before the link's own faults apply. The function gets a packet and returns nil (leave it "
      .. "alone), \"drop\", or a table with drop, delay (before sending) and copies (extra ones). With several rules, the first that returns "
      .. "something decides.",
  })
  method("world", {
    name = "switches", context = "spec", returns = "integer", signature = "switches() → count",
    doc = "Returns how many times the answering server changed, over all echoes and transfers in order.",
  })
  method("world", {
    name = "leftovers", context = "spec", returns = "string[]", signature = "leftovers() → { sentence, … }",
    doc = "Lists what is still open: transfers and apps of the spec, conns and streams of scripts.",
  })
  method("world", {
    name = "random", context = "spec", returns = "number", signature = "random([m [, n]]) → number",
    doc = "Like math.random, but seeded by the world. Scripts, links and hosts have generators of their own, so a call here does not affect them.",
    params = {
      { name = "m", type = "integer", optional = true, doc = "With m alone: an integer from 1 to m." },
      { name = "n", type = "integer", optional = true, doc = "With m and n: an integer from m to n." },
    },
  })
  method("world", {
    name = "fingerprint", context = "spec", returns = "string, integer", signature = "fingerprint() → 16 hex digits, number of events",
    doc = "Returns a hash of everything that happened to packets. Equal runs have equal hashes.",
  })
  method("world", {
    name = "mark", context = "spec", signature = "mark(text)", doc = "Adds a marker to traces and plots (kt test --trace, --plot).",
    params = { { name = "text", type = "string", doc = "Its label." } },
  })
  method("world", {
    name = "close", context = "body", signature = "close()",
    doc = "Ends everything that runs in the world. A world that is garbage-collected is closed too. Safe to call twice.",
  })

  handle { name = "ticker", doc = "A repeating call; made by w:every." }
  method("ticker", { name = "cancel", context = "spec", signature = "cancel()", doc = "Stops the calls." })

  handle { name = "rule", doc = "A packet rule; made by w:rule." }
  method("rule", { name = "remove", context = "spec", signature = "remove()", doc = "Removes the rule. Safe to call twice." })

  handle { name = "link", doc = "The link between two hosts: two lines, one in each direction." }
  local from = { name = "from", type = "string | host", optional = true, doc = "Affects only what this end of the link sends. Default: both." }
  method("link", {
    name = "set", context = "spec", returns = "link", path = "link:set", argument = shape.link, signature = "set { … } → link",
    doc = "Changes options of the link. Keys that are not given stay as they are, and packets in flight keep their arrival times.",
  })
  method("link", {
    name = "cut", context = "spec", returns = "link", signature = "cut([from]) → link", params = { from },
    doc = "Cuts the link: packets in flight and new ones are lost; TCP conns stall.",
  })
  method("link", {
    name = "hold", context = "spec", returns = "link", signature = "hold([from]) → link", params = { from },
    doc = "Holds packets back at the far end, in order, up to 10000.",
  })
  method("link", {
    name = "heal", context = "spec", returns = "link", signature = "heal([from]) → link", params = { from },
    doc = "Ends cut and hold; packets held back are delivered immediately.",
  })
  method("link", {
    name = "stats", context = "spec", returns = "line_stats", signature = "stats([from]) → line_stats", doc = "Returns the statistics of one direction.",
    params = { { name = "from", type = "string", optional = true, doc = "The sending host. Default: the link's first host." } },
  })

  record {
    name = "packet", doc = "The argument of a rule's function.",
    fields = {
      { name = "from", type = "string", doc = "The sending host." },
      { name = "to", type = "string", doc = "The receiving host." },
      { name = "src", type = "string", doc = 'Source address on the line, "ip:port".' },
      { name = "dst", type = "string", doc = 'Destination address on the line, "ip:port".' },
      { name = "data", type = "string", doc = "The datagram." },
      { name = "size", type = "integer", doc = "Its length in bytes." },
      { name = "id", type = "integer", doc = "Its number, as in traces." },
      { name = "at", type = "number", doc = "The world's time, in seconds." },
    },
  }
  record {
    name = "line_stats", doc = "Statistics of one direction of a link, in IP packets, TCP included.",
    fields = {
      { name = "sent_packets", type = "integer", doc = "Packets sent." },
      { name = "sent_bytes", type = "integer", doc = "Bytes sent." },
      { name = "delivered_packets", type = "integer", doc = "Packets delivered." },
      { name = "delivered_bytes", type = "integer", doc = "Bytes delivered." },
      { name = "lost_packets", type = "integer", doc = "Packets lost for any reason." },
      { name = "lost", type = "table<string, integer>",
        doc = "Packets lost by reason: loss, burst, queue, police, mtu, cut, rule, down (the host), nat, \"no port\", socket (its buffer was full)." },
      { name = "duplicated", type = "integer", doc = "Packets duplicated." },
      { name = "corrupted", type = "integer", doc = "Packets corrupted." },
      { name = "reordered", type = "integer", doc = "Packets delayed past later ones." },
      { name = "queue_peak_packets", type = "integer", doc = "Longest queue before a line with a rate, in packets." },
      { name = "queue_peak_bytes", type = "integer", doc = "Longest queue, in bytes." },
      { name = "queue_peak", type = "number", doc = "Longest queue, in seconds." },
    },
  }
end
