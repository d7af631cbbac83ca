/* Shared by all associations of one link or acceptor: settings, the header keys, block slabs, drop counters. Made
 * once, before the first association, and freed after the last stream of the last one. */
#ifndef KT_LINK_NATIVE_CONTEXT_H
#define KT_LINK_NATIVE_CONTEXT_H

#include "base/log.h"
#include "base/slab.h"
#include "io/io.h"
#include "link/common/idle_memory.h"
#include "link/common/memory_budget.h"
#include "link/counters.h"
#include "link/native/drops.h"
#include "link/native/credentials.h"
#include "link/native/handshake.h"
#include "link/native/native.h"
#include "link/native/streams.h"
#include "link/tap.h"

#define KT_NATIVE_ACK_DELAY_US 25000u /* the longest that this end delays an ACK */

struct kt_phrases;

/* Its fields belong to context.c; others read them, count in counters and drops, and call the functions below. */
struct kt_native_context {
    size_t refs;
    const struct kt_wire *wire;
    struct kt_io *io;
    const struct kt_log *log;
    struct kt_log_of_link log_of_link; /* what `log` is if this is a link's */
    struct kt_counters *counters;
    struct kt_phrases *phrases;  /* may be NULL */
    struct kt_tap *tap;          /* may be NULL */
    struct kt_native_config cfg; /* its keys are NULL: they were used up */
    bool client;
    bool retired; /* an acceptor's: the key was changed; no new association with this one */
    struct kt_native_secrets *secrets; /* in locked memory */
    struct kt_native_names *names;     /* the clients that are allowed; NULL: any with the shared key */
    struct kt_native_slabs slabs;      /* the bytes of streams */
    size_t links;                      /* associations */
    size_t streams;                    /* of all of them */
    size_t allowed;  /* streams that peers may open beside those, and for which memory is kept */
    size_t parities; /* paths that keep packets to rebuild others, of all associations */
    struct kt_memory_user memory;
    uint64_t promised; /* credit that associations gave beyond their first, in bytes of streams */
    uint64_t hash_seed;
    struct kt_native_params params; /* what this end says in a handshake */
    struct kt_native_drops drops;
    uint64_t forged_logged_us; /* µs, when datagrams that do not authenticate were logged last; 0: never */
    struct kt_idle_memory idle_memory;
};

/* Reads the key, which takes 0.1 s if it is a passphrase that is new to env->phrases. 0 or a code with a sentence. */
int kt_native_context_new(struct kt_native_context **out, const struct kt_wire *wire,
    const struct kt_wire_env *env, const struct kt_native_config *cfg, bool client, struct kt_err *err);
/* Counted: the link or acceptor holds one reference, and each association one until the last of its streams was
 * closed by its user. */
struct kt_native_context *kt_native_context_ref(struct kt_native_context *c);
void kt_native_context_unref(void *context);
/* Whether two have the same settings; the same keys. */
bool kt_native_context_same(const struct kt_native_context *a, const struct kt_native_context *b);
bool kt_native_context_same_key(const struct kt_native_context *a, const struct kt_native_context *b);
/* Uses other settings from now on, of the same key: those that may change while associations exist. */
void kt_native_context_set(struct kt_native_context *c, const struct kt_native_config *cfg);
/* The acceptor has another key now: see `retired`. */
void kt_native_context_retire(struct kt_native_context *c);
/* An acceptor's, after it replaced `old`: it is the same process, and a client that asks must not take it for one that
 * has restarted. */
void kt_native_context_succeed(struct kt_native_context *c, const struct kt_native_context *old);
/* max_data of an association that begins now: less, the more there are. */
uint64_t kt_native_context_first(const struct kt_native_context *c);
/* The whole credit that an association begins with whose max_data is `first`. */
struct kt_native_credit kt_native_context_credit(const struct kt_native_context *c, uint64_t first);
/* Call while blocks are in use: arms the timer that gives memory back once they are not. */
void kt_native_context_busy(struct kt_native_context *c);
/* An association begins, or ends. */
void kt_native_context_link(struct kt_native_context *c, bool begins);
/* Counts the streams of an association, which had `before` of them and has `now`. */
void kt_native_context_streams(struct kt_native_context *c, size_t before, size_t now);
/* Likewise the streams that its peer may still open. Memory is kept for them, which new credit may not use. Nor may
 * data to send, except for what exceeds half of the memory left. */
void kt_native_context_allowed(struct kt_native_context *c, size_t before, size_t now);
/* A path begins or ends to keep packets that rebuild others. False: it may not begin, for lack of memory. */
bool kt_native_context_parity(struct kt_native_context *c, bool begins);
/* Whether `more` associations may begin: there is memory for their state. */
bool kt_native_context_admits_links(const struct kt_native_context *c, size_t more);
/* Bytes that an association may queue beside the `queued` ones. It may queue as much as it leaves to all others, out of
 * max_buffered less all credit beyond the first. The association of a link has no others. */
size_t kt_native_context_spare(const struct kt_native_context *c, uint64_t queued);
/* An association that has given `before` bytes of credit beyond the first one wants to give `want`. Returns how many it
 * may: at most as much as it leaves to all others, and as there is memory for, or none more if that is less than half
 * of the rise. All credit beyond the first fits half of max_buffered, because credit cannot be taken back, and others
 * must be able to send. */
uint64_t kt_native_context_promise(struct kt_native_context *c, uint64_t before, uint64_t want);
/* The association ended; it had given `bytes`. */
void kt_native_context_promise_end(struct kt_native_context *c, uint64_t bytes);
/* How many streams an association may have: they may cost as much as they leave to all others. counted: those of its
 * streams that are in kt_native_context_streams or kt_native_context_allowed. */
size_t kt_native_context_share(const struct kt_native_context *c, size_t counted);
/* Whether there is memory for `uncounted` streams beside those in kt_native_context_streams. */
bool kt_native_context_fits(const struct kt_native_context *c, size_t uncounted);
/* The least max_buffered, in bytes, with which one link may have this many idle streams: opened by the end that dials
 * (client) or accepted from it, with nothing else in use. docs/limits.md has the figures. */
uint64_t kt_native_context_needs(uint64_t streams, bool client);
/* How many streams a link may open, beside those of the peer. */
uint64_t kt_native_context_own_streams(const struct kt_native_context *c);
/* Counts a datagram that was dropped for any reason in `drops`; one that does not authenticate is logged at most once
 * a minute. */
void kt_native_context_dropped(struct kt_native_context *c, const struct kt_addr *from, bool forged);

#endif
