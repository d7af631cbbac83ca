/* A KCP conversation: a reliable byte stream over datagrams, byte for byte as kcp-go sends it
 * (docs/wire-kcptun.md, section 6).
 *
 * This is kcptun's assembly of the parts in this folder: a send ring and a receive ring, retransmission
 * order, loss evidence, RTT, a congestion controller given from outside (cc.h), and packets filled by a
 * writer (packet_writer.h). Pure C: no socket, no clock, no thread. The owner feeds packets in
 * (kt_kcp_input), passes the time in µs, and calls kt_kcp_flush when kt_kcp_due says so.
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
    uint32_t mtu;     /* longest KCP packet, in bytes, without sealing and FEC (wire-kcptun.md 6.3) */
    uint32_t snd_wnd; /* packets, 1..KT_KCP_WND_MAX: segments that write accepts, unsent and unacknowledged */
    uint32_t rcv_wnd; /* packets, 1..KT_KCP_WND_MAX */
    bool nodelay;     /* minimum RTO 30 ms instead of 100, slower backoff (wire-kcptun.md 6.2, 6.5) */
    uint32_t interval_ms; /* 10..5000: how long the peer may take to acknowledge (wire-kcptun.md 6.5) */
    uint32_t resend;      /* fast retransmit after this many later acknowledgements, at most 32; 0: never */
    bool ack_nodelay;     /* acknowledge at the end of each batch of input */
    /* Outlives the conversation, and may serve others on the same path. The owner of such a path calls
     * kt_kcp_due on all of them when one has received something, as that may let the others send. */
    struct kt_cc *cc;
    /* Pad packets to this many bytes until the peer has sent data; 0: never. A server may send an address
     * that has acknowledged nothing three times what it got from there. */
    uint32_t pad;
    /* Added to the clock, in ms, in each ts sent. If it is random, an echoed ts proves that the peer has
     * received something of this conversation. */
    uint32_t ts_base;
};

/* slab holds the segments: blocks of at least kt_kcp_block_size(mtu) bytes, as the peer's segments may be
 * longer than ours. It outlives the conversation and may be shared. At most snd_wnd + 2 * rcv_wnd blocks
 * are held. 0, KT_EINVAL (a value out of range) or KT_ENOMEM. */
int kt_kcp_new(struct kt_kcp **out, const struct kt_kcp_config *cfg, struct kt_slab *slab,
    const struct kt_packet_out *output, uint64_t now_us);
void kt_kcp_free(struct kt_kcp *k);
size_t kt_kcp_block_size(uint32_t mtu);

/* Changes the settings of a live conversation, except conv, mtu, cc and ts_base. Nothing held is lost: a
 * send window smaller than what it holds accepts nothing until it has drained, and segments within the
 * receive window announced before are still accepted. A new receive window makes a WINS due at once. 0 or
 * KT_EINVAL. */
int kt_kcp_tune(struct kt_kcp *k, const struct kt_kcp_config *cfg);

/* Segments held, to send or received. */
size_t kt_kcp_held(const struct kt_kcp *k);
/* Bytes of memory for the slots of its windows, which grow as they are used; and frees those that are not in use. */
size_t kt_kcp_slots(const struct kt_kcp *k);
void kt_kcp_trim(struct kt_kcp *k);
/* Limits what is stored, and the window, while memory is short: a segment n or more after the last one read is
 * treated as lost, even if an earlier window allowed it. UINT32_MAX: no limit. */
void kt_kcp_reach(struct kt_kcp *k, uint32_t n);

/* ---- bytes ---- */

/* Queues up to n bytes, filling up the last unsent segment first (stream mode). Returns how many were
 * taken: fewer if the window is full or the slab exhausted. Nothing leaves before the next flush. */
size_t kt_kcp_write(struct kt_kcp *k, const void *data, size_t n);
/* The number of bytes that kt_kcp_write would accept now, if the slab has blocks. */
size_t kt_kcp_room(const struct kt_kcp *k);
/* The same for a message, which the peer gets as a whole (message mode, ikcp's default): all of it or nothing. n: at
 * least 1; a message of more than KT_KCP_FRAGMENTS segments is longer than other KCPs take. Not to be mixed with
 * kt_kcp_write. */
#define KT_KCP_FRAGMENTS 127u
bool kt_kcp_write_message(struct kt_kcp *k, const void *data, size_t n);
/* How much could leave soon. An owner that chooses as late as possible what to send writes no more than this. */
struct kt_kcp_outlook {
    uint32_t open;    /* segments that the windows let out now, including those queued */
    uint32_t queued;  /* segments not sent yet */
    uint32_t window;  /* segments that may be in flight at once */
    uint32_t srtt_us; /* 0: no sample yet */
    bool full;        /* the windows of the two ends are full */
    uint64_t rate;    /* at which the controller lets them out, in bytes per second; 0: at once */
    uint64_t paced;   /* bytes that it lets out now; UINT64_MAX: any number */
};
void kt_kcp_outlook(const struct kt_kcp *k, struct kt_kcp_outlook *out);
/* Payload bytes in a full segment. */
uint32_t kt_kcp_mss(const struct kt_kcp *k);

/* Points *data at the next contiguous received bytes and returns their number; 0 if there are none. Valid
 * until consumed. */
size_t kt_kcp_peek(const struct kt_kcp *k, const uint8_t **data);
/* Drops n bytes, at most those peeked. Opening a full window makes a WINS due. */
void kt_kcp_consume(struct kt_kcp *k, size_t n);

/* The bytes that are in order, counted up to the segment in which they reach `most`. */
size_t kt_kcp_unread(const struct kt_kcp *k, size_t most);
/* The bytes of the first message, to be peeked and consumed; 0: none is complete. KT_EPROTO: it is longer than the
 * receive window, and nothing after it can be read. */
int kt_kcp_message(const struct kt_kcp *k);

/* ---- packets and time ---- */

enum kt_kcp_origin {
    KT_KCP_REGULAR,
    KT_KCP_RECOVERED, /* rebuilt by FEC, maybe late: leaves the peer's window and the RTT alone (wire-kcptun.md 6.6) */
};

/* Takes a KCP packet. 0, or KT_EPROTO for another conv, an unknown command or a wrong length: segments
 * before the fault count, the rest is ignored. Holds no more than the windows allow. */
int kt_kcp_input(
    struct kt_kcp *k, const uint8_t *data, size_t len, enum kt_kcp_origin origin, uint64_t now_us);

/* Sends everything that is due: acknowledgements, probes, retransmissions, new segments. What `output` has
 * no room for stays due; call again when it has room. */
void kt_kcp_flush(struct kt_kcp *k, uint64_t now_us);

/* Watches for packets longer than `limit` bytes being lost while shorter ones arrive (mtu_hole.h), and sets
 * stats.hole. 0: stops watching. */
void kt_kcp_watch(struct kt_kcp *k, uint32_t limit);
/* Lowers the packet limit to mtu, at least KT_KCP_MTU_MIN. A segment that has been sent in a longer packet
 * keeps its length, and needs a longer packet again. */
void kt_kcp_shrink(struct kt_kcp *k, uint32_t mtu);

/* Lets acknowledgements be sent twice while they seem to be lost. Only for a peer that is a kt: kcptun counts
 * the second as evidence that earlier segments are lost. */
void kt_kcp_repeat_acks(struct kt_kcp *k, bool may);

/* For an outage. pause holds back PUSH: only acknowledgements and probes leave. resume ends that, and the
 * next flush sends everything in flight again without waiting for timeouts, which have grown meanwhile.
 * resume may be called without pause. */
void kt_kcp_pause(struct kt_kcp *k);
void kt_kcp_resume(struct kt_kcp *k);

/* When to call kt_kcp_flush: now_us or earlier means at once, UINT64_MAX never. O(1). */
uint64_t kt_kcp_due(const struct kt_kcp *k, uint64_t now_us);

/* Sends a WASK with the next flush; a live peer answers at once with WINS. Until the peer has been heard,
 * the first segment is sent again instead, even during a pause: a server that lost the first datagrams
 * starts the conversation on that, and not on a WASK. */
void kt_kcp_probe(struct kt_kcp *k);

/* ---- addresses ----
 *
 * kcptun's wire has no path validation (RFC 9000, 8.2). But KCP echoes the ts of a PUSH in its ACK, even if
 * it has received that PUSH before. So a PUSH with a random ts is a challenge, and an ACK with that ts is
 * the response. */

/* Writes a packet of at most max bytes that makes the peer echo ts. If the peer has no segment yet, that is
 * the first one; otherwise it is the last segment that the peer has, with one byte of payload and
 * KT_KCP_CHALLENGE as frg, so that a kt always echoes ts and does not take it for a sign of a restart. una:
 * the una that the peer sent; if out of range, ours is used. Returns the length, or 0 if nothing has been
 * sent yet or it does not fit. */
size_t kt_kcp_put_challenge(struct kt_kcp *k, uint8_t *out, size_t max, uint32_t ts, uint32_t una);

/* True if the packet holds an ACK of the conversation conv whose ts is in [from, from + span]. */
bool kt_kcp_echoes(const uint8_t *packet, size_t len, uint32_t conv, uint32_t from, uint32_t span);

/* The part of a packet's first segment that places the packet in a conversation. */
struct kt_kcp_head {
    uint8_t cmd; /* 0: not a KCP packet, but one with a conv */
    uint32_t conv, ts, sn, una;
};

/* Whether a packet with this head may be current: its una is within what was sent and not acknowledged, and
 * a PUSH is within a receive window of what was received. */
bool kt_kcp_fits(const struct kt_kcp *k, const struct kt_kcp_head *head);

/* Packets take another path from now on: sends everything in flight again, at once. */
void kt_kcp_path_changed(struct kt_kcp *k);

/* ---- facts ---- */

/* How many packets brought something new: data not received before, or a first acknowledgement. */
uint64_t kt_kcp_news(const struct kt_kcp *k);

/* A mark after all bytes written so far. kt_kcp_covered is true once the peer's una has passed it: the peer
 * has them all. */
uint32_t kt_kcp_mark(const struct kt_kcp *k);
bool kt_kcp_covered(const struct kt_kcp *k, uint32_t mark);

/* Whether anything written has not been acknowledged. */
bool kt_kcp_unacked(const struct kt_kcp *k);

/* Whether bytes have arrived that were not consumed: in order, or beyond a gap. */
bool kt_kcp_behind(const struct kt_kcp *k);

/* The peer's view of the conversation, as one packet reports it. */
struct kt_kcp_report {
    uint64_t now_us;
    bool regular;       /* not rebuilt by FEC, so not late */
    bool fits;          /* its una is in [snd_una, snd_nxt] */
    bool advanced;      /* ... and above snd_una */
    bool unknown;       /* it was made by kt_kcp_put_unknown */
    bool has_push;      /* it carries data */
    uint32_t una;       /* segments of ours below this have arrived */
    uint32_t push;      /* lowest sn of its data, if has_push */
    uint32_t known_una; /* if advanced: our una as sent with segment una - 1, which the peer has read */
};

/* Calls `report` at the end of each kt_kcp_input that read a segment, for an owner that judges the peer by
 * what it says. It must not call into k. */
void kt_kcp_observe(struct kt_kcp *k, void (*report)(void *ctx, const struct kt_kcp_report *r), void *ctx);

/* Writes a packet of KT_KCP_OVERHEAD bytes that says "I do not know this conversation": a WINS with una 0,
 * as from a restarted kcptun server, and KT_KCP_UNKNOWN as sn, so that a kt can tell it from the WINS of a
 * peer that has received nothing yet. A peer that gets several of them should start a new conversation. */
void kt_kcp_put_unknown(uint8_t *out, uint32_t conv, uint32_t wnd);

struct kt_kcp_stats {
    uint32_t srtt_us, rttvar_us, rto_us; /* 0 srtt: no sample yet */
    uint32_t una;                        /* first segment not acknowledged in order */
    uint32_t inflight, queued;           /* segments sent and unacknowledged; not yet sent */
    uint32_t rmt_wnd, cwnd, ssthresh;    /* packets */
    uint64_t in_segs, out_segs;          /* PUSH and control, as kcp-go's snmp counts them */
    uint64_t in_push, out_push;          /* PUSH segments; out_push counts first transmissions only */
    uint64_t fast_retrans, early_retrans, timeout_retrans;
    uint64_t repeat;              /* PUSH received again */
    uint64_t beyond;              /* PUSH beyond the receive window, ignored */
    uint64_t answers;             /* WINS from a peer that knows the conversation: mostly answers to WASK */
    uint32_t unanswered;          /* WASK sent since the last answer */
    uint64_t asked_us;            /* µs, last WASK sent */
    bool hole;                    /* packets longer than the limit of kt_kcp_watch are lost */
    bool oversize;                /* ... as are segments from before kt_kcp_shrink */
    uint64_t dropped;             /* PUSH not stored because the slab was exhausted */
    uint64_t bytes_in, bytes_out; /* payload delivered in order; payload first transmitted */
};

/* Fills in *out; cheap. */
void kt_kcp_stats(const struct kt_kcp *k, struct kt_kcp_stats *out);

#endif
