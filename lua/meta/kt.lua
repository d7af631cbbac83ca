---@meta kt
-- Made by scripts/generate from lua/kt/api.lua; changes go there.

---@alias kt.duration string|number a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds
---@alias kt.size string|number a size such as "64KiB", "2MiB", "1MB", or a number of bytes
---@alias kt.rate string|number a rate such as "20Mbit" (bits per second), "2MiB" (bytes per second), or a number of bytes per second
---@alias kt.share string|number a share such as "5%", or a number from 0 to 1

--- The figures of a link. Counters (segs_…, bytes_…) are sums over all sessions since kt.link or kt.accept made it, those that have ended included, and never fall; they start over only with another link, as after a restart, or in the script that a reload brings. All others are of the sessions that are up now.
---@class kt.stats
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

--- What a pool knows of a link: what a policy gets of each that is up, and pool:links() returns of all.
---@class kt.facts
---@field name string The link's name in the pool.
---@field weight integer As given; of SRV records theirs.
---@field srtt number Smoothed round-trip time, in seconds, check.with's if it measures; math.huge: not known yet.
---@field rttvar number Its variation, in seconds.
---@field loss number Share of packets lost, 0 to 1.
---@field streams integer Streams that are open.
---@field rate_in number Bytes a second received.
---@field rate_out number Bytes a second sent.
---@field since number Seconds since it went up, or down.
---@field link kt.link The link. From here on in pool:links() only.
---@field up boolean Whether it is up.
---@field proven boolean Whether a check has succeeded yet.
---@field error string|nil Why its last check failed, if it did.

--- The figures of a pool.
---@class kt.tally
---@field links integer Links in it.
---@field up integer ... that are up.
---@field current string|nil The link that new streams go to, if the policy prefers one.
---@field opened integer Streams opened.
---@field failed integer Opens that failed for good.
---@field failed_attempts integer Attempts at a link that failed.
---@field switches integer How often new streams went over to another link.

--- What a splice has done.
---@class kt.summary
---@field a_to_b integer Bytes from the first to the second.
---@field b_to_a integer Bytes from the second to the first.
---@field duration number Seconds.
---@field reason string "end", or the err.code of what cut it short.
---@field cause kt.err|nil Why the far kt reset the stream, when reason is "reset": its code ("refused", "timeout", ...) and sentence.

--- The figures of a conn.
---@class kt.connstats
---@field bytes_in integer Bytes that have come out of it.
---@field bytes_out integer Bytes that have gone into it.
---@field rate_in number Bytes a second that come out of it, since `:stats` was called before, or since it was made; calls within a quarter of a second are one.
---@field rate_out number Bytes a second that go into it, likewise.
---@field since number Seconds since it began, until its end.

--- The figures of a stream.
---@class kt.streamstats
---@field bytes_in integer Bytes that have come out of it.
---@field bytes_out integer Bytes that have gone into it.
---@field rate_in number Bytes a second that come out of it, since `:stats` was called before, or since it was made; calls within a quarter of a second are one.
---@field rate_out number Bytes a second that go into it, likewise.
---@field since number Seconds since it began, until its end.
---@field priority integer Its priority.
---@field weight integer Its weight.
---@field queued integer Bytes written that have not left for the network's queue.
---@field srtt number Smoothed round-trip time, in seconds; on the kcptun wire of its session, as what follows.
---@field rttvar number Its variation, in seconds.
---@field loss number Share of segments lost over the last seconds, 0 to 1, as in the link's stats.
---@field retransmitted integer Segments sent again since the session began.
---@field recovered integer Segments that FEC has rebuilt here since the session began.
---@field inflight integer Segments sent and not yet acknowledged.

--- A record of a name. A and AAAA records have an address, SRV records the rest.
---@class kt.record
---@field ttl integer Seconds that it holds, 1 to 86400.
---@field address string|nil An IP address, such as "192.0.2.7" or "2001:db8::7".
---@field target string|nil The host that has the service.
---@field port integer|nil Its port there.
---@field priority integer|nil Hosts with a lower one come first; 0 to 65535.
---@field weight integer|nil Its share among hosts of the same priority; 0 to 65535.

--- The figures of a socket.
---@class kt.traffic
---@field received integer Datagrams that have come.
---@field received_bytes integer Their bytes.
---@field sent integer Datagrams sent.
---@field sent_bytes integer Their bytes.
---@field dropped integer Datagrams for which the queue had no room.
---@field oversize integer Datagrams that were larger than 2048 bytes, and dropped.
---@field unsent integer Datagrams that the system refused to send.
---@field queued integer Datagrams that wait to be received.

--- A date and a time of day.
---@class kt.date
---@field year integer Such as 2031.
---@field month integer January is 1.
---@field day integer Of the month, from 1.
---@field hour integer Up to 23.
---@field minute integer Up to 59.
---@field second integer Up to 59; 60 in a leap second.
---@field weekday integer Monday is 1, Sunday 7.

--- A link to a peer, as kt.link made it, or as an acceptor gives it out. Shared by all tasks.
---@class kt.link
---@field remote string The peer, as declared; of an accepted link, its address.
local link = {}

---@class (exact) kt.link.open_options
---@field timeout? kt.duration How long it may take. (default "10s")
---@field client? string On whose behalf; for the log.
---@field priority? integer Who goes first when the link is full: 0 is served before 1, and so on to 7. Those behind get one byte in 32 at least. (integer, 0 to 7; default 3)
---@field weight? integer The share among streams of one priority: with 32 it is twice that of 16. (integer, 1 to 256; default 16)

--- Opens a stream to the peer, dialling it first if need be. On an accepted link the peer must be a kt whose link serves.
---
--- Where: task.
--- Fails with: timeout, name, unreachable, closed, dead, limit, unsupported.
---@param options? kt.link.open_options See its keys.
---@return kt.stream? stream
---@return kt.err? err
function link:open(options) end

---@class (exact) kt.link.probe_options
---@field timeout? kt.duration How long it may take. (default "1s")

--- Asks the peer for an answer that any peer gives, and says how long it took, the peer's own flush interval included; dials if there is no session.
---
--- Where: task.
--- Fails with: timeout, name, unreachable, closed, dead, restarted.
---@param options? kt.link.probe_options See its keys.
---@return number|nil
---@return kt.err? err
function link:probe(options) end

---@class (exact) kt.link.set_options.kcp
---@field sndwnd? integer Send window, in packets: what may be under way. (integer, 1 to 65535)
---@field rcvwnd? integer Receive window, in packets. (integer, 1 to 65535)
---@field nodelay? boolean Quicker retransmission timeouts. Only with mode = "manual".
---@field interval? integer Milliseconds between flushes. Only with mode = "manual". (integer, 10 to 5000)
---@field resend? integer Retransmit after so many later acknowledgements; 0: never. Only with mode = "manual". (integer, 0 to 255)
---@field nc? boolean No congestion window. Only with mode = "manual".
---@field acknodelay? boolean Acknowledge at once rather than at the next flush.

---@class (exact) kt.link.set_options.fec
---@field data? integer Packets in a group; 0: no FEC. (integer, 0 to 255)
---@field parity? integer Parity packets for each; 0: no FEC. (integer, 0 to 255)

---@class (exact) kt.link.set_options
---@field mode? "normal"|"fast"|"fast2"|"fast3"|"manual"|"default" How eagerly KCP retransmits. "manual": as kcp says; "default": KCP's own.
---@field kcp? kt.link.set_options.kcp KCP's own settings.
---@field fec? kt.link.set_options.fec|false Forward error correction; false: none, though its header stays. Live sessions keep their groups and send less parity, or again as much as they began with; for other groups or more, new streams get a new session.
---@field suspect_after? kt.duration After this long without an answer that the peer owes, new streams use a new session; the old one keeps its streams. (duration, "1s" to "1m")
---@field dead_after? kt.duration After this long without an answer that the peer owes, the session ends and its streams break. (duration, "1s" to "1m")
---@field rate? kt.rate Most that a session sends, in bytes of UDP payload; 0: no limit.

--- Changes settings, for sessions that are up and for those to come; what is not named stays. Not of an accepted link.
---
--- Where: main chunk and tasks.
--- Fails with: closed, unsupported.
--- ```lua
--- far:set { mode = "fast3", kcp = { sndwnd = 1024 }, fec = { parity = 1 } }
--- ```
---@param options kt.link.set_options See its keys.
---@return boolean|nil
---@return kt.err? err
function link:set(options) end

--- Sets the function that gets each stream, in a task of its own, and returns the handle. The task owns the stream: when the function returns it is closed, when it fails it is reset. Once for each handle. These are the streams that the far side opens, which needs kt there too; the link dials at once, and again for ever, so that it can.
---
--- Where: main chunk and tasks.
---@param handler fun(stream: kt.stream) Called with each stream.
---@return kt.link
function link:serve(handler) end

---@class (exact) kt.link.on_options
---@field every? kt.duration For "stats": how often; 5s unless given. (duration, at least "100ms")
---@field loss? kt.share For "degraded": the share of segments lost, as stats has it.
---@field srtt? kt.duration ... the round-trip time.
---@field silence? kt.duration ... how long the peer may be silent while it owes an answer.

--- Runs a function, as a task, when something happens: "up": the peer was heard, where none was; "down": no session is left, err says why; "degraded": a threshold was passed, err says which, once until it is better again (by default 5% loss or 1.5 s of silence); "stats": time and again.
---
--- Where: main chunk and tasks.
--- ```lua
--- far:on("degraded", function(stats, err) kt.log.warn("%s (srtt %.3f)", tostring(err), stats.srtt) end, { loss = "3%", srtt = "300ms" })
--- ```
---@param event "up"|"down"|"degraded"|"stats" Which.
---@param handler fun(stats: kt.stats, err: kt.err) Called with the figures of that moment, and the reason.
---@param options? kt.link.on_options See its keys.
---@return kt.link
function link:on(event, handler, options) end

--- The figures of the link, as they are now; once it is closed, its counters as they were then.
---
--- Where: main chunk and tasks.
---@return kt.stats
function link:stats() end

--- Closes the link. Its streams break, and whoever waits for one gets an err "closed".
---
--- Where: main chunk and tasks.
function link:close() end

--- Takes links from peers, as kt.accept made it.
---@class kt.acceptor
local acceptor = {}

--- Sets the function that gets each stream, in a task of its own, and returns the handle. The task owns the stream: when the function returns it is closed, when it fails it is reset. Once for each handle.
---
--- Where: main chunk and tasks.
---@param handler fun(stream: kt.stream) Called with each stream.
---@return kt.acceptor
function acceptor:serve(handler) end

--- Runs a function, as a task, for each peer whose session begins. Its link has open, probe, stats, remote, on and close; it is closed when the session ends, for which there is link:on("down", …). Once for each acceptor.
---
--- Where: main chunk and tasks.
--- ```lua
--- acceptor:on("link", function(link)
---   local stream, err = link:open { timeout = "5s" } -- needs link:serve on the other side
---   if stream then stream:write "hello" end
--- end)
--- ```
---@param event "link" The only one that there is.
---@param handler fun(link: kt.link) Called with each link.
---@return kt.acceptor
function acceptor:on(event, handler) end

--- The figures of all links together; times are of the one heard last. A reload that keeps the acceptor keeps its counters.
---
--- Where: main chunk and tasks.
---@return kt.stats
function acceptor:stats() end

--- Closes it and all its links.
---
--- Where: main chunk and tasks.
function acceptor:close() end

--- Several links behind one open, as kt.pool made it. Shared by all tasks.
---@class kt.pool
local pool = {}

---@class (exact) kt.pool.open_options
---@field timeout? kt.duration How long it may take, all attempts together. (default "10s")
---@field client? string On whose behalf; for the log, the policy and the key.
---@field key? string What the policy hash goes by.
---@field priority? integer As for link:open. (integer, 0 to 7)
---@field weight? integer As for link:open. (integer, 1 to 256)

--- Opens a stream on the link that the policy chooses; if that fails, on others (retries), each in its share of the time. With all links down it tries the one that was well most recently. A pool that discovers its links waits for the first one.
---
--- Where: task.
--- Fails with: timeout, closed, dead, limit, unreachable.
---@param options? kt.pool.open_options See its keys.
---@return kt.stream? stream
---@return kt.err? err
function pool:open(options) end

---@class (exact) kt.pool.add_options
---@field link kt.link The link.
---@field weight? integer Its share with weighted, least_loaded and hash. (integer, 1 to 65535; default 1)
---@field name? string What logs, events and policies call it; its peer's address unless given.

--- Takes a link in, behind the others. It gets streams once a check has succeeded; with hold, once it was up for so long.
---
--- Where: main chunk and tasks.
---@param options kt.link|kt.pool.add_options See its keys.
function pool:add(options) end

--- Takes a link out. Its streams go on, and the link stays open.
---
--- Where: main chunk and tasks.
---@param what kt.link|string The link, or its name in the pool.
---@return boolean
function pool:remove(what) end

--- The facts of each link as they are now, in order, the best first. Those that a policy gets may be 0.1 s old.
---
--- Where: main chunk and tasks.
---@return kt.facts[]
function pool:links() end

--- What the pool has done so far.
---
--- Where: main chunk and tasks.
---@return kt.tally
function pool:stats() end

--- Calls a function, as a task, when new streams go to another link, { from, to, reason }, or a link went up or down, { name, link, reason }. May be called more than once.
---
--- Where: main chunk and tasks.
---@param event "switch"|"up"|"down" What to be told of.
---@param handler fun(event: table) Called with what has happened.
function pool:on(event, handler) end

--- Ends the checks; whoever waits in open gets an err "closed". Links and streams go on. Closing twice is harmless.
---
--- Where: main chunk and tasks.
function pool:close() end

--- Takes local connections, as kt.listen made it.
---@class kt.listener
---@field local_addr string|nil Where it listens, once it does.
local listener = {}

--- Sets the function that gets each conn, in a task of its own, and returns the handle. The task owns the conn: when the function returns it is closed, when it fails it is reset. Once for each handle.
---
--- Where: main chunk and tasks.
---@param handler fun(conn: kt.conn) Called with each conn.
---@return kt.listener
function listener:serve(handler) end

--- Takes no more conns; those that are there go on.
---
--- Where: main chunk and tasks.
function listener:close() end

--- A local TCP or unix connection.
---@class kt.conn
---@field peer string|nil The other end's address; kept when it is closed. Of a unix socket "unix:/path", or "unix:" where the other end has no name.
---@field local_addr string|nil This end's address, while it is open, written likewise.
local conn = {}

---@class (exact) kt.conn.read_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- What has arrived, at least 1 and at most n bytes; waits if nothing has. err.code is "eof" at the end of the data.
---
--- Where: task.
--- Fails with: eof, timeout, reset, closed.
---@param n? integer The most bytes, up to 1 MiB; 16 KiB unless given.
---@param options? kt.conn.read_options See its keys.
---@return string|nil
---@return kt.err? err
function conn:read(n, options) end

---@class (exact) kt.conn.read_exactly_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- Waits for n bytes; nothing behind them is read. When it fails, `came` is what had arrived. err.code is "memory" when what all such calls have gathered is half of the script's memory limit.
---
--- Where: task.
--- Fails with: eof, timeout, reset, closed, memory.
---@param n integer How many bytes, at most 1 MiB.
---@param options? kt.conn.read_exactly_options See its keys.
---@return string|nil
---@return kt.err? err
---@return string|nil
function conn:read_exactly(n, options) end

---@class (exact) kt.conn.read_until_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- All bytes up to the delimiter and with it; nothing behind it is read. err.code is "limit" when there is no delimiter within max bytes. When it fails, `came` is what had arrived, which counts as read. "memory": see read_exactly.
---
--- Where: task.
--- Fails with: eof, limit, timeout, reset, closed, memory.
---@param delimiter string What ends it, 1 to 256 bytes.
---@param max integer The most bytes, the delimiter's among them; up to 1 MiB.
---@param options? kt.conn.read_until_options See its keys.
---@return string|nil
---@return kt.err? err
---@return string|nil
function conn:read_until(delimiter, max, options) end

---@class (exact) kt.conn.write_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- Waits until all of the data was taken, in order. When it fails, `taken` is how many bytes were.
---
--- Where: task.
--- Fails with: timeout, reset, closed.
---@param data string The bytes.
---@param options? kt.conn.write_options See its keys.
---@return integer|nil
---@return kt.err? err
---@return integer|nil
function conn:write(data, options) end

--- Ends sending; the other end reads "eof" when it has read all. Reading goes on. Towards a kcptun peer, which knows no half-close, it is held back until close.
---
--- Where: main chunk and tasks.
function conn:shutdown() end

--- Delivers what was written, then ends it. Closing twice is harmless.
---
--- Where: main chunk and tasks.
function conn:close() end

--- Ends it at once, dropping what was not delivered; a reason is logged. The other end sees a reset. A stream carries the reason to a kt at the other end; a kcptun peer sees an orderly end, as its wire has no reset.
---
--- Where: main chunk and tasks.
---@param reason? kt.err|string Why. Up to 127 bytes reach the other end.
function conn:reset(reason) end

---@class (exact) kt.conn.set_options
---@field rate_in? kt.rate The most that comes out of it, in bytes a second; 0: no limit.
---@field rate_out? kt.rate The most that goes into it, in bytes a second; 0: no limit.
---@field idle? kt.duration It breaks when nothing has moved either way for so long; 0: never.
---@field total? kt.duration It breaks so long after it began; 0: never.
---@field user_timeout? kt.duration TCP: it breaks ("timeout") when something was sent and nothing came from the other machine for this long, and up to a quarter more. An application that is there and does not read is left alone. 0: when the system gives up, after about 15 minutes. "60s" until set.

--- Sets limits of the conn. At any time, also while a splice has it: the least of all limits counts. What is not given stays as it is. When a time has passed, it is reset, and whoever waits gets an err "idle" or "total", which is also the splice's reason.
---
--- Where: main chunk and tasks.
--- Fails with: closed.
---@param options kt.conn.set_options See its keys.
---@return boolean|nil
---@return kt.err? err
function conn:set(options) end

--- The figures of the conn, as they are now; also while a splice has it, and after its end.
---
--- Where: main chunk and tasks.
---@return kt.connstats
function conn:stats() end

--- A reliable, ordered pipe of bytes inside a link.
---@class kt.stream
---@field peer string|nil The other end of the link.
---@field local_addr string|nil The UDP address of this end, while the stream is open: where its session's socket is bound, on an acceptor the one it listens on.
local stream = {}

---@class (exact) kt.stream.read_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- What has arrived, at least 1 and at most n bytes; waits if nothing has. err.code is "eof" at the end of the data.
---
--- Where: task.
--- Fails with: eof, timeout, reset, closed.
---@param n? integer The most bytes, up to 1 MiB; 16 KiB unless given.
---@param options? kt.stream.read_options See its keys.
---@return string|nil
---@return kt.err? err
function stream:read(n, options) end

---@class (exact) kt.stream.read_exactly_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- Waits for n bytes; nothing behind them is read. When it fails, `came` is what had arrived. err.code is "memory" when what all such calls have gathered is half of the script's memory limit.
---
--- Where: task.
--- Fails with: eof, timeout, reset, closed, memory.
---@param n integer How many bytes, at most 1 MiB.
---@param options? kt.stream.read_exactly_options See its keys.
---@return string|nil
---@return kt.err? err
---@return string|nil
function stream:read_exactly(n, options) end

---@class (exact) kt.stream.read_until_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- All bytes up to the delimiter and with it; nothing behind it is read. err.code is "limit" when there is no delimiter within max bytes. When it fails, `came` is what had arrived, which counts as read. "memory": see read_exactly.
---
--- Where: task.
--- Fails with: eof, limit, timeout, reset, closed, memory.
---@param delimiter string What ends it, 1 to 256 bytes.
---@param max integer The most bytes, the delimiter's among them; up to 1 MiB.
---@param options? kt.stream.read_until_options See its keys.
---@return string|nil
---@return kt.err? err
---@return string|nil
function stream:read_until(delimiter, max, options) end

---@class (exact) kt.stream.write_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- Waits until all of the data was taken, in order. When it fails, `taken` is how many bytes were.
---
--- Where: task.
--- Fails with: timeout, reset, closed.
---@param data string The bytes.
---@param options? kt.stream.write_options See its keys.
---@return integer|nil
---@return kt.err? err
---@return integer|nil
function stream:write(data, options) end

--- Ends sending; the other end reads "eof" when it has read all. Reading goes on. Towards a kcptun peer, which knows no half-close, it is held back until close.
---
--- Where: main chunk and tasks.
function stream:shutdown() end

--- Delivers what was written, then ends it. Closing twice is harmless.
---
--- Where: main chunk and tasks.
function stream:close() end

--- Ends it at once, dropping what was not delivered; a reason is logged. The other end sees a reset. A stream carries the reason to a kt at the other end; a kcptun peer sees an orderly end, as its wire has no reset.
---
--- Where: main chunk and tasks.
---@param reason? kt.err|string Why. Up to 127 bytes reach the other end.
function stream:reset(reason) end

---@class (exact) kt.stream.set_options
---@field priority? integer Who goes first when the link is full: 0 is served before 1, and so on to 7. Those behind get one byte in 32 at least. (integer, 0 to 7)
---@field weight? integer The share among streams of one priority: with 32 it is twice that of 16. (integer, 1 to 256)
---@field rate_in? kt.rate The most that comes out of it, in bytes a second; 0: no limit.
---@field rate_out? kt.rate The most that goes into it, in bytes a second; 0: no limit.
---@field idle? kt.duration It breaks when nothing has moved either way for so long; 0: never.
---@field total? kt.duration It breaks so long after it began; 0: never.

--- Sets the stream's place among those that this end sends on the link, and its limits. At any time, also while a splice has it: the least of all limits counts. What is not given stays as it is. When a time has passed, it is reset, and whoever waits gets an err "idle" or "total", which is also the splice's reason.
---
--- Where: main chunk and tasks.
--- Fails with: closed.
---@param options kt.stream.set_options See its keys.
---@return boolean|nil
---@return kt.err? err
function stream:set(options) end

--- The figures of the stream, as they are now; also while a splice has it. After its end the session's are 0.
---
--- Where: main chunk and tasks.
---@return kt.streamstats
function stream:stats() end

--- A UDP socket, as kt.udp made it.
---@class kt.socket
---@field local_addr string|nil Where it is bound, while it is open.
---@field peer string|nil Whom it talks to; nil without `to`.
local socket = {}

---@class (exact) kt.socket.receive_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- The next datagram and its sender's address. A socket made with `to` also tells that nobody listens there ("refused").
---
--- Where: task.
--- Fails with: timeout, refused, closed.
---@param options? kt.socket.receive_options See its keys.
---@return string|nil
---@return string|kt.err
function socket:receive(options) end

---@class (exact) kt.socket.send_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- Sends a datagram. Waits while the system takes no more. Whether it arrives, nobody knows. What goes to one of the last few hundred peers that were received from leaves from the address of this host that the peer addressed.
---
--- Where: task.
--- Fails with: limit, name, unreachable, timeout, closed.
---@param data string The datagram, at most 2048 bytes.
---@param to? string An address, such as `from`; a name is looked up. Only for a socket that was made without `to`.
---@param options? kt.socket.send_options See its keys.
---@return boolean|nil
---@return kt.err? err
function socket:send(data, to, options) end

--- The figures of the socket, as they are now.
---
--- Where: main chunk and tasks.
---@return kt.traffic
function socket:stats() end

--- Closes it; whoever waits in a call on it gets an err "closed". Closing twice is harmless.
---
--- Where: main chunk and tasks.
function socket:close() end

--- Bytes that never print: it shows as `<secret>`. Its memory is wiped when it is collected.
---@class kt.secret
local secret = {}

--- What an expected failure returns beside nil: tostring(err) is a sentence, and `..` joins it to strings.
---@class kt.err
---@field code string A stable name, such as "timeout".
local err = {}

---@class kt
---@field version string The version of kt, such as "0.1.0".
local kt = {}

--- The log: one function for each level.
kt.log = {}

---@class (exact) kt.link_options.kcp
---@field mtu? integer Largest UDP payload, in bytes. (integer, 128 to 1500; default 1350)
---@field sndwnd? integer Send window, in packets: what may be under way. (integer, 1 to 65535; default 128)
---@field rcvwnd? integer Receive window, in packets. (integer, 1 to 65535; default 512)
---@field nodelay? boolean Quicker retransmission timeouts. Only with mode = "manual".
---@field interval? integer Milliseconds between flushes. Only with mode = "manual". (integer, 10 to 5000)
---@field resend? integer Retransmit after so many later acknowledgements; 0: never. Only with mode = "manual". (integer, 0 to 255)
---@field nc? boolean No congestion window. Only with mode = "manual".
---@field acknodelay? boolean Acknowledge at once rather than at the next flush. (default false)

---@class (exact) kt.link_options.fec
---@field data? integer Packets in a group; 0: no FEC. (integer, 0 to 255; default 10)
---@field parity? integer Parity packets for each; 0: no FEC. (integer, 0 to 255; default 3)

---@class (exact) kt.link_options.qpp
---@field pads? integer How many pads. (integer, 1 to 4096; default 61)

---@class (exact) kt.link_options.smux
---@field version? integer The same at both ends. (integer, 1 to 2; default 2)
---@field buffer? kt.size Unread bytes that a session holds for all its streams. With version 2 windows shrink to fit, see docs/limits.md. (size, "64KiB" to "2GiB"; default "4MiB")
---@field stream_buffer? kt.size ... and at most for one stream (version 2). (size, "8KiB" to less than "2GiB"; default "2MiB")
---@field frame? integer Most bytes in a frame. (integer, 1 to 65535; default 8192)
---@field keepalive? kt.duration Time between heartbeats. (duration, "1s" to "30s"; default "10s")

---@class (exact) kt.link_options
---@field remote string The peer.
---@field wire? "kcptun" The protocol on the wire. (default "kcptun")
---@field key string|kt.secret The secret that both ends share.
---@field crypt? "aes"|"aes-128"|"aes-192"|"aes-128-gcm"|"salsa20"|"blowfish"|"twofish"|"cast5"|"3des"|"tea"|"xtea"|"xor"|"sm4"|"none"|"null" Cipher; the same at both ends. (default "aes")
---@field mode? "normal"|"fast"|"fast2"|"fast3"|"manual"|"default" How eagerly KCP retransmits. "manual": as kcp says; "default": KCP's own. (default "fast")
---@field kcp? kt.link_options.kcp KCP's own settings.
---@field fec? kt.link_options.fec|false Forward error correction; the same at both ends; false: none.
---@field compress? boolean Snappy compression; the same at both ends. (default true)
---@field qpp? kt.link_options.qpp|boolean Quantum Permutation Pads; the same at both ends; true: with 61 pads. (default false)
---@field tuncrypt? boolean A second, end-to-end layer of encryption in each stream; needs kt at both ends. (default false)
---@field smux? kt.link_options.smux The multiplexer.
---@field suspect_after? kt.duration After this long without an answer that the peer owes, new streams use a new session; the old one keeps its streams. (duration, "1s" to "1m"; default "5s")
---@field dead_after? kt.duration After this long without an answer that the peer owes, the session ends and its streams break. (duration, "1s" to "1m"; default "30s")
---@field max_streams? integer Streams that a session may have open at once. Further ones of the peer are refused; a link opens its own in another session. (integer, 1 to 65535; default 4096)
---@field memory? kt.size Memory for the buffers of all sessions, in bytes. A session may take as much of it as is left for the others. (size, "1MiB" to "1024GiB"; default "64MiB")
---@field rate? kt.rate Most that a session sends, in bytes of UDP payload; 0: no limit. (default 0)
---@field dscp? integer DSCP of the packets sent. (integer, 0 to 63; default 0)
---@field sockbuf? kt.size Socket buffer, each way. (size, at most "1GiB"; default "4MiB")
---@field sessions? integer Sessions, used in rotation. (integer, 1 to 1024; default 1)
---@field expire? kt.duration A session takes no new streams after so long; 0: never. (default 0)
---@field scavenge? kt.duration ... and is cut after so long again. (default "10m")
---@field stay? boolean Dials at once, without waiting for a stream, and again for ever; so does a link with :serve. (default false)

--- A link to a peer. It dials when the first stream is opened, and again whenever the peer was lost. In the main chunk it is declared, and opened at start; in a task it is opened at once, and closed once it was forgotten and carries no stream, unless it serves or stays.
---
--- Where: main chunk and tasks.
--- Fails with: memory.
--- ```lua
--- local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key", mode = "fast2" }
--- ```
---@param options kt.link_options See its keys.
---@return kt.link? link
---@return kt.err? err
function kt.link(options) end

---@class (exact) kt.accept_options.kcp
---@field mtu? integer Largest UDP payload, in bytes. (integer, 128 to 1500; default 1350)
---@field sndwnd? integer Send window, in packets: what may be under way. (integer, 1 to 65535; default 1024)
---@field rcvwnd? integer Receive window, in packets. (integer, 1 to 65535; default 1024)
---@field nodelay? boolean Quicker retransmission timeouts. Only with mode = "manual".
---@field interval? integer Milliseconds between flushes. Only with mode = "manual". (integer, 10 to 5000)
---@field resend? integer Retransmit after so many later acknowledgements; 0: never. Only with mode = "manual". (integer, 0 to 255)
---@field nc? boolean No congestion window. Only with mode = "manual".
---@field acknodelay? boolean Acknowledge at once rather than at the next flush. (default false)

---@class (exact) kt.accept_options.fec
---@field data? integer Packets in a group; 0: no FEC. (integer, 0 to 255; default 10)
---@field parity? integer Parity packets for each; 0: no FEC. (integer, 0 to 255; default 3)

---@class (exact) kt.accept_options.qpp
---@field pads? integer How many pads. (integer, 1 to 4096; default 61)

---@class (exact) kt.accept_options.smux
---@field version? integer The same at both ends. (integer, 1 to 2; default 2)
---@field buffer? kt.size Unread bytes that a session holds for all its streams. With version 2 windows shrink to fit, see docs/limits.md. (size, "64KiB" to "2GiB"; default "4MiB")
---@field stream_buffer? kt.size ... and at most for one stream (version 2). (size, "8KiB" to less than "2GiB"; default "2MiB")
---@field frame? integer Most bytes in a frame. (integer, 1 to 65535; default 8192)
---@field keepalive? kt.duration Time between heartbeats. (duration, "1s" to "30s"; default "10s")

---@class (exact) kt.accept_options
---@field on string Where to listen, UDP.
---@field wire? "kcptun" The protocol on the wire. (default "kcptun")
---@field key string|kt.secret The secret that both ends share.
---@field crypt? "aes"|"aes-128"|"aes-192"|"aes-128-gcm"|"salsa20"|"blowfish"|"twofish"|"cast5"|"3des"|"tea"|"xtea"|"xor"|"sm4"|"none"|"null" Cipher; the same at both ends. (default "aes")
---@field mode? "normal"|"fast"|"fast2"|"fast3"|"manual"|"default" How eagerly KCP retransmits. "manual": as kcp says; "default": KCP's own. (default "fast")
---@field kcp? kt.accept_options.kcp KCP's own settings.
---@field fec? kt.accept_options.fec|false Forward error correction; the same at both ends; false: none.
---@field compress? boolean Snappy compression; the same at both ends. (default true)
---@field qpp? kt.accept_options.qpp|boolean Quantum Permutation Pads; the same at both ends; true: with 61 pads. (default false)
---@field tuncrypt? boolean A second, end-to-end layer of encryption in each stream; needs kt at both ends. (default false)
---@field smux? kt.accept_options.smux The multiplexer.
---@field suspect_after? kt.duration After this long without an answer that the peer owes, new streams use a new session; the old one keeps its streams. (duration, "1s" to "1m"; default "5s")
---@field dead_after? kt.duration After this long without an answer that the peer owes, the session ends and its streams break. (duration, "1s" to "1m"; default "30s")
---@field max_streams? integer Streams that a session may have open at once. Further ones of the peer are refused; a link opens its own in another session. (integer, 1 to 65535; default 4096)
---@field memory? kt.size Memory for the buffers of all sessions, in bytes. A session may take as much of it as is left for the others. (size, "1MiB" to "1024GiB"; default "64MiB")
---@field rate? kt.rate Most that a session sends, in bytes of UDP payload; 0: no limit. (default 0)
---@field dscp? integer DSCP of the packets sent. (integer, 0 to 63; default 0)
---@field sockbuf? kt.size Socket buffer, each way. (size, at most "1GiB"; default "4MiB")
---@field max_sessions? integer Sessions that peers may have at once; datagrams that would begin another are dropped. (integer, 1 to 1048576; default 4096)

--- Takes links from peers. In the main chunk it is declared, and opened at start; in a task it is opened at once.
---
--- Where: main chunk and tasks.
--- Fails with: in_use, denied, config.
--- ```lua
--- kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
---   local conn, err = kt.connect { to = "127.0.0.1:8388" }
---   if not conn then return stream:reset(err) end
---   kt.splice(stream, conn)
--- end)
--- ```
---@param options kt.accept_options See its keys.
---@return kt.acceptor? acceptor
---@return kt.err? err
function kt.accept(options) end

---@class (exact) kt.pool_options.links
---@field link kt.link The link.
---@field weight? integer Its share with weighted, least_loaded and hash. (integer, 1 to 65535; default 1)
---@field name? string What logs, events and policies call it; its peer's address unless given.

---@class (exact) kt.pool_options.check
---@field every? kt.duration Time between checks, give or take a tenth. (duration, "50ms" to "1h"; default "1s")
---@field timeout? kt.duration A check that takes longer has failed. (duration, "10ms" to "1m"; default "800ms")
---@field fall? integer So many failures in a row: it is down. (integer, 1 to 100; default 3)
---@field rise? integer So many successes in a row: it is up again. A link that was never up yet needs one. (integer, 1 to 100; default 2)
---@field with? function A check of the script's own, with(link) → true, or a round-trip time in seconds, or nil and why not; a task, which may open a stream and ask something. Unless given: link:probe.

---@class (exact) kt.pool_options.discover.link
---@field wire? "kcptun" The protocol on the wire. (default "kcptun")
---@field key string|kt.secret The secret that both ends share.
---@field crypt? "aes"|"aes-128"|"aes-192"|"aes-128-gcm"|"salsa20"|"blowfish"|"twofish"|"cast5"|"3des"|"tea"|"xtea"|"xor"|"sm4"|"none"|"null" Cipher; the same at both ends. (default "aes")
---@field mode? "normal"|"fast"|"fast2"|"fast3"|"manual"|"default" How eagerly KCP retransmits. "manual": as kcp says; "default": KCP's own. (default "fast")
---@field kcp? kt.link_options.kcp KCP's own settings.
---@field fec? kt.link_options.fec|false Forward error correction; the same at both ends; false: none.
---@field compress? boolean Snappy compression; the same at both ends. (default true)
---@field qpp? kt.link_options.qpp|boolean Quantum Permutation Pads; the same at both ends; true: with 61 pads. (default false)
---@field tuncrypt? boolean A second, end-to-end layer of encryption in each stream; needs kt at both ends. (default false)
---@field smux? kt.link_options.smux The multiplexer.
---@field suspect_after? kt.duration After this long without an answer that the peer owes, new streams use a new session; the old one keeps its streams. (duration, "1s" to "1m"; default "5s")
---@field dead_after? kt.duration After this long without an answer that the peer owes, the session ends and its streams break. (duration, "1s" to "1m"; default "30s")
---@field max_streams? integer Streams that a session may have open at once. Further ones of the peer are refused; a link opens its own in another session. (integer, 1 to 65535; default 4096)
---@field memory? kt.size Memory for the buffers of all sessions, in bytes. A session may take as much of it as is left for the others. (size, "1MiB" to "1024GiB"; default "64MiB")
---@field rate? kt.rate Most that a session sends, in bytes of UDP payload; 0: no limit. (default 0)
---@field dscp? integer DSCP of the packets sent. (integer, 0 to 63; default 0)
---@field sockbuf? kt.size Socket buffer, each way. (size, at most "1GiB"; default "4MiB")
---@field sessions? integer Sessions, used in rotation. (integer, 1 to 1024; default 1)
---@field expire? kt.duration A session takes no new streams after so long; 0: never. (default 0)
---@field scavenge? kt.duration ... and is cut after so long again. (default "10m")
---@field stay? boolean Dials at once, without waiting for a stream, and again for ever; so does a link with :serve. (default false)

---@class (exact) kt.pool_options.discover
---@field name string The name, such as "_kt._udp.example.net".
---@field type? "SRV"|"A"|"AAAA" What to ask for. SRV priorities are kept to: a link serves only while none of a better one is up. (default "SRV")
---@field port? integer The peers' port, with A and AAAA. (integer, 1 to 65535)
---@field servers? (string)[] Whom to ask, as for kt.resolve; the system's name servers unless given.
---@field timeout? kt.duration How long a lookup may take. (default "5s")
---@field link kt.pool_options.discover.link Settings of these links, as for kt.link, without remote.

---@class (exact) kt.pool_options
---@field name? string What the log calls it. (default "pool")
---@field links? (kt.link|kt.pool_options.links)[] The links, best first: each a link, or { link = …, weight = 2, name = "spare" }.
---@field policy? "first"|"round_robin"|"least_loaded"|"lowest_rtt"|"weighted"|"hash"|function Which link a stream goes to. first: the first that is up. round_robin: each in turn. least_loaded: where the fewest streams are, by weight. lowest_rtt: the quickest; another one has to be quicker by a tenth. weighted: in turn, by weight. hash: by the request's key; a link that goes away takes only its own keys along. Or a function: policy(up, request) → index into up, whose elements are facts; request is { client, key }. It cannot wait; if it raises or returns anything else, the first link serves and the log says so. (default "first")
---@field hold? kt.duration New streams stay with a link for at least so long, and go over to another only if that has been up for so long; at once when theirs is down. Default: 10 s with first and lowest_rtt; a function that prefers one link for all streams wants it too; not with those that spread.
---@field key? function key({ client }) → string: what hash, or a function, goes by; the client's host unless given.
---@field retries? integer Other links that are tried, as the policy says, when one fails to open a stream. (integer, 0 to 16; default 2)
---@field check? kt.pool_options.check|false How links are checked; false: not at all, all count as up.
---@field migrate? "new-only" What moves to another link: new streams only. kcptun's wire can move no others. (default "new-only")
---@field discover? kt.pool_options.discover Links that DNS names, looked up again at their TTL; they join those in links.

--- A pool: several links behind one open. Each is checked all the time; new streams go to those that are up, as the policy says. Streams stay on the link on which they were opened.
---
--- Where: main chunk and tasks.
--- ```lua
--- local pool = kt.pool {
---   links  = { near, far, { link = spare, name = "spare" } },
---   check  = { every = "1s", timeout = "800ms", fall = 3, rise = 2 },
---   hold   = "10s",
---   policy = function(up)                    -- pure: returns an index
---     local best, cost
---     for i, l in ipairs(up) do
---       local c = l.srtt * (1 + 20 * l.loss)
---       if not cost or c < cost then best, cost = i, c end
---     end
---     return best
---   end,
--- }
--- ```
---@param options kt.pool_options See its keys.
---@return kt.pool
function kt.pool(options) end

---@class (exact) kt.listen_options
---@field on string Where to listen.

--- Takes local connections, TCP or unix. In the main chunk it is declared, and opened at start; in a task it is opened at once.
---
--- Where: main chunk and tasks.
--- Fails with: in_use, denied, config.
--- ```lua
--- kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
---   local stream, err = far:open { client = conn.peer }
---   if not stream then return conn:reset(err) end
---   kt.splice(conn, stream, { idle = "10m" })
--- end)
--- ```
---@param options kt.listen_options See its keys.
---@return kt.listener? listener
---@return kt.err? err
function kt.listen(options) end

---@class (exact) kt.connect_options
---@field to string Where to.
---@field timeout? kt.duration How long it may take. (default "10s")

--- Connects to a TCP port or a unix socket, and waits until that has worked or failed.
---
--- Where: task.
--- Fails with: refused, timeout, name, unreachable, config.
---@param options kt.connect_options See its keys.
---@return kt.conn? conn
---@return kt.err? err
function kt.connect(options) end

---@class (exact) kt.splice_options.rate
---@field a_to_b? kt.rate From the first to the second. (default 0)
---@field b_to_a? kt.rate From the second to the first. (default 0)

---@class (exact) kt.splice_options
---@field idle? kt.duration Ends when nothing has moved for so long; 0: never. (default 0)
---@field total? kt.duration Ends after so long, whatever moves; 0: never. (default 0)
---@field rate? kt.rate|kt.splice_options.rate The most that moves each way, in bytes a second, or a table with one for each way; 0: no limit. (default 0)
---@field linger? kt.duration Where the end of one direction cannot be passed on (a kcptun peer knows no half-close), the other may go on until it was quiet for so long. Default: 10 s, or 1 s once something has come back; 0 for a stream that the peer opened, to which the end is the answer's end.

--- Joins two conns or streams, takes both over, and waits until both directions have ended. Other tasks can still call :set and :stats of the two; its limits and theirs all hold.
---
--- Where: task.
---@param a kt.conn|kt.stream One of the two.
---@param b kt.conn|kt.stream The other.
---@param options? kt.splice_options See its keys.
---@return kt.summary? summary
---@return kt.err? err
function kt.splice(a, b, options) end

---@class (exact) kt.udp_options
---@field on? string The address to bind; port 0: any.
---@field to? string The only peer it talks to; a name is looked up, in a task only.
---@field timeout? kt.duration How long looking up the name may take. (duration, at most "24h"; default "10s")
---@field queue? kt.size Bytes of datagrams that wait to be received (each counts 60 more); past it they are dropped and counted. (size, "4KiB" to "16MiB"; default "64KiB")

--- A UDP socket: bound to an address, or talking to one peer, or both. In the main chunk it is declared, and opened at start; in a task it is opened at once, and closed when the task ends.
---
--- Where: main chunk and tasks.
--- Fails with: in_use, denied, name, timeout, unreachable, config.
--- ```lua
--- local socket = kt.udp { on = ":5353" }
--- kt.spawn(function()
---   while true do
---     local data, from = socket:receive { timeout = "1h" }
---     if data then socket:send(data, from) end
---   end
--- end)
--- ```
---@param options kt.udp_options See its keys.
---@return kt.socket? socket
---@return kt.err? err
function kt.udp(options) end

---@class (exact) kt.resolve_options
---@field name string The name to look up.
---@field type? "A"|"AAAA"|"SRV" The records that are expected. (default "A")
---@field servers? (string)[] Whom to ask, "ip" or "ip:port", 1 to 8 of them, one after the other. Default: those of the system.
---@field timeout? kt.duration How long it may take. (default "5s")

--- Asks DNS for the records of a name, with the time that they hold. DNS alone: not the hosts file, and no search domains are added. SRV records come by priority, the lowest number first. At most 64 records of an answer are taken; SRV records whose target is no host's name, or whose port is 0, are left out. err.code is "name" where the name is the trouble: there is no such name, it has no such record, or it is no name at all. All other codes say nothing about the name: nobody answered ("timeout"), or the servers cannot be reached, fail, or will not say ("io").
---
--- Where: task.
--- Fails with: name, timeout, io, protocol, limit.
--- ```lua
--- local records, err = kt.resolve { name = "_tunnel._udp.example.org", type = "SRV" }
--- for _, r in ipairs(records or {}) do print(r.target, r.port, r.priority, r.weight, r.ttl) end
--- ```
---@param options kt.resolve_options See its keys.
---@return kt.record[]|nil
---@return kt.err? err
function kt.resolve(options) end

--- Waits. kt.sleep(0) lets the others run.
---
--- Where: task.
---@param duration kt.duration As a duration such as "500ms".
function kt.sleep(duration) end

--- Runs fn(…) as a task: when the runtime starts, or once the task that calls this waits or ends. Conns, streams and sockets among the arguments become the new task's.
---
--- Where: main chunk and tasks.
---@param fn function The task.
---@param ... any What it is called with.
function kt.spawn(fn, ...) end

---@class (exact) kt.reload_options
---@field old? "keep"|"drain" "keep": they go on as long as they live. "drain": those still there after timeout are reset. (default "keep")
---@field timeout? kt.duration How long, with old = "drain". (duration, at most "720h"; default "30s")

--- What becomes of this script's conns once a reload (SIGHUP, kt reload) has brought another script in its place. Addresses that both have are handed over; a listener that the new script does not have is closed. The tasks of this script go on as long as any conn or stream of it does, then they end. A script that cannot be loaded or opened replaces nothing. Links are made anew; those of the old script serve its conns to the end. An acceptor keeps its sessions: with other settings new sessions have these and the others keep theirs; with another key or cipher those end with the streams that they have (dscp and sockbuf of an acceptor need a restart). When 16 replaced scripts still have conns, a reload is refused.
---
--- Where: main chunk.
--- ```lua
--- kt.reload { old = "drain", timeout = "10m" }
--- ```
---@param options kt.reload_options See its keys.
function kt.reload(options) end

--- A clock that only goes forward, in seconds; it stands still while a task runs.
---
--- Where: main chunk and tasks.
---@return number
function kt.now() end

--- The wall clock: seconds since 1970-01-01 UTC. It jumps when the clock is set; kt.now is for measuring.
---
--- Where: main chunk and tasks.
---@return number
function kt.wall() end

---@class (exact) kt.date_options
---@field zone? "local"|"utc" Of where: here (TZ), or UTC. (default "local")

--- The date and the time of day, by the wall clock.
---
--- Where: main chunk and tasks.
--- ```lua
--- local now = kt.date()
--- local night = now.hour >= 23 or now.hour < 7
--- ```
---@param options? kt.date_options See its keys.
---@return kt.date
function kt.date(options) end

--- A string that never prints.
---
--- Where: main chunk and tasks.
---@param text string What is secret.
---@return kt.secret
function kt.secret(text) end

--- A file's content, without one trailing newline. A relative path starts at the script's own folder. Raises when the file is empty or cannot be read; warns when every user can read it.
---
--- Where: main chunk and tasks.
---@param path string The file.
---@return kt.secret
function kt.secret_file(path) end

--- One line in the log, formatted as by string.format; a message alone is taken as it is.
---
--- Where: main chunk and tasks.
---@param fmt any The message, or a format for it.
---@param ... any What the format asks for.
function kt.log.debug(fmt, ...) end

--- One line in the log, formatted as by string.format; a message alone is taken as it is.
---
--- Where: main chunk and tasks.
---@param fmt any The message, or a format for it.
---@param ... any What the format asks for.
function kt.log.info(fmt, ...) end

--- One line in the log, formatted as by string.format; a message alone is taken as it is.
---
--- Where: main chunk and tasks.
---@param fmt any The message, or a format for it.
---@param ... any What the format asks for.
function kt.log.warn(fmt, ...) end

--- One line in the log, formatted as by string.format; a message alone is taken as it is.
---
--- Where: main chunk and tasks.
---@param fmt any The message, or a format for it.
---@param ... any What the format asks for.
function kt.log.error(fmt, ...) end

return kt
