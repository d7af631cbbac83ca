/* What the files of a session share; nobody else includes this.
 *
 *   session.c          the turn: bytes and packets between the engines; life and end
 *   session_address.c  where the peer is: validation, challenges, moving
 *   session_health.c   a peer that is silent
 *   session_mtu.c      a path that loses long datagrams
 *   session_limits.c what a session may take of what all sessions share
 *   session_stall.c  streams that hold up all others
 *   session_facts.c    what is counted, and what others may know
 *   session_probe.c    round trips that somebody waits for */
#ifndef KT_LINK_KCPTUN_SESSION_INTERNAL_H
#define KT_LINK_KCPTUN_SESSION_INTERNAL_H

#include "link/kcptun/health.h"
#include "link/common/recent.h"
#include "link/kcptun/session.h"
#include "link/kcptun/snappy_stream.h"

struct kt_kcptun_session {
    struct kt_kcptun_context *sh;
    struct kt_kcptun_session_owner owner;
    struct kt_addr peer;
    char peer_text[KT_ADDR_TEXT];
    uint32_t conv;
    struct kt_kcptun_path path;
    struct kt_cc cc; /* one per session, as in kcptun */
    struct kt_kcp *kcp;
    struct kt_fec_dec *dec;
    struct kt_snappy_enc *comp;   /* NULL: no compression */
    struct kt_snappy_dec *decomp; /* as above */
    struct kt_smux *smux;
    struct kt_turn turn;
    struct kt_timer timer;
    struct kt_kcptun_health health;
    struct kt_kcptun_restart restart;
    uint64_t born, next_keepalive;
    uint32_t ts_base;            /* see struct kt_kcp_config */
    uint64_t news_us;            /* µs, when a packet last brought something new; at first: born */
    bool unanswered;             /* ... and was asked before without an answer: `silent` is due */
    uint64_t asked_us;           /* µs, when the peer was last asked whether it still hears us */
    struct kt_kcp_stats counted; /* what the runtime's counters have of the engine's */
    struct kt_fec_dec_stats fec_counted;
    uint64_t fec_errors; /* with the present parameters */
    struct kt_recent recent;
    struct kt_list probes; /* of kt_kcptun_session_probe */
    uint64_t up_at;        /* µs, when the peer was first heard; 0: never */
    uint64_t young_smux;   /* frames up to here are held by the peer once … */
    uint32_t young_kcp;    /* … KCP has covered this */
    bool young_pending;
    uint32_t said_kcp;     /* the last frame of a stream was said once KCP has covered this */
    bool owes;             /* … which it has not, as far as is known */
    bool busy;             /* in the turn hook */
    bool woken;            /* smux has something to send */
    bool more;             /* what has arrived is more than a turn may take: the next one goes on */
    bool blocked;          /* smux's buffers are full: reading pauses */
    uint64_t blocked_at;   /* µs, since when; 0: it is not */
    uint64_t blocked_read; /* kt_smux_read at that time */
    bool blocked_alone;    /* ... with one stream at most */
    uint64_t believe_at;   /* µs, when windows that were taken back are; 0: none were */
    bool went_idle;
    bool resume;    /* heard again after a silence: all in flight is sent again at once */
    bool told_full; /* ... that streams are refused, while that lasts */
    bool hushed;    /* see kt_kcptun_session_hush */
    bool told_up;   /* `up` was called */
    bool reported;  /* `over` was called */
    size_t streams; /* as counted in StreamsNow */
    int over;       /* why it ended, 0: it has not */
    struct kt_err why;
};

/* ---- session.c ---- */

/* Has the turn hook run. */
void kt_kcptun_session_schedule(struct kt_kcptun_session *s);
/* Ends it with this code and sentence, if it has not ended; the turn hook reports it. */
void kt_kcptun_session_fail(struct kt_kcptun_session *s, int code, const char *why);

/* ---- session_limits.c ---- */

/* kt_smux_owner's admit and spare. */
bool kt_kcptun_session_admit(void *ctx, bool full);
size_t kt_kcptun_session_spare(void *ctx);
/* The number of streams changed: refusals are news again if there is much room. */
void kt_kcptun_session_note_room(struct kt_kcptun_session *s);
/* Bytes that the session may still take for buffers. */
size_t kt_kcptun_session_memory_left(const struct kt_kcptun_session *s);
/* Before input: how far beyond the next segment KCP may store what comes. A peer can make us hold a whole
 * window by leaving out the first. */
void kt_kcptun_session_limit_reach(struct kt_kcptun_session *s);

/* ---- session_stall.c ---- */

/* At the end of a turn: cuts a stream if unread bytes have held up the session for too long. */
void kt_kcptun_session_check_stall(struct kt_kcptun_session *s, uint64_t now_us);
/* When that wants to be called; UINT64_MAX: not for now. */
uint64_t kt_kcptun_session_stall_due(const struct kt_kcptun_session *s);
/* A stream was cut (kt_smux_owner). */
void kt_kcptun_session_note_cut(void *ctx, uint32_t id, size_t unread, int code);

/* ---- session_address.c ---- */

/* A packet was handed to KCP, whose count of news was `before`. */
void kt_kcptun_session_note_news(struct kt_kcptun_session *s, uint64_t before, uint64_t now_us);
/* In the turn: asks a peer from which nothing new comes to streams that are open, so that one that lost our
 * address learns the new one. */
void kt_kcptun_session_ask_silent(struct kt_kcptun_session *s, uint64_t now_us);
/* When that has to be called; KT_TIME_NEVER while nothing is to be asked. */
uint64_t kt_kcptun_session_ask_due(const struct kt_kcptun_session *s);

/* ---- session_health.c ---- */

/* In the turn, before and after the flush. */
void kt_kcptun_session_check_health(struct kt_kcptun_session *s, uint64_t now);
/* What may be wrong, to be put behind a sentence about a peer; "" if nothing is known. */
const char *kt_kcptun_session_hint(const struct kt_kcptun_session *s);
/* Of sentences about its silence and its end: see kt_kcptun_session_hush. */
enum kt_log_level kt_kcptun_session_loudness(const struct kt_kcptun_session *s);

/* ---- session_mtu.c ---- */

/* Once, when there is an engine. */
void kt_kcptun_session_watch_mtu(struct kt_kcptun_session *s);
/* The engine has found that long datagrams are lost. */
void kt_kcptun_session_shrink(struct kt_kcptun_session *s);
/* ... and that those which are needed all the same still are: ends the session. */
void kt_kcptun_session_oversize(struct kt_kcptun_session *s);

/* ---- session_facts.c ---- */

/* Adds what the engines counted since the last time. */
void kt_kcptun_session_count(struct kt_kcptun_session *s);

/* ---- session_probe.c ---- */

/* In the turn, once smux was pumped: notes what must come back, and ends the probes for which it has. */
void kt_kcptun_session_probes_turn(struct kt_kcptun_session *s, uint64_t now_us);

#endif
