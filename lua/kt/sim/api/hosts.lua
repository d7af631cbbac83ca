--- Describes hosts and the scripts that run on them, for kt.sim.api.
local shape = require "kt.sim.shape"

return function(with)
  local handle, method, record = with.handle, with.method, with.record

  record {
    name = "httpresponse", doc = "The response to an HTTP request.",
    fields = {
      { name = "status", type = "integer", doc = "The status, such as 200." },
      { name = "reason", type = "string", doc = 'The reason phrase, such as "OK"; may be empty.' },
      { name = "headers", type = "table", doc = "The header fields, strings by name in any case." },
      { name = "body", type = "string", doc = "The body." },
    },
  }

  handle {
    name = "host", doc = "A machine in a simulated network. It runs scripts, and servers and apps of the spec; it can crash.",
    fields = { { name = "name", type = "string", doc = "Its name." } },
  }
  method("host", {
    name = "run", context = "spec", returns = "script", path = "host:run", optional = true, argument = shape.run,
    signature = "run(path, { args = { … }, files = { … } }) → script",
    doc = "Runs an unmodified script as kt run would, in a Lua state of its own; raises if it fails to load or to open what it declares. The "
      .. 'path is looked up among the host\'s files, then on the real machine. "kt client" and "kt server" run those commands, with args; so do "kt '
      .. 'ping", "kt speed" and "kt doctor", and, for scripts of this host that have a control socket, "kt status", "kt list", "kt reload", '
      .. '"kt drain", "kt log", "kt events" and "kt close".',
    params = { { name = "path", type = "string", doc = "The script's path, or one of these commands." } },
    example = [[
w:host("server"):run "scripts/examples/server.lua"
w:host("client"):run("kt client", { args = { "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "our secret" }, control = "/run/kt/client.sock" })
local status = w:host("client"):run("kt status", { beside = true })
w:run_until(function() return not status:is_running() end)
print(status:output())]],
  })
  local to = { name = "to", type = "string", doc = 'The address as seen from this host: "host:port", or "unix:/run/app.sock" for a unix socket.' }
  method("host", {
    name = "connect", context = "waits", returns = "app", path = "host:connect", optional = true, argument = shape.timeout,
    signature = 'connect(to, { timeout = "10s" }) → app', doc = "Opens a TCP conn, or one to a unix socket, from this host; raises if it fails.",
    params = { to },
  })
  method("host", {
    name = "try_connect", context = "waits", returns = "app | nil, err", path = "host:try_connect", optional = true, argument = shape.timeout,
    signature = 'try_connect(to, { timeout = "10s" }) → app | nil, err', doc = "Like connect, but returns nil and an err instead of raising.",
    params = { to },
    fails = { "refused", "timeout", "name", "unreachable", "not_found" },
  })
  method("host", {
    name = "udp", context = "waits", returns = "socket", path = "host:udp", argument = shape.udp,
    signature = 'udp { on = ":5353" | to = "host:port" } → socket', doc = "Opens a UDP socket on this host; raises if it fails.",
    example = [[
local socket = w:host("client"):udp { to = "127.0.0.1:5353" }
socket:send "question"
assert.equal("answer", socket:receive { timeout = "2s" })]],
  })
  method("host", {
    name = "http", context = "waits", returns = "httpresponse", path = "host:http", argument = shape.http,
    signature = 'http { url = "http://127.0.0.1:9100/metrics" } → httpresponse',
    doc = "Sends an HTTP request from this host and returns the response, whatever its status; raises if there is none.",
    example = 'assert.equal(200, w:host("a"):http { url = "http://127.0.0.1:9100/health" }.status)',
  })
  method("host", {
    name = "serve", context = "spec", returns = "server", path = "host:serve", argument = shape.serve,
    signature = 'serve { on = ":7", kind = "echo" } → server',
    doc = "Starts a server for the spec, for conns or for datagrams: one of three kinds, or a function. It starts again when the host restarts "
      .. "after a crash.",
    example = [[
w:host("server"):serve { on = ":9000", fn = function(conn)
  conn:write("hello " .. conn:read_until "\n")
end }
w:host("server"):serve { udp = ":53", fn = function(question, from) return "answer to " .. question end }]],
  })
  method("host", { name = "is_up", context = "spec", returns = "boolean", signature = "is_up() → boolean", doc = "Whether the host is running." })
  method("host", {
    name = "crash", context = "spec", signature = "crash()",
    doc = "Cuts the power: everything running on the host disappears without notice, and packets to it are lost. Files stay.",
  })
  method("host", {
    name = "restart", context = "spec", signature = "restart()",
    doc = "Boots the host again: its servers serve, and the scripts that were running start over. Handles from host:run refer to the new run.",
  })
  method("host", {
    name = "slow_reader", context = "spec", signature = "slow_reader(rate)", doc = "Limits how fast its processes read from each conn.",
    params = { { name = "rate", type = "rate", optional = true, doc = "The limit; nil removes it." } },
  })
  method("host", {
    name = "short_io", context = "spec", signature = "short_io(max)", doc = "Splits reads and writes of conns into random pieces.",
    params = { { name = "max", type = "integer", optional = true, doc = "Maximum size of a piece, in bytes; nil turns it off." } },
  })
  method("host", {
    name = "udp_full", context = "spec", signature = "udp_full(duration)", doc = "Fills the send buffers of its UDP sockets: no datagram leaves.",
    params = { { name = "duration", type = "duration", doc = "For how long." } },
  })
  method("host", {
    name = "clock_jump", context = "spec", signature = "clock_jump(by)", doc = "Changes its wall clock; timers are not affected.",
    params = { { name = "by", type = "duration", doc = "How far forward; \"-1h\" or a negative number of seconds goes back." } },
  })
  method("host", {
    name = "nat", context = "spec", path = "host:nat", argument = shape.nat, signature = 'nat { public = "198.51.100.1", timeout = "30s" }',
    doc = "Puts the host behind a NAT: others see it at the public address, with one port per socket, and cannot reach its own addresses of "
      .. "that kind. Only outgoing packets create mappings. May be called once for IPv4 and once for IPv6.",
  })
  method("host", {
    name = "nat_rebind", context = "spec", signature = "nat_rebind()",
    doc = "Makes its NAT forget all mappings: later packets leave from other ports, and TCP conns through it break.",
  })
  method("host", {
    name = "move", context = "spec", signature = 'move "10.0.9.1"',
    doc = "Gives the host another address in the place of those it has, as for a machine that joins another network. Packets to the old ones are lost; "
      .. "sockets that are bound to one of them, or connected from it, can send nothing. Not for a host behind a NAT.",
    params = { { name = "to", type = "string | string[]", doc = "One IP address or a list of them." } },
  })
  method("host", {
    name = "gateway", context = "spec", signature = 'gateway "router"',
    doc = "Sends what is for addresses to which this host has no link to another host, as to a router. No host forwards packets: there, only "
      .. "kt.listen with `transparent` takes them.",
    params = { { name = "name", type = "string", optional = true, doc = "The other host, which this one has a link to; nil for none." } },
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
  local path = { name = "path", type = "string", doc = "The file's path, as scripts write it." }
  method("host", {
    name = "file", context = "spec", signature = "file(path, text)", doc = "Creates, replaces or removes a file of this host; kt.watch of its scripts sees "
      .. 'that. A file beside a script has the script\'s folder in its path: "scripts/deny.txt" is kt.file "deny.txt" of scripts/client.lua.',
    params = { path, { name = "text", type = "string", optional = true, doc = "The file's contents; nil removes the file." } },
  })
  method("host", {
    name = "read_file", context = "spec", returns = "string | nil", signature = "read_file(path) → text | nil",
    doc = "Returns the contents of one of the host's files, whether put there by the spec or written by a script.", params = { path },
  })
  method("host", { name = "addresses", context = "spec", returns = "string[]", signature = "addresses() → { ip, … }", doc = "Returns its IP addresses." })
  method("host", {
    name = "stats", context = "spec", returns = "host_stats", signature = "stats() → host_stats",
    doc = "Returns the resources that the host and its scripts hold.",
  })
  method("host", {
    name = "pools", context = "spec", returns = "pools", signature = "pools() → pools", doc = "Returns the state of its scripts' pools.",
  })

  handle {
    name = "script", doc = "A script running on a host; made by host:run.",
    fields = {
      { name = "path", type = "string", doc = "The path given to host:run." },
      { name = "exit_code", type = "integer | nil", doc = "Its exit code, once it has exited by itself." },
    },
  }
  method("script", { name = "is_running", context = "spec", returns = "boolean", signature = "is_running() → boolean", doc = "Whether it is running." })
  method("script", {
    name = "kill", context = "spec", signature = "kill()",
    doc = "Kills it as SIGKILL would; the host closes its sockets. Safe to call when it is not running.",
  })
  method("script", {
    name = "signal", context = "spec", returns = "boolean", signature = 'signal "TERM" → whether it was handled',
    doc = "Sends it a signal: TERM and INT end it, HUP reloads it from the current file.",
    params = { { name = "name", type = '"TERM" | "INT" | "HUP" | "USR1" | "USR2"', doc = "The signal." } },
  })
  method("script", {
    name = "wait_log", context = "waits", returns = "string", path = "script:wait_log", optional = true, argument = shape.wait_log,
    signature = 'wait_log(pattern, { timeout = "60s" }) → line',
    doc = "Waits until it has logged a line that matches the Lua pattern; earlier lines count. Raises if the timeout expires.",
    params = { { name = "pattern", type = "string", doc = "The pattern, matched against each line." } },
  })
  method("script", {
    name = "failed_tasks", context = "spec", returns = "integer, string | nil", signature = "failed_tasks() → count, last log line",
    doc = "Returns the number of its tasks that have failed, over all its runs, and the log line of the last one.",
  })
  method("script", { name = "log", context = "spec", returns = "string", signature = "log() → text", doc = "Returns its log, up to 10000 lines." })
  method("script", { name = "output", context = "spec", returns = "string", signature = "output() → text", doc = "Returns what it has printed." })
  method("script", {
    name = "stats", context = "spec", returns = "script_stats | nil", signature = "stats() → script_stats | nil",
    doc = "Returns the resources it holds; nil once it has ended.",
  })
  method("script", {
    name = "pools", context = "spec", returns = "pools | nil", signature = "pools() → pools | nil",
    doc = "Returns the state of its pools (kt.pool); nil once it has ended. Has no effect on the script.",
    example = [[
local main = script:pools().main                       -- by the name given to kt.pool, or by number
assert.equal(1, main.switches)
assert.is_false(main.links[1].up)]],
  })

  record {
    name = "host_stats", doc = "Resources held by a host and all its scripts.",
    fields = {
      { name = "sockets", type = "integer", doc = "Open sockets, listening ones included." },
      { name = "apps", type = "integer", doc = "Open apps of the spec." },
      { name = "conns", type = "integer", doc = "Conns and streams held by scripts." },
      { name = "tasks", type = "integer", doc = "Tasks of scripts." },
      { name = "memory", type = "integer", doc = "Memory of the scripts' Lua states, in bytes." },
      { name = "links", type = "link_stats[]", doc = "Links and acceptors of scripts." },
    },
  }
  record {
    name = "script_stats", doc = "Resources held by a script, including the scripts it has replaced that have not ended yet.",
    fields = {
      { name = "memory", type = "integer", doc = "Memory of its Lua state, in bytes." },
      { name = "memory_peak", type = "integer", doc = "Highest memory so far, in bytes." },
      { name = "tasks", type = "integer", doc = "Tasks." },
      { name = "pipes", type = "integer", doc = "Open conns, streams and flows." },
      { name = "replaced", type = "integer", doc = "Replaced scripts that have not ended yet." },
      { name = "counters", type = "table<string, integer>", doc = "Counters of the process, as kt run writes them on SIGUSR1." },
      { name = "links", type = "link_stats[]", doc = "Open links and acceptors." },
    },
  }
  local link_stats = {
    { name = "what", type = "string", doc = '"kt.link" or "kt.accept".' },
    { name = "name", type = "string", doc = "Its address." },
  }
  for _, field in ipairs(require("kt.api").records.stats.fields) do link_stats[#link_stats + 1] = field end
  record {
    name = "link_stats", doc = "Statistics of a script's link or acceptor, as in link:stats(), with its kind and address.",
    fields = link_stats,
  }
  record {
    name = "pools", doc = "Pools, by order of creation and by name.",
    fields = {
      { name = "[integer]", type = "pool", doc = "By number." },
      { name = "[string]", type = "pool", doc = "By name; the first of two with the same name." },
    },
  }
  local pool = { { name = "name", type = "string", doc = "The name given to kt.pool." } }
  for _, field in ipairs(require("kt.api").records.tally.fields) do
    pool[#pool + 1] = field.name == "links" and { name = "links", type = "pool_link[]", doc = "Its links, most preferred first." } or field
  end
  record { name = "pool", doc = "State of a pool.", fields = pool }
  record {
    name = "pool_link", doc = "State of a link in a pool.",
    fields = {
      { name = "name", type = "string", doc = "The link's name in the pool." },
      { name = "remote", type = "string", doc = "Its peer." },
      { name = "weight", type = "integer", doc = "Its weight." },
      { name = "up", type = "boolean", doc = "Whether it is up." },
      { name = "draining", type = "boolean", doc = "Whether it drains (pool:set)." },
      { name = "proven", type = "boolean", doc = "Whether any check has succeeded yet." },
      { name = "since", type = "number", doc = "Seconds since it last went up or down." },
      { name = "error", type = "string | nil", doc = "Why the last check failed; nil if it succeeded." },
      { name = "streams", type = "integer", doc = "Open streams." },
      { name = "srtt", type = "number | nil", doc = "Smoothed round-trip time in seconds, as policies see it; nil if not known yet." },
      { name = "rttvar", type = "number", doc = "Round-trip time variation, in seconds." },
      { name = "loss", type = "number", doc = "Share of segments lost recently, 0 to 1." },
      { name = "rate_in", type = "number", doc = "Bytes received per second." },
      { name = "rate_out", type = "number", doc = "Bytes sent per second." },
    },
  }
end
