/* The accepting side of kcptun's wire: one socket for each port, and the table of sessions (guest.c) that
 * route.c fills from what comes in. */
#include <stdlib.h>
#include "link/kcptun/acceptor_internal.h"

/* ---- the acceptor ---- */

static void on_stats(const struct kt_acceptor *acceptor, struct kt_link_stats *out)
{
    const struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    *out = (struct kt_link_stats){.wire = a->context->wire, .total = a->ended, .since_heard_us = UINT64_MAX};
    for (const struct kt_list *n = a->ages.next; n != &a->ages; n = n->next) {
        const struct guest *g = KT_CONTAINER(n, const struct guest, by_age);
        if (g->session) kt_kcptun_session_stats(g->session, out);
    }
}

static void destroy(struct acceptor *a)
{
    while (!kt_list_empty(&a->ages))
        kt_kcptun_guest_free(
            KT_CONTAINER(a->ages.next, struct guest, by_age), KT_ECLOSED, "the acceptor was closed");
    kt_hmap_free(&a->guests);
    kt_hmap_free(&a->peers);
    kt_session_starts_free(&a->own_starts);
    kt_ports_remove(&a->taker);
    kt_ports_unref(a->shared_ports);
    kt_io_turn_cancel(&a->turn);
    if (a->next) kt_kcptun_context_unref(a->next);
    kt_kcptun_context_unref(a->context);
    free(a->ports);
    free(a);
}

static void on_turn(void *ctx)
{
    destroy(ctx);
}

static void on_close(struct kt_acceptor *acceptor)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    a->closing = true;
    kt_io_turn(a->context->io, &a->turn); /* not now: this may come from one of its sessions' events */
}

/* ---- other settings ---- */

static void on_drop(struct kt_acceptor *acceptor)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    if (a->next) kt_kcptun_context_unref(a->next);
    a->next = NULL;
}

static int on_prepare(struct kt_acceptor *acceptor, const struct kt_settings *s, struct kt_err *err)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    const struct kt_wire_env env = {.io = a->context->io,
        .log = a->context->log,
        .counters = a->context->counters,
        .tap = a->context->tap,
        .budget = a->context->memory.budget};
    struct kt_kcptun_context *context;
    int rc = kt_kcptun_context_new(&context, a->context->wire, &env, kt_kcptun_config(s), false, err);
    if (rc) return rc;
    on_drop(acceptor);
    if (kt_kcptun_context_same(context, a->context))
        kt_kcptun_context_unref(context);
    else
        a->next = context;
    return 0;
}

static void on_adopt(struct kt_acceptor *acceptor)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = n->next) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_age);
        kt_accepted_release(&g->links);
        if (g->session && kt_kcptun_session_heard(g->session) && !kt_kcptun_session_over(g->session))
            kt_kcptun_guest_give_link(g);
    }
}

static void on_apply(struct kt_acceptor *acceptor, struct kt_acceptor_change *out)
{
    struct acceptor *a = KT_CONTAINER(acceptor, struct acceptor, acceptor);
    struct kt_kcptun_context *old = a->context;
    *out = (struct kt_acceptor_change){.sessions = a->guests.count};
    if (!a->next) return;
    out->changed = true;
    out->retired = !kt_kcptun_context_same_secret(old, a->next);
    if (out->retired) kt_kcptun_context_retire(old);
    a->context = a->next;
    a->next = NULL;
    a->elders = a->guests.count;
    for (struct kt_list *n = a->ages.next; out->retired && n != &a->ages; n = n->next) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_age);
        kt_kcptun_context_retire(g->context); /* including guests of even earlier settings */
        if (g->session && kt_kcptun_session_streams(g->session) == 0) kt_kcptun_guest_linger(g);
    }
    kt_kcptun_context_unref(old);
}

static int bind_all(
    struct acceptor *a, const struct kt_endpoint *at, struct kt_ports **shared, struct kt_err *err)
{
    const struct kt_udp_opts opts = {.dscp = (int)a->context->cfg.dscp,
        .sndbuf = a->context->cfg.sockbuf,
        .rcvbuf = a->context->cfg.sockbuf};
    const int rc = kt_ports_open(&a->shared_ports, shared, a->context->io, at, &opts, err);
    if (rc) return rc;
    const size_t count = kt_ports_count(a->shared_ports);
    a->ports = calloc(count, sizeof *a->ports);
    if (!a->ports) return kt_err_set(err, KT_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) a->ports[i] = (struct port){a, kt_ports_udp(a->shared_ports, i)};
    kt_ports_add(a->shared_ports, &a->taker);
    return 0;
}

static const struct kt_acceptor_ops ops = {.prepare = on_prepare,
    .apply = on_apply,
    .drop = on_drop,
    .adopt = on_adopt,
    .stats = on_stats,
    .close = on_close};

int kt_kcptun_accept(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    const struct kt_acceptor_events *events, void *ctx, struct kt_acceptor **out, struct kt_err *err)
{
    struct acceptor *a = calloc(1, sizeof *a);
    if (!a) return kt_err_set(err, KT_ENOMEM, "out of memory");
    int rc = kt_kcptun_context_new(&a->context, self, env, kt_kcptun_config(s), false, err);
    if (rc) {
        free(a);
        return rc;
    }
    a->acceptor.ops = &ops;
    a->hash_seed = a->context->hash_seed;
    a->events = events;
    a->ctx = ctx;
    kt_io_random(env->io, &a->secret, sizeof a->secret);
    kt_session_starts_init(&a->own_starts, a->hash_seed);
    a->starts = env->starts ? env->starts : &a->own_starts;
    kt_hmap_init(&a->guests);
    kt_hmap_init(&a->peers);
    kt_list_init(&a->ages);
    kt_turn_init(&a->turn, on_turn, a);
    kt_kcptun_route_taker(a);
    if ((rc = bind_all(a, &s->at, env->ports, err))) {
        destroy(a);
        return rc;
    }
    *out = &a->acceptor;
    return 0;
}
