---@meta kt.sim
-- Made by scripts/generate from lua/kt/sim/api.lua; changes go there.

---@alias kt.sim.moment string|number a moment in UTC such as "2026-03-02" or "2026-03-02 22:59:30", or seconds since 1970

--- What a rule is asked about.
---@class kt.sim.packet
---@field from string The host that sends it.
---@field to string The host that it is for.
---@field src string The address it comes from, "ip:port", as seen on the line.
---@field dst string ... and that it goes to.
---@field data string The datagram.
---@field size integer Its length.
---@field id integer Its number, as in traces.
---@field at number When.

--- The figures of one way of a link, in IP packets; those of TCP included.
---@class kt.sim.line_stats
---@field sent_packets integer Sent into it.
---@field sent_bytes integer ... in bytes.
---@field delivered_packets integer Come out of it.
---@field delivered_bytes integer ... in bytes.
---@field lost_packets integer Lost, for any reason.
---@field lost table<string, integer> ... by reason: loss, burst, queue, mtu, cut, rule, down (the host), nat, "no port", socket (its buffer was full).
---@field duplicated integer That got a copy.
---@field corrupted integer That came with wrong bits.
---@field reordered integer That others overtook.
---@field queue_peak_packets integer The most that waited before a line with a rate.
---@field queue_peak_bytes integer ... in bytes.
---@field queue_peak number ... in seconds.

--- What a host and all its scripts hold.
---@class kt.sim.host_stats
---@field sockets integer Sockets that are open, listening ones included.
---@field apps integer Apps of the spec's.
---@field conns integer Conns and streams that scripts hold.
---@field tasks integer Tasks of scripts.
---@field memory integer Bytes of their Lua states.
---@field links kt.sim.link_stats[] The links and acceptors of scripts.

--- What a script holds, with those that a reload has replaced and that are not over yet.
---@class kt.sim.script_stats
---@field memory integer Bytes of its Lua state.
---@field memory_peak integer ... at most, so far.
---@field tasks integer Tasks.
---@field pipes integer Conns and streams that it holds.
---@field replaced integer How many replaced ones are not over yet.
---@field counters table<string, integer> The process' counters, as kt run writes them on SIGUSR1.
---@field links kt.sim.link_stats[] Its links and acceptors that are open.

--- The figures of a link or an acceptor of a script, as it gets them from link:stats(), and which it is.
---@class kt.sim.link_stats
---@field what string "kt.link" or "kt.accept".
---@field name string Its address.
---@field sessions integer Sessions that are up.
---@field streams integer Streams that are open.
---@field srtt number Smoothed round-trip time, in seconds.
---@field rttvar number Its variation, in seconds.
---@field rto number Retransmission timeout, in seconds.
---@field segs_out integer Segments sent, each counted once; a counter.
---@field segs_retrans integer Segments sent again; a counter.
---@field segs_recovered integer Segments that FEC has rebuilt here; a counter.
---@field bytes_in integer Bytes of payload received; a counter.
---@field bytes_out integer Bytes of payload sent; a counter.
---@field inflight integer Segments sent and not yet acknowledged.
---@field queued integer Segments that wait for the window.
---@field rmt_wnd integer The peer's receive window, in segments.
---@field cwnd integer Congestion window, in segments; with nc the send window.
---@field since_heard number Seconds since the peer was heard; math.huge: never.
---@field up boolean The peer was heard, in a session that is still there.
---@field since number ... for so many seconds; 0: it is not.
---@field loss number The share of segments lost in the last 4 s, 0 to 1: of those sent, how many were sent again, or of those received, how many FEC had to rebuild, whichever is larger; tends to 0 where there were fewer than 32.
---@field rate_in integer Payload received a second, over the last 4 s.
---@field rate_out integer Payload sent a second, over the last 4 s.
---@field retransmitted integer The same as segs_retrans.
---@field recovered integer The same as segs_recovered.

--- Pools in the order in which they were made, and by name.
---@class kt.sim.pools
---@field [integer] kt.sim.pool By number.
---@field [string] kt.sim.pool By name; of two the first.

--- What a pool is doing.
---@class kt.sim.pool
---@field name string The name given to kt.pool.
---@field links kt.sim.pool_link[] Its links, the best first.
---@field up integer ... that are up.
---@field current string|nil The link that new streams go to, if the policy prefers one.
---@field opened integer Streams opened.
---@field failed integer Opens that failed for good.
---@field failed_attempts integer Attempts at a link that failed.
---@field switches integer How often new streams went over to another link.

--- A link of a pool.
---@class kt.sim.pool_link
---@field name string Its name in the pool.
---@field remote string Its peer.
---@field weight integer As given.
---@field up boolean Whether it is up.
---@field proven boolean Whether a check has succeeded yet.
---@field since number Seconds since it went up, or down.
---@field error string|nil Why its last check failed, if it did.
---@field streams integer Streams that are open.
---@field srtt number|nil Smoothed round-trip time in seconds, as policies see it; nil: not known yet.
---@field rttvar number Its variation, in seconds.
---@field loss number Share of packets lost, 0 to 1.
---@field rate_in number Bytes a second received.
---@field rate_out number Bytes a second sent.

--- What came of an echo.
---@class kt.sim.reply
---@field server string|nil The host that echoed it; nil if it is no server of the spec's.
---@field time number Seconds that it took.
---@field text string What came back.

--- What failed as it may in a network. tostring gives the sentence.
---@class kt.sim.err
---@field code string Which of the codes that scripts know.
---@field text string The sentence.
---@field partial string|nil What came of a read that failed.

--- A simulated network. Its clock stands while code runs, and jumps from event to event.
---@class kt.sim.world
---@field seed integer What it was made with.
local world = {}

---@class (exact) kt.sim.world.host_options
---@field address? string|string[] Its IP address, or several. By themselves they are 10.0.N.1 and fd00::N; N counts hosts from 1. (string or list of strings, 1 to 16)
---@field send? kt.rate How fast packets come out of it, whatever its links carry; 4 Gbit/s unless given. (rate, "1kbit" to "1000Gbit")
---@field files? table<string, string|number> Files by path.

--- The host of that name: made at its first mention, which is where options go.
---
--- Where: anywhere in a spec.
---@param name string Its name, which other hosts find it by.
---@param options? kt.sim.world.host_options See its keys.
---@return kt.sim.host
function world:host(name, options) end

---@class (exact) kt.sim.world.link_options.burst
---@field enter kt.share The chance to go from good to bad.
---@field leave kt.share The chance to go back.
---@field loss? kt.share Of packets in the bad state; all unless given.

---@class (exact) kt.sim.world.link_options.queue
---@field packets? integer Packets that wait. (integer, 1 to 1000000000)
---@field bytes? kt.size Bytes that wait. (size, 1 to "1024GiB")
---@field time? kt.duration How long the last one waits. (duration, "1us" to "1h")

---@class (exact) kt.sim.world.link_options.there
---@field delay? kt.duration How long a packet is on its way. (duration, at most "1h")
---@field jitter? kt.duration So much more or less; packets keep their order. (duration, at most "1h")
---@field loss? kt.share Of packets, by chance.
---@field burst? kt.sim.world.link_options.burst|false Losses in bursts (Gilbert-Elliott): between a good state and a bad one, a step for each packet.
---@field duplicate? kt.share Of packets: a copy comes right behind.
---@field reorder? kt.share Of packets: they take longer, and others overtake them.
---@field reorder_by? kt.duration How much longer; 10 ms unless given. (duration, at most "1h")
---@field corrupt? kt.share Of packets: up to three bits are wrong, and the checksum did not notice.
---@field rate? kt.rate|false What the line carries; without limit unless given. (rate or false, "1kbit" to "1000Gbit")
---@field queue? kt.sim.world.link_options.queue|false What waits before a line with a rate. What finds so much ahead of it is lost; 1000 packets unless given.
---@field mtu? integer Larger IP packets are lost; 1500 unless given. (integer, 68 to 65535)

---@class (exact) kt.sim.world.link_options.back
---@field delay? kt.duration How long a packet is on its way. (duration, at most "1h")
---@field jitter? kt.duration So much more or less; packets keep their order. (duration, at most "1h")
---@field loss? kt.share Of packets, by chance.
---@field burst? kt.sim.world.link_options.burst|false Losses in bursts (Gilbert-Elliott): between a good state and a bad one, a step for each packet.
---@field duplicate? kt.share Of packets: a copy comes right behind.
---@field reorder? kt.share Of packets: they take longer, and others overtake them.
---@field reorder_by? kt.duration How much longer; 10 ms unless given. (duration, at most "1h")
---@field corrupt? kt.share Of packets: up to three bits are wrong, and the checksum did not notice.
---@field rate? kt.rate|false What the line carries; without limit unless given. (rate or false, "1kbit" to "1000Gbit")
---@field queue? kt.sim.world.link_options.queue|false What waits before a line with a rate. What finds so much ahead of it is lost; 1000 packets unless given.
---@field mtu? integer Larger IP packets are lost; 1500 unless given. (integer, 68 to 65535)

---@class (exact) kt.sim.world.link_options
---@field delay? kt.duration How long a packet is on its way. (duration, at most "1h")
---@field jitter? kt.duration So much more or less; packets keep their order. (duration, at most "1h")
---@field loss? kt.share Of packets, by chance.
---@field burst? kt.sim.world.link_options.burst|false Losses in bursts (Gilbert-Elliott): between a good state and a bad one, a step for each packet.
---@field duplicate? kt.share Of packets: a copy comes right behind.
---@field reorder? kt.share Of packets: they take longer, and others overtake them.
---@field reorder_by? kt.duration How much longer; 10 ms unless given. (duration, at most "1h")
---@field corrupt? kt.share Of packets: up to three bits are wrong, and the checksum did not notice.
---@field rate? kt.rate|false What the line carries; without limit unless given. (rate or false, "1kbit" to "1000Gbit")
---@field queue? kt.sim.world.link_options.queue|false What waits before a line with a rate. What finds so much ahead of it is lost; 1000 packets unless given.
---@field mtu? integer Larger IP packets are lost; 1500 unless given. (integer, 68 to 65535)
---@field there? kt.sim.world.link_options.there What holds only for packets from the first host to the second.
---@field back? kt.sim.world.link_options.back ... and only for those the other way.

--- Links two hosts; without options: the link that there is. What is not said is perfect. Options hold for both ways, those in there and back for one.
---
--- Where: anywhere in a spec.
--- ```lua
--- w:link("client", "server", {
---   delay = "40ms", rate = "20Mbit", queue = { time = "100ms" },
---   there = { loss = "1%" }, back = { burst = { enter = "1%", leave = "20%" } },
--- })
--- ```
---@param a string|kt.sim.host A host, or its name.
---@param b string|kt.sim.host Another.
---@param options? kt.sim.world.link_options See its keys.
---@return kt.sim.link
function world:link(a, b, options) end

---@class (exact) kt.sim.world.name_options
---@field delay? kt.duration How long a lookup takes. (duration, at most "1h"; default "1ms")
---@field fail? boolean The name server does not answer. (default false)

--- What a name leads to from now on.
---
--- Where: anywhere in a spec.
---@param name string The name.
---@param to string|kt.sim.host|string[]|false A host, an address, a list of addresses; false: there is no such name.
---@param options? kt.sim.world.name_options See its keys.
function world:name(name, to, options) end

--- Seconds since the world began.
---
--- Where: anywhere in a spec.
---@return number
function world:now() end

--- Runs the world until its clock shows that time.
---
--- Where: the body of a spec.
---@param time kt.duration What the world's clock shows then.
function world:run(time) end

--- Runs the world for so long.
---
--- Where: the body of a spec.
---@param duration kt.duration How long.
function world:run_for(duration) end

---@class (exact) kt.sim.world.run_until_options
---@field timeout? kt.duration When it is given up. (duration, at most "1000000000s"; default "1m")

--- Runs the world until fn() gives something true; raises if that does not come about in time.
---
--- Where: the body of a spec.
---@param fn fun(): any Asked after each instant at which anything happened; it cannot wait.
---@param options? kt.sim.world.run_until_options See its keys.
---@return any
function world:run_until(fn, options) end

---@class (exact) kt.sim.world.settle_options
---@field timeout? kt.duration When it is given up. (duration, at most "1000000000s"; default "1m")
---@field failed_tasks? boolean Tasks of scripts may have failed. (default false)

--- Runs the world until nothing is left open, of the spec's or of scripts'; raises what still is (see w:leftovers), and what has failed although nobody asked: transfers that were not waited for, and tasks of scripts.
---
--- Where: the body of a spec.
---@param options? kt.sim.world.settle_options See its keys.
function world:settle(options) end

--- Lets time pass.
---
--- Where: the body of a spec, and tasks.
---@param duration kt.duration How long.
function world:sleep(duration) end

--- Calls fn at that time.
---
--- Where: anywhere in a spec.
---@param time kt.duration What the world's clock shows then.
---@param fn fun() Called as a task: it may wait.
function world:at(time, fn) end

--- Calls fn each time so much time has passed.
---
--- Where: anywhere in a spec.
---@param period kt.duration The time between two calls.
---@param fn fun() Called as a task: it may wait.
---@return kt.sim.ticker
function world:every(period, fn) end

--- Runs fn(…) as a task, beside the rest.
---
--- Where: anywhere in a spec.
---@param fn function The task.
---@param ... any What it is called with.
function world:task(fn, ...) end

--- As w:at, for what goes wrong: a sweep that fails leaves out those faults that it fails without.
---
--- Where: anywhere in a spec.
---@param time kt.duration What the world's clock shows then.
---@param text string What goes wrong.
---@param fn fun() Called as a task: it may wait.
function world:fault(time, text, fn) end

---@class (exact) kt.sim.world.transfer_options
---@field from kt.sim.host|string The host that connects.
---@field to string Where to, "host:port".
---@field bytes? kt.size How much. (size, at most "1024GiB"; default 1000000)
---@field kind? "up"|"down"|"echo" up goes to a server of kind sink, down comes from a source, echo goes to an echo server and back. (default "up")
---@field timeout? kt.duration When :wait() gives up. (duration, at most "1000000000s"; default "10m")

--- Sends bytes that tell by themselves where they belong: what is lost, doubled or out of order is found. It goes on beside the spec.
---
--- Where: anywhere in a spec.
---@param options kt.sim.world.transfer_options See its keys.
---@return kt.sim.transfer
function world:transfer(options) end

---@class (exact) kt.sim.world.keystrokes_options
---@field from kt.sim.host|string The host that connects.
---@field to string The echo server, "host:port", or what leads to it.
---@field every? kt.duration Time between two. (duration, "1ms" to "1h"; default "100ms")
---@field count? integer How many. (integer, 1 to 1000000; default 100)
---@field timeout? kt.duration When :wait() gives up, after the last. (duration, at most "1000000000s"; default "30s")

--- Sends single bytes to an echo server, and times the answers.
---
--- Where: anywhere in a spec.
---@param options kt.sim.world.keystrokes_options See its keys.
---@return kt.sim.keystrokes
function world:keystrokes(options) end

---@class (exact) kt.sim.world.rule_options
---@field from? kt.sim.host|string Only packets that this host sends.
---@field to? kt.sim.host|string Only packets for this host.
---@field fn function Called with each packet; gives nil, "drop", or { drop = true, delay = "50ms", copies = 1 }.

--- Says what becomes of single UDP packets, before the line's own ills come to them. The function gets a packet; nil: it goes its way; "drop"; or a table: drop, delay (before it is sent), copies (that come besides). Of several rules the first that says something counts.
---
--- Where: anywhere in a spec.
---@param options kt.sim.world.rule_options See its keys.
---@return kt.sim.rule
function world:rule(options) end

--- How often another of the spec's servers answered than the time before, counting echoes and transfers in their order.
---
--- Where: anywhere in a spec.
---@return integer
function world:switches() end

--- What is open of what comes and goes: apps of the spec's, conns and streams of scripts.
---
--- Where: anywhere in a spec.
---@return string[]
function world:leftovers() end

--- As math.random, but of the world's seed. Scripts, links and hosts have chance of their own: one more draw here changes nothing there.
---
--- Where: anywhere in a spec.
---@param m? integer A whole number from 1 to m, or
---@param n? integer ... from m to n.
---@return number
function world:random(m, n) end

--- A hash of all that happened to packets: equal for equal runs.
---
--- Where: anywhere in a spec.
---@return string
---@return integer
function world:fingerprint() end

--- A line in traces and drawings (kt test --trace, --plot).
---
--- Where: anywhere in a spec.
---@param text string What it says.
function world:mark(text) end

--- Ends all that runs in it. A world that is forgotten is closed too. Closing twice is harmless.
---
--- Where: the body of a spec.
function world:close() end

--- What w:every gave.
---@class kt.sim.ticker
local ticker = {}

--- Ends it.
---
--- Where: anywhere in a spec.
function ticker:cancel() end

--- What w:rule gave.
---@class kt.sim.rule
local rule = {}

--- Ends it. Removing twice is harmless.
---
--- Where: anywhere in a spec.
function rule:remove() end

--- Two hosts and the two lines between them, one each way.
---@class kt.sim.link
local link = {}

---@class (exact) kt.sim.link.set_options.burst
---@field enter kt.share The chance to go from good to bad.
---@field leave kt.share The chance to go back.
---@field loss? kt.share Of packets in the bad state; all unless given.

---@class (exact) kt.sim.link.set_options.queue
---@field packets? integer Packets that wait. (integer, 1 to 1000000000)
---@field bytes? kt.size Bytes that wait. (size, 1 to "1024GiB")
---@field time? kt.duration How long the last one waits. (duration, "1us" to "1h")

---@class (exact) kt.sim.link.set_options.there
---@field delay? kt.duration How long a packet is on its way. (duration, at most "1h")
---@field jitter? kt.duration So much more or less; packets keep their order. (duration, at most "1h")
---@field loss? kt.share Of packets, by chance.
---@field burst? kt.sim.world.link_options.burst|false Losses in bursts (Gilbert-Elliott): between a good state and a bad one, a step for each packet.
---@field duplicate? kt.share Of packets: a copy comes right behind.
---@field reorder? kt.share Of packets: they take longer, and others overtake them.
---@field reorder_by? kt.duration How much longer; 10 ms unless given. (duration, at most "1h")
---@field corrupt? kt.share Of packets: up to three bits are wrong, and the checksum did not notice.
---@field rate? kt.rate|false What the line carries; without limit unless given. (rate or false, "1kbit" to "1000Gbit")
---@field queue? kt.sim.world.link_options.queue|false What waits before a line with a rate. What finds so much ahead of it is lost; 1000 packets unless given.
---@field mtu? integer Larger IP packets are lost; 1500 unless given. (integer, 68 to 65535)

---@class (exact) kt.sim.link.set_options.back
---@field delay? kt.duration How long a packet is on its way. (duration, at most "1h")
---@field jitter? kt.duration So much more or less; packets keep their order. (duration, at most "1h")
---@field loss? kt.share Of packets, by chance.
---@field burst? kt.sim.world.link_options.burst|false Losses in bursts (Gilbert-Elliott): between a good state and a bad one, a step for each packet.
---@field duplicate? kt.share Of packets: a copy comes right behind.
---@field reorder? kt.share Of packets: they take longer, and others overtake them.
---@field reorder_by? kt.duration How much longer; 10 ms unless given. (duration, at most "1h")
---@field corrupt? kt.share Of packets: up to three bits are wrong, and the checksum did not notice.
---@field rate? kt.rate|false What the line carries; without limit unless given. (rate or false, "1kbit" to "1000Gbit")
---@field queue? kt.sim.world.link_options.queue|false What waits before a line with a rate. What finds so much ahead of it is lost; 1000 packets unless given.
---@field mtu? integer Larger IP packets are lost; 1500 unless given. (integer, 68 to 65535)

---@class (exact) kt.sim.link.set_options
---@field delay? kt.duration How long a packet is on its way. (duration, at most "1h")
---@field jitter? kt.duration So much more or less; packets keep their order. (duration, at most "1h")
---@field loss? kt.share Of packets, by chance.
---@field burst? kt.sim.link.set_options.burst|false Losses in bursts (Gilbert-Elliott): between a good state and a bad one, a step for each packet.
---@field duplicate? kt.share Of packets: a copy comes right behind.
---@field reorder? kt.share Of packets: they take longer, and others overtake them.
---@field reorder_by? kt.duration How much longer; 10 ms unless given. (duration, at most "1h")
---@field corrupt? kt.share Of packets: up to three bits are wrong, and the checksum did not notice.
---@field rate? kt.rate|false What the line carries; without limit unless given. (rate or false, "1kbit" to "1000Gbit")
---@field queue? kt.sim.link.set_options.queue|false What waits before a line with a rate. What finds so much ahead of it is lost; 1000 packets unless given.
---@field mtu? integer Larger IP packets are lost; 1500 unless given. (integer, 68 to 65535)
---@field there? kt.sim.link.set_options.there What holds only for packets from the first host to the second.
---@field back? kt.sim.link.set_options.back ... and only for those the other way.

--- Changes what is given and leaves the rest. Packets on their way keep their times. The keys are those of w:link.
---
--- Where: anywhere in a spec.
---@param options kt.sim.link.set_options See its keys.
---@return kt.sim.link
function link:set(options) end

--- What is under way and what is sent is lost; conns of TCP wait.
---
--- Where: anywhere in a spec.
---@param from? string|kt.sim.host Only what this host, one of the two, sends.
---@return kt.sim.link
function link:cut(from) end

--- Packets wait at the far end, in order, at most 10000.
---
--- Where: anywhere in a spec.
---@param from? string|kt.sim.host Only what this host, one of the two, sends.
---@return kt.sim.link
function link:hold(from) end

--- The end of either; what waited comes at once.
---
--- Where: anywhere in a spec.
---@param from? string|kt.sim.host Only what this host, one of the two, sends.
---@return kt.sim.link
function link:heal(from) end

--- The figures of one way.
---
--- Where: anywhere in a spec.
---@param from? string Of what this host sends; the first of the two unless given.
---@return kt.sim.line_stats
function link:stats(from) end

--- A machine of a simulated network: it runs scripts, serves and connects for the spec, and crashes.
---@class kt.sim.host
---@field name string Its name.
local host = {}

---@class (exact) kt.sim.host.run_options
---@field args? string|string[] Its arguments. (string or list of strings, 0 to 256)
---@field env? table<string, string|number> What os.getenv finds: this machine's environment is not there.
---@field files? table<string, string|number> Files beside it.
---@field unsafe? boolean As kt run --unsafe: it has os and io. (default false)
---@field memory? kt.size As kt run --memory; 256 MiB unless given. (size, "1MiB" to "64GiB")
---@field beside? boolean The host may run another script already. (default false)

--- Runs a script as kt run would, unmodified, in a Lua state of its own; raises what keeps it from loading, or from opening what it declares. A path is looked for among the host's files, then on this machine. "kt client" and "kt server" run those, with args.
---
--- Where: anywhere in a spec.
--- ```lua
--- w:host("server"):run "scripts/examples/server.lua"
--- w:host("client"):run("kt client", { args = { "-r", "server:29900", "-l", "127.0.0.1:12948", "--key", "our secret" } })
--- ```
---@param path string The script; or "kt client", "kt server".
---@param options? kt.sim.host.run_options See its keys.
---@return kt.sim.script
function host:run(path, options) end

---@class (exact) kt.sim.host.connect_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- A TCP conn of this host's, as a user has it; raises if it fails.
---
--- Where: the body of a spec, and tasks.
---@param to string "host:port", as seen from this host.
---@param options? kt.sim.host.connect_options See its keys.
---@return kt.sim.app
function host:connect(to, options) end

---@class (exact) kt.sim.host.try_connect_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- The same, for who expects it to fail.
---
--- Where: the body of a spec, and tasks.
--- Fails with: refused, timeout, name, unreachable.
---@param to string "host:port", as seen from this host.
---@param options? kt.sim.host.try_connect_options See its keys.
---@return kt.sim.app? app
---@return kt.sim.err? err
function host:try_connect(to, options) end

---@class (exact) kt.sim.host.serve_options
---@field on string Where, such as ":7" or "127.0.0.1:8388".
---@field kind? "echo"|"sink"|"source" echo sends back what comes; sink takes it, and checks it if it is a transfer; source sends bytes and finishes.
---@field fn? function Or a server of the spec's own: called with each conn, an app, as a task; the conn is closed when it returns.
---@field bytes? kt.size How much a source sends. (size, at most "1024GiB"; default 1000000)
---@field rate? kt.rate How fast a source sends, at most. (rate, "1kbit" to "1000Gbit")

--- A server of the spec's own: one of three kinds, or a function. It serves again after the host has crashed and was restarted.
---
--- Where: anywhere in a spec.
--- ```lua
--- w:host("server"):serve { on = ":9000", fn = function(conn)
---   conn:write("hello " .. conn:read_until "\n")
--- end }
--- ```
---@param options kt.sim.host.serve_options See its keys.
---@return kt.sim.server
function host:serve(options) end

--- Whether it has power.
---
--- Where: anywhere in a spec.
---@return boolean
function host:is_up() end

--- The power goes: all that runs there is gone without a word, packets to it are lost. Files stay.
---
--- Where: anywhere in a spec.
function host:crash() end

--- It comes up again: its servers serve, the scripts that were running are run anew; what host:run gave stands for the new life.
---
--- Where: anywhere in a spec.
function host:restart() end

--- Its processes read at most so much a second from each conn.
---
--- Where: anywhere in a spec.
---@param rate? kt.rate nil: as fast as they like.
function host:slow_reader(rate) end

--- Reads and writes of conns come in random pieces.
---
--- Where: anywhere in a spec.
---@param max? integer Bytes of a piece, at most; nil: whole.
function host:short_io(max) end

--- The buffers of its UDP sockets are full: no datagram leaves.
---
--- Where: anywhere in a spec.
---@param duration kt.duration For how long.
function host:udp_full(duration) end

--- Its wall clock jumps; timers go on.
---
--- Where: anywhere in a spec.
---@param by kt.duration So far ahead; "-1h" and negative numbers of seconds: back.
function host:clock_jump(by) end

---@class (exact) kt.sim.host.nat_options
---@field public string|string[] The address that others see, IPv4 or IPv6; or a list with one of each.
---@field timeout? kt.duration A UDP mapping is forgotten after so long without a packet out; 0: never. (duration, at most "1000000000s"; default 0)
---@field open? boolean Anyone may answer to a mapping, not only whom it was made for. (default false)

--- Puts the host behind a NAT: others see it at the public address, one port for each of its sockets, and cannot reach its own addresses of that kind. Only what it sends makes mappings. Once for IPv4, once for IPv6.
---
--- Where: anywhere in a spec.
---@param options kt.sim.host.nat_options See its keys.
function host:nat(options) end

--- Its NAT forgets all mappings: what goes out next comes from other ports, and TCP conns through it break.
---
--- Where: anywhere in a spec.
function host:nat_rebind() end

---@class (exact) kt.sim.host.inject_options
---@field from string "ip:port": the source address, its own or any other.
---@field to string "ip:port", as packet.dst has it.
---@field data string The datagram, as packet.data has it.

--- Sends a UDP datagram from this host as if from any address, past its own NAT: a copy or a replay by someone on the path, or a spoofed source.
---
--- Where: anywhere in a spec.
--- ```lua
--- w:rule { from = "client", to = "server", fn = function(packet)
---   w:at(packet.at, function()
---     w:host("attacker"):inject { from = "10.0.3.1:4000", to = packet.dst, data = packet.data }
---   end)
--- end }
--- ```
---@param options kt.sim.host.inject_options See its keys.
function host:inject(options) end

--- Puts a file.
---
--- Where: anywhere in a spec.
---@param path string The file's path, as the script names it.
---@param text? string What is in it; nil: the file is removed.
function host:file(path, text) end

--- What is in a file of the host's own, put there or written by a script.
---
--- Where: anywhere in a spec.
---@param path string The file's path, as the script names it.
---@return string|nil
function host:read_file(path) end

--- Its IP addresses.
---
--- Where: anywhere in a spec.
---@return string[]
function host:addresses() end

--- What it and its scripts hold.
---
--- Where: anywhere in a spec.
---@return kt.sim.host_stats
function host:stats() end

--- What the pools of its scripts are doing.
---
--- Where: anywhere in a spec.
---@return kt.sim.pools
function host:pools() end

--- A script that runs on a host, as host:run started it.
---@class kt.sim.script
---@field path string What host:run was given.
---@field exit_code integer|nil Its exit code, once it has ended by itself.
local script = {}

--- Whether it runs.
---
--- Where: anywhere in a spec.
---@return boolean
function script:is_running() end

--- Ends it as SIGKILL would: its host ends its sockets. Killing what does not run is harmless.
---
--- Where: anywhere in a spec.
function script:kill() end

--- Sends it a signal: TERM and INT end it, HUP reloads it from the file that is there now.
---
--- Where: anywhere in a spec.
---@param name "TERM"|"INT"|"HUP"|"USR1"|"USR2" Which.
---@return boolean
function script:signal(name) end

---@class (exact) kt.sim.script.wait_log_options
---@field timeout? kt.duration When it is given up. (duration, at most "1000000000s"; default "1m")

--- Waits until it has logged a line that matches the Lua pattern, which may have been before; raises if that does not come in time.
---
--- Where: the body of a spec, and tasks.
---@param pattern string What is looked for in each line.
---@param options? kt.sim.script.wait_log_options See its keys.
---@return string
function script:wait_log(pattern, options) end

--- How many of its tasks have failed, in all its lives.
---
--- Where: anywhere in a spec.
---@return integer
---@return string|nil
function script:failed_tasks() end

--- What it has logged, at most 10000 lines.
---
--- Where: anywhere in a spec.
---@return string
function script:log() end

--- What it has printed.
---
--- Where: anywhere in a spec.
---@return string
function script:output() end

--- What it holds; nil once it has ended.
---
--- Where: anywhere in a spec.
---@return kt.sim.script_stats? script_stats
function script:stats() end

--- What its pools (kt.pool) are doing; nil once it has ended. Looking changes nothing for the script.
---
--- Where: anywhere in a spec.
--- ```lua
--- local main = script:pools().main                       -- by the name given to kt.pool, or by number
--- assert.equal(1, main.switches)
--- assert.is_false(main.links[1].up)
--- ```
---@return kt.sim.pools? pools
function script:pools() end

--- What users have: a TCP conn of a host, that the spec opened, or that a server of the spec's accepted.
---@class kt.sim.app
---@field peer string The other end, "ip:port".
---@field local_addr string This end.
local app = {}

---@class (exact) kt.sim.app.echo_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- Sends a text to an echo server, behind whatever is between, and waits until all of it has come back unharmed; raises if it does not.
---
--- Where: the body of a spec, and tasks.
---@param text string What is sent.
---@param options? kt.sim.app.echo_options See its keys.
---@return kt.sim.reply
function app:echo(text, options) end

---@class (exact) kt.sim.app.try_echo_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- The same, for who expects it to fail.
---
--- Where: the body of a spec, and tasks.
--- Fails with: timeout, reset, eof, closed, protocol.
---@param text string What is sent.
---@param options? kt.sim.app.try_echo_options See its keys.
---@return kt.sim.reply? reply
---@return kt.sim.err? err
function app:try_echo(text, options) end

---@class (exact) kt.sim.app.read_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- What is there: at least a byte.
---
--- Where: the body of a spec, and tasks.
--- Fails with: eof, timeout, reset, closed.
---@param max? integer At most so many.
---@param options? kt.sim.app.read_options See its keys.
---@return string|nil
---@return kt.sim.err? err
function app:read(max, options) end

---@class (exact) kt.sim.app.read_exactly_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- So many bytes.
---
--- Where: the body of a spec, and tasks.
--- Fails with: eof, timeout, reset, closed.
---@param n integer How many.
---@param options? kt.sim.app.read_exactly_options See its keys.
---@return string|nil
---@return kt.sim.err? err
function app:read_exactly(n, options) end

---@class (exact) kt.sim.app.read_until_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- All up to and with a delimiter.
---
--- Where: the body of a spec, and tasks.
--- Fails with: eof, timeout, reset, closed.
---@param delimiter string What it ends with.
---@param options? kt.sim.app.read_until_options See its keys.
---@return string|nil
---@return kt.sim.err? err
function app:read_until(delimiter, options) end

---@class (exact) kt.sim.app.read_all_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- All until the other end finishes.
---
--- Where: the body of a spec, and tasks.
--- Fails with: timeout, reset, closed.
---@param options? kt.sim.app.read_all_options See its keys.
---@return string|nil
---@return kt.sim.err? err
function app:read_all(options) end

---@class (exact) kt.sim.app.write_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- Writes all of it. That it was taken does not mean that it has arrived.
---
--- Where: the body of a spec, and tasks.
--- Fails with: timeout, reset, closed.
---@param data string The bytes.
---@param options? kt.sim.app.write_options See its keys.
---@return boolean|nil
---@return kt.sim.err? err
function app:write(data, options) end

---@class (exact) kt.sim.app.send_options
---@field timeout? kt.duration How long the whole call may take. (duration, at most "1000000000s"; default "10s")

--- Another name for app:write.
---
--- Where: the body of a spec, and tasks.
--- Fails with: timeout, reset, closed.
---@param data string The bytes.
---@param options? kt.sim.app.send_options See its keys.
---@return boolean|nil
---@return kt.sim.err? err
function app:send(data, options) end

--- Finishes sending; reading goes on.
---
--- Where: anywhere in a spec.
function app:shutdown() end

--- Closes it; what was written is delivered. Closing twice is harmless.
---
--- Where: anywhere in a spec.
function app:close() end

--- Breaks it: the other end reads a reset.
---
--- Where: anywhere in a spec.
function app:reset() end

--- Neither closed nor broken, as far as this end has heard.
---
--- Where: anywhere in a spec.
---@return boolean
function app:is_open() end

--- A server of the spec's own, as host:serve made it.
---@class kt.sim.server
---@field address string Where it listens, "ip:port".
---@field conns integer Conns that it has accepted.
local server = {}

--- Listens no more; its conns go on. Closing twice is harmless.
---
--- Where: anywhere in a spec.
function server:close() end

--- Bytes on their way through a tunnel, each of which is checked.
---@class kt.sim.transfer
---@field received integer Bytes that have arrived.
---@field bytes integer Bytes that are sent.
---@field server string|nil The host whose sink they came to, of kind up.
local transfer = {}

--- Waits for its end; raises if it did not arrive whole, once and in order, or not in time.
---
--- Where: the body of a spec, and tasks.
---@return kt.sim.transfer
function transfer:wait() end

--- Whether every byte has arrived, once and in order.
---
--- Where: anywhere in a spec.
---@return boolean
function transfer:intact() end

--- What keeps it from being intact.
---
--- Where: anywhere in a spec.
---@return string|nil
function transfer:fault() end

--- From its beginning to the last byte that has arrived.
---
--- Where: anywhere in a spec.
---@return number
function transfer:goodput() end

--- The longest time in which nothing arrived, once the first byte was there.
---
--- Where: anywhere in a spec.
---@return number
function transfer:worst_stall() end

--- Single bytes that are echoed and timed: a transfer, with all that one has, and more.
---@class kt.sim.keystrokes: kt.sim.transfer
local keystrokes = {}

--- The median of their latencies.
---
--- Where: anywhere in a spec.
---@return number
function keystrokes:median() end

--- The longest of their latencies.
---
--- Where: anywhere in a spec.
---@return number
function keystrokes:worst() end

--- From each keystroke to its echo, in order.
---
--- Where: anywhere in a spec.
---@return number[]
function keystrokes:latencies() end

---@class kt.sim
---@field version string The version of kt.
local sim = {}

---@class (exact) kt.sim.world_options
---@field seed? integer All chance comes of it; KT_SEED, or 1, unless given.
---@field files? table<string, string|number> Files by name, put beside every script that is run.
---@field start? kt.sim.moment The wall clock at its beginning; 2026-01-01 unless given.
---@field tcp_buffer? kt.size What a conn's end takes in before it is read; 256 KiB unless given. (size, "4KiB" to "16MiB")
---@field log? "debug"|"info"|"warn"|"error"|"quiet" The level of scripts' logs. (default "info")

--- A new world: a simulated network without hosts, whose clock stands at 0. The same seed and the same spec give the same run, to the byte.
---
--- Where: anywhere in a spec.
--- ```lua
--- local w = sim.world { seed = 7, files = { ["psk.key"] = "our secret" } }
--- w:host "client"
--- w:host "server"
--- w:link("client", "server", { delay = "40ms", loss = "2%" })
--- ```
---@param options? kt.sim.world_options See its keys.
---@return kt.sim.world
function sim.world(options) end

---@class (exact) kt.sim.sweep_options
---@field from? integer The first seed. (default 1)
---@field files? table<string, string|number> Files by name, put beside every script that is run.
---@field start? kt.sim.moment The wall clock at its beginning; 2026-01-01 unless given.
---@field tcp_buffer? kt.size What a conn's end takes in before it is read; 256 KiB unless given. (size, "4KiB" to "16MiB")
---@field log? "debug"|"info"|"warn"|"error"|"quiet" The level of scripts' logs. (default "info")

--- Calls the function in a new world for each of n seeds. It stops at the first that fails, leaves out those faults (w:fault) that it fails without, and raises what is left, with the line that repeats it. With KT_SEED it is that seed alone.
---
--- Where: the body of a spec.
---@param n integer How many seeds.
---@param fn fun(w: kt.sim.world, seed: integer) What is to hold.
---@param options? kt.sim.sweep_options See its keys.
---@return integer
function sim.sweep(n, fn, options) end

return sim
