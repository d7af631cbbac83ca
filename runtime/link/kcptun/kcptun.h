/* The kcptun wire: links and acceptors that speak it (docs/wire-kcptun.md). */
#ifndef KT_LINK_KCPTUN_KCPTUN_H
#define KT_LINK_KCPTUN_KCPTUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/err.h"
#include "link/link.h"

struct kt_counters;
struct kt_starts;
struct kt_io;
struct kt_log;

/* Everything a kcptun link or acceptor can be told. kt_kcptun_defaults fills in today's kcptun's defaults;
 * kt_kcptun_check says what is wrong. */
struct kt_kcptun_config {
    struct kt_endpoint at; /* the peer (link), or where to listen (acceptor) */
    const void *key;       /* raw bytes as typed; read only during the call that makes the link */
    size_t key_len;
    const char *crypt; /* crypto/seal.h */
    bool qpp;
    uint32_t qpp_count; /* 1..4096 */
    bool tuncrypt;

    uint32_t mtu;            /* largest UDP payload, 128..1500 */
    uint32_t sndwnd, rcvwnd; /* packets, 1..65535 */
    bool nodelay;
    uint32_t interval_ms; /* 10..5000 */
    uint32_t resend;      /* 0..255 */
    bool nc;
    bool acknodelay;
    uint32_t datashard, parityshard; /* both > 0: FEC; sum <= 255 */
    uint64_t ratelimit;              /* bytes a second sent per session, UDP payload; up to 2^40; 0: none */

    bool compress;
    uint32_t smux_version;  /* 1, 2 */
    uint64_t smux_buffer;   /* bytes */
    uint32_t stream_buffer; /* bytes */
    uint32_t frame_size;    /* 1..65535 */
    uint32_t max_streams;   /* a session; 1..65535 */
    uint64_t memory;        /* bytes, for the buffers of all sessions; 1 MiB..2^40 */
    uint32_t max_sessions;  /* acceptor; 1..1048576 */
    uint64_t keepalive_us;  /* 1 s..30 s */
    uint64_t
        suspect_us;   /* a peer that owes an answer gets no new streams after this; 1 s..60 s; default 5 s */
    uint64_t dead_us; /* ... and is given up after this; 1 s..60 s; default 30 s */

    uint32_t conn;        /* link: sessions in rotation, 1..1024 */
    uint64_t expire_us;   /* link: autoexpire, 0: never; up to ten years */
    uint64_t scavenge_us; /* link: an expired session is cut after so long; as above */
    bool stay;            /* link: dials at once and for ever (kt_link_stay) */

    int dscp;       /* 0..63 */
    size_t sockbuf; /* bytes */
};

void kt_kcptun_defaults(struct kt_kcptun_config *c, bool client);

/* nodelay, interval, resend, nc by name (spec 6.2, and "default"); false for an unknown name. "manual"
 * changes nothing. */
bool kt_kcptun_mode(struct kt_kcptun_config *c, const char *name);

/* 0, or KT_ECONFIG with a sentence naming the setting, its value and its range. */
int kt_kcptun_check(const struct kt_kcptun_config *c, struct kt_err *err);

/* A link to cfg->at; dials on first use. The config is copied. log and counters outlive it. */
int kt_kcptun_link(struct kt_io *io, const struct kt_kcptun_config *cfg, const struct kt_log *log,
    struct kt_counters *counters, struct kt_link **out, struct kt_err *err);

/* An acceptor on cfg->at; its sockets are open when this returns. starts: where it remembers the sessions
 * that were begun; outlives it, and is shared by all that a recorded start could be sent to. NULL: a memory
 * of its own. */
int kt_kcptun_accept(struct kt_io *io, const struct kt_kcptun_config *cfg, const struct kt_log *log,
    struct kt_counters *counters, struct kt_starts *starts, const struct kt_acceptor_events *events,
    void *ctx, struct kt_acceptor **out, struct kt_err *err);

/* Other settings for an acceptor of kt_kcptun_accept that goes on: prepared by change, which may fail and
 * changes nothing, then applied or dropped. New sessions have the new ones; a session that is there keeps its
 * own until it ends, and goes on to bring streams unless the key or the cipher is another one: then those
 * that it has may finish, and it ends. What belongs to the sockets (the address, dscp, sockbuf) stays. */
struct kt_acceptor_change {
    bool changed; /* the settings differ from those before */
    bool retired; /* ... in the key or the cipher */
    size_t sessions;
};
int kt_kcptun_change(
    struct kt_acceptor *acceptor, const struct kt_kcptun_config *cfg, bool *differs, struct kt_err *err);
void kt_kcptun_change_apply(struct kt_acceptor *acceptor, struct kt_acceptor_change *out);
void kt_kcptun_change_drop(struct kt_acceptor *acceptor);
/* The acceptor has another user from now on: the links that it gave out go on as long as their sessions, but
 * to close one of them only lets go of it; and each session that is up is given out again, to the new one,
 * the oldest first. */
void kt_kcptun_handed_over(struct kt_acceptor *acceptor);

#endif
