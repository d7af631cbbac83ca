/* smux 1 and 2: many streams over one reliable byte pipe (docs/wire-kcptun.md, section 9).
 *
 * Pure protocol: no socket, no KCP, no snappy. The owner (a session) feeds received bytes in, and is asked
 * for room and given frames. Each stream is a kt_pipe, with a kt_stream_ops. Control frames go before all
 * data; FIN goes in order after its stream's. Data goes by priority, and within a priority in shares by
 * weight, counted in bytes. So that a link that the first priorities keep full does not starve the others,
 * one byte in KT_STREAM_SPARE is theirs.
 *
 * Three things kcptun's own smux does not have, all invisible to it:
 * - hello: the first frame of each direction between kts is a NOP whose stream id is KT_SMUX_HELLO |
 * features. smux ignores the id of a NOP. The client says it first; a server only answers one, so a kcptun
 * client hears nothing unusual.
 * - half-close: a zero-length PSH, which smux ignores, means "this direction has ended" between two ends that
 * said KT_SMUX_F_HALF_CLOSE. To a peer that did not, shutdown is held back (kt_pipe_half_close is false)
 * until close sends FIN.
 * - abort: between two ends that said KT_SMUX_F_ABORT, a stream that is reset or cut ends with an RST frame
 * (command 5) in place of FIN. Its body is one byte, a KT_E… code without its sign, and up to
 * KT_SMUX_RST_TEXT bytes of text. To any other peer it ends with FIN, which looks like an orderly end. A
 * client that has not heard yet what the server can do holds the end of such a stream back until the hello is
 * there, or any other frame, or the second heartbeat
 * that finds the peer to hold its own.
 *
 * Young streams: until the peer is known to hold a stream's SYN (kt_smux_settled), what was written to it
 * stays in its send buffer, so that the stream can be moved whole to another session when this one turns out
 * to be dead (kt_smux_move_young). Any frame that comes for it settles a stream, too.
 *
 * What a stream's pipe does at its ends, beyond base/pipe.h:
 * - The peer's FIN: it has forgotten the stream. What came is readable, then eof; write returns 0, gone is
 *   true, and a writer that waited gets one more `writable` to find out. No `closed`, unless bytes that were
 *   written had to be thrown away: then KT_ERESET, once everything that came was consumed.
 * - A peer that claims to have consumed more than it was sent: `closed` with KT_EPROTO.
 * - The peer's RST: `closed` with KT_ERESET, at once; what came before it stays readable, but is not followed
 *   by eof. kt_pipe_why gives the peer's code and text.
 * - close sends what is buffered, then FIN; what still comes is dropped, and credited (v2) lest the peer be
 *   stuck on it. cut does the same with RST at the end, but drops the rest and sends RST when nothing of it
 *   left between two heartbeats. reset drops what is buffered and sends RST at once,
 * or nothing if SYN did not leave yet. FIN is sent even where the peer's FIN or RST came first, as kcptun
 * does. After its FIN or RST a stream is forgotten.
 * - `closed` needs a listener. If there is none when the pipe breaks, gone becomes true instead.
 *
 * Ids: a client opens 3, 5, …, a server 2, 4, …; what the peer opens may be of either kind, as with kcptun,
 * and our own ids step around it. A SYN for a live id is ignored, other frames for unknown ids are dropped.
 *
 * What streams have to send shares session_buffer bytes in the same way: each may queue half of what the
 * others leave, from KT_SMUX_SEND_LEAST to KT_SMUX_SEND_BUFFER.
 *
 * Windows (v2) shrink as unread bytes fill session_buffer, so that unread streams leave room for the others
 * (smux_window.c). A stream whose peer sends beyond every window announced to it is cut: its
 * unread bytes are dropped, and its pipe gets `closed` with KT_EPROTO. In version 1 nothing holds a single
 * stream back: unread bytes fill session_buffer, then reading stops for all of them. The owner, who has the
 * clock, decides how long that may last (kt_smux_cut_unread).
 *
 * When memory for arrivals runs out, reading stops as if session_buffer were full; it resumes when something
 * was consumed, or with the next keepalive. */
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
#define KT_SMUX_F_SERVES 0x0004u /* of a client: streams that the server opens are served */
#define KT_SMUX_F_ABORT 0x0008u
#define KT_SMUX_RST_TEXT 127u      /* most bytes of text in an RST */
#define KT_SMUX_REFUSALS 4096u     /* refusals that may wait to be sent; beyond that SYNs are ignored */
#define KT_SMUX_SEND_BUFFER 65536u /* most bytes a stream holds that were not yet framed (or are young) */
#define KT_SMUX_SEND_LEAST 4096u   /* ... which it may whatever the other streams hold */
#define KT_SMUX_SYN_WORK 16u       /* a stream costs its owner a task and a connection */

struct kt_smux_config {
    bool client;
    unsigned version;            /* 1 or 2 */
    uint32_t frame_size;         /* most payload in a PSH sent, 1..65535 */
    size_t session_buffer;       /* smuxbuf: received bytes that streams share; with v2 as much again for
                                    what was under way when windows shrank. Then reading stops */
    uint32_t max_streams;        /* streams open at once, ours and the peer's; 1..65535 */
    uint32_t stream_buffer;      /* streambuf: largest v2 window of a stream */
    const struct kt_qpp *qpp;    /* NULL: off; outlives the smux */
    uint16_t features;           /* KT_SMUX_F_… announced; 0: no hello is ever sent */
    uint64_t hash_seed;          /* random: ids are the peer's choice */
    void (*released)(void *arg); /* the memory is gone, bufs and qpp are no longer used; may be NULL */
    void *released_arg;
};

/* accept, hello and streams are called from kt_smux_dispatch and kt_smux_pump, like streams' events, and may
 * do anything. wake and resume may come from inside any call here or on a pipe, and only take note; room and
 * frame come from the pump, and must not call back either. accept, resume, hello, streams may be NULL. */
struct kt_smux_owner {
    /* Most payload bytes the transport takes now as one frame of `want` payload bytes (it knows its own
     * overheads); 0: none. Control frames ask with want 0 and get nonzero if a header fits. */
    size_t (*room)(void *ctx, size_t want);
    /* One frame: 8 header bytes, then n payload bytes in up to two pieces. Always taken (room was asked). */
    void (*frame)(void *ctx, const uint8_t *header, const struct kt_iov *payload, size_t pieces);
    /* Something is to be sent (also: UPD after reading): the owner calls kt_smux_pump soon (end of turn). */
    void (*wake)(void *ctx);
    /* The peer wants to open a stream: false refuses it. `full`: there are max_streams, so it is refused
     * anyway. Only takes note. May be NULL: all are admitted for which there is room. */
    bool (*admit)(void *ctx, bool full);
    /* The peer opened a stream (server side; kcptun's clients never get one). Sets a listener on the pipe now
     * or later; owner ends it by close or reset. NULL: such streams are refused with FIN. */
    void (*accept)(void *ctx, struct kt_pipe *stream);
    /* Reading may go on after kt_smux_input took less than it was given. */
    void (*resume)(void *ctx);
    /* The peer's hello: its features. */
    void (*hello)(void *ctx, uint16_t features);
    /* The number of open streams changed, and is n now. A stream is open until its FIN was framed (and it is
     * not young any more). */
    void (*streams)(void *ctx, size_t n);
    /* Bytes of memory that this smux may take beyond kt_smux_held; 0: no more for now. From inside any call,
     * and only asks. May be NULL: any number. */
    size_t (*spare)(void *ctx);
    /* Fills in what only the transport knows (link/stream.h). From inside a call on a pipe. May be NULL. */
    void (*facts)(void *ctx, struct kt_stream_facts *out);
    /* A stream was cut, with so many unread bytes dropped: KT_EPROTO (its peer ignores windows) or KT_ELIMIT
     * (kt_smux_cut_unread). Only takes note. May be NULL. */
    void (*cut)(void *ctx, uint32_t id, size_t unread, int code);
};

/* bufs: block pool for stream buffers, shared, outlives the smux. 0, KT_EINVAL, KT_ENOMEM. */
int kt_smux_new(struct kt_smux **out, const struct kt_smux_config *cfg, const struct kt_smux_owner *owner,
    void *ctx, struct kt_slab *bufs);

/* Ends all streams with `code`: their closed events come from here (not for streams that the peer ended
 * before), and buffered data stays readable until their pipes are closed. From inside a callback it takes
 * effect when the call that it came from (dispatch, pump) is done. The smux is freed when the last pipe has
 * been closed by its owner; the smux's owner gets no more calls. NULL is harmless. */
void kt_smux_free(struct kt_smux *m, int code);

/* Opens a stream: SYN leaves with the next pump. 0, KT_ELIMIT (ids used up or too many streams: use another
 * session), KT_ENOMEM. */
int kt_smux_open(struct kt_smux *m, struct kt_pipe **out);

/* Feeds received bytes; returns how many were taken (fewer when session_buffer is reached: feed the rest
 * after resume), or KT_EPROTO or KT_ENOMEM with the reason in err, after which it takes nothing more. Stream
 * events (readable, ...) are not raised here but by kt_smux_dispatch, once per batch. */
long kt_smux_input(struct kt_smux *m, const uint8_t *data, size_t n, struct kt_err *err);
/* Limits the work of the calls of kt_smux_input until the next kt_smux_budget: `work` frames, where a SYN
 * counts as KT_SMUX_SYN_WORK. Then input takes fewer bytes than it is given, without a resume to follow, and
 * kt_smux_spent is true. Without a call there is no such limit. */
void kt_smux_budget(struct kt_smux *m, uint32_t work);
bool kt_smux_spent(const struct kt_smux *m);
void kt_smux_dispatch(struct kt_smux *m);
/* While the buffer is full: cuts each stream that has unread bytes and of which nothing was read since
 * kt_smux_watch; if there is none, the stream with the most unread bytes. These are dropped, and the pipe
 * gets `closed` with KT_ELIMIT from the next dispatch or pump. Both look at every stream. */
void kt_smux_watch(struct kt_smux *m);
void kt_smux_cut_unread(struct kt_smux *m);

/* Frames what streams have to say, as far as room allows, and raises writable, and what else is due.
 * Reentrant calls are harmless. */
void kt_smux_pump(struct kt_smux *m);

/* Queues a NOP. */
void kt_smux_keepalive(struct kt_smux *m);
/* The same, at regular intervals: what waits for the peer for more than an interval is settled without it. */
void kt_smux_heartbeat(struct kt_smux *m);
/* Stops waiting for the peer's hello: what it would have decided is sent as to a foreign peer. */
void kt_smux_presume_foreign(struct kt_smux *m);
/* True until it was framed. */
bool kt_smux_nop_due(const struct kt_smux *m);

/* Says that everything framed before `mark` is held by the peer. Frames are numbered: kt_smux_mark is the
 * number framed so far. Streams whose SYN is older are no longer young. */
uint64_t kt_smux_mark(const struct kt_smux *m);
void kt_smux_settled(struct kt_smux *m, uint64_t mark);
/* True while there is a young stream (the owner need not track marks otherwise). */
bool kt_smux_has_young(const struct kt_smux *m);
/* Moves the young streams on which nothing was received to another smux (same config), to be opened and
 * replayed there. Returns how many. */
size_t kt_smux_move_young(struct kt_smux *from, struct kt_smux *to);

/* Windows were taken back (v2), and the peer may not have heard of it yet. While that is so, the owner calls
 * believe now and then, and less often than the slowest of peers may take to hear: what was taken back before
 * the last call is then free for other streams. */
bool kt_smux_has_shrunk(const struct kt_smux *m);
void kt_smux_believe(struct kt_smux *m);

size_t kt_smux_streams(const struct kt_smux *m);
size_t kt_smux_buffered(const struct kt_smux *m); /* received bytes not yet consumed by stream owners */
size_t kt_smux_held(const struct kt_smux *m);     /* bytes of memory that streams' buffers take */
uint64_t kt_smux_read(const struct kt_smux *m);   /* ... that were consumed so far, or given up */
/* Peer's features; false if no hello has come. */
bool kt_smux_peer(const struct kt_smux *m, uint16_t *features);
/* True if no stream is open and nothing waits to be framed. */
/* Of a frame for the owner, by its header: it belongs to no stream (hello, keepalive). */
bool kt_smux_small_talk(const uint8_t *header);
bool kt_smux_idle(const struct kt_smux *m);
/* Id of a stream, for logs. */
uint32_t kt_smux_stream_id(const struct kt_pipe *stream);

#endif
