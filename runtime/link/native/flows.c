/* The table of flows.
 *
 * Invariant: `recency` has the flows of either end in the order of active_us, so that the head is the first to end. A
 * flow is freed before its user hears that it ended, so nothing it does can touch it. */
#include "link/native/flow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "link/native/code.h"

/* ---- the table ---- */

static struct kt_native_flow *find(const struct kt_native_flows *f, uint64_t id)
{
    struct kt_hnode *node = kt_hmap_find(&f->table, kt_hash_u64(id, f->cfg.hash_seed));
    for (; node; node = kt_hmap_again(node)) {
        struct kt_native_flow *flow = KT_CONTAINER(node, struct kt_native_flow, node);
        if (flow->id == id) return flow;
    }
    return NULL;
}

void kt_native_flow_touch(struct kt_native_flow *flow)
{
    flow->active_us = flow->all->now_us;
    kt_list_remove(&flow->recency);
    kt_list_push(&flow->all->recency[flow->ours], &flow->recency);
}

static struct kt_native_flow *flow_new(struct kt_native_flows *f, uint64_t id, bool ours)
{
    struct kt_native_flow *flow = calloc(1, sizeof *flow);
    if (!flow) return NULL;
    flow->all = f;
    flow->id = id;
    flow->ours = ours;
    kt_list_init(&flow->recency);
    kt_list_init(&flow->entry);
    kt_list_init(&flow->queue);
    kt_list_init(&flow->datagrams);
    if (kt_hmap_add(&f->table, &flow->node, kt_hash_u64(id, f->cfg.hash_seed)) < 0) {
        free(flow);
        return NULL;
    }
    f->count[ours]++;
    f->facts.flows++;
    kt_native_flow_touch(flow);
    return flow;
}

/* Frees a flow and, if `told`, raises `ended`. */
static void flow_free(struct kt_native_flow *flow, bool told, int code)
{
    struct kt_native_flows *f = flow->all;
    const struct kt_native_flow_events *events = told ? flow->events : NULL;
    const struct kt_native_flow_facts facts = flow->facts;
    void *ctx = flow->ctx;
    struct kt_list *node;
    while ((node = flow->datagrams.next) != &flow->datagrams)
        kt_native_queued_free(KT_CONTAINER(node, struct kt_native_queued, sibling));
    f->facts.queued -= flow->queued;
    kt_list_remove(&flow->recency);
    kt_list_remove(&flow->entry);
    kt_hmap_remove(&f->table, &flow->node);
    f->count[flow->ours]--;
    f->facts.flows--;
    free(flow->texts);
    free(flow);
    if (events) events->ended(ctx, code, &facts);
}

static bool is_ours(const struct kt_native_flows *f, uint64_t id)
{
    return (id % 2 == 1) == f->cfg.client;
}

/* Makes a FLOW_END due. If too many wait already, or memory is short, the peer gets one when it next sends
 * on the flow (on_datagram). */
static void announce_end(struct kt_native_flows *f, uint64_t id, int code)
{
    const bool ours = is_ours(f, id);
    if (f->end_count[ours] >= KT_NATIVE_FLOW_ENDS + (ours ? f->cfg.peers : f->cfg.ours)) return;
    struct kt_native_flow_end *e = malloc(sizeof *e);
    if (!e) return;
    *e = (struct kt_native_flow_end){.id = id, .code = code};
    f->end_count[ours]++;
    kt_list_push(&f->ends, &e->node);
    f->owner.wake(f->ctx);
}

void kt_native_flow_end_free(struct kt_native_flows *f, struct kt_native_flow_end *e)
{
    kt_list_remove(&e->node);
    f->end_count[is_ours(f, e->id)]--;
    free(e);
}

/* Ends a flow on this end's own account. */
static void end(struct kt_native_flow *flow, bool told, int code)
{
    announce_end(flow->all, flow->id, (int)kt_native_code_of(code));
    flow_free(flow, told, code);
}

static struct kt_native_flow *longest_idle(const struct kt_native_flows *f, bool ours)
{
    if (kt_list_empty(&f->recency[ours])) return NULL;
    return KT_CONTAINER(f->recency[ours].next, struct kt_native_flow, recency);
}

static void make_room(struct kt_native_flows *f, bool ours, uint64_t limit)
{
    if (f->count[ours] < limit) return;
    f->facts.evicted++;
    end(longest_idle(f, ours), true, KT_ELIMIT);
}

/* ---- for users ---- */

int kt_native_flows_open(
    struct kt_native_flows *f, const struct kt_native_flow_addresses *addresses, struct kt_native_flow **out)
{
    const char *target = addresses->target ? addresses->target : "";
    const char *client = addresses->client ? addresses->client : "";
    const size_t target_len = strlen(target), client_len = strlen(client);
    *out = NULL;
    if (target_len > KT_NATIVE_NAME_MAX || client_len > KT_NATIVE_NAME_MAX) return KT_EINVAL;
    if (f->cfg.peers == 0) return KT_ENOTSUP;
    char *texts = malloc(target_len + client_len + 1);
    if (!texts) return KT_ENOMEM;
    memcpy(texts, target, target_len);
    memcpy(texts + target_len, client, client_len + 1);
    make_room(f, true, f->cfg.peers);
    struct kt_native_flow *flow = flow_new(f, f->own_next, true);
    if (!flow) {
        free(texts);
        return KT_ENOMEM;
    }
    f->own_next += 2;
    flow->texts = texts;
    flow->target_len = (uint8_t)target_len;
    flow->client_len = (uint8_t)client_len;
    *out = flow;
    return 0;
}

void kt_native_flow_close(struct kt_native_flow *flow, int reason)
{
    /* A flow that sent nothing is not known to the peer. */
    if (flow->texts && flow->sequence == 0)
        flow_free(flow, false, reason);
    else
        end(flow, false, reason);
}

/* ---- frames from the peer ---- */

static int broken(struct kt_err *err, const struct kt_native_frame *frame, const char *what, uint64_t id)
{
    return kt_err_set(err, KT_EPROTO, "frame %s (0x%02x): flow %" PRIu64 " %s",
        kt_native_frame_name(frame->type), frame->type, id, what);
}

static void copy_text(char to[KT_NATIVE_NAME_MAX + 1], const struct kt_native_text *text)
{
    if (text->len > 0) memcpy(to, text->data, text->len);
    to[text->len] = '\0';
}

static int on_flow(struct kt_native_flows *f, const struct kt_native_frame *frame, struct kt_err *err)
{
    const uint64_t id = frame->flow.id;
    char target[KT_NATIVE_NAME_MAX + 1], client[KT_NATIVE_NAME_MAX + 1];
    if (is_ours(f, id)) return broken(err, frame, "has an id of the other end", id);
    if (find(f, id)) return 0; /* FLOW is repeated until it is acknowledged */
    if (f->cfg.ours == 0 || !f->owner.flow) {
        announce_end(f, id, KT_NATIVE_CODE_REFUSED);
        f->stray_id = id; /* its datagrams follow */
        f->stray_us = f->now_us;
        return 0;
    }
    make_room(f, false, f->cfg.ours);
    struct kt_native_flow *flow = flow_new(f, id, false);
    if (!flow) return kt_err_set(err, KT_ENOMEM, "no memory for a flow");
    copy_text(target, &frame->flow.target);
    copy_text(client, &frame->flow.client);
    const struct kt_native_flow_addresses addresses = {*target ? target : NULL, *client ? client : NULL};
    f->owner.flow(f->ctx, flow, &addresses);
    return 0;
}

/* A datagram of a flow that has ended here: the peer may not know, since its FLOW_END was dropped or is on its way. */
static void stray(struct kt_native_flows *f, uint64_t id)
{
    f->facts.strays++;
    if (id == f->stray_id && f->now_us - f->stray_us < KT_NATIVE_FLOW_STRAY_US) return;
    f->stray_id = id;
    f->stray_us = f->now_us;
    announce_end(f, id, KT_NATIVE_CODE_CLOSED);
}

static int on_datagram(struct kt_native_flows *f, const struct kt_native_frame *frame, struct kt_err *err)
{
    const struct kt_native_datagram *d = &frame->datagram;
    struct kt_native_flow *flow = find(f, d->id);
    if (!flow && is_ours(f, d->id) && d->id >= f->own_next)
        return broken(err, frame, "was not opened", d->id);
    if (!flow) {
        stray(f, d->id);
        return 0;
    }
    if (!kt_native_flow_take(flow, d->sequence, d->len)) return 0;
    kt_native_flow_touch(flow);
    if (flow->events) flow->events->datagram(flow->ctx, d->data, d->len);
    return 0;
}

static int on_flow_end(struct kt_native_flows *f, const struct kt_native_frame *frame, struct kt_err *err)
{
    const uint64_t id = frame->flow_end.id;
    struct kt_native_flow *flow = find(f, id);
    if (!flow && is_ours(f, id) && id >= f->own_next) return broken(err, frame, "was not opened", id);
    const int code = kt_native_code_error(frame->flow_end.code);
    if (flow) flow_free(flow, true, code ? code : KT_ECLOSED);
    return 0;
}

int kt_native_flows_input(struct kt_native_flows *f, const struct kt_native_frame *frame, struct kt_err *err)
{
    assert(kt_native_flows_takes(frame->type));
    switch (frame->type) {
    case KT_NATIVE_FRAME_FLOW:
        return on_flow(f, frame, err);
    case KT_NATIVE_FRAME_FLOW_END:
        return on_flow_end(f, frame, err);
    default:
        return on_datagram(f, frame, err);
    }
}

/* ---- fates ---- */

void kt_native_flows_acked(struct kt_native_flows *f, const struct kt_native_content *c)
{
    struct kt_native_flow *flow = c->type == KT_NATIVE_FRAME_FLOW ? find(f, c->id) : NULL;
    if (!flow) return;
    free(flow->texts);
    flow->texts = NULL;
}

/* A lost FLOW goes again with the next datagram. */
void kt_native_flows_lost(struct kt_native_flows *f, const struct kt_native_content *c)
{
    if (c->type == KT_NATIVE_FRAME_FLOW_END) announce_end(f, c->id, (int)c->offset);
}

/* ---- time ---- */

void kt_native_flows_clock(struct kt_native_flows *f, uint64_t now_us, uint64_t gap_us)
{
    f->now_us = now_us;
    f->gap_us = gap_us;
}

uint64_t kt_native_flows_due(const struct kt_native_flows *f)
{
    uint64_t due = UINT64_MAX;
    if (!kt_list_empty(&f->again)) due = KT_CONTAINER(f->again.next, struct kt_native_queued, node)->due_us;
    for (int ours = 0; ours < 2 && f->cfg.idle_us; ours++) {
        const struct kt_native_flow *flow = longest_idle(f, ours);
        if (flow) due = kt_min64(due, flow->active_us + f->cfg.idle_us);
    }
    return due;
}

void kt_native_flows_timer(struct kt_native_flows *f)
{
    while (!kt_list_empty(&f->again)) {
        struct kt_native_queued *q = KT_CONTAINER(f->again.next, struct kt_native_queued, node);
        if (q->due_us > f->now_us) break;
        kt_list_remove(&q->node);
        kt_native_flow_enqueue(q);
    }
    for (int ours = 0; ours < 2 && f->cfg.idle_us; ours++) {
        struct kt_native_flow *flow;
        while ((flow = longest_idle(f, ours)) && f->now_us >= flow->active_us + f->cfg.idle_us) {
            if (flow->queued > 0) /* sent to before the clock of this turn was set */
                kt_native_flow_touch(flow);
            else
                end(flow, true, KT_EIDLE);
        }
    }
}

/* ---- lifecycle ---- */

int kt_native_flows_new(struct kt_native_flows **out, const struct kt_native_flows_config *cfg,
    const struct kt_native_flows_owner *owner, void *ctx)
{
    *out = NULL;
    if (cfg->ours > KT_NATIVE_FLOWS_MAX) return KT_EINVAL;
    struct kt_native_flows *f = calloc(1, sizeof *f);
    if (!f) return KT_ENOMEM;
    const int rc = kt_slab_new(&f->slab, sizeof(struct kt_native_queued), KT_NATIVE_FLOWS_QUEUE);
    if (rc < 0) {
        free(f);
        return rc;
    }
    f->cfg = *cfg;
    f->owner = *owner;
    f->ctx = ctx;
    f->own_next = cfg->client ? 1 : 2;
    kt_hmap_init(&f->table);
    kt_list_init(&f->recency[0]);
    kt_list_init(&f->recency[1]);
    kt_list_init(&f->ready);
    kt_list_init(&f->again);
    kt_list_init(&f->large);
    kt_list_init(&f->ends);
    *out = f;
    return 0;
}

void kt_native_flows_free(struct kt_native_flows *f, int code)
{
    struct kt_native_flow *flow;
    if (!f) return;
    for (int ours = 0; ours < 2; ours++)
        while ((flow = longest_idle(f, ours))) flow_free(flow, true, code);
    while (!kt_list_empty(&f->ends))
        kt_native_flow_end_free(f, KT_CONTAINER(f->ends.next, struct kt_native_flow_end, node));
    kt_hmap_free(&f->table);
    kt_slab_free(f->slab);
    free(f);
}

void kt_native_flows_facts(const struct kt_native_flows *f, struct kt_native_flows_facts *out)
{
    *out = f->facts;
}
