/* smux 1 and 2: many streams over one reliable byte pipe (docs/wire-kcptun.md, section 9).
 *
 * Pure protocol: no socket, no KCP, no snappy. The owner (a session) feeds in received bytes, reports how
 * much room there is and takes frames. Each stream is a kt_pipe with a kt_stream_ops. Control frames go
 * before data, except that a stream's FIN follows its data. Data is scheduled by priority and weight
 * (link/common/stream_schedule.h).
 *
 * Three extensions, all invisible to kcptun's smux:
 *
 * - hello: the first frame of each direction between kts is a NOP whose stream id is KT_SMUX_HELLO |
 *   features; smux ignores the id of a NOP. The client sends it first and a server only answers, so a kcptun
 *   client sees nothing unusual.
 * - half-close: a PSH without payload, which smux ignores, ends one direction if both ends announced
 *   KT_SMUX_F_HALF_CLOSE. Towards any other peer, shutdown takes effect when close sends FIN
 *   (kt_pipe_half_close is false until then).
 * - abort: if both ends announced KT_SMUX_F_ABORT, a stream that is reset or cut ends with RST (command 5)
 *   instead of FIN. Its body is one byte, a KT_E... code without its sign, and up to KT_SMUX_RST_TEXT bytes
 *   of text. Any other peer gets FIN, which looks like an orderly end. A client that does not know yet what
 *   the server supports holds back the end of such a stream until the server's hello or any other frame
 *   arrives, or until the second heartbeat at which the peer is known to hold our hello.
 *
 * Young streams: until the peer is known to hold a stream's SYN (kt_smux_settled), everything written to the
 * stream stays in its send buffer, so that the whole stream can move to another session if this one turns out
 * to be dead (kt_smux_move_young). Any frame that arrives for a stream settles it too.
 *
 * How a stream's pipe ends, beyond base/pipe.h:
 *
 * - The peer's FIN: it has forgotten the stream. Received bytes stay readable, then comes eof; write returns
 *   0, gone is true, and a waiting writer gets one more `writable` to find out. There is no `closed`, unless
 *   written bytes had to be dropped: then KT_ERESET, after everything received was consumed.
 * - A peer that claims to have consumed more than it was sent: `closed` with KT_EPROTO.
 * - The peer's RST: `closed` with KT_ERESET, at once. Bytes received before it stay readable, but eof does
 *   not follow. kt_pipe_why gives the peer's code and text.
 * - close sends what is buffered, then FIN. Arrivals are dropped, and credited (v2) so that the peer does not
 *   get stuck. cut does the same with RST at the end, but drops the rest and sends RST if none of it left
 *   between two heartbeats. reset drops what is buffered and sends RST at once, or nothing if SYN has not
 *   left yet. FIN is sent even after the peer's FIN or RST, as kcptun does. After its FIN or RST a stream is
 *   forgotten.
 * - `closed` needs a listener. If there is none when the pipe breaks, gone becomes true instead.
 *
 * Ids: a client opens 3, 5, ..., a server 2, 4, ...; as with kcptun the peer may use either kind, and our own
 * ids skip those in use. A SYN for a live id is ignored; other frames for unknown ids are dropped.
 *
 * Send queues share session_buffer bytes: each may hold half of what the others leave, between
 * KT_SMUX_SEND_LEAST and KT_SMUX_SEND_BUFFER. All together also take at most half of the memory that is held or that
 * the owner has to spare, so that data to receive has room: two ends that filled their memory with data to send would
 * wait for each other. The first KT_SMUX_SEND_LEAST bytes of further queues may take half of the rest; if that is used
 * up too, a queue takes nothing until others have sent something.
 *
 * Windows (v2) shrink as unread bytes fill session_buffer, so that unread streams leave room for the others
 * (smux_window.c). A stream whose peer exceeds every window announced to it is cut: its unread bytes are
 * dropped and its pipe gets `closed` with KT_EPROTO. Version 1 cannot hold back a single stream: when unread
 * bytes fill session_buffer, reading stops for all streams. The owner, who has the clock, decides how long
 * that may last (kt_smux_cut_unread).
 *
 * When memory for arrivals runs out, reading stops as if session_buffer were full; it resumes when something
 * is consumed, or with the next keepalive. */
#ifndef KT_LINK_KCPTUN_SMUX_H
#define KT_LINK_KCPTUN_SMUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/pipe.h"
#include "base/slab.h"

struct kt_qpp;
struct kt_smux;
struct kt_stream_facts;

#define KT_SMUX_HEADER 8u
#define KT_SMUX_HELLO 0x6b740000u /* "kt" in the upper half */
#define KT_SMUX_F_HALF_CLOSE 0x0001u
#define KT_SMUX_F_TUNCRYPT 0x0002u
#define KT_SMUX_F_SERVES 0x0004u /* from a client: it accepts streams that the server opens */
#define KT_SMUX_F_ABORT 0x0008u
#define KT_SMUX_RST_TEXT 127u /* most bytes of text in an RST */
#define KT_SMUX_REFUSALS                                                                                     \
    4096u /* refusals waiting to be sent; beyond that, or without memory, SYNs are ignored */
#define KT_SMUX_SEND_BUFFER 131072u /* most bytes a stream may queue, not yet framed or young */
#define KT_SMUX_SEND_LEAST 4096u    /* ... and may, whatever the session's other streams queue */

struct kt_smux_config {
    bool client;
    unsigned version;            /* 1 or 2 */
    uint32_t frame_size;         /* most payload in a PSH sent, 1..65535 */
    size_t session_buffer;       /* smuxbuf: received bytes, all streams; with v2 as much again for what was
                                    in flight when windows shrank. Reading stops beyond that */
    uint32_t max_streams;        /* streams open at once, ours and the peer's; 1..65535 */
    uint32_t stream_buffer;      /* streambuf: largest v2 window of a stream */
    const struct kt_qpp *qpp;    /* NULL: off; outlives the smux */
    uint16_t features;           /* KT_SMUX_F_... to announce; 0: never send a hello */
    uint64_t hash_seed;          /* random, because the peer chooses ids */
    void (*released)(void *arg); /* the smux was freed and no longer uses bufs and qpp; may be NULL */
    void *released_arg;
};

/* accept, hello and streams are called from kt_smux_dispatch and kt_smux_pump, like stream events, and may
 * call anything. wake and resume may be called from inside any function here or on a pipe, room and frame
 * from the pump; none of them may call back. accept, resume, hello and streams may be NULL. */
struct kt_smux_owner {
    /* How many of `want` payload bytes the transport accepts now in one frame; it knows its own overhead.
     * Control frames ask for 0 and get nonzero if a header fits. */
    size_t (*room)(void *ctx, size_t want);
    /* One frame: 8 header bytes, then the payload in up to two pieces. Always accepted, as room was asked. */
    void (*frame)(void *ctx, const uint8_t *header, const struct kt_iov *payload, size_t pieces);
    /* There is something to send (also UPD after reading): call kt_smux_pump by the end of the turn. */
    void (*wake)(void *ctx);
    /* Whether the owner has room for another stream of the peer's; if not, the stream is refused as if
     * max_streams were open. Must not call back. NULL: always. */
    bool (*admit)(void *ctx);
    /* A stream of the peer's was refused; full: because max_streams are open. Must not call back. May be
     * NULL. */
    void (*refused)(void *ctx, bool full);
    /* The peer opened a stream, which is the callee's from now on. It listens on the pipe now or later, and
     * ends it with close or reset. NULL: refuse such streams with FIN. */
    void (*accept)(void *ctx, struct kt_pipe *stream);
    /* Reading can continue after kt_smux_input took less than it was given. */
    void (*resume)(void *ctx);
    /* The peer's hello, with its features. */
    void (*hello)(void *ctx, uint16_t features);
    /* The number of open streams has changed to n. A stream is open until its FIN is framed and it is no
     * longer young. */
    void (*streams)(void *ctx, size_t n);
    /* Bytes of memory that this smux may use beyond kt_smux_held; first: for the first bytes of a stream's queue.
     * Must not call back. NULL: no limit. */
    size_t (*spare)(void *ctx, bool first);
    /* Unread bytes that it may hold even without that. Not NULL if spare is not. Must not call back. */
    size_t (*least)(void *ctx);
    /* Fills in what only the transport knows (link/stream.h). Called from inside a call on a pipe. May be
     * NULL. */
    void (*facts)(void *ctx, struct kt_stream_facts *out);
    /* Whether bytes have arrived that kt_smux_input has not been given. Must not call back. NULL: never. */
    bool (*behind)(void *ctx);
    /* A stream was cut and its unread bytes dropped: KT_EPROTO (its peer ignores windows) or KT_ELIMIT
     * (kt_smux_cut_unread). Must not call back. May be NULL. */
    void (*cut)(void *ctx, uint32_t id, size_t unread, int code);
};

/* bufs: blocks for stream buffers; shared, outlives the smux. 0, KT_EINVAL or KT_ENOMEM. */
int kt_smux_new(struct kt_smux **out, const struct kt_smux_config *cfg, const struct kt_smux_owner *owner,
    void *ctx, struct kt_slab *bufs);

/* Ends all streams with `code`: raises their `closed` events, except for streams that the peer had ended.
 * Buffered data stays readable until their pipes are closed. From inside a callback it takes effect when the
 * outer call (dispatch, pump) returns. The owner gets no more calls; the smux is freed when the last pipe is
 * closed. NULL is harmless. */
void kt_smux_free(struct kt_smux *m, int code);

/* Opens a stream; SYN leaves with the next pump. 0, KT_ENOMEM, or KT_ELIMIT (ids used up, or too many
 * streams: use another session). */
int kt_smux_open(struct kt_smux *m, struct kt_pipe **out);

/* Feeds in received bytes. Returns how many were taken (fewer when session_buffer is full: feed the rest
 * after resume), or KT_EPROTO or KT_ENOMEM with the reason in err, after which it takes nothing more. Stream
 * events are raised by kt_smux_dispatch, once per batch. */
long kt_smux_input(struct kt_smux *m, const uint8_t *data, size_t n, struct kt_err *err);
/* Until the next call, kt_smux_input handles at most `frames` frames. Beyond that it takes fewer bytes than it
 * is given, no resume follows, and kt_smux_spent is true. A SYN that would have to be refused is held back in
 * the same way while streams before it wait for `accept`: they may have ended already, and then make room. No
 * limit before the first call. */
void kt_smux_budget(struct kt_smux *m, uint32_t frames);
bool kt_smux_spent(const struct kt_smux *m);
/* Until the next call, at most n of the peer's streams go to `accept`: a stream costs its owner a task and a
 * connection, but a frame nothing. The others wait, in order; they are open, and keep what arrives for them.
 * kt_smux_waiting is true while there are any. No limit before the first call. */
void kt_smux_accept_most(struct kt_smux *m, uint32_t n);
bool kt_smux_waiting(const struct kt_smux *m);
void kt_smux_dispatch(struct kt_smux *m);
/* While the buffer is full: cuts every stream with unread bytes of which nothing was read since
 * kt_smux_watch; if there is none, the stream with the most unread bytes. The bytes are dropped, and the pipe
 * gets `closed` with KT_ELIMIT from the next dispatch or pump. Both functions scan all streams. */
void kt_smux_watch(struct kt_smux *m);
void kt_smux_cut_unread(struct kt_smux *m);

/* Frames what streams have to send, as far as room allows, and raises all events due. Reentrant calls are
 * harmless. */
void kt_smux_pump(struct kt_smux *m);
/* Whether something waits for room; otherwise, whether data waits for the peer's stream windows. */
bool kt_smux_pending(struct kt_smux *m);
bool kt_smux_blocked(struct kt_smux *m);

/* Queues a NOP. */
void kt_smux_keepalive(struct kt_smux *m);
/* The same, called at regular intervals: what has waited for the peer longer than an interval is decided
 * without it. */
void kt_smux_heartbeat(struct kt_smux *m);
/* Stops waiting for the peer's hello, and treats it as a kcptun. */
void kt_smux_presume_foreign(struct kt_smux *m);
/* True until the NOP is framed. */
bool kt_smux_nop_due(const struct kt_smux *m);

/* mark: the number of frames so far. settled: the peer holds all frames before `mark`, so streams whose SYN
 * is among them are not young any more. */
uint64_t kt_smux_mark(const struct kt_smux *m);
void kt_smux_settled(struct kt_smux *m, uint64_t mark);
/* True while a stream is young; the owner need not track marks otherwise. */
bool kt_smux_has_young(const struct kt_smux *m);
/* Moves the young streams that have received nothing to another smux with the same config, where they are
 * opened and replayed. Returns how many. */
size_t kt_smux_move_young(struct kt_smux *from, struct kt_smux *to);

/* True if windows were reduced (v2) and the peer may not know yet. Then the owner calls kt_smux_believe at
 * intervals longer than the slowest peer needs to learn of it: what was taken back before the previous call
 * becomes free for other streams. */
bool kt_smux_has_shrunk(const struct kt_smux *m);
void kt_smux_believe(struct kt_smux *m);

size_t kt_smux_streams(const struct kt_smux *m);
size_t kt_smux_held(const struct kt_smux *m); /* memory of all stream buffers, in bytes */
/* Bytes of the list of refused streams. */
size_t kt_smux_refusals_held(const struct kt_smux *m);
uint64_t kt_smux_read(const struct kt_smux *m); /* received bytes consumed or dropped so far */
/* The peer's features; false if it sent no hello. */
bool kt_smux_peer(const struct kt_smux *m, uint16_t *features);
/* True if a frame with this header belongs to no stream (hello, keepalive). */
bool kt_smux_small_talk(const uint8_t *header);

#endif
