/* Shared by all sessions of one link or acceptor: settings, keys, ciphers, block slabs. Made once, before the
 * first session, and freed after the last stream of the last one. */
#ifndef KT_LINK_KCPTUN_CONTEXT_H
#define KT_LINK_KCPTUN_CONTEXT_H

#include "base/log.h"
#include "base/slab.h"
#include "crypto/kcptun/qpp.h"
#include "crypto/kcptun/seal.h"
#include "io/io.h"
#include "link/common/idle_memory.h"
#include "link/common/memory_budget.h"
#include "link/counters.h"
#include "link/kcptun/kcptun.h"
#include "link/tap.h"

/* Paths whose small MTU is remembered. */
#define KT_KCPTUN_SMALL_PATHS 32u

#define KT_KCPTUN_PASS 32u /* bytes that kcptun derives from its key */

/* What a hostile peer can cause as often as it likes: datagrams that do not authenticate, replayed starts, sessions that
 * break the protocol. */
enum kt_kcptun_rarely { KT_KCPTUN_FORGED, KT_KCPTUN_REPLAY, KT_KCPTUN_BROKEN, KT_KCPTUN_RARELY };

/* Its fields belong to context.c; others read them, and call the functions below. */
struct kt_kcptun_context {
    size_t refs;
    const struct kt_wire *wire;
    struct kt_io *io;
    const struct kt_log *log;
    struct kt_log_of_link log_of_link; /* what `log` is if this is a link's */
    struct kt_counters *counters;
    struct kt_tap *tap;          /* may be NULL */
    struct kt_kcptun_config cfg; /* key and crypt are NULL here: they were consumed */
    bool client;
    bool quiet_log; /* as in kt_wire_env */
    bool retired;   /* the acceptor's key or cipher has changed: no new sessions or streams with this one */
    char crypt[24]; /* the cipher's name */
    uint8_t *pass;  /* KT_KCPTUN_PASS bytes of locked memory; for --tuncrypt */
    struct kt_seal *seal;
    struct kt_qpp *qpp;   /* NULL: off */
    uint8_t *scratch;     /* KT_SNAPPY_MOST bytes, for one call of the encoder; NULL: no compression */
    struct kt_slab *segs; /* KCP segments */
    struct kt_slab *bufs; /* stream buffers */
    uint16_t features;    /* the features in our hello (features.h) */
    uint64_t hash_seed;
    size_t sessions, streams; /* streams: of all its sessions */
    size_t share;             /* bytes of max_buffered that each session has */
    /* Bytes that sessions hold apart from blocks and streams: what counts in BytesHeld, and what comes with each
     * session (session_limits.c) */
    size_t state, basic;
    struct kt_memory_user memory;
    uint64_t logged_us[KT_KCPTUN_RARELY]; /* µs, when each was last logged; 0: never */
    struct kt_kcptun_small_path {
        struct kt_addr peer; /* port 0 */
        uint32_t mtu;
        uint64_t until;                   /* µs */
    } small_paths[KT_KCPTUN_SMALL_PATHS]; /* latest paths that turned out to carry less than cfg.mtu */
    size_t small_count;                   /* paths noted so far */
    struct kt_idle_memory idle_memory;
};

/* Checks cfg, derives keys (slow: PBKDF2). 0 or a code with a sentence. */
int kt_kcptun_context_new(struct kt_kcptun_context **out, const struct kt_wire *wire,
    const struct kt_wire_env *env, const struct kt_kcptun_config *cfg, bool client, struct kt_err *err);
/* Reference counting: the link or acceptor holds one, and each session's smux holds one until the last of its
 * streams was closed by its user. */
struct kt_kcptun_context *kt_kcptun_context_ref(struct kt_kcptun_context *c);
void kt_kcptun_context_unref(void *context);
/* Whether two were made from the same settings, and from the same key and cipher. */
bool kt_kcptun_context_same(const struct kt_kcptun_context *a, const struct kt_kcptun_context *b);
bool kt_kcptun_context_same_secret(const struct kt_kcptun_context *a, const struct kt_kcptun_context *b);
/* Uses other settings from now on, of the same secret: those that may change while sessions exist. */
void kt_kcptun_context_set(struct kt_kcptun_context *c, const struct kt_kcptun_config *cfg);
/* The link serves streams from now on, as hellos announce. False: it did already. */
bool kt_kcptun_context_serve(struct kt_kcptun_context *c);
/* The acceptor has another secret now: see `retired`. */
void kt_kcptun_context_retire(struct kt_kcptun_context *c);
/* A session begins, or ends. */
void kt_kcptun_context_session(struct kt_kcptun_context *c, bool begins);
/* Blocks are in use: arms the timer that returns memory later. */
void kt_kcptun_context_busy(struct kt_kcptun_context *c);

/* Counts the streams of a session, which had `before` of them and has `now`. */
void kt_kcptun_context_streams(struct kt_kcptun_context *c, size_t before, size_t now);
/* Likewise the bytes of a session's state; of what comes with each session, in `basic`. */
void kt_kcptun_context_count_state(struct kt_kcptun_context *c, size_t before, size_t now);
void kt_kcptun_context_count_basic(struct kt_kcptun_context *c, size_t before, size_t now);
/* Bytes of memory that streams cost, not counting their buffers. */
size_t kt_kcptun_context_cost(const struct kt_kcptun_context *c, size_t streams);

/* How max_buffered is divided. Each session has its own cost, and a share that it may use in any case; shares are
 * smaller the more sessions there are. A session is refused if its cost and share do not fit beside what is in use.
 * Of the rest, a session may hold as much as is left for all others: one greedy session leaves half, two leave a
 * third. An eighth is left out of that, for the costs and shares of sessions to come. So all sessions together fit
 * max_buffered, except that a session may complete a compressed chunk, and have eight streams. */

/* Whether `more` sessions fit. */
bool kt_kcptun_context_admits(const struct kt_kcptun_context *c, size_t more);
/* A session's share, which it may use even if others take all the rest: bytes of buffers, half for each direction of
 * KCP; bytes of unread data; streams. */
size_t kt_kcptun_context_least(const struct kt_kcptun_context *c);
size_t kt_kcptun_context_recv_least(const struct kt_kcptun_context *c);
size_t kt_kcptun_context_least_streams(const struct kt_kcptun_context *c);
/* Bytes of memory that one session may hold beyond its share. */
size_t kt_kcptun_context_most(const struct kt_kcptun_context *c);
/* Bytes left beyond all shares. */
size_t kt_kcptun_context_free(const struct kt_kcptun_context *c);
/* Bytes of buffers that a session may still take. held: bytes in its buffers; state: bytes of its state; streams: how
 * many it has. first: for the first bytes of a stream's queue, for which it may hold a quarter more. */
size_t kt_kcptun_context_spare(
    const struct kt_kcptun_context *c, size_t held, size_t state, size_t streams, bool first);

/* Shows the tap a packet that this socket is about to send. buf: as for kt_seal_packet, with a body of len bytes. */
void kt_kcptun_context_show(const struct kt_kcptun_context *c, const struct kt_udp *udp,
    const struct kt_addr *peer, const struct kt_addr *here, const uint8_t *buf, size_t len);
/* Counts a datagram of this socket and opens it in place. False: it does not authenticate, which is logged at most once
 * a minute. */
bool kt_kcptun_context_open(struct kt_kcptun_context *c, const struct kt_udp *udp, struct kt_dgram *dgram,
    uint8_t **body, size_t *len);

/* Whether to log one of these now: each at most once a minute. If so, the minute begins. */
bool kt_kcptun_context_log_now(struct kt_kcptun_context *c, enum kt_kcptun_rarely what);

/* Seals a body of len bytes, which starts kt_seal_header bytes into a buffer reserved from udp, and sends it
 * without FEC. to, from: as for kt_udp_commit. */
void kt_kcptun_context_send(struct kt_kcptun_context *c, struct kt_udp *udp, uint8_t *buf, size_t len,
    const struct kt_addr *to, const struct kt_addr *from);

/* The largest datagram for a new session with this peer: the setting, or less if that was recently too large
 * for the path to its address. */
uint32_t kt_kcptun_context_mtu(const struct kt_kcptun_context *c, const struct kt_addr *peer);
/* Notes that datagrams longer than this are lost on the path to this peer, for ten minutes. */
void kt_kcptun_context_note_mtu(struct kt_kcptun_context *c, const struct kt_addr *peer, uint32_t mtu);

/* Whether new sessions have FEC. Existing ones may differ: see kt_kcptun_session_tune. */
static inline bool kt_kcptun_context_fec(const struct kt_kcptun_context *c)
{
    return c->cfg.datashard > 0 && c->cfg.parityshard > 0;
}

#endif
