/* A KCP conversation: a reliable byte stream over datagrams, byte for byte as kcp-go sends it
 * (docs/wire-kcptun.md, section 6).
 *
 * This is kcptun's assembly of the parts in this folder: a send ring and a receive ring, retransmission order,
 * loss evidence, RTT, a congestion controller given from outside (cc.h), and packets filled by a writer
 * (packet_writer.h). Pure C: no socket, no clock, no thread. The owner feeds packets in (kt_kcp_input), passes
 * the time in µs, and calls kt_kcp_flush when kt_kcp_due says so.
 *
 * Storing, acknowledging and marking a segment lost cost O(1); a flush costs what it sends; nothing is
 * scanned. */
#ifndef KT_KCP_KCP_H
#define KT_KCP_KCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/slab.h"
#include "kcp/cc.h"
#include "kcp/packet_writer.h"

#define KT_KCP_OVERHEAD 24u /* segment header */
#define KT_KCP_MTU_MIN 50u  /* smallest KCP packet limit, as kcp-go 5.6.64 */
#define KT_KCP_MTU_MAX 1500u
#define KT_KCP_WND_MAX 65535u /* wnd is 16 bits on the wire */

struct kt_kcp;

struct kt_kcp_config {
    uint32_t conv;
    uint32_t mtu;     /* KCP packet limit in bytes, sealing and FEC headers already taken out (spec 6.3) */
    uint32_t snd_wnd; /* packets, 1..KT_KCP_WND_MAX: unsent + unacknowledged segments that write accepts */
    uint32_t rcv_wnd; /* packets, 1..KT_KCP_WND_MAX */
    bool nodelay;     /* minimum RTO 30 ms instead of 100, slower backoff (spec 6.2, 6.5) */
    uint32_t interval_ms; /* 10..5000: how long the peer may take to acknowledge (spec 6.5) */
    uint32_t resend;      /* fast retransmit after so many later acknowledgements, at most 32; 0: never */
    struct kt_cc *cc;     /* outlives the conversation, and may serve others on the same path */
    bool ack_nodelay;     /* acknowledge at the end of each batch of input */
    uint32_t pad;     /* bytes that packets are filled up to until data came from the peer, 0: none. A server
                         may send an address that has not acknowledged anything three times what came from there */
    uint32_t ts_base; /* added to the ms clock in each ts sent; if random, an echoed ts proves that the peer
                         received something of this conversation */
};

/* pool: blocks of at least kt_kcp_block_size(mtu) bytes (whatever our mtu, the peer's segments must fit), for
 * segments; outlives the engine, may be shared. Windows decide how many are held: at most snd_wnd + 2 *
 * rcv_wnd. 0, KT_EINVAL (a value out of range), KT_ENOMEM. */
int kt_kcp_new(struct kt_kcp **out, const struct kt_kcp_config *cfg, struct kt_slab *pool,
    const struct kt_packet_out *output, uint64_t now_us);
void kt_kcp_free(struct kt_kcp *k);
size_t kt_kcp_block_size(uint32_t mtu);

/* Changes the settings of a live conversation: all but conv, mtu, cc and ts_base, which stay what they are
 * whatever cfg says. Nothing held is lost: a send window below what it holds takes nothing more until it has
 * drained, and what the peer was promised room for is still received. The peer is told of another receive
 * window with the next flush, which is due at once. 0 or KT_EINVAL. */
int kt_kcp_tune(struct kt_kcp *k, const struct kt_kcp_config *cfg);

/* Segments that the engine holds, sent or received. */
size_t kt_kcp_held(const struct kt_kcp *k);
/* While memory is short: stores segments only up to n after the last one read, however many the window
 * allows; those further on count as dropped, and the peer sends them again. UINT32_MAX: no such limit. */
void kt_kcp_reach(struct kt_kcp *k, uint32_t n);

/* ---- bytes ---- */

/* Queues up to n bytes (stream mode: fills the last unsent segment first); returns how many were taken, fewer
 * when the window is full or the pool is empty. Nothing leaves before the next flush. */
size_t kt_kcp_write(struct kt_kcp *k, const void *data, size_t n);
/* How many bytes kt_kcp_write would take now, if the pool has blocks. */
size_t kt_kcp_room(const struct kt_kcp *k);
/* What of it would leave soon. Whoever wants to decide late what is sent next writes no more than that. */
struct kt_kcp_outlook {
    uint32_t open;    /* segments that the windows let go now, those queued among them */
    uint32_t queued;  /* segments that were not sent yet */
    uint32_t window;  /* segments that may be under way at once */
    uint32_t srtt_us; /* 0: no sample yet */
};
void kt_kcp_outlook(const struct kt_kcp *k, struct kt_kcp_outlook *out);
/* Bytes of payload a segment carries. */
uint32_t kt_kcp_mss(const struct kt_kcp *k);

/* The next contiguous piece of received bytes, in place; 0 if there is none. Stays valid until consumed. */
size_t kt_kcp_peek(const struct kt_kcp *k, const uint8_t **data);
/* Drops n <= peeked bytes. Opening a full window makes a WINS due. */
void kt_kcp_consume(struct kt_kcp *k, size_t n);

/* ---- packets and time ---- */

enum kt_kcp_origin {
    KT_KCP_REGULAR,
    KT_KCP_RECOVERED, /* by FEC: must not touch the peer's window or the RTT (spec 6.6) */
};

/* One KCP packet. 0, or KT_EPROTO: foreign conv, unknown command or a length that lies; segments before the
 * fault count, the rest is ignored. Never allocates beyond the windows. */
int kt_kcp_input(
    struct kt_kcp *k, const uint8_t *data, size_t len, enum kt_kcp_origin origin, uint64_t now_us);

/* Sends all that is due: acknowledgements, probes, retransmissions, new segments. What `output` has no room for
 * stays due; call again when there is room. */
void kt_kcp_flush(struct kt_kcp *k, uint64_t now_us);

/* The same into a writer of the caller's, whose last packet stays open for others to add to. The writer calls
 * kt_kcp_complete, with k as ctx, for packets that hold segments of k. */
void kt_kcp_fill(struct kt_kcp *k, struct kt_packet_writer *w, uint64_t now_us);
void kt_kcp_complete(void *k, struct kt_packet_writer *w);

/* Watches for packets longer than `limit` bytes being lost while shorter ones arrive (kcp_hole.h):
 * stats.hole. 0: no more. */
void kt_kcp_watch(struct kt_kcp *k, uint32_t limit);
/* From now on packets have at most mtu bytes, KT_KCP_MTU_MIN or more, and not more than before; but a segment
 * that was sent in a longer one stays as it is, and needs that again. */
void kt_kcp_shrink(struct kt_kcp *k, uint32_t mtu);

/* For an outage: pause holds back PUSH, so that only acknowledgements and probes leave. resume ends that, and
 * the next flush sends all that is in flight at once, instead of when the timeouts that grew meanwhile have
 * passed; it may be called without a pause before it. */
void kt_kcp_pause(struct kt_kcp *k);
void kt_kcp_resume(struct kt_kcp *k);

/* When kt_kcp_flush wants to be called: now_us or earlier means at once (data that may be sent,
 * acknowledgements that may not wait), UINT64_MAX means never. O(1). */
uint64_t kt_kcp_due(const struct kt_kcp *k, uint64_t now_us);

/* Asks the peer for its window (WASK) with the next flush; a living peer answers at once with WINS. Until
 * anything was heard from it, the first segment is sent again instead, during a pause too: a server that lost
 * the first datagrams begins the conversation with that, and not with a WASK. */
void kt_kcp_probe(struct kt_kcp *k);

/* ---- addresses ----
 *
 * kcptun's wire has no path validation (RFC 9000, 8.2), but KCP echoes the ts of a PUSH in its ACK, and it
 * acknowledges a PUSH that it has received before. So a PUSH with an unguessable ts is a challenge, and an
 * ACK with that ts the response. */

/* Writes a packet of at most max bytes that makes the peer echo ts: the first segment, if the peer holds
 * none; else the last segment that it holds, with one byte of payload and KT_KCP_CHALLENGE as frg, so that a
 * kt echoes ts whatever else it knows, and does not take the packet for a sign of a restart. una: what the
 * peer says it holds; out of range: what is known. Returns the packet's length, or 0 if nothing was sent yet
 * or it does not fit. */
size_t kt_kcp_put_challenge(struct kt_kcp *k, uint8_t *out, size_t max, uint32_t ts, uint32_t una);

/* True if the packet holds an ACK of the conversation conv whose ts is in [from, from + span]. */
bool kt_kcp_echoes(const uint8_t *packet, size_t len, uint32_t conv, uint32_t from, uint32_t span);

/* The first segment of a packet, as far as it says where in a conversation the packet belongs. */
struct kt_kcp_head {
    uint8_t cmd; /* 0: a packet that is not KCP's, with a conv */
    uint32_t conv, ts, sn, una;
};

/* True if a packet that begins so can be news: its una is within what was sent and not acknowledged, and a
 * PUSH is within a receive window of what was received. */
bool kt_kcp_fits(const struct kt_kcp *k, const struct kt_kcp_head *head);

/* The packets leave by another path from now on: sends again at once all that is in flight. */
void kt_kcp_path_changed(struct kt_kcp *k);

/* ---- what the owner may know ---- */

/* Packets that brought something new: data not received before, or a first acknowledgement. */
uint64_t kt_kcp_news(const struct kt_kcp *k);

/* A mark for "all bytes written so far"; kt_kcp_covered is true once the peer's una has passed it, that is,
 * once the peer holds them all. */
uint32_t kt_kcp_mark(const struct kt_kcp *k);
bool kt_kcp_covered(const struct kt_kcp *k, uint32_t mark);

/* True if anything written has not been acknowledged. */
bool kt_kcp_unacked(const struct kt_kcp *k);

/* What one packet of the peer's says about the state of the conversation at its end. */
struct kt_kcp_report {
    uint64_t now_us;
    bool regular;  /* not rebuilt by FEC, which may be late */
    bool fits;     /* its una is between our snd_una and snd_nxt */
    bool advanced; /* ... and acknowledges segments for the first time */
    bool unknown;  /* it is a kt_kcp_put_unknown */
    bool has_push; /* it carries data */
    uint32_t una;  /* segments of ours below this have arrived */
    uint32_t push; /* lowest sn of its data, if has_push */
    uint32_t told; /* if advanced: our own una in the first transmission of segment una - 1, which the peer
                        has therefore read */
};

/* From now on calls `report` at the end of each kt_kcp_input that read a segment, for an owner that judges the
 * peer by what it says. It may not call into the same kt_kcp. */
void kt_kcp_observe(struct kt_kcp *k, void (*report)(void *ctx, const struct kt_kcp_report *r), void *ctx);

/* Writes a packet of KT_KCP_OVERHEAD bytes that says "I do not know this conversation": a WINS with una 0, as
 * a restarted kcptun server would answer, and KT_KCP_UNKNOWN as sn, so that a kt can tell it from the WINS of
 * a peer that has received nothing yet. A peer that gets several of them should start a new conversation. */
void kt_kcp_put_unknown(uint8_t *out, uint32_t conv, uint32_t wnd);

struct kt_kcp_stats {
    uint32_t srtt_us, rttvar_us, rto_us; /* 0 srtt: no sample yet */
    uint32_t una;                        /* first segment that the peer has not acknowledged in order */
    uint32_t inflight, queued;           /* segments sent and unacknowledged; not yet sent */
    uint32_t rmt_wnd, cwnd, ssthresh;    /* packets */
    uint64_t in_segs, out_segs;          /* PUSH and control, as kcp-go's snmp counts them */
    uint64_t in_push, out_push;          /* PUSH segments; out_push counts first transmissions only */
    uint64_t fast_retrans, early_retrans, timeout_retrans;
    uint64_t repeat;              /* PUSH received again */
    uint64_t beyond;              /* PUSH beyond the receive window, ignored */
    uint64_t answers;             /* WINS of a peer that has our conversation: answers to WASK, mostly */
    uint32_t unanswered;          /* WASK sent since the last of them */
    uint64_t asked_us;            /* µs, the last of those */
    bool hole;                    /* packets longer than what kt_kcp_watch said are lost */
    bool oversize;                /* ... and so are segments from before kt_kcp_shrink, still */
    uint64_t dropped;             /* PUSH not stored because the pool was empty */
    uint64_t bytes_in, bytes_out; /* payload delivered in order; payload first transmitted */
};

/* A snapshot; cheap. */
void kt_kcp_stats(const struct kt_kcp *k, struct kt_kcp_stats *out);

#endif
