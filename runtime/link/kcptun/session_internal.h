/* Shared by the files of a session. Only they include this.
 *
 *   session.c          life, the turn, the end
 *   session_bytes.c    bytes between smux, snappy and KCP
 *   session_address.c  the peer's address: validation, challenges, moving
 *   session_health.c   a silent peer
 *   session_mtu.c      a path that loses long datagrams
 *   session_limits.c   limits on shared resources
 *   session_stall.c    streams that block all others
 *   session_facts.c    counters and accessors
 *   session_probe.c    round trips measured for callers */
#ifndef KT_LINK_KCPTUN_SESSION_INTERNAL_H
#define KT_LINK_KCPTUN_SESSION_INTERNAL_H

#include "link/kcptun/health.h"
#include "link/common/recent.h"
#include "link/kcptun/session.h"
#include "link/kcptun/snappy_stream.h"

struct kt_kcptun_session {
    struct kt_kcptun_context *context;
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
    uint32_t ts_base;  /* see struct kt_kcp_config */
    uint64_t news_us;  /* µs, when a packet last brought something new; at first: when it was made */
    bool unanswered;   /* an earlier question had no answer: `silent` is due */
    uint64_t asked_us; /* µs, when the peer was last asked for an answer for this reason */
    struct kt_kcp_stats counted; /* the engine's counts that are in the runtime's counters already */
    struct kt_fec_dec_stats fec_counted;
    /* Bytes that count as memory of the session (session_limits.c): */
    size_t fec_held;     /* what its FEC decoder holds */
    size_t fec_basic;    /* the rest of the decoder */
    size_t state;        /* other parts that grow as they are used */
    uint64_t fec_errors; /* with the current parameters */
    struct kt_recent recent;
    struct kt_list probes; /* of kt_kcptun_session_probe */
    uint64_t up_at;        /* µs, when the peer was first heard; 0: never */
    uint64_t young_smux;   /* the peer holds the frames up to here once … */
    uint32_t young_kcp;    /* … KCP has covered this */
    bool young_pending;
    uint32_t said_kcp;               /* the peer holds the last frame of a stream once KCP has covered this */
    bool owes;                       /* … which is not known yet */
    uint64_t full_us, full_since_us; /* when windows were full last, and since when; 0: never */
    bool busy;                       /* in the turn hook */
    bool woken;                      /* smux has something to send */
    bool fresh;                      /* a turn of the loop has begun since the budget was set */
    size_t bytes_left;               /* of that budget: payload (session_limits.c) */
    unsigned batches_left;           /* of that budget: batches of streams to accept */
    bool more;                       /* the budget is used up: the next turn continues */
    bool limited;                    /* limits on input were set in this turn (session_limits.c) */
    bool blocked;                    /* smux's buffers are full: reading pauses */
    uint64_t blocked_at;             /* µs, since when; 0: not paused */
    uint64_t blocked_read;           /* kt_smux_read at that time */
    bool blocked_alone;              /* ... with at most one stream */
    uint64_t believe_at;             /* µs, when reductions of windows take effect; 0: none pending */
    bool went_idle;
    bool resume;      /* heard again after a silence: send everything in flight again at once */
    bool full_logged; /* logged that streams are refused, while that lasts */
    bool quiet_log;   /* see kt_kcptun_session_quiet_log */
    bool told_up;     /* `up` was called */
    bool reported;    /* `over` was called */
    size_t streams;   /* as counted in StreamsNow */
    int over;         /* why it ended; 0: it has not */
    struct kt_err why;
};

/* ---- session.c ---- */

/* Schedules the turn hook. */
void kt_kcptun_session_schedule(struct kt_kcptun_session *s);
/* Ends it with this code and sentence, if it has not ended; the turn hook reports it. */
void kt_kcptun_session_fail(struct kt_kcptun_session *s, int code, const char *why);
/* The same, with the sentence in s->why, or the code's own if s->why has none. */
void kt_kcptun_session_fail_code(struct kt_kcptun_session *s, int code);

/* ---- session_bytes.c ---- */

/* kt_smux_owner's room and frame. */
size_t kt_kcptun_session_room(void *ctx, size_t want);
void kt_kcptun_session_frame(void *ctx, const uint8_t *header, const struct kt_iov *payload, size_t pieces);
/* In the turn: passes received bytes to smux, until it accepts no more or the budget is used up. */
void kt_kcptun_session_read(struct kt_kcptun_session *s);

/* ---- session_limits.c ---- */

/* kt_smux_owner's admit, refused, spare and least. */
bool kt_kcptun_session_admit(void *ctx);
void kt_kcptun_session_note_refusal(void *ctx, bool full);
size_t kt_kcptun_session_spare(void *ctx, bool first);
size_t kt_kcptun_session_least(void *ctx);
/* The number of streams changed: if there is much room, the next refusal is logged again. */
void kt_kcptun_session_note_room(struct kt_kcptun_session *s);
/* Whether KCP may take a frame to send. Without memory to spare it may hold a few segments, so that a session whose
 * streams are stalled moves more than one frame in a round trip. */
bool kt_kcptun_session_may_send(const struct kt_kcptun_session *s);
/* Limits how far beyond the next segment KCP may store segments. A peer can make us hold a whole window by leaving
 * out the first. */
void kt_kcptun_session_limit_reach(struct kt_kcptun_session *s);
/* Before input: limits that, and how much the FEC decoder may keep; once per turn. A peer chooses the size of FEC
 * groups, and can leave each unfinished. */
void kt_kcptun_session_limit_input(struct kt_kcptun_session *s);
/* Counts what the FEC decoder holds. Call it after input. */
void kt_kcptun_session_count_fec(struct kt_kcptun_session *s);
/* Counts the rest of its state. Call it at the end of a turn. */
void kt_kcptun_session_count_state(struct kt_kcptun_session *s);
/* No streams are open: frees what is not in use. */
void kt_kcptun_session_trim(struct kt_kcptun_session *s);
/* Each time the turn hook runs: sets the budget if a turn of the loop has begun since, and lets smux accept the
 * next batch of streams. */
void kt_kcptun_session_renew_budget(struct kt_kcptun_session *s);
void kt_kcptun_session_accept_batch(struct kt_kcptun_session *s);
/* Whether the hook is to run again in this turn, for another batch. */
bool kt_kcptun_session_next_batch(const struct kt_kcptun_session *s);

/* ---- session_stall.c ---- */

/* At the end of a turn: cuts a stream if unread bytes have held up the session for too long. */
void kt_kcptun_session_check_stall(struct kt_kcptun_session *s, uint64_t now_us);
/* When to call that next; UINT64_MAX: not for now. */
uint64_t kt_kcptun_session_stall_due(const struct kt_kcptun_session *s);
/* A stream was cut (kt_smux_owner). */
void kt_kcptun_session_note_cut(void *ctx, uint32_t id, size_t unread, int code);

/* ---- session_address.c ---- */

/* A packet was passed to KCP, whose count of news was `before`. */
void kt_kcptun_session_note_news(struct kt_kcptun_session *s, uint64_t before, uint64_t now_us);
/* In the turn: asks a peer that sends nothing new while streams are open, so that it learns our address if
 * that has changed. */
void kt_kcptun_session_ask_silent(struct kt_kcptun_session *s, uint64_t now_us);
/* When to call that next; KT_TIME_NEVER: there is nothing to ask. */
uint64_t kt_kcptun_session_ask_due(const struct kt_kcptun_session *s);

/* ---- session_health.c ---- */

/* In the turn, before and after the flush. */
void kt_kcptun_session_check_health(struct kt_kcptun_session *s, uint64_t now);
/* A likely cause, to append to a sentence about a peer; "" if none is known. */
const char *kt_kcptun_session_hint(const struct kt_kcptun_session *s);
/* The level of log lines about its silence and its end: see kt_kcptun_session_quiet_log. */
enum kt_log_level kt_kcptun_session_loudness(const struct kt_kcptun_session *s);

/* ---- session_mtu.c ---- */

/* Call once, when the engine exists. */
void kt_kcptun_session_watch_mtu(struct kt_kcptun_session *s);
/* The engine has found that long datagrams are lost. */
void kt_kcptun_session_shrink(struct kt_kcptun_session *s);
/* The engine has found that long datagrams that cannot be avoided are still lost: ends the session. */
void kt_kcptun_session_oversize(struct kt_kcptun_session *s);

/* ---- session_facts.c ---- */

/* kt_smux_owner's facts. */
void kt_kcptun_session_stream_facts(void *ctx, struct kt_stream_facts *out);
/* Adds what the engines have counted since the last call. */
void kt_kcptun_session_count(struct kt_kcptun_session *s);

/* ---- session_probe.c ---- */

/* In the turn, after the pump: notes which answers end a probe, and ends those that have them. */
void kt_kcptun_session_probes_turn(struct kt_kcptun_session *s, uint64_t now_us);

#endif
