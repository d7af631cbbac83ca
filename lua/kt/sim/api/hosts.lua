--- The part of kt.sim.api that describes hosts, and the scripts that run on them.
local shape = require "kt.sim.shape"

return function(with)
  local handle, method, record = with.handle, with.method, with.record

  handle {
    name = "host", doc = "A machine of a simulated network: it runs scripts, serves and connects for the spec, and crashes.",
    fields = { { name = "name", type = "string", doc = "Its name." } },
  }
  method("host", {
    name = "run", context = "spec", returns = "script", path = "host:run", optional = true, argument = shape.run,
    signature = "run(path, { args = { … }, files = { … } }) → script",
    doc = "Runs a script as kt run would, unmodified, in a Lua state of its own; raises what keeps it from loading, or from opening what it declares. A path "
      .. 'is looked for among the host\'s files, then on this machine. "kt client" and "kt server" run those, with args.',
    params = { { name = "path", type = "string", doc = 'The script; or "kt client", "kt server".' } },
    example = [[
w:host("server"):run "scripts/examples/server.lua"
w:host("client"):run("kt client", { args = { "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "our secret" } })]],
  })
  local to = { name = "to", type = "string", doc = '"host:port", as seen from this host.' }
  method("host", {
    name = "connect", context = "waits", returns = "app", path = "host:connect", optional = true, argument = shape.timeout,
    signature = 'connect(to, { timeout = "10s" }) → app', doc = "A TCP conn of this host's, as a user has it; raises if it fails.", params = { to },
  })
  method("host", {
    name = "try_connect", context = "waits", returns = "app | nil, err", path = "host:try_connect", optional = true, argument = shape.timeout,
    signature = 'try_connect(to, { timeout = "10s" }) → app | nil, err', doc = "The same, for who expects it to fail.", params = { to },
    fails = { "refused", "timeout", "name", "unreachable" },
  })
  method("host", {
    name = "serve", context = "spec", returns = "server", path = "host:serve", argument = shape.serve,
    signature = 'serve { on = ":7", kind = "echo" } → server',
    doc = "A server of the spec's own: one of three kinds, or a function. It serves again after the host has crashed and was restarted.",
    example = [[
w:host("server"):serve { on = ":9000", fn = function(conn)
  conn:write("hello " .. conn:read_until "\n")
end }]],
  })
  method("host", { name = "is_up", context = "spec", returns = "boolean", signature = "is_up() → boolean", doc = "Whether it has power." })
  method("host", {
    name = "crash", context = "spec", signature = "crash()",
    doc = "The power goes: all that runs there is gone without a word, packets to it are lost. Files stay.",
  })
  method("host", {
    name = "restart", context = "spec", signature = "restart()",
    doc = "It comes up again: its servers serve, the scripts that were running are run anew; what host:run gave stands for the new life.",
  })
  method("host", {
    name = "slow_reader", context = "spec", signature = "slow_reader(rate)", doc = "Its processes read at most so much a second from each conn.",
    params = { { name = "rate", type = "rate", optional = true, doc = "nil: as fast as they like." } },
  })
  method("host", {
    name = "short_io", context = "spec", signature = "short_io(max)", doc = "Reads and writes of conns come in random pieces.",
    params = { { name = "max", type = "integer", optional = true, doc = "Bytes of a piece, at most; nil: whole." } },
  })
  method("host", {
    name = "udp_full", context = "spec", signature = "udp_full(duration)", doc = "The buffers of its UDP sockets are full: no datagram leaves.",
    params = { { name = "duration", type = "duration", doc = "For how long." } },
  })
  method("host", {
    name = "clock_jump", context = "spec", signature = "clock_jump(by)", doc = "Its wall clock jumps; timers go on.",
    params = { { name = "by", type = "duration", doc = "So far ahead; \"-1h\" and negative numbers of seconds: back." } },
  })
  method("host", {
    name = "nat", context = "spec", path = "host:nat", argument = shape.nat, signature = 'nat { public = "198.51.100.1", timeout = "30s" }',
    doc = "Puts the host behind a NAT: others see it at the public address, one port for each of its sockets, and cannot reach its own addresses of that "
      .. "kind. Only what it sends makes mappings. Once for IPv4, once for IPv6.",
  })
  method("host", {
    name = "nat_rebind", context = "spec", signature = "nat_rebind()",
    doc = "Its NAT forgets all mappings: what goes out next comes from other ports, and TCP conns through it break.",
  })
  method("host", {
    name = "inject", context = "spec", path = "host:inject", argument = shape.inject,
    signature = 'inject { from = "198.51.100.7:4000", to = packet.dst, data = packet.data }',
    doc = "Sends a UDP datagram from this host as if from any address, past its own NAT: a copy or a replay by someone on the path, or a spoofed source.",
    example = [[
w:rule { from = "client", to = "server", fn = function(packet)
  w:at(packet.at, function()
    w:host("attacker"):inject { from = "10.0.3.1:4000", to = packet.dst, data = packet.data }
  end)
end }]],
  })
  local path = { name = "path", type = "string", doc = "The file's path, as the script names it." }
  method("host", {
    name = "file", context = "spec", signature = "file(path, text)", doc = "Puts a file.",
    params = { path, { name = "text", type = "string", optional = true, doc = "What is in it; nil: the file is removed." } },
  })
  method("host", {
    name = "read_file", context = "spec", returns = "string | nil", signature = "read_file(path) → text | nil",
    doc = "What is in a file of the host's own, put there or written by a script.", params = { path },
  })
  method("host", { name = "addresses", context = "spec", returns = "string[]", signature = "addresses() → { ip, … }", doc = "Its IP addresses." })
  method("host", {
    name = "stats", context = "spec", returns = "host_stats", signature = "stats() → host_stats", doc = "What it and its scripts hold.",
  })
  method("host", {
    name = "pools", context = "spec", returns = "pools", signature = "pools() → pools", doc = "What the pools of its scripts are doing.",
  })

  handle {
    name = "script", doc = "A script that runs on a host, as host:run started it.",
    fields = {
      { name = "path", type = "string", doc = "What host:run was given." },
      { name = "exit_code", type = "integer | nil", doc = "Its exit code, once it has ended by itself." },
    },
  }
  method("script", { name = "is_running", context = "spec", returns = "boolean", signature = "is_running() → boolean", doc = "Whether it runs." })
  method("script", {
    name = "kill", context = "spec", signature = "kill()", doc = "Ends it as SIGKILL would: its host ends its sockets. Killing what does not run is harmless.",
  })
  method("script", {
    name = "signal", context = "spec", returns = "boolean", signature = 'signal "TERM" → whether it was watched for',
    doc = "Sends it a signal: TERM and INT end it, HUP reloads it from the file that is there now.",
    params = { { name = "name", type = '"TERM" | "INT" | "HUP" | "USR1" | "USR2"', doc = "Which." } },
  })
  method("script", {
    name = "wait_log", context = "waits", returns = "string", path = "script:wait_log", optional = true, argument = shape.wait_log,
    signature = 'wait_log(pattern, { timeout = "60s" }) → line',
    doc = "Waits until it has logged a line that matches the Lua pattern, which may have been before; raises if that does not come in time.",
    params = { { name = "pattern", type = "string", doc = "What is looked for in each line." } },
  })
  method("script", {
    name = "failed_tasks", context = "spec", returns = "integer, string | nil", signature = "failed_tasks() → how many, what it logged of the last",
    doc = "How many of its tasks have failed, in all its lives.",
  })
  method("script", { name = "log", context = "spec", returns = "string", signature = "log() → text", doc = "What it has logged, at most 10000 lines." })
  method("script", { name = "output", context = "spec", returns = "string", signature = "output() → text", doc = "What it has printed." })
  method("script", {
    name = "stats", context = "spec", returns = "script_stats | nil", signature = "stats() → script_stats | nil", doc = "What it holds; nil once it has ended.",
  })
  method("script", {
    name = "pools", context = "spec", returns = "pools | nil", signature = "pools() → pools | nil",
    doc = "What its pools (kt.pool) are doing; nil once it has ended. Looking changes nothing for the script.",
    example = [[
local main = script:pools().main                       -- by the name given to kt.pool, or by number
assert.equal(1, main.switches)
assert.is_false(main.links[1].up)]],
  })

  record {
    name = "host_stats", doc = "What a host and all its scripts hold.",
    fields = {
      { name = "sockets", type = "integer", doc = "Sockets that are open, listening ones included." },
      { name = "apps", type = "integer", doc = "Apps of the spec's." },
      { name = "conns", type = "integer", doc = "Conns and streams that scripts hold." },
      { name = "tasks", type = "integer", doc = "Tasks of scripts." },
      { name = "memory", type = "integer", doc = "Bytes of their Lua states." },
      { name = "links", type = "link_stats[]", doc = "The links and acceptors of scripts." },
    },
  }
  record {
    name = "script_stats", doc = "What a script holds, with those that a reload has replaced and that are not over yet.",
    fields = {
      { name = "memory", type = "integer", doc = "Bytes of its Lua state." },
      { name = "memory_peak", type = "integer", doc = "... at most, so far." },
      { name = "tasks", type = "integer", doc = "Tasks." },
      { name = "pipes", type = "integer", doc = "Conns and streams that it holds." },
      { name = "replaced", type = "integer", doc = "How many replaced ones are not over yet." },
      { name = "counters", type = "table<string, integer>", doc = "The process' counters, as kt run writes them on SIGUSR1." },
      { name = "links", type = "link_stats[]", doc = "Its links and acceptors that are open." },
    },
  }
  local link_stats = {
    { name = "what", type = "string", doc = '"kt.link" or "kt.accept".' },
    { name = "name", type = "string", doc = "Its address." },
  }
  for _, field in ipairs(require("kt.api").records.stats.fields) do link_stats[#link_stats + 1] = field end
  record {
    name = "link_stats", doc = "The figures of a link or an acceptor of a script, as it gets them from link:stats(), and which it is.",
    fields = link_stats,
  }
  record {
    name = "pools", doc = "Pools in the order in which they were made, and by name.",
    fields = { { name = "[integer]", type = "pool", doc = "By number." }, { name = "[string]", type = "pool", doc = "By name; of two the first." } },
  }
  local pool = { { name = "name", type = "string", doc = "The name given to kt.pool." } }
  for _, field in ipairs(require("kt.api").records.tally.fields) do
    pool[#pool + 1] = field.name == "links" and { name = "links", type = "pool_link[]", doc = "Its links, the best first." } or field
  end
  record { name = "pool", doc = "What a pool is doing.", fields = pool }
  record {
    name = "pool_link", doc = "A link of a pool.",
    fields = {
      { name = "name", type = "string", doc = "Its name in the pool." },
      { name = "remote", type = "string", doc = "Its peer." },
      { name = "weight", type = "integer", doc = "As given." },
      { name = "up", type = "boolean", doc = "Whether it is up." },
      { name = "proven", type = "boolean", doc = "Whether a check has succeeded yet." },
      { name = "since", type = "number", doc = "Seconds since it went up, or down." },
      { name = "error", type = "string | nil", doc = "Why its last check failed, if it did." },
      { name = "streams", type = "integer", doc = "Streams that are open." },
      { name = "srtt", type = "number | nil", doc = "Smoothed round-trip time in seconds, as policies see it; nil: not known yet." },
      { name = "rttvar", type = "number", doc = "Its variation, in seconds." },
      { name = "loss", type = "number", doc = "Share of packets lost, 0 to 1." },
      { name = "rate_in", type = "number", doc = "Bytes a second received." },
      { name = "rate_out", type = "number", doc = "Bytes a second sent." },
    },
  }
end
