/* Looks up a peer, repeatedly. The invariant is in locator.h. */
#include "link/common/locator.h"

#define RETRY_US 1000000u

static void on_retry(void *ctx)
{
    struct kt_locator *l = ctx;
    l->events->retry(l->ctx);
}

void kt_locator_init(struct kt_locator *l, struct kt_io *io, const struct kt_log *log,
    const struct kt_endpoint *at, const struct kt_locator_events *events, void *ctx)
{
    *l = (struct kt_locator){.io = io, .log = log, .at = at, .events = events, .ctx = ctx};
    kt_timer_init(&l->retry, on_retry, l);
}

static void on_resolved(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct kt_locator *l = ctx;
    l->resolve = NULL;
    if (n == 0)
        kt_locator_fail(l, err);
    else
        l->events->found(l->ctx, addrs, n);
}

void kt_locator_start(struct kt_locator *l)
{
    const struct kt_endpoint *at = l->at;
    struct kt_err err = {0};
    if (l->resolve || l->retry.armed) return;
    uint32_t port = at->port_min;
    if (at->port_max > at->port_min) {
        uint32_t r;
        kt_io_random(l->io, &r, sizeof r);
        port += r % ((uint32_t)at->port_max - at->port_min + 1);
    }
    if (kt_resolve(l->io, at->host, (uint16_t)port, on_resolved, l, &l->resolve, &err))
        kt_locator_fail(l, &err);
}

void kt_locator_later(struct kt_locator *l)
{
    kt_io_timer_set(l->io, &l->retry, kt_io_now(l->io) + RETRY_US);
}

void kt_locator_fail(struct kt_locator *l, const struct kt_err *err)
{
    l->why = *err;
    if (!l->complained) kt_log(l->log, KT_LOG_WARN, "%s; trying again every second", err->text);
    l->complained = true;
    kt_locator_later(l);
    l->events->failed(l->ctx);
}

void kt_locator_settled(struct kt_locator *l)
{
    l->complained = false;
    l->why.code = 0;
}

void kt_locator_stop(struct kt_locator *l)
{
    if (l->resolve) kt_resolve_cancel(l->resolve);
    l->resolve = NULL;
    kt_io_timer_cancel(l->io, &l->retry);
}
