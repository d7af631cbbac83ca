/* Joins two flows. The timer is not set again for each datagram: when it fires, it looks when the last one came.
 *
 * Invariant: the relay listens on both flows until the turn in which it ends. */
#include "link/relay.h"

#include <stdlib.h>
#include "io/io.h"
#include "link/limits.h"

struct kt_relay {
    struct kt_io *io;
    struct kt_flow *flow[2]; /* a, b */
    uint64_t bytes[2];       /* that came from it */
    uint64_t born;
    struct kt_limits limits; /* of time only */
    struct kt_timer timer;
    struct kt_turn turn;
    bool over;
    int code;
    void (*done)(void *ctx, const struct kt_relay_result *result);
    void *ctx;
};

static void finish(struct kt_relay *r, int code)
{
    if (r->over) return;
    r->over = true;
    r->code = code;
    kt_io_turn(r->io, &r->turn);
}

static void on_timer(void *ctx)
{
    struct kt_relay *r = ctx;
    const int code = kt_limits_expired(&r->limits, kt_io_now(r->io));
    if (code)
        finish(r, code);
    else
        kt_io_timer_set(r->io, &r->timer, kt_limits_deadline(&r->limits));
}

void kt_relay_pass(struct kt_relay *r, bool from_b, const uint8_t *data, size_t len)
{
    r->bytes[from_b] += len;
    kt_limits_moved(&r->limits, from_b ? KT_LIMITS_OUT : KT_LIMITS_IN, len, kt_io_now(r->io));
    kt_flow_send(r->flow[!from_b], data, len);
}

static void on_a(void *ctx, const uint8_t *data, size_t len)
{
    kt_relay_pass(ctx, false, data, len);
}

static void on_b(void *ctx, const uint8_t *data, size_t len)
{
    kt_relay_pass(ctx, true, data, len);
}

static void on_ended(void *ctx, int code)
{
    finish(ctx, code);
}

static const struct kt_flow_events a_events = {on_a, on_ended}, b_events = {on_b, on_ended};

static void release(struct kt_relay *r, int reason)
{
    kt_io_timer_cancel(r->io, &r->timer);
    kt_io_turn_cancel(&r->turn);
    kt_limits_end(&r->limits);
    kt_flow_close(r->flow[0], reason);
    kt_flow_close(r->flow[1], reason);
    free(r);
}

static void on_turn(void *ctx)
{
    struct kt_relay *r = ctx;
    struct kt_relay_result result = {.a_to_b = r->bytes[0],
        .b_to_a = r->bytes[1],
        .duration_us = kt_io_now(r->io) - r->born,
        .code = r->code};
    kt_flow_facts(r->flow[0], &result.a);
    kt_flow_facts(r->flow[1], &result.b);
    void (*done)(void *, const struct kt_relay_result *) = r->done;
    void *done_ctx = r->ctx;
    release(r, r->code);
    done(done_ctx, &result);
}

int kt_relay(struct kt_io *io, struct kt_flow *a, struct kt_flow *b, const struct kt_relay_options *options,
    void (*done)(void *ctx, const struct kt_relay_result *result), void *ctx, struct kt_relay **out)
{
    struct kt_relay *r = calloc(1, sizeof *r);
    if (!r) return KT_ENOMEM;
    r->io = io;
    r->flow[0] = a;
    r->flow[1] = b;
    r->born = kt_io_now(io);
    kt_limits_init(&r->limits, r->born, r->born);
    const int rc = kt_limits_set(&r->limits,
        &(struct kt_limits_terms){.idle_us = options->idle_us, .total_us = options->total_us}, r->born);
    if (rc) {
        free(r);
        return rc;
    }
    r->done = done;
    r->ctx = ctx;
    kt_timer_init(&r->timer, on_timer, r);
    kt_turn_init(&r->turn, on_turn, r);
    kt_io_timer_set(io, &r->timer, kt_limits_deadline(&r->limits));
    kt_flow_listen(a, &a_events, r);
    kt_flow_listen(b, &b_events, r);
    *out = r;
    return 0;
}

void kt_relay_cancel(struct kt_relay *r, int reason)
{
    release(r, reason);
}
