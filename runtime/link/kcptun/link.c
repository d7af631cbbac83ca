/* The operations of a link that dials. Its sessions are in dial.c. */
#include <stdlib.h>
#include "link/kcptun/link_internal.h"

/* ---- calls ---- */

static int on_request(
    struct kt_link *link, const struct kt_request *r, struct kt_open **out, struct kt_err *err)
{
    struct link *l = KT_CONTAINER(link, struct link, link);
    if (r->options.target) return kt_kcptun_no_target(err);
    struct kt_call *c = kt_kcptun_call_new(&l->calls, r);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    *out = &c->open;
    kt_kcptun_slot_call(&l->slots[l->next % l->context->cfg.conn], c);
    if (r->opened) l->next++; /* a probe measures the session that the next stream would get */
    return 0;
}

/* ---- events ---- */

static void on_listen(struct kt_link *link, const struct kt_link_events *events, void *ctx)
{
    struct link *l = KT_CONTAINER(link, struct link, link);
    l->presence.events = events;
    l->presence.ctx = ctx;
    if (!events || !events->stream || !kt_kcptun_context_serve(l->context)) return;
    /* A session's hello announces whether it serves streams, so sessions whose hello did not are replaced. */
    for (size_t i = 0; i < l->context->cfg.conn; i++) kt_kcptun_slot_renew(&l->slots[i]);
}

static int on_stay(struct kt_link *link, struct kt_err *err)
{
    struct link *l = KT_CONTAINER(link, struct link, link);
    (void)err;
    l->stay = true;
    for (size_t i = 0; i < l->context->cfg.conn; i++) {
        struct slot *slot = &l->slots[i];
        if (slot->dial && slot->dial->stale)
            kt_kcptun_slot_renew(slot);
        else if (!slot->dial)
            kt_kcptun_slot_dial(slot);
    }
    return 0;
}

/* ---- settings ---- */

static int on_set(struct kt_link *link, const struct kt_settings *to, struct kt_err *err)
{
    struct link *l = KT_CONTAINER(link, struct link, link);
    struct kt_kcptun_context *context = l->context;
    struct kt_kcptun_config c = context->cfg;
    kt_settings_follow(&kt_kcptun_settings, &c.common, to);
    int rc = kt_kcptun_check(&c.common, err);
    if (rc) return rc;
    kt_kcptun_settle(&c);
    kt_kcptun_context_set(context, &c);
    for (struct kt_list *n = l->draining.next; n != &l->draining; n = n->next) {
        struct dial *d = KT_CONTAINER(n, struct dial, node);
        const bool follows = kt_kcptun_session_tune(d->session);
        if (d->benched) d->stale = !follows;
    }
    size_t stale = 0;
    for (size_t i = 0; i < c.conn; i++) {
        stale += kt_kcptun_slot_tune(&l->slots[i]);
    }
    if (stale > 0 && kt_kcptun_context_fec(context))
        kt_log(context->log, KT_LOG_INFO,
            "FEC %u/%u applies to new streams, in a new session; open streams keep theirs", c.datashard,
            c.parityshard);
    return 0;
}

/* ---- the rest ---- */

static void add(const struct dial *d, struct kt_link_stats *sum)
{
    if (d) kt_kcptun_session_stats(d->session, sum);
}

static void on_stats(const struct kt_link *link, struct kt_link_stats *out)
{
    const struct link *l = KT_CONTAINER(link, struct link, link);
    *out = (struct kt_link_stats){.wire = l->context->wire, .total = l->ended, .since_heard_us = UINT64_MAX};
    for (size_t i = 0; i < l->context->cfg.conn; i++) {
        add(l->slots[i].dial, out);
        add(l->slots[i].dead, out);
    }
    /* The silence of a replaced session says nothing about the link. */
    const bool replaced = out->up;
    for (const struct kt_list *n = l->draining.next; n != &l->draining; n = n->next) {
        const uint64_t silence = out->silence_us;
        const struct dial *d = KT_CONTAINER(n, struct dial, node);
        add(d, out);
        if (replaced && d->benched) out->silence_us = silence;
    }
}

static void destroy(struct link *l)
{
    struct kt_list *n;
    kt_calls_end(&l->calls);
    for (size_t i = 0; i < l->context->cfg.conn; i++) kt_kcptun_slot_free(&l->slots[i]);
    while ((n = kt_list_pop(&l->draining)))
        kt_kcptun_dial_free(KT_CONTAINER(n, struct dial, node), KT_ECLOSED);
    kt_io_turn_cancel(&l->turn);
    kt_kcptun_context_unref(l->context);
    free(l->slots);
    free(l);
}

static void on_turn(void *ctx)
{
    destroy(ctx);
}

static void on_close(struct kt_link *link)
{
    struct link *l = KT_CONTAINER(link, struct link, link);
    l->presence.closing = true;
    kt_calls_end(&l->calls);
    kt_io_turn(l->context->io, &l->turn); /* not now: this may come from one of its sessions' events */
}

static const struct kt_link_ops ops = {.request = on_request,
    .listen = on_listen,
    .stay = on_stay,
    .set = on_set,
    .stats = on_stats,
    .close = on_close};

int kt_kcptun_link(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    struct kt_link **out, struct kt_err *err)
{
    const struct kt_kcptun_config *cfg = kt_kcptun_config(s);
    struct link *l = calloc(1, sizeof *l);
    if (!l) return kt_err_set(err, KT_ENOMEM, "out of memory");
    int rc = kt_kcptun_context_new(&l->context, self, env, cfg, true, err);
    if (rc) {
        free(l);
        return rc;
    }
    l->slots = calloc(cfg->conn, sizeof *l->slots);
    if (!l->slots) {
        kt_kcptun_context_unref(l->context);
        free(l);
        return kt_err_set(err, KT_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < cfg->conn; i++) kt_kcptun_slot_init(&l->slots[i], l);
    kt_list_init(&l->draining);
    kt_kcptun_calls_init(&l->calls, l->context);
    kt_turn_init(&l->turn, on_turn, l);
    l->link.ops = &ops;
    if (s->stay) on_stay(&l->link, NULL);
    *out = &l->link;
    return 0;
}
