--- The part of kt.sim.api that describes worlds: time, chance, names, links, packets.
local shape = require "kt.sim.shape"

return function(with)
  local def, handle, method, record = with.def, with.handle, with.method, with.record

  with.api.values = { { name = "sim.version", type = "string", doc = "The version of kt.", since = "0.1.0" } }

  def {
    name = "sim.world", context = "spec", returns = "world", path = "sim.world", optional = true, argument = shape.world,
    signature = "sim.world { seed = 7, files = { … } } → world",
    doc = "A new world: a simulated network without hosts, whose clock stands at 0. The same seed and the same spec give the same run, to the byte.",
    example = [[
local w = sim.world { seed = 7, files = { ["psk.key"] = "our secret" } }
w:host "client"
w:host "server"
w:link("client", "server", { delay = "40ms", loss = "2%" })]],
  }
  def {
    name = "sim.sweep", context = "body", returns = "integer", path = "sim.sweep", optional = true, argument = shape.sweep,
    signature = "sim.sweep(n, function(w, seed) … end, { from = 1 }) → how many",
    doc = "Calls the function in a new world for each of n seeds. It stops at the first that fails, leaves out those faults (w:fault) that it fails without, "
      .. "and raises what is left, with the line that repeats it. With KT_SEED it is that seed alone.",
    params = {
      { name = "n", type = "integer", doc = "How many seeds." },
      { name = "fn", type = "fun(w: world, seed: integer)", doc = "What is to hold." },
    },
  }

  handle {
    name = "world", shown = "w", doc = "A simulated network. Its clock stands while code runs, and jumps from event to event.",
    fields = { { name = "seed", type = "integer", doc = "What it was made with." } },
  }
  method("world", {
    name = "host", context = "spec", returns = "host", path = "w:host", optional = true, argument = shape.host,
    signature = "host(name, { address = …, files = { … } }) → host",
    doc = "The host of that name: made at its first mention, which is where options go.",
    params = { { name = "name", type = "string", doc = "Its name, which other hosts find it by." } },
  })
  method("world", {
    name = "link", context = "spec", returns = "link", path = "w:link", optional = true, argument = shape.link,
    signature = 'link(a, b, { delay = "40ms", loss = "2%", … }) → link',
    doc = "Links two hosts; without options: the link that there is. What is not said is perfect. Options hold for both ways, those in there and back for one.",
    params = {
      { name = "a", type = "string | host", doc = "A host, or its name." },
      { name = "b", type = "string | host", doc = "Another." },
    },
    example = [[
w:link("client", "server", {
  delay = "40ms", rate = "20Mbit", queue = { time = "100ms" },
  there = { loss = "1%" }, back = { burst = { enter = "1%", leave = "20%" } },
})]],
  })
  method("world", {
    name = "name", context = "spec", path = "w:name", optional = true, argument = shape.name,
    signature = 'name(name, to, { delay = "1ms", fail = false })', doc = "What a name leads to from now on.",
    params = {
      { name = "name", type = "string", doc = "The name." },
      { name = "to", type = "string | host | string[] | false", doc = "A host, an address, a list of addresses; false: there is no such name." },
    },
  })
  method("world", {
    name = "now", context = "spec", returns = "number", signature = "now() → seconds", doc = "Seconds since the world began.",
  })
  local time = { name = "time", type = "duration", doc = "What the world's clock shows then." }
  local span = { name = "duration", type = "duration", doc = "How long." }
  local task = { name = "fn", type = "fun()", doc = "Called as a task: it may wait." }
  method("world", { name = "run", context = "body", signature = 'run "10s"', doc = "Runs the world until its clock shows that time.", params = { time } })
  method("world", { name = "run_for", context = "body", signature = 'run_for "5s"', doc = "Runs the world for so long.", params = { span } })
  method("world", {
    name = "run_until", context = "body", returns = "any", path = "w:run_until", optional = true, argument = shape.run_until,
    signature = 'run_until(fn, { timeout = "60s" }) → what fn gave',
    doc = "Runs the world until fn() gives something true; raises if that does not come about in time.",
    params = { { name = "fn", type = "fun(): any", doc = "Asked after each instant at which anything happened; it cannot wait." } },
  })
  method("world", {
    name = "settle", context = "body", path = "w:settle", optional = true, argument = shape.settle, signature = 'settle { timeout = "60s" }',
    doc = "Runs the world until nothing is left open, of the spec's or of scripts'; raises what still is (see w:leftovers), and what has failed although "
      .. "nobody asked: transfers that were not waited for, and tasks of scripts.",
  })
  method("world", { name = "sleep", context = "waits", signature = 'sleep "500ms"', doc = "Lets time pass.", params = { span } })
  method("world", { name = "at", context = "spec", signature = 'at("10s", fn)', doc = "Calls fn at that time.", params = { time, task } })
  method("world", {
    name = "every", context = "spec", returns = "ticker", signature = 'every("1s", fn) → ticker', doc = "Calls fn each time so much time has passed.",
    params = { { name = "period", type = "duration", doc = "The time between two calls." }, task },
  })
  method("world", {
    name = "task", context = "spec", signature = "task(fn, …)", doc = "Runs fn(…) as a task, beside the rest.",
    params = { { name = "fn", type = "function", doc = "The task." }, { name = "...", type = "any", doc = "What it is called with." } },
  })
  method("world", {
    name = "fault", context = "spec", signature = 'fault("10s", "the cable is cut", fn)',
    doc = "As w:at, for what goes wrong: a sweep that fails leaves out those faults that it fails without.",
    params = { time, { name = "text", type = "string", doc = "What goes wrong." }, task },
  })
  method("world", {
    name = "transfer", context = "spec", returns = "transfer", path = "w:transfer", argument = shape.transfer,
    signature = 'transfer { from = "client", to = "127.0.0.1:12948", bytes = "10MB", kind = "up" } → transfer',
    doc = "Sends bytes that tell by themselves where they belong: what is lost, doubled or out of order is found. It goes on beside the spec.",
  })
  method("world", {
    name = "keystrokes", context = "spec", returns = "keystrokes", path = "w:keystrokes", argument = shape.keystrokes,
    signature = 'keystrokes { from = "client", to = "127.0.0.1:12948", every = "100ms", count = 100 } → keystrokes',
    doc = "Sends single bytes to an echo server, and times the answers.",
  })
  method("world", {
    name = "rule", context = "spec", returns = "rule", path = "w:rule", argument = shape.rule,
    signature = 'rule { from = "client", fn = function(packet) … end } → rule',
    doc = "Says what becomes of single UDP packets, before the line's own ills come to them. The function gets a packet; nil: it goes its way; \"drop\"; or a "
      .. "table: drop, delay (before it is sent), copies (that come besides). Of several rules the first that says something counts.",
  })
  method("world", {
    name = "switches", context = "spec", returns = "integer", signature = "switches() → how often",
    doc = "How often another of the spec's servers answered than the time before, counting echoes and transfers in their order.",
  })
  method("world", {
    name = "leftovers", context = "spec", returns = "string[]", signature = "leftovers() → { sentence, … }",
    doc = "What is open of what comes and goes: apps of the spec's, conns and streams of scripts.",
  })
  method("world", {
    name = "random", context = "spec", returns = "number", signature = "random([m [, n]]) → number",
    doc = "As math.random, but of the world's seed. Scripts, links and hosts have chance of their own: one more draw here changes nothing there.",
    params = {
      { name = "m", type = "integer", optional = true, doc = "A whole number from 1 to m, or" },
      { name = "n", type = "integer", optional = true, doc = "... from m to n." },
    },
  })
  method("world", {
    name = "fingerprint", context = "spec", returns = "string, integer", signature = "fingerprint() → 16 hex digits, of how many things",
    doc = "A hash of all that happened to packets: equal for equal runs.",
  })
  method("world", {
    name = "mark", context = "spec", signature = "mark(text)", doc = "A line in traces and drawings (kt test --trace, --plot).",
    params = { { name = "text", type = "string", doc = "What it says." } },
  })
  method("world", {
    name = "close", context = "body", signature = "close()",
    doc = "Ends all that runs in it. A world that is forgotten is closed too. Closing twice is harmless.",
  })

  handle { name = "ticker", doc = "What w:every gave." }
  method("ticker", { name = "cancel", context = "spec", signature = "cancel()", doc = "Ends it." })

  handle { name = "rule", doc = "What w:rule gave." }
  method("rule", { name = "remove", context = "spec", signature = "remove()", doc = "Ends it. Removing twice is harmless." })

  handle { name = "link", doc = "Two hosts and the two lines between them, one each way." }
  local from = { name = "from", type = "string | host", optional = true, doc = "Only what this host, one of the two, sends." }
  method("link", {
    name = "set", context = "spec", returns = "link", path = "link:set", argument = shape.link, signature = "set { … } → link",
    doc = "Changes what is given and leaves the rest. Packets on their way keep their times. The keys are those of w:link.",
  })
  method("link", {
    name = "cut", context = "spec", returns = "link", signature = "cut([from]) → link", params = { from },
    doc = "What is under way and what is sent is lost; conns of TCP wait.",
  })
  method("link", {
    name = "hold", context = "spec", returns = "link", signature = "hold([from]) → link", params = { from },
    doc = "Packets wait at the far end, in order, at most 10000.",
  })
  method("link", {
    name = "heal", context = "spec", returns = "link", signature = "heal([from]) → link", params = { from },
    doc = "The end of either; what waited comes at once.",
  })
  method("link", {
    name = "stats", context = "spec", returns = "line_stats", signature = "stats([from]) → line_stats", doc = "The figures of one way.",
    params = { { name = "from", type = "string", optional = true, doc = "Of what this host sends; the first of the two unless given." } },
  })

  record {
    name = "packet", doc = "What a rule is asked about.",
    fields = {
      { name = "from", type = "string", doc = "The host that sends it." },
      { name = "to", type = "string", doc = "The host that it is for." },
      { name = "src", type = "string", doc = 'The address it comes from, "ip:port", as seen on the line.' },
      { name = "dst", type = "string", doc = "... and that it goes to." },
      { name = "data", type = "string", doc = "The datagram." },
      { name = "size", type = "integer", doc = "Its length." },
      { name = "id", type = "integer", doc = "Its number, as in traces." },
      { name = "at", type = "number", doc = "When." },
    },
  }
  record {
    name = "line_stats", doc = "The figures of one way of a link, in IP packets; those of TCP included.",
    fields = {
      { name = "sent_packets", type = "integer", doc = "Sent into it." },
      { name = "sent_bytes", type = "integer", doc = "... in bytes." },
      { name = "delivered_packets", type = "integer", doc = "Come out of it." },
      { name = "delivered_bytes", type = "integer", doc = "... in bytes." },
      { name = "lost_packets", type = "integer", doc = "Lost, for any reason." },
      { name = "lost", type = "table<string, integer>",
        doc = "... by reason: loss, burst, queue, mtu, cut, rule, down (the host), nat, \"no port\", socket (its buffer was full)." },
      { name = "duplicated", type = "integer", doc = "That got a copy." },
      { name = "corrupted", type = "integer", doc = "That came with wrong bits." },
      { name = "reordered", type = "integer", doc = "That others overtook." },
      { name = "queue_peak_packets", type = "integer", doc = "The most that waited before a line with a rate." },
      { name = "queue_peak_bytes", type = "integer", doc = "... in bytes." },
      { name = "queue_peak", type = "number", doc = "... in seconds." },
    },
  }
end
