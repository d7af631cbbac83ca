/* A session: one KCP conversation with a peer and the smux streams in it (docs/wire-kcptun.md, section 7).
 * The same on both ends; links and acceptors differ in how they come by one.
 *
 * Work is done once per loop turn: arrivals and writes mark the session, and its turn hook then reads what
 * KCP has, raises the streams' events, frames what streams have to say, flushes KCP once and arms one timer
 * for the next thing due. An idle session has one timer, for its heartbeat.
 *
 * A peer that owes an answer (something unacknowledged, or a probe) and is silent for suspect_us is suspect:
 * the session only asks for an answer, once a second, and should get no new streams; when the peer is heard
 * again, all that is in flight is sent again at once. After dead_us it is dead. A peer whose una falls back
 * below what it had acknowledged has restarted: it is probed at once, and believed after several such answers
 * in a row. */
#ifndef KT_LINK_KCPTUN_SESSION_H
#define KT_LINK_KCPTUN_SESSION_H

#include "base/list.h"
#include "link/kcptun/path.h"
#include "link/kcptun/smux.h"
#include "link/link.h"

struct kt_kcptun_session;

struct kt_kcptun_session_owner {
    /* The peer opened a stream; it is the callee's. */
    void (*accept)(void *ctx, struct kt_kcptun_session *s, struct kt_pipe *stream);
    /* The session is over (KT_EDEAD, KT_ERESTART, KT_EPROTO, KT_ENOMEM): the owner takes what it wants from
     * it (young streams) and frees it, now or soon. Comes once, from the turn hook. */
    void (*over)(void *ctx, struct kt_kcptun_session *s, int code);
    /* The last stream was closed, and the peer holds all that was said in them. */
    void (*idle)(void *ctx, struct kt_kcptun_session *s);
    /* The peer was heard for the first time. May be NULL. */
    void (*up)(void *ctx, struct kt_kcptun_session *s);
    /* The peer said hello with these features (a kt; KT_SMUX_F_…). May be NULL. */
    void (*hello)(void *ctx, struct kt_kcptun_session *s, uint16_t features);
    /* The peer became suspect (why says how), or is trusted again (why NULL). From the turn hook. May be
     * NULL.
     */
    void (*suspect)(void *ctx, struct kt_kcptun_session *s, const char *why);
    /* The peer, a kt, does not answer while streams are open: its answers may go to an address that this host
     * had. Each second, from the turn hook; the callee may move the session. May be NULL. */
    void (*silent)(void *ctx, struct kt_kcptun_session *s);
    void *ctx;
    /* The session's totals are added to these when it is freed. */
    struct kt_link_totals *ended;
};

/* udp: not owned, outlives the session. peer: copied; connected: udp is connected to it. owner: copied. 0 or
 * a code. */
int kt_kcptun_session_new(struct kt_kcptun_session **out, struct kt_kcptun_context *sh, uint32_t conv,
    struct kt_udp *udp, const struct kt_addr *peer, bool connected,
    const struct kt_kcptun_session_owner *owner);

/* Ends it: what is framed leaves in one last flush, streams are broken with code. Not from inside one of its
 * streams' events; use it from `over`, `idle` or the loop. NULL is harmless. */
void kt_kcptun_session_free(struct kt_kcptun_session *s, int code);

/* A body that was opened (unsealed), from this peer. to: as kt_dgram.to, which answers then come from. */
void kt_kcptun_session_input(
    struct kt_kcptun_session *s, const uint8_t *body, size_t len, const struct kt_addr *to);

/* ---- addresses (session_address.c) ----
 *
 * An accepted session begins with an address that is not validated: three times the bytes that came from
 * there may go there, no more. The address is validated by an ACK that echoes a ts of this session, which
 * nobody can have recorded before. See kt_kcp_put_challenge. */

/* A datagram of `size` bytes came from the peer's address, with this body; to be called before
 * kt_kcptun_session_input, as long as the address is not validated. */
void kt_kcptun_session_validate(struct kt_kcptun_session *s, const uint8_t *body, size_t len, size_t size);
bool kt_kcptun_session_validated(const struct kt_kcptun_session *s);
/* ... and after it: asks for an echo if the peer has acknowledged something without one. */
void kt_kcptun_session_ask_echo(struct kt_kcptun_session *s, uint32_t ts);
/* How datagrams reach a peer. */
struct kt_kcptun_session_way {
    struct kt_udp *udp;         /* not owned; outlives the session */
    const struct kt_addr *peer; /* NULL: udp is connected to it */
    const struct kt_addr *from; /* as kt_dgram.to */
};
/* Sends a challenge with this ts by a way that may lead to the peer, in a datagram of at most max bytes. una:
 * what the peer says it has received. Returns the bytes sent; 0 if there was nothing to challenge with. */
size_t kt_kcptun_session_challenge(struct kt_kcptun_session *s, const struct kt_kcptun_session_way *way,
    uint32_t ts, uint32_t una, size_t max);
/* True if the body answers the challenge with this ts. */
bool kt_kcptun_session_answers(
    const struct kt_kcptun_session *s, const uint8_t *body, size_t len, uint32_t ts);
/* True if a packet that begins so can be the peer's next. */
bool kt_kcptun_session_fits(const struct kt_kcptun_session *s, const struct kt_kcp_head *head);
/* µs since the peer last brought something new. */
uint64_t kt_kcptun_session_stale_us(const struct kt_kcptun_session *s);
/* The peer is reached this way from now on, and its address is validated. What is in flight is sent again. */
void kt_kcptun_session_move(struct kt_kcptun_session *s, const struct kt_kcptun_session_way *way);
/* The socket can be written again. */
void kt_kcptun_session_writable(struct kt_kcptun_session *s);

int kt_kcptun_session_open(struct kt_kcptun_session *s, struct kt_pipe **out);
/* Moves the streams that the peer of `from` has not seen to `to`; returns how many. */
size_t kt_kcptun_session_move_young(struct kt_kcptun_session *from, struct kt_kcptun_session *to);
/* Makes the session speak (client side, before any stream): hello and a heartbeat. */
void kt_kcptun_session_greet(struct kt_kcptun_session *s);

/* Takes the settings in the shared config that a live session can follow: KCP's, windows, patience, how much
 * parity is sent. False if it asks for FEC that only a new session can have; this one keeps what it has. */
bool kt_kcptun_session_tune(struct kt_kcptun_session *s);
/* That it never heard anything would be no news: its end is not worth a warning then. */
void kt_kcptun_session_hush(struct kt_kcptun_session *s);

/* A round trip to the peer that somebody waits for. The memory is the caller's until done or cancel. */
struct kt_kcptun_session_probe {
    struct kt_list node;
    /* Once: 0 and the time it took, > 0 µs; or why it came to nothing. May come from the turn hook and from
     * kt_kcptun_session_free, and only takes note. */
    void (*done)(struct kt_kcptun_session_probe *p, uint64_t rtt_us, int code);
    uint64_t started; /* µs; this and the rest are the session's */
    uint64_t answers; /* to WASK, counted by KCP: with so many it is done */
    uint32_t mark;    /* ... or once the peer holds what was written up to here */
    bool marked;
};
void kt_kcptun_session_probe(struct kt_kcptun_session *s, struct kt_kcptun_session_probe *p);
void kt_kcptun_session_probe_cancel(struct kt_kcptun_session_probe *p);
/* Ends all of them. */
void kt_kcptun_session_probes_end(struct kt_kcptun_session *s, int code);

uint32_t kt_kcptun_session_conv(const struct kt_kcptun_session *s);
const struct kt_addr *kt_kcptun_session_peer(const struct kt_kcptun_session *s);
const char *kt_kcptun_session_peer_text(const struct kt_kcptun_session *s);
size_t kt_kcptun_session_streams(const struct kt_kcptun_session *s);
bool kt_kcptun_session_heard(const struct kt_kcptun_session *s); /* anything authentic ever came */
/* µs since anything authentic came; UINT64_MAX: nothing ever did. */
uint64_t kt_kcptun_session_quiet(const struct kt_kcptun_session *s);
bool kt_kcptun_session_spoken_to(const struct kt_kcptun_session *s); /* any smux frame ever came */
/* Why it is over, as a sentence. */
const char *kt_kcptun_session_why(const struct kt_kcptun_session *s);
bool kt_kcptun_session_over(const struct kt_kcptun_session *s);
bool kt_kcptun_session_young(const struct kt_kcptun_session *s); /* has streams that the peer has not seen */
/* In its turn hook: it must not be freed now. */
bool kt_kcptun_session_busy(const struct kt_kcptun_session *s);
/* True if the peer said hello; features may be NULL. */
bool kt_kcptun_session_hello(const struct kt_kcptun_session *s, uint16_t *features);
uint64_t kt_kcptun_session_born(const struct kt_kcptun_session *s); /* µs */
/* Everything sent so far is held by the peer. */
bool kt_kcptun_session_settled(const struct kt_kcptun_session *s);
/* Adds this session's totals. */
void kt_kcptun_session_totals(const struct kt_kcptun_session *s, struct kt_link_totals *sum);
/* Adds this session to a snapshot; its totals alone if it is over. */
void kt_kcptun_session_stats(const struct kt_kcptun_session *s, struct kt_link_stats *sum);

#endif
