---@meta kt
-- Made by scripts/generate from lua/kt/api.lua; changes go there.

---@alias kt.duration string|number a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds
---@alias kt.size string|number a size such as "64KiB", "2MiB", "1MB", or a number of bytes
---@alias kt.rate string|number a rate such as "20Mbit" (bits a second), "2MiB" (bytes a second), or a number of bytes a second

--- What a splice has done.
---@class kt.summary
---@field a_to_b integer Bytes from the first to the second.
---@field b_to_a integer Bytes from the second to the first.
---@field duration number Seconds.
---@field reason string "end", or the err.code of what cut it short.

--- The figures of a link.
---@class kt.stats
---@field sessions integer Sessions that are up.
---@field streams integer Streams that are open.
---@field srtt number Smoothed round-trip time, in seconds.
---@field rttvar number Its variation, in seconds.
---@field rto number Retransmission timeout, in seconds.
---@field segs_out integer Segments sent, each counted once.
---@field segs_retrans integer Segments sent again.
---@field segs_recovered integer Segments that FEC has rebuilt here.
---@field bytes_in integer Payload received.
---@field bytes_out integer Payload sent.
---@field inflight integer Segments sent and not yet acknowledged.
---@field queued integer Segments that wait for the window.
---@field rmt_wnd integer The peer's receive window, in segments.
---@field cwnd integer Congestion window, in segments; with nc the send window.
---@field since_heard number Seconds since the peer was heard; math.huge: never.

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

--- A link to a peer, as kt.link declared it. Shared by all tasks.
---@class kt.link
---@field remote string The peer, as declared.
local link = {}

---@class (exact) kt.link.open_options
---@field timeout? kt.duration How long it may take. (default "10s")
---@field client? string On whose behalf; for the log.

--- Opens a stream to the peer, dialling it first if need be.
---
--- Where: task.
--- Fails with: timeout, closed, dead, limit.
---@param options? kt.link.open_options See its keys.
---@return kt.stream? stream
---@return kt.err? err
function link:open(options) end

--- The figures of the link, as they are now.
---
--- Where: main chunk and tasks.
---@return kt.stats
function link:stats() end

--- Closes the link. Its streams break, and whoever waits for one gets an err "closed".
---
--- Where: main chunk and tasks.
function link:close() end

--- Takes links from peers, as kt.accept declared it.
---@class kt.acceptor
local acceptor = {}

--- Sets the function that gets each stream, in a task of its own, and returns the handle. The task owns the stream: when the function returns it is closed, when it fails it is reset. Once for each handle.
---
--- Where: main chunk.
---@param handler fun(stream: kt.stream) Called with each stream.
---@return kt.acceptor
function acceptor:serve(handler) end

--- The figures of all links together; times are of the one heard last.
---
--- Where: main chunk and tasks.
---@return kt.stats
function acceptor:stats() end

--- Closes it and all its links.
---
--- Where: main chunk and tasks.
function acceptor:close() end

--- Takes local connections, as kt.listen declared it.
---@class kt.listener
---@field local_addr string|nil Where it listens, once it does.
local listener = {}

--- Sets the function that gets each conn, in a task of its own, and returns the handle. The task owns the conn: when the function returns it is closed, when it fails it is reset. Once for each handle.
---
--- Where: main chunk.
---@param handler fun(conn: kt.conn) Called with each conn.
---@return kt.listener
function listener:serve(handler) end

--- Takes no more conns; those that are there go on.
---
--- Where: main chunk and tasks.
function listener:close() end

--- A local TCP or unix connection.
---@class kt.conn
---@field peer string|nil The other end's address; kept when it is closed.
---@field local_addr string|nil This end's address, while it is open.
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

--- Waits for n bytes; nothing behind them is read. When it fails, `came` is what had arrived.
---
--- Where: task.
--- Fails with: eof, timeout, reset, closed.
---@param n integer How many bytes, at most 1 MiB.
---@param options? kt.conn.read_exactly_options See its keys.
---@return string|nil
---@return kt.err? err
---@return string|nil
function conn:read_exactly(n, options) end

---@class (exact) kt.conn.read_until_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- All bytes up to the delimiter and with it; nothing behind it is read. err.code is "limit" when there is no delimiter within max bytes. When it fails, `came` is what had arrived, which counts as read.
---
--- Where: task.
--- Fails with: eof, limit, timeout, reset, closed.
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

--- Ends it at once, dropping what was not delivered; a reason is logged.
---
--- Where: main chunk and tasks.
---@param reason? kt.err|string Why.
function conn:reset(reason) end

--- A reliable, ordered pipe of bytes inside a link.
---@class kt.stream
---@field peer string|nil The other end of the link.
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

--- Waits for n bytes; nothing behind them is read. When it fails, `came` is what had arrived.
---
--- Where: task.
--- Fails with: eof, timeout, reset, closed.
---@param n integer How many bytes, at most 1 MiB.
---@param options? kt.stream.read_exactly_options See its keys.
---@return string|nil
---@return kt.err? err
---@return string|nil
function stream:read_exactly(n, options) end

---@class (exact) kt.stream.read_until_options
---@field timeout? kt.duration How long the whole call may take. (default "30s")

--- All bytes up to the delimiter and with it; nothing behind it is read. err.code is "limit" when there is no delimiter within max bytes. When it fails, `came` is what had arrived, which counts as read.
---
--- Where: task.
--- Fails with: eof, limit, timeout, reset, closed.
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

--- Ends it at once, dropping what was not delivered; a reason is logged.
---
--- Where: main chunk and tasks.
---@param reason? kt.err|string Why.
function stream:reset(reason) end

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

--- Sends a datagram. Waits while the system takes no more. Whether it arrives, nobody knows.
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
---@field mtu? integer Largest UDP payload, in bytes. (whole number, 128 to 1500; default 1350)
---@field sndwnd? integer Send window, in packets: what may be under way. (whole number, 1 to 65535; default 128)
---@field rcvwnd? integer Receive window, in packets. (whole number, 1 to 65535; default 512)
---@field nodelay? boolean Quicker retransmission timeouts. Only with mode = "manual".
---@field interval? integer Milliseconds between flushes. Only with mode = "manual". (whole number, 10 to 5000)
---@field resend? integer Retransmit after so many later acknowledgements; 0: never. Only with mode = "manual". (whole number, 0 to 255)
---@field nc? boolean No congestion window. Only with mode = "manual".
---@field acknodelay? boolean Acknowledge at once rather than at the next flush. (default false)

---@class (exact) kt.link_options.fec
---@field data? integer Packets in a group; 0: no FEC. (whole number, 0 to 255; default 10)
---@field parity? integer Parity packets for each; 0: no FEC. (whole number, 0 to 255; default 3)

---@class (exact) kt.link_options.qpp
---@field pads? integer How many pads. (whole number, 1 to 4096; default 61)

---@class (exact) kt.link_options.smux
---@field version? integer The same at both ends. (whole number, 1 to 2; default 2)
---@field buffer? kt.size Received bytes that a session holds for all its streams. (size, "64KiB" to "2GiB"; default "4MiB")
---@field stream_buffer? kt.size ... and for one stream. (size, "8KiB" to 2147483647; default "2MiB")
---@field frame? integer Most bytes in a frame. (whole number, 1 to 65535; default 8192)
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
---@field dead_after? kt.duration A peer that owes an answer for so long is dead. (duration, "1s" to "1m"; default "5s")
---@field rate? kt.rate Most that a session sends, in bytes of UDP payload; 0: no limit. (default 0)
---@field dscp? integer DSCP of the packets sent. (whole number, 0 to 63; default 0)
---@field sockbuf? kt.size Socket buffer, each way. (size, at most "1GiB"; default "4MiB")
---@field sessions? integer Sessions, used in rotation. (whole number, 1 to 1024; default 1)
---@field expire? kt.duration A session takes no new streams after so long; 0: never. (default 0)
---@field scavenge? kt.duration ... and is cut after so long again. (default "10m")

--- Declares a link to a peer. It dials when the first stream is opened, and again whenever the peer was lost.
---
--- Where: main chunk.
--- ```lua
--- local far = kt.link { remote = "vps.example:29900", key = kt.secret_file "psk.key", mode = "fast2" }
--- ```
---@param options kt.link_options See its keys.
---@return kt.link
function kt.link(options) end

---@class (exact) kt.accept_options.kcp
---@field mtu? integer Largest UDP payload, in bytes. (whole number, 128 to 1500; default 1350)
---@field sndwnd? integer Send window, in packets: what may be under way. (whole number, 1 to 65535; default 1024)
---@field rcvwnd? integer Receive window, in packets. (whole number, 1 to 65535; default 1024)
---@field nodelay? boolean Quicker retransmission timeouts. Only with mode = "manual".
---@field interval? integer Milliseconds between flushes. Only with mode = "manual". (whole number, 10 to 5000)
---@field resend? integer Retransmit after so many later acknowledgements; 0: never. Only with mode = "manual". (whole number, 0 to 255)
---@field nc? boolean No congestion window. Only with mode = "manual".
---@field acknodelay? boolean Acknowledge at once rather than at the next flush. (default false)

---@class (exact) kt.accept_options.fec
---@field data? integer Packets in a group; 0: no FEC. (whole number, 0 to 255; default 10)
---@field parity? integer Parity packets for each; 0: no FEC. (whole number, 0 to 255; default 3)

---@class (exact) kt.accept_options.qpp
---@field pads? integer How many pads. (whole number, 1 to 4096; default 61)

---@class (exact) kt.accept_options.smux
---@field version? integer The same at both ends. (whole number, 1 to 2; default 2)
---@field buffer? kt.size Received bytes that a session holds for all its streams. (size, "64KiB" to "2GiB"; default "4MiB")
---@field stream_buffer? kt.size ... and for one stream. (size, "8KiB" to 2147483647; default "2MiB")
---@field frame? integer Most bytes in a frame. (whole number, 1 to 65535; default 8192)
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
---@field dead_after? kt.duration A peer that owes an answer for so long is dead. (duration, "1s" to "1m"; default "5s")
---@field rate? kt.rate Most that a session sends, in bytes of UDP payload; 0: no limit. (default 0)
---@field dscp? integer DSCP of the packets sent. (whole number, 0 to 63; default 0)
---@field sockbuf? kt.size Socket buffer, each way. (size, at most "1GiB"; default "4MiB")

--- Declares that links are taken from peers.
---
--- Where: main chunk.
--- ```lua
--- kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
---   local conn, err = kt.connect { to = "127.0.0.1:8388" }
---   if not conn then return stream:reset(err) end
---   kt.splice(stream, conn)
--- end)
--- ```
---@param options kt.accept_options See its keys.
---@return kt.acceptor
function kt.accept(options) end

---@class (exact) kt.listen_options
---@field on string Where to listen.

--- Declares that local connections are taken, TCP or unix.
---
--- Where: main chunk.
--- ```lua
--- kt.listen { on = "127.0.0.1:12948" }:serve(function(conn)
---   local stream, err = far:open { client = conn.peer }
---   if not stream then return conn:reset(err) end
---   kt.splice(conn, stream, { idle = "10m" })
--- end)
--- ```
---@param options kt.listen_options See its keys.
---@return kt.listener
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

---@class (exact) kt.splice_options
---@field idle? kt.duration Ends when nothing has moved for so long; 0: never. (default 0)
---@field linger? kt.duration Where the end of one direction cannot be passed on (a kcptun peer knows no half-close), the other may go on until it was quiet for so long. Default: 10 s, or 1 s once something has come back; 0 for a stream that the peer opened, to which the end is the answer's end.

--- Joins two conns or streams, takes both over, and waits until both directions have ended.
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
---@field timeout? kt.duration How long looking up the name may take. (duration, at most "1440m"; default "10s")
---@field queue? kt.size Bytes of datagrams that wait to be received (each counts 32 more); past it they are dropped and counted. (size, "4KiB" to "16MiB"; default "64KiB")

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

--- Waits. kt.sleep(0) lets the others run.
---
--- Where: task.
---@param duration kt.duration As a duration such as "500ms".
function kt.sleep(duration) end

--- Runs fn(…) as a task: when the runtime starts, or at the end of this turn. Conns, streams and sockets among the arguments become the new task's.
---
--- Where: main chunk and tasks.
---@param fn function The task.
---@param ... any What it is called with.
function kt.spawn(fn, ...) end

--- A clock that only goes forward, in seconds; it stands still while a task runs.
---
--- Where: main chunk and tasks.
---@return number
function kt.now() end

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
---@param fmt string The message, or a format for it.
---@param ... any What the format asks for.
function kt.log.debug(fmt, ...) end

--- One line in the log, formatted as by string.format; a message alone is taken as it is.
---
--- Where: main chunk and tasks.
---@param fmt string The message, or a format for it.
---@param ... any What the format asks for.
function kt.log.info(fmt, ...) end

--- One line in the log, formatted as by string.format; a message alone is taken as it is.
---
--- Where: main chunk and tasks.
---@param fmt string The message, or a format for it.
---@param ... any What the format asks for.
function kt.log.warn(fmt, ...) end

--- One line in the log, formatted as by string.format; a message alone is taken as it is.
---
--- Where: main chunk and tasks.
---@param fmt string The message, or a format for it.
---@param ... any What the format asks for.
function kt.log.error(fmt, ...) end

return kt
