/* Shared by the files of an association; no other file includes it.
 *
 *   association.c         life, the turn, health
 *   association_facts.c   figures and accessors
 *   association_input.c   packets and frames from the peer
 *   association_output.c  packets to the peer
 *   association_streams.c its streams and flows
 *   path.c                where the peer is, and whether that was proven
 *   paths.c               the paths as one
 *   spread.c              which path carries what */
#ifndef KT_LINK_NATIVE_ASSOCIATION_INTERNAL_H
#define KT_LINK_NATIVE_ASSOCIATION_INTERNAL_H

#include "base/bucket.h"
#include "crypto/replay.h"
#include "link/common/patience.h"
#include "link/common/recent.h"
#include "link/native/ack_ranges.h"
#include "link/native/association.h"
#include "link/native/mtu.h"
#include "link/native/parity_in.h"
#include "link/native/parity_out.h"
#include "link/native/recovery.h"
#include "link/native/sparse.h"
#include "link/native/streams.h"

#define KT_NATIVE_RATE_BURST ((size_t)64 * KT_NATIVE_MTU_IPV4) /* of the setting `rate`, in bytes */

/* Before an address is validated: bytes to it for each byte from it (5.4). */
#define KT_NATIVE_AMPLIFICATION 3u

/* A path, number 0..KT_NATIVE_PATHS - 1. */
struct kt_native_path {
    struct kt_native_association *a;
    uint8_t number;
    bool validated; /* the peer has proven that it receives at place.peer */
    bool full;      /* the socket takes nothing at the moment */
    bool silent;    /* a probe timeout has passed, and another path is in use instead */
    bool ping_due;
    bool every_due; /* ACK_EVERY */
    struct kt_native_place place;
    uint64_t in_bytes, out_bytes; /* while it is not validated */
    struct kt_native_mtu mtu;
    size_t longest;         /* packet that arrived, at least KT_NATIVE_MTU_BASE: bytes of frames */
    uint32_t every;         /* that the peer was asked for last */
    uint64_t sent_us;       /* when a packet left last */
    uint64_t lost_us;       /* when `lost` was raised for it last, or it fell silent */
    uint64_t unanswered_us; /* when `unanswered` was raised for it last */
    unsigned knocks;        /* rounds of challenges that have not opened it */
    uint64_t ask_us;        /* the next PING to a silent peer, while it owes an answer */
    struct {
        uint64_t checked_us, sent; /* the last check, and the packets sent until then */
        uint32_t usual;            /* average share lost, in millionths */
        uint32_t heard;            /* share lost when the path became silent */
    } loss;
    struct kt_replay seen;
    struct kt_native_acks acks;
    struct kt_cc cc;
    struct kt_native_recovery recovery;
    struct kt_native_content acked; /* acknowledged DATA not yet reported to streams; id 0: none */
    struct kt_native_sparse sparse;
    struct kt_native_parity_out parity; /* for what it sends */
    struct kt_native_parity_in rebuild; /* of what it receives */

    /* The path's next place: a challenge is on its way there (5.5). */
    struct {
        bool active, due; /* due: to be sent now */
        bool mine;        /* this end wants to go there; else the peer seems to have */
        /* The peer wants to move: it has sent a challenge from there, and its old place is still valid. */
        bool meant;
        struct kt_native_place place;
        uint64_t until_us, again_us, wait_us;
        uint64_t in_bytes, out_bytes;
        uint8_t data[KT_NATIVE_CHALLENGE];
    } moving;
    /* An answer to the peer's challenge, which goes to where that came from. */
    struct {
        bool due;
        struct kt_native_place place;
        uint8_t data[KT_NATIVE_CHALLENGE];
    } response;
};

struct kt_native_association {
    struct kt_native_context *c;
    struct kt_native_association_owner owner;
    struct kt_native_tx tx;
    struct kt_native_rx rx;
    uint8_t cids[KT_NATIVE_PATHS][KT_NATIVE_CID];  /* in what the peer sends */
    struct kt_native_path *paths[KT_NATIVE_PATHS]; /* by number; NULL: not open; the first always is */
    unsigned path_end;                             /* one above the last path */
    struct kt_native_path *best; /* for frames that may go on any path: it delivers them soonest */
    struct kt_native_streams *streams;
    struct kt_native_flows *flows;
    struct kt_bucket rate; /* limit on what it sends, over all paths */
    bool flows_next;       /* flows write the next packet first, then streams again */
    size_t flow_count;     /* of flows, as counted so far; likewise */
    uint64_t flow_drops, flow_large;
    struct kt_native_params peer;    /* as announced in the handshake */
    uint8_t peer_key[KT_NATIVE_KEY]; /* zero: a shared key */
    char identity[KT_NATIVE_IDENTITY];
    char peer_text[KT_ADDR_TEXT];
    struct kt_turn turn;
    struct kt_timer timer;
    struct kt_patience patience;
    struct kt_list probes; /* of kt_native_probe */
    struct kt_recent recent;
    struct kt_recent_sum sum; /* since it began */
    uint64_t pings;           /* PING frames sent */
    uint64_t up_us;           /* when the first packet opened; 0: none did */
    uint64_t asked_us;        /* when `silent` was raised last */
    uint64_t hopped_us;       /* when `hop` was raised last, or it began */
    uint64_t hopped_bytes;    /* of streams, both ways, until then */
    uint64_t fled_us;         /* when it was last, because of losses; 0: never */
    size_t stream_count;      /* as counted in StreamsNow */
    size_t allowed;           /* as counted in kt_native_context_allowed */
    uint32_t batches_left;    /* of streams of the peer that may be accepted in this turn */
    bool fresh;               /* the loop has begun another turn since they were counted */
    uint64_t turn_us;         /* the turn of the loop ... */
    uint32_t frames_left;     /* ... and the frames that it still takes in it */
    uint64_t first;           /* credit that it began with */
    uint64_t promised;        /* ... and gave beyond that (context.h) */
    bool full_logged;         /* that streams are refused or wait was logged */
    uint64_t quiet_us;        /* when a client asks whether nothing more comes; UINT64_MAX: it does not */
    uint64_t stream_frames;   /* frames of streams in flight */
    bool carrying;            /* as told to the owner */
    bool proven_told, reported, busy;
    bool peer_closed; /* it knows that it is over */
    int over;         /* why it ended, 0: it has not */
    struct kt_err why;
};

/* ---- association.c ---- */

void kt_native_association_schedule(struct kt_native_association *a);
/* Ends it, if it has not ended; the turn hook reports it. */
void kt_native_association_fail(struct kt_native_association *a, int code, const char *why);

/* ---- association_facts.c ---- */

/* Adds what it has counted since it began. */
void kt_native_association_totals(const struct kt_native_association *a, struct kt_link_totals *sum);
/* kt_native_streams_owner's facts. */
void kt_native_association_stream_facts(void *ctx, struct kt_stream_facts *out);

/* ---- association_output.c ---- */

/* Sends what is due and what windows and pacing allow. */
void kt_native_association_output(struct kt_native_association *a, uint64_t now_us);
/* When more may be sent without anything happening; UINT64_MAX: never. */
uint64_t kt_native_association_output_due(struct kt_native_association *a, uint64_t now_us);
/* Sends CLOSE, once. */
void kt_native_association_say_close(struct kt_native_association *a, int code, const char *text);

/* ---- association_streams.c ---- */

/* 0, or KT_ENOMEM or KT_EINVAL: then what was made is freed with the association. */
int kt_native_association_make_streams(struct kt_native_association *a);
/* Accepts streams of the peer as far as this turn of the loop allows, and raises the events of all. */
void kt_native_association_accept(struct kt_native_association *a, uint64_t now_us);
/* Counts what streams and flows have carried since it was called last. */
void kt_native_association_count_streams(struct kt_native_association *a);
/* Tells flows the time and the room in a packet. Call it before anything that concerns them. */
void kt_native_association_clock_flows(struct kt_native_association *a, uint64_t now_us);

/* ---- path.c ---- */

/* Makes a path at this place, in a->paths, where it stays. NULL: out of memory. */
struct kt_native_path *kt_native_path_new(
    struct kt_native_association *a, uint8_t number, const struct kt_native_place *place, uint32_t rtt_us);
void kt_native_path_free(struct kt_native_path *p);
/* Call after an ACK: tells streams of the DATA that it acknowledged. */
void kt_native_path_tell_acked(struct kt_native_path *p);
/* Starts to challenge the peer at the path's own place. Until it has answered, nothing else is sent on the
 * path. */
void kt_native_path_knock(struct kt_native_path *p, uint64_t now_us);
/* The challenge of a path was not answered in time. */
void kt_native_path_unanswered(struct kt_native_path *p, uint64_t now_us);
/* True if frames may leave on it. */
static inline bool kt_native_path_usable(const struct kt_native_path *p)
{
    return p->validated && !p->silent;
}
/* How long what leaves on it takes to arrive, in µs: half a round trip, and longer the more is lost. */
uint64_t kt_native_path_way(const struct kt_native_path *p);
/* Call for each opened packet from this place. highest: its number is the highest so far. */
void kt_native_path_heard(struct kt_native_path *p, const struct kt_native_place *from, size_t bytes,
    bool highest, uint64_t now_us);
/* A PATH_CHALLENGE, or PATH_RESPONSE, has arrived from there. */
void kt_native_path_challenged(
    struct kt_native_path *p, const struct kt_native_place *from, const uint8_t data[KT_NATIVE_CHALLENGE]);
void kt_native_path_answered(struct kt_native_path *p, const struct kt_native_place *from,
    const uint8_t data[KT_NATIVE_CHALLENGE], uint64_t now_us);
/* The path continues at a place where the peer has proven to be. */
void kt_native_path_move(struct kt_native_path *p, const struct kt_native_place *to);
/* Starts to challenge the peer at another place. */
void kt_native_path_try(struct kt_native_path *p, const struct kt_native_place *place, uint64_t now_us);
/* True if far more was lost lately than before. */
bool kt_native_path_worse(struct kt_native_path *p, uint64_t now_us);
/* Bytes that may go to the peer's address now; SIZE_MAX: it is validated. */
size_t kt_native_path_allowance(const struct kt_native_path *p);
/* When a silent peer is asked for an answer again (5.8); UINT64_MAX: not beyond probe timeouts. */
uint64_t kt_native_path_ask_due(const struct kt_native_path *p);
/* Call when it was asked, and when a probe timeout begins its silence: sets the next time. */
void kt_native_path_asked(struct kt_native_path *p, uint64_t now_us);
/* When the challenge has to be sent again; UINT64_MAX: there is none. */
uint64_t kt_native_path_challenge_due(const struct kt_native_path *p);
/* The largest packet, in bytes of UDP payload. */
static inline uint32_t kt_native_path_size(const struct kt_native_path *p)
{
    return kt_native_mtu_size(&p->mtu);
}
/* Frees the packets that it keeps to rebuild others. */
void kt_native_path_forget(struct kt_native_path *p);
/* Gives back memory, as it is idle. */
void kt_native_path_trim(struct kt_native_path *p);
/* The settings or the MTU have changed: tells the controller. */
void kt_native_path_limit(struct kt_native_path *p);

/* ---- spread.c ---- */

/* True if frames of streams, or of flows, may leave on the path. */
bool kt_native_spread_streams(const struct kt_native_path *p);
bool kt_native_spread_flows(const struct kt_native_path *p);
/* True if probes, not frames, are to find out what the path carries: it is far behind the best one or slow beside it,
 * and frames that are lost while its controller starts would hold up all others for long. */
bool kt_native_spread_explores(const struct kt_native_path *p);
/* If nothing new may leave on the best path, because nothing waits or credit is used up: gives it what slower paths
 * carry and it delivers sooner, so that the slowest byte does not hold up all others. True if there was anything. */
bool kt_native_spread_hand_over(struct kt_native_association *a, uint64_t now_us);

/* ---- paths.c ---- */

/* Finds a->best. */
void kt_native_paths_choose(struct kt_native_association *a);
/* The peer has acknowledged something new on the path: it is in use again. */
void kt_native_paths_revive(struct kt_native_path *p);
/* When a packet may be declared lost, or a path silent (UINT64_MAX: never); and does so. */
uint64_t kt_native_paths_recovery_due(const struct kt_native_association *a);
void kt_native_paths_recover(struct kt_native_association *a, uint64_t now_us);
/* Sends a PING on every path: if the best one is silent, another may be answered. */
void kt_native_paths_ask(struct kt_native_association *a);
/* When a path needs a keepalive (UINT64_MAX: none does); and sends a PING on each that does. */
uint64_t kt_native_paths_keepalive_due(const struct kt_native_association *a);
void kt_native_paths_keep_alive(struct kt_native_association *a, uint64_t now_us);

/* The time after which packets that a path keeps to rebuild others are of no use (UINT64_MAX: no path keeps any), and
 * the call that frees them then. */
uint64_t kt_native_paths_forget_due(const struct kt_native_association *a);
void kt_native_paths_forget(struct kt_native_association *a, uint64_t now_us);

struct kt_native_sums {
    uint64_t acked, lost; /* packets, since the start */
    uint64_t spurious;    /* of the lost: those that were acknowledged after all */
    uint32_t inflight;    /* packets */
    /* Of those in use: */
    uint32_t owed;      /* packets in flight */
    uint32_t usable;    /* paths */
    uint32_t srtt_most; /* µs */
};
struct kt_native_sums kt_native_paths_sums(const struct kt_native_association *a);
/* Sums over the controllers of the paths in use: window in packets, pacing in bytes per second. */
void kt_native_paths_allowed(const struct kt_native_association *a, uint64_t *window, uint64_t *pacing);

#endif
