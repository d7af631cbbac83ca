/* Locates a peer: picks a port of its range, looks up its name, and retries every second until the owner
 * reports success. The owner decides whether to make another attempt.
 *
 * Invariant: at most one of a lookup and the retry timer is pending. */
#ifndef KT_LINK_COMMON_LOCATOR_H
#define KT_LINK_COMMON_LOCATOR_H

#include "base/addr.h"
#include "base/log.h"
#include "io/io.h"

struct kt_locator_events {
    /* The peer's addresses, at least one, during the call. Calls kt_locator_settled or kt_locator_fail. */
    void (*found)(void *ctx, const struct kt_addr *addrs, size_t n);
    /* The attempt failed; the retry timer is armed. */
    void (*failed)(void *ctx);
    /* The retry timer has fired: call kt_locator_start to try again. */
    void (*retry)(void *ctx);
};

struct kt_locator {
    struct kt_io *io;
    const struct kt_log *log;
    const struct kt_endpoint *at; /* not owned */
    const struct kt_locator_events *events;
    void *ctx;
    struct kt_resolve *resolve; /* NULL: no lookup is pending */
    struct kt_timer retry;
    struct kt_err why; /* why the last attempt failed; code 0: it succeeded */
    bool complained;   /* a failure was logged since the last success */
};

void kt_locator_init(struct kt_locator *l, struct kt_io *io, const struct kt_log *log,
    const struct kt_endpoint *at, const struct kt_locator_events *events, void *ctx);
/* Starts an attempt, with a random port of the range, unless one is pending or the retry timer is armed. */
void kt_locator_start(struct kt_locator *l);
/* Arms the retry timer. */
void kt_locator_later(struct kt_locator *l);
/* The attempt failed later. The first failure in a row is logged. */
void kt_locator_fail(struct kt_locator *l, const struct kt_err *err);
/* The attempt succeeded: forgets why earlier ones failed. */
void kt_locator_settled(struct kt_locator *l);
/* Cancels whatever is pending. */
void kt_locator_stop(struct kt_locator *l);

#endif
