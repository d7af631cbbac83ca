/* A session: one KCP conversation with a peer and the smux streams in it (docs/wire-kcptun.md, section 7).
 * The same at both ends; links and acceptors differ in how they start one.
 *
 * Work is done once per loop turn: arrivals and writes mark the session, and its turn hook then reads from
 * KCP, raises the streams' events, frames their data, flushes KCP once and arms one timer for the next thing
 * due. An idle session has one timer, for its heartbeat.
 *
 * A peer that owes an answer (something unacknowledged, or a probe) and is silent for suspect_us is suspect:
 * the session only asks for an answer, once a second, and should get no new streams; when the peer is heard
 * again, all that is in flight is sent again at once. After dead_us it is dead. A peer whose una falls back
 * below what it had acknowledged may have restarted: it is probed at once, and several such answers in a row
 * confirm it. */
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
    /* The session is over (KT_EDEAD, KT_ERESTART, KT_EPROTO, KT_ENOMEM): the owner may move its young
     * streams, and frees it, now or soon. Called once, from the turn hook. */
    void (*over)(void *ctx, struct kt_kcptun_session *s, int code);
    /* The last stream was closed, and the peer holds all stream data. */
    void (*idle)(void *ctx, struct kt_kcptun_session *s);
    /* The peer was heard for the first time. May be NULL. */
    void (*up)(void *ctx, struct kt_kcptun_session *s);
    /* The peer, a kt, sent a hello with these features (KT_SMUX_F_…). May be NULL. */
    void (*hello)(void *ctx, struct kt_kcptun_session *s, uint16_t features);
    /* The peer became suspect (why: the reason), or is trusted again (why NULL). From the turn hook. May be
     * NULL. */
    void (*suspect)(void *ctx, struct kt_kcptun_session *s, const char *why);
    /* The peer, a kt, does not answer while streams are open: its answers may go to an earlier address of
     * this host. Called every second from the turn hook; the callee may move the session. May be NULL. */
    void (*silent)(void *ctx, struct kt_kcptun_session *s);
    void *ctx;
    /* The session's totals are added to these when it is freed. */
    struct kt_link_totals *ended;
};

/* udp: not owned, outlives the session. peer: copied; connected: udp is connected to it. owner: copied. 0 or
 * a code. */
int kt_kcptun_session_new(struct kt_kcptun_session **out, struct kt_kcptun_context *context, uint32_t conv,
    struct kt_udp *udp, const struct kt_addr *peer, bool connected,
    const struct kt_kcptun_session_owner *owner);

/* Ends it: sends what is framed in one last flush, and breaks streams with code. Call it from `over`, `idle`
 * or the loop, not from one of its streams' events. NULL is harmless. */
void kt_kcptun_session_free(struct kt_kcptun_session *s, int code);

/* Takes a body from this peer that was unsealed. to: as kt_dgram.to; answers are sent from there. */
void kt_kcptun_session_input(
    struct kt_kcptun_session *s, const uint8_t *body, size_t len, const struct kt_addr *to);

/* ---- addresses (session_address.c) ----
 *
 * The address of an accepted session is not validated at first: at most three times the bytes received from
 * there may be sent there. An ACK that echoes a ts of this session validates it, because it cannot be a
 * replay. See kt_kcp_put_challenge. */

/* A datagram of `size` bytes with this body has arrived from the peer's address. Call it before
 * kt_kcptun_session_input, as long as the address is not validated. */
void kt_kcptun_session_validate(struct kt_kcptun_session *s, const uint8_t *body, size_t len, size_t size);
bool kt_kcptun_session_validated(const struct kt_kcptun_session *s);
/* Call it after that: asks for an echo if the peer has acknowledged something without one. */
void kt_kcptun_session_ask_echo(struct kt_kcptun_session *s, uint32_t ts);
/* How datagrams reach a peer. */
struct kt_kcptun_session_way {
    struct kt_udp *udp;         /* not owned; outlives the session */
    const struct kt_addr *peer; /* NULL: udp is connected to it */
    const struct kt_addr *from; /* as kt_dgram.to */
};
/* Sends a challenge with this ts, by a route that may lead to the peer, in a datagram of at most max bytes.
 * una: what the peer claims to have received. Returns the bytes sent; 0 if there was nothing to challenge
 * with. */
size_t kt_kcptun_session_challenge(struct kt_kcptun_session *s, const struct kt_kcptun_session_way *way,
    uint32_t ts, uint32_t una, size_t max);
/* True if the body answers the challenge with this ts. */
bool kt_kcptun_session_answers(
    const struct kt_kcptun_session *s, const uint8_t *body, size_t len, uint32_t ts);
/* True if a packet that begins like this can be the peer's next. */
bool kt_kcptun_session_fits(const struct kt_kcptun_session *s, const struct kt_kcp_head *head);
/* µs since the peer last sent something new. */
uint64_t kt_kcptun_session_stale_us(const struct kt_kcptun_session *s);
/* From now on the peer is reached by this route, and its address is validated. Packets in flight are sent
 * again. */
void kt_kcptun_session_move(struct kt_kcptun_session *s, const struct kt_kcptun_session_way *way);
/* The socket is writable again. */
void kt_kcptun_session_writable(struct kt_kcptun_session *s);

int kt_kcptun_session_open(struct kt_kcptun_session *s, struct kt_pipe **out);
/* Moves the streams that the peer of `from` has not seen to `to`; returns their number. */
size_t kt_kcptun_session_move_young(struct kt_kcptun_session *from, struct kt_kcptun_session *to);
/* Sends a hello and a heartbeat, before any stream (client side). */
void kt_kcptun_session_greet(struct kt_kcptun_session *s);

/* Applies the settings in the shared config that a live session can follow: KCP's, windows, patience, the
 * amount of parity. False if they ask for FEC that takes a new session; this one keeps its own. */
bool kt_kcptun_session_tune(struct kt_kcptun_session *s);
/* Suppresses the warning at its end if it never hears anything, as that is already known. */
void kt_kcptun_session_quiet_log(struct kt_kcptun_session *s);

/* A round trip to the peer, measured for a caller, who owns the memory until done or cancel. */
struct kt_kcptun_session_probe {
    struct kt_list node;
    /* Called once: code 0 and the time, > 0 µs; or the code of the failure. Called from the turn hook or from
     * kt_kcptun_session_free; may only record things. */
    void (*done)(struct kt_kcptun_session_probe *p, uint64_t rtt_us, int code);
    uint64_t started; /* µs; this and the rest are the session's */
    uint64_t answers; /* the count of answers to WASK at which it is done */
    uint32_t mark;    /* or it is done once the peer holds what was written up to here */
    bool marked;
};
void kt_kcptun_session_probe(struct kt_kcptun_session *s, struct kt_kcptun_session_probe *p);
void kt_kcptun_session_probe_cancel(struct kt_kcptun_session_probe *p);
/* Ends all of them. */
void kt_kcptun_session_probes_end(struct kt_kcptun_session *s, int code);

/* The results belong to the session. */
uint32_t kt_kcptun_session_conv(const struct kt_kcptun_session *s);
const struct kt_addr *kt_kcptun_session_peer(const struct kt_kcptun_session *s);
const char *kt_kcptun_session_peer_text(const struct kt_kcptun_session *s);
size_t kt_kcptun_session_streams(const struct kt_kcptun_session *s);
bool kt_kcptun_session_heard(const struct kt_kcptun_session *s);     /* anything authentic has ever arrived */
bool kt_kcptun_session_spoken_to(const struct kt_kcptun_session *s); /* any smux frame has ever arrived */
/* Why it is over, as a sentence. */
const char *kt_kcptun_session_why(const struct kt_kcptun_session *s);
bool kt_kcptun_session_over(const struct kt_kcptun_session *s);
bool kt_kcptun_session_young(const struct kt_kcptun_session *s); /* has streams that the peer has not seen */
/* True in its turn hook: it must not be freed now. */
bool kt_kcptun_session_busy(const struct kt_kcptun_session *s);
/* True if the peer sent a hello; features may be NULL. */
bool kt_kcptun_session_hello(const struct kt_kcptun_session *s, uint16_t *features);
uint64_t kt_kcptun_session_born(const struct kt_kcptun_session *s); /* µs */
/* True if the peer holds everything sent so far. */
bool kt_kcptun_session_settled(const struct kt_kcptun_session *s);
/* Adds this session's totals. */
void kt_kcptun_session_totals(const struct kt_kcptun_session *s, struct kt_link_totals *sum);
/* Adds this session to a snapshot; its totals alone if it is over. */
void kt_kcptun_session_stats(const struct kt_kcptun_session *s, struct kt_link_stats *sum);

#endif
