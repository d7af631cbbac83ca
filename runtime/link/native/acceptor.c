/* The accepting side of kt's own wire: ports, settings, and its end. Associations are in guest.c, datagrams in
 * route.c. */
#include <stdlib.h>
#include <string.h>
#include "link/native/acceptor_internal.h"

static struct acceptor *of(struct kt_acceptor *acceptor)
{
    return KT_CONTAINER(acceptor, struct acceptor, acceptor);
}

static struct guest *guest_of(struct kt_list *n)
{
    return KT_CONTAINER(n, struct guest, by_age);
}

static void on_stats(const struct kt_acceptor *acceptor, struct kt_link_stats *out)
{
    const struct acceptor *a = KT_CONTAINER(acceptor, const struct acceptor, acceptor);
    *out = (struct kt_link_stats){.wire = a->c->wire, .total = a->ended, .since_heard_us = UINT64_MAX};
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = n->next)
        kt_native_association_stats(guest_of(n)->a, out);
}

static void free_all(struct kt_list *guests)
{
    while (!kt_list_empty(guests))
        kt_native_guest_free(guest_of(guests->next), KT_ECLOSED, "the acceptor was closed");
}

static void destroy(struct acceptor *a)
{
    free_all(&a->ages);
    free_all(&a->unproven);
    kt_hmap_free(&a->cids);
    kt_hmap_free(&a->instances);
    kt_hmap_free(&a->devices);
    kt_native_server_end(&a->server);
    kt_session_starts_free(&a->own_starts);
    kt_ports_remove(&a->taker);
    kt_ports_unref(a->ports);
    kt_io_turn_cancel(&a->turn);
    if (a->next) kt_native_context_unref(a->next);
    if (a->old) kt_native_context_unref(a->old);
    kt_native_context_unref(a->c);
    free(a);
}

static void on_turn(void *ctx)
{
    destroy(ctx);
}

static void on_close(struct kt_acceptor *acceptor)
{
    struct acceptor *a = of(acceptor);
    a->closing = true;
    kt_io_turn(a->c->io, &a->turn); /* not now: this may come from an association's events */
}

/* ---- other settings ---- */

static void on_drop(struct kt_acceptor *acceptor)
{
    struct acceptor *a = of(acceptor);
    if (a->next) kt_native_context_unref(a->next);
    a->next = NULL;
}

static int on_prepare(struct kt_acceptor *acceptor, const struct kt_settings *s, struct kt_err *err)
{
    struct acceptor *a = of(acceptor);
    const struct kt_wire_env env = {.io = a->c->io,
        .log = a->c->log,
        .counters = a->c->counters,
        .phrases = a->c->phrases,
        .tap = a->c->tap,
        .budget = a->c->memory.budget};
    struct kt_native_context *c;
    const int rc = kt_native_context_new(&c, a->c->wire, &env, kt_native_config(s), false, err);
    if (rc) return rc;
    on_drop(acceptor);
    if (kt_native_context_same(c, a->c))
        kt_native_context_unref(c);
    else
        a->next = c;
    return 0;
}

/* Ends the associations of clients that are no longer allowed. */
static void expel(struct acceptor *a)
{
    struct kt_list *next;
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = next) {
        struct guest *g = guest_of(n);
        next = n->next;
        const char *identity = kt_native_association_identity(g->a);
        char now[KT_NATIVE_IDENTITY] = "";
        if (!identity) continue;
        kt_native_guest_name(a, kt_native_association_key(g->a), kt_native_association_peer(g->a), now);
        if (strcmp(now, identity) != 0)
            kt_native_guest_free(g, KT_EREFUSED, "this client is no longer authorized");
    }
}

/* Retires the key of these settings: its guests with streams stay until those have ended, all others are
 * freed. Guests of an even earlier key can no longer be heard, and are freed too. */
static void retire(struct acceptor *a, struct kt_native_context *old)
{
    struct kt_list *next;
    if (a->old) kt_native_context_unref(a->old);
    a->old = old;
    kt_native_context_retire(old);
    while (!kt_list_empty(&a->unproven)) kt_native_guest_free(guest_of(a->unproven.next), KT_ECLOSED, NULL);
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = next) {
        struct guest *g = guest_of(n);
        next = n->next;
        if (!kt_native_context_same_key(g->c, old) || kt_native_association_streams(g->a) == 0)
            kt_native_guest_free(g, KT_ECLOSED, "the key was changed");
        else
            kt_native_context_retire(g->c);
    }
}

static void on_apply(struct kt_acceptor *acceptor, struct kt_acceptor_change *out)
{
    struct acceptor *a = of(acceptor);
    struct kt_native_context *old = a->c;
    *out = (struct kt_acceptor_change){.sessions = a->guests};
    if (!a->next) return;
    out->changed = true;
    out->retired = !kt_native_context_same_key(old, a->next);
    a->c = a->next;
    a->next = NULL;
    kt_native_context_succeed(a->c, old);
    kt_native_server_end(&a->server);
    kt_native_route_server(a);
    if (!out->retired) {
        expel(a);
        kt_native_context_unref(old);
        return;
    }
    retire(a, old);
}

static void on_adopt(struct kt_acceptor *acceptor)
{
    struct acceptor *a = of(acceptor);
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = n->next) {
        struct guest *g = guest_of(n);
        kt_accepted_release(&g->links);
        kt_native_guest_give_link(g);
    }
}

static int listen_on(
    struct acceptor *a, const struct kt_endpoint *at, struct kt_ports **shared, struct kt_err *err)
{
    const struct kt_native_config *cfg = &a->c->cfg;
    const struct kt_udp_opts opts = {.dscp = (int)cfg->dscp, .sndbuf = cfg->sockbuf, .rcvbuf = cfg->sockbuf};
    const int rc = kt_ports_open(&a->ports, shared, a->c->io, at, &opts, err);
    if (!rc) kt_ports_add(a->ports, &a->taker);
    return rc;
}

static const struct kt_acceptor_ops ops = {.prepare = on_prepare,
    .apply = on_apply,
    .drop = on_drop,
    .adopt = on_adopt,
    .stats = on_stats,
    .close = on_close};

int kt_native_accept(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    const struct kt_acceptor_events *events, void *ctx, struct kt_acceptor **out, struct kt_err *err)
{
    struct acceptor *a = calloc(1, sizeof *a);
    if (!a) return kt_err_set(err, KT_ENOMEM, "out of memory");
    int rc = kt_native_context_new(&a->c, self, env, kt_native_config(s), false, err);
    if (rc) {
        free(a);
        return rc;
    }
    a->acceptor.ops = &ops;
    a->events = events;
    a->ctx = ctx;
    a->began_us = kt_io_now(env->io);
    a->hash_seed = a->c->hash_seed;
    kt_session_starts_init(&a->own_starts, a->c->hash_seed);
    a->starts = env->starts ? env->starts : &a->own_starts;
    kt_hmap_init(&a->cids);
    kt_hmap_init(&a->instances);
    kt_hmap_init(&a->devices);
    kt_list_init(&a->ages);
    kt_list_init(&a->unproven);
    kt_list_init(&a->silents);
    kt_turn_init(&a->turn, on_turn, a);
    kt_native_route_taker(a);
    kt_native_route_server(a);
    if ((rc = listen_on(a, &s->at, env->ports, err))) {
        destroy(a);
        return rc;
    }
    *out = &a->acceptor;
    return 0;
}
