/* The dialling side, as its user sees it. dial.c gets its association. */
#include <stdlib.h>
#include "link/native/link_internal.h"
#include "link/native/serve.h"

static struct link *of(struct kt_link *link)
{
    return KT_CONTAINER(link, struct link, link);
}

static int on_request(
    struct kt_link *link, const struct kt_request *r, struct kt_open **out, struct kt_err *err)
{
    struct link *l = of(link);
    struct kt_call *c = kt_native_call_new(&l->calls, r);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    *out = &c->open;
    c->open.why = kt_native_remotes_why(l);
    kt_native_calls_add(&l->waiting, c);
    kt_native_dial_serve(l);
    kt_native_dial(l);
    return 0;
}

static int on_flow(
    struct kt_link *link, const struct kt_flow_options *options, struct kt_flow **out, struct kt_err *err)
{
    struct link *l = of(link);
    int rc = kt_native_flow_open(&l->flows, options, out);
    if (rc) return kt_native_no_flow(rc, err);
    if (!l->a) {
        kt_native_dial(l);
        return 0;
    }
    rc = kt_native_flow_bind(*out, l->a);
    if (!rc) return 0;
    kt_flow_close(*out, rc);
    return kt_native_no_flow(rc, err);
}

static void on_listen(struct kt_link *link, const struct kt_link_events *events, void *ctx)
{
    struct link *l = of(link);
    l->presence.events = events;
    l->presence.ctx = ctx;
}

static int on_stay(struct kt_link *link, struct kt_err *err)
{
    struct link *l = of(link);
    (void)err;
    l->stay = true;
    kt_native_dial(l);
    return 0;
}

static int on_set(struct kt_link *link, const struct kt_settings *to, struct kt_err *err)
{
    struct link *l = of(link);
    struct kt_native_config c = l->c->cfg;
    kt_settings_follow(l->c->wire->settings, &c.common, to);
    const int rc = l->c->wire->check(&c.common, err);
    if (rc) return rc;
    kt_native_context_set(l->c, &c);
    if (l->a) kt_native_association_tune(l->a);
    return 0;
}

static void on_stats(const struct kt_link *link, struct kt_link_stats *out)
{
    const struct link *l = KT_CONTAINER(link, const struct link, link);
    *out = (struct kt_link_stats){.wire = l->c->wire, .total = l->ended, .since_heard_us = UINT64_MAX};
    if (l->a) kt_native_association_stats(l->a, out);
}

static void on_turn(void *ctx)
{
    struct link *l = ctx;
    kt_calls_cancel(&l->waiting);
    kt_native_flows_unbind(&l->flows);
    kt_native_flows_abandon(&l->flows, KT_ECLOSED);
    kt_native_dial_end(l);
    kt_io_turn_cancel(&l->turn);
    kt_native_remotes_free(l);
    kt_native_context_unref(l->c);
    free(l);
}

static void on_close(struct kt_link *link)
{
    struct link *l = of(link);
    l->presence.closing = true;
    kt_calls_end(&l->calls);
    kt_io_turn(l->c->io, &l->turn); /* not now: this may come from its association's events */
}

static const struct kt_link_ops ops = {.request = on_request,
    .flow = on_flow,
    .listen = on_listen,
    .stay = on_stay,
    .set = on_set,
    .stats = on_stats,
    .close = on_close};

int kt_native_link(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    struct kt_link **out, struct kt_err *err)
{
    struct link *l = calloc(1, sizeof *l);
    if (!l) return kt_err_set(err, KT_ENOMEM, "out of memory");
    const int rc = kt_native_context_new(&l->c, self, env, kt_native_config(s), true, err);
    if (rc) {
        free(l);
        return rc;
    }
    if (kt_native_remotes_init(l, s)) {
        kt_native_context_unref(l->c);
        free(l);
        return kt_err_set(err, KT_ENOMEM, "out of memory");
    }
    l->link.ops = &ops;
    l->silence = env->silence;
    kt_list_init(&l->waiting);
    kt_list_init(&l->flows);
    kt_native_calls_init(&l->calls, l->c->io);
    kt_turn_init(&l->turn, on_turn, l);
    kt_native_attempt_init(l);
    kt_native_check_init(l);
    kt_native_extra_paths_init(l);
    l->local_count = s->locals_count;
    for (size_t i = 0; i < l->local_count; i++) l->locals[i] = s->locals[i];
    if (s->stay) on_stay(&l->link, NULL);
    *out = &l->link;
    return 0;
}
