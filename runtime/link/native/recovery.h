/* Loss recovery of one path, on the sender's side (docs/wire.md, 5.2; RFC 9002; RFC 8985).
 *
 * It keeps every packet in flight with its contents, finds out from ACKs and from time which packets arrived
 * and which are lost, and tells the contents' owner. It knows neither sockets nor frames: the owner builds
 * packets, seals and sends them, and gives the time to every call.
 *
 * Invariants:
 *   - Each content has exactly one fate for each time it was sent: acked or lost. A packet that a probe
 *     timeout gives up early has lost contents, though itself it may still be acknowledged.
 *   - Packets in flight are a list in the order of sending, so those to be declared lost are at its head.
 *   - An ACK costs its ranges plus what it newly acknowledges; sending a packet and declaring it lost are
 *     O(1). Memory grows by doubling up to a bound, and nothing is allocated per packet.
 *   - There is a timer only while something is in flight.
 *
 * The owner's part: for each packet, while kt_native_recovery_open allows and kt_native_recovery_pace has passed,
 * kt_native_recovery_ready, build it with kt_native_recovery_number, kt_native_recovery_sent. For each ACK,
 * kt_native_recovery_ack. One timer at kt_native_recovery_due, for kt_native_recovery_timer. After the last two,
 * and when there is more to send, it tries to send again.
 *
 * Times are in µs, sizes in bytes of UDP payload. */
#ifndef KT_LINK_NATIVE_RECOVERY_H
#define KT_LINK_NATIVE_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "kcp/cc.h"
#include "link/native/content.h"
#include "link/native/frame.h"
#include "link/native/rtt.h"

/* Reports to the owner, in the order of sending. They must not call into recovery. */
struct kt_native_recovery_events {
    void (*acked)(void *ctx, const struct kt_native_content *content);
    void (*lost)(void *ctx, const struct kt_native_content *content);
    /* A packet that had to be acknowledged was, or is lost; not for MTU probes. NULL: not wanted. */
    void (*packet_acked)(void *ctx, uint32_t bytes, uint64_t now_us);
    void (*packet_lost)(void *ctx, uint32_t bytes, uint64_t now_us);
};

struct kt_native_recovery_config {
    const struct kt_native_recovery_events *events; /* outlives recovery */
    void *ctx;
    struct kt_cc *cc;           /* the path's; outlives recovery */
    uint32_t first_rtt_us;      /* from the handshake; 0: unknown */
    uint32_t peer_ack_delay_us; /* the longest that the peer delays an ACK */
    uint32_t most; /* packets tracked at once: a power of two, at least KT_NATIVE_RECOVERY_FIRST */
};

#define KT_NATIVE_RECOVERY_FIRST 64u
#define KT_NATIVE_RECOVERY_MOST 65536u /* a good default */

/* A packet that leaves. */
struct kt_native_sent {
    uint32_t bytes;
    bool eliciting; /* holds a frame that must be acknowledged; else it has no contents, and no fate */
    bool mtu_probe; /* its loss says nothing about congestion (RFC 8899, section 3) */
    bool aside;     /* a PING beside what is sent: the probe timeout does not start over because of it */
    uint32_t count; /* of contents, at most KT_NATIVE_CONTENTS */
    const struct kt_native_content *contents;
};

/* Since the start, except loss. */
struct kt_native_recovery_stats {
    uint64_t sent, acked, lost; /* packets that had to be acknowledged */
    uint64_t bursts;            /* losses whose packet before was not lost */
    uint64_t spurious;          /* declared lost, and acknowledged after all */
    uint64_t timeouts;          /* probe timeouts */
    uint32_t loss;              /* share of recent packets lost, in millionths */
};

struct kt_native_packet;

/* Fields are recovery's own. */
struct kt_native_recovery {
    struct kt_native_recovery_config cfg;
    /* Ring of the numbers base..next-1, by number; NULL: nothing sent yet. */
    struct kt_native_packet *packets;
    uint32_t capacity;
    struct kt_native_content *contents; /* ring, in the order of sending */
    uint32_t contents_capacity;
    uint32_t contents_next; /* modulo 2^32, as all indices of contents */
    uint64_t base, next;
    uint64_t first; /* first number sent on the path as it is now: earlier ones say nothing about it */
    uint64_t oldest, newest; /* ends of the list of packets in flight; valid if inflight > 0 */
    uint32_t inflight;       /* packets */
    uint64_t handed;         /* contents of packets in flight below this number may have been given up */
    uint64_t largest_acked;  /* plus one; 0: none */
    struct kt_native_rtt rtt;
    /* How late packets have been that others overtook: the most since late_since_us, and in the period
     * before. Negative: none was overtaken. */
    int64_t late, late_before;
    uint64_t late_since_us;
    uint64_t loss_us;  /* when to look for losses again; UINT64_MAX: never */
    uint64_t probe_us; /* start of the probe timeout */
    uint64_t heard_us; /* last ACK of something new */
    uint32_t backoff;  /* probe timeouts in a row */
    uint32_t probes;   /* packets that may leave regardless of windows and pacing */
    struct kt_native_recovery_stats stats;
};

/* Never fails; the first packet allocates. */
void kt_native_recovery_init(struct kt_native_recovery *r, const struct kt_native_recovery_config *cfg);

/* Contents in flight are reported neither acknowledged nor lost; the controller no longer counts them as in flight. */
void kt_native_recovery_free(struct kt_native_recovery *r);

/* Gives back memory if nothing is in flight. For owners of idle paths. */
void kt_native_recovery_trim(struct kt_native_recovery *r);

/* ---- sending ---- */

/* Makes room for one packet; call it before building one. False: out of memory. */
bool kt_native_recovery_ready(struct kt_native_recovery *r);

/* The number of the next packet. */
static inline uint64_t kt_native_recovery_number(const struct kt_native_recovery *r)
{
    return r->next;
}

/* The packet with that number leaves. After kt_native_recovery_ready. */
void kt_native_recovery_sent(
    struct kt_native_recovery *r, const struct kt_native_sent *sent, uint64_t now_us);

/* Packets that must be acknowledged and may leave now, as far as windows go: at least the probes that are due.
 * Others, such as those of ACKs alone, may always leave. */
uint32_t kt_native_recovery_open(const struct kt_native_recovery *r);

/* When pacing lets the next packet out; 0, or a time that has passed: now. */
static inline uint64_t kt_native_recovery_pace(const struct kt_native_recovery *r)
{
    return r->probes > 0 ? 0 : kt_cc_next(r->cfg.cc);
}

/* Bytes that pacing lets out now. The last packet may exceed that. */
static inline uint64_t kt_native_recovery_allowance(const struct kt_native_recovery *r, uint64_t now_us)
{
    return r->probes > 0 ? UINT64_MAX : kt_pacer_allowance(&r->cfg.cc->pacer, now_us);
}

/* Probes that must leave now, because of a probe timeout, of at most KT_NATIVE_MTU_BASE bytes (mtu.h). One without
 * frames to send is a PING. */
static inline uint32_t kt_native_recovery_probes(const struct kt_native_recovery *r)
{
    return r->probes;
}

/* ---- acknowledgements and time ---- */

/* An ACK has arrived. 0, or KT_EPROTO with a sentence: it acknowledges what was never sent. Then nothing has
 * changed. */
int kt_native_recovery_ack(
    struct kt_native_recovery *r, const struct kt_native_ack *ack, uint64_t now_us, struct kt_err *err);

/* Call when a packet from the peer was opened on this path. If the path was silent, it may be back, so the
 * next probe comes one probe timeout after the last one, not up to a second later. */
static inline void kt_native_recovery_heard(struct kt_native_recovery *r)
{
    r->backoff = 0;
}

/* When to call kt_native_recovery_timer; UINT64_MAX: never, as nothing is in flight. */
uint64_t kt_native_recovery_due(const struct kt_native_recovery *r);

/* Declares packets lost whose time has come. If nothing was heard for a probe timeout, it gives up the
 * contents of the oldest packets as lost, to be sent again in the probes, and returns true. Early calls do
 * nothing. */
bool kt_native_recovery_timer(struct kt_native_recovery *r, uint64_t now_us);

/* Gives up everything in flight, because the path has moved or closed: contents are lost, and the controller
 * hears of no loss. Packet numbers continue. */
void kt_native_recovery_give_up(struct kt_native_recovery *r);

/* Gives up the contents of packets in flight that left after `since`, because another path delivers them sooner: they
 * are lost, and the packets are still expected. At most `most` bytes of packets. True if there were any. */
bool kt_native_recovery_hand_over(struct kt_native_recovery *r, uint64_t since_us, uint64_t most);

/* A path with another round trip, after kt_native_recovery_give_up. Packets sent before no longer count for
 * anything. first_rtt_us: 0: unknown. */
void kt_native_recovery_restart(struct kt_native_recovery *r, uint32_t first_rtt_us);

/* Sets the share of recent packets lost back to what it was, in millionths, unless it is lower. */
static inline void kt_native_recovery_forget_loss(struct kt_native_recovery *r, uint32_t loss)
{
    if (r->stats.loss > loss) r->stats.loss = loss;
}

/* ---- facts ---- */

/* How long the peer has owed an answer; 0: it owes none. */
uint64_t kt_native_recovery_silence(const struct kt_native_recovery *r, uint64_t now_us);

/* A probe timeout has passed since the peer was heard last, and it still owes an answer. */
static inline bool kt_native_recovery_silent(const struct kt_native_recovery *r)
{
    return r->inflight > 0 && r->backoff > 0;
}

/* The probe timeout, without backoff. */
static inline uint32_t kt_native_recovery_pto(const struct kt_native_recovery *r)
{
    return kt_native_rtt_pto(&r->rtt, r->cfg.peer_ack_delay_us);
}

/* How much later than expected a packet may be, if a later one was acknowledged, before it is lost. */
uint32_t kt_native_recovery_reorder(const struct kt_native_recovery *r);

static inline const struct kt_native_recovery_stats *kt_native_recovery_stats(
    const struct kt_native_recovery *r)
{
    return &r->stats;
}

/* Bytes of memory held. */
size_t kt_native_recovery_bytes(const struct kt_native_recovery *r);

#endif
