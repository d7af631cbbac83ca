/* One flow: its queue, and its frames. Flows send one datagram each in turn.
 *
 * Invariant: a flow is in `ready` if and only if its queue is not empty. Until FLOW is acknowledged, it
 * precedes the flow's first datagram in every packet, or goes in an earlier packet if both do not fit. */
#include "link/native/flow.h"

#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "link/native/varint.h"

/* ---- the queue ---- */

static struct kt_native_queued *first_of(const struct kt_list *list)
{
    return KT_CONTAINER(list->next, struct kt_native_queued, node);
}

void kt_native_queued_free(struct kt_native_queued *q)
{
    q->flow->all->large_count -= q->large;
    kt_list_remove(&q->node);
    kt_list_remove(&q->sibling);
    kt_slab_put(q->flow->all->slab, q);
}

void kt_native_flow_enqueue(struct kt_native_queued *q)
{
    struct kt_native_flow *flow = q->flow;
    kt_list_push(&flow->queue, &q->node);
    flow->queued++;
    flow->all->facts.queued++;
    if (kt_list_empty(&flow->entry)) kt_list_push(&flow->all->ready, &flow->entry);
    flow->all->owner.wake(flow->all->ctx);
}

static struct kt_native_queued *dequeue(struct kt_native_flow *flow)
{
    struct kt_native_queued *q = first_of(&flow->queue);
    kt_list_remove(&q->node);
    flow->queued--;
    flow->all->facts.queued--;
    if (flow->queued == 0) kt_list_remove(&flow->entry);
    return q;
}

static void drop(struct kt_native_queued *q)
{
    if (!q->sent) {
        q->flow->facts.dropped++;
        q->flow->all->facts.total.dropped++;
    }
    kt_native_queued_free(q);
}

static void drop_oldest(struct kt_native_flow *flow)
{
    drop(dequeue(flow));
}

/* Memory for a datagram. At the limit, drops another for it: a copy, the flow's oldest, or another flow's oldest. */
static struct kt_native_queued *get(struct kt_native_flow *flow)
{
    struct kt_native_flows *f = flow->all;
    struct kt_native_queued *q = kt_slab_get(f->slab);
    if (q) return q;
    if (!kt_list_empty(&f->again))
        kt_native_queued_free(first_of(&f->again));
    else if (flow->queued > 0)
        drop_oldest(flow);
    else if (!kt_list_empty(&f->ready))
        drop_oldest(KT_CONTAINER(f->ready.next, struct kt_native_flow, entry));
    return kt_slab_get(f->slab);
}

static size_t datagram_size(const struct kt_native_flow *flow, uint64_t sequence, size_t len)
{
    return 1 + kt_native_varint_size(flow->id) + kt_native_varint_size(sequence) + len;
}

static void count_too_large(struct kt_native_flow *flow)
{
    flow->facts.too_large++;
    flow->all->facts.total.too_large++;
}

/* Queues a datagram that fits `room`, lets one wait that fits only `reach`, and drops any other. */
static void place(struct kt_native_queued *q)
{
    struct kt_native_flows *f = q->flow->all;
    const size_t size = datagram_size(q->flow, q->flow->sequence + q->flow->queued, q->len);
    if (size <= f->room) {
        kt_native_flow_enqueue(q);
    } else if (size <= f->reach) {
        if (f->large_count == KT_NATIVE_FLOWS_LARGE) drop(first_of(&f->large));
        q->large = true;
        f->large_count++;
        kt_list_push(&f->large, &q->node);
        f->owner.wake(f->ctx);
    } else {
        count_too_large(q->flow);
        kt_native_queued_free(q);
    }
}

void kt_native_flows_path(struct kt_native_flows *f, size_t room, size_t reach)
{
    if (f->room == room && f->reach == reach) return;
    f->room = room;
    f->reach = reach;
    for (size_t n = f->large_count; n > 0; n--) {
        struct kt_native_queued *q = first_of(&f->large);
        kt_list_remove(&q->node);
        q->large = false;
        f->large_count--;
        place(q);
    }
}

bool kt_native_flows_wait(const struct kt_native_flows *f)
{
    return f->large_count > 0;
}

int kt_native_flow_send(struct kt_native_flow *flow, const void *data, size_t len)
{
    struct kt_native_flows *f = flow->all;
    if (len > KT_NATIVE_DATAGRAM || datagram_size(flow, flow->sequence + flow->queued, len) > f->reach) {
        count_too_large(flow);
        return KT_ELIMIT;
    }
    if (flow->queued >= KT_NATIVE_FLOW_QUEUE) drop_oldest(flow);
    struct kt_native_queued *q = get(flow);
    if (!q) {
        flow->facts.dropped++;
        f->facts.total.dropped++;
        return KT_ENOMEM;
    }
    *q = (struct kt_native_queued){.flow = flow, .len = (uint16_t)len, .copies = flow->copies};
    if (len > 0) memcpy(q->data, data, len);
    kt_list_push(&flow->datagrams, &q->sibling);
    place(q);
    kt_native_flow_touch(flow);
    return 0;
}

void kt_native_flow_copies(struct kt_native_flow *flow, unsigned copies)
{
    flow->copies = (uint8_t)kt_min_size(copies, KT_NATIVE_FLOW_COPIES);
}

void kt_native_flow_parity(struct kt_native_flow *flow, bool parity)
{
    flow->parity = parity;
}

/* ---- receiving ---- */

bool kt_native_flow_take(struct kt_native_flow *flow, uint64_t sequence, size_t len)
{
    const uint64_t slot = sequence % KT_NATIVE_FLOW_WINDOW, bit = UINT64_C(1) << slot % 64;
    bool copy = false;
    if (sequence >= flow->highest) {
        if (sequence - flow->highest >= KT_NATIVE_FLOW_WINDOW) {
            memset(flow->seen, 0, sizeof flow->seen);
        } else {
            for (uint64_t n = flow->highest; n < sequence; n++)
                flow->seen[n % KT_NATIVE_FLOW_WINDOW / 64] &= ~(UINT64_C(1) << n % 64);
        }
        flow->highest = sequence + 1;
    } else {
        copy = flow->highest - sequence > KT_NATIVE_FLOW_WINDOW || flow->seen[slot / 64] & bit;
    }
    if (copy) {
        flow->facts.duplicates++;
        flow->all->facts.total.duplicates++;
        return false;
    }
    flow->seen[slot / 64] |= bit;
    flow->facts.received++;
    flow->facts.bytes_in += len;
    flow->all->facts.total.received++;
    flow->all->facts.total.bytes_in += len;
    return true;
}

/* ---- frames ---- */

struct writer {
    struct kt_native_flows *f;
    uint8_t *out;
    size_t room, used;
    struct kt_native_content *contents;
    size_t count;
};

static bool put(struct writer *w, const struct kt_native_frame *f, uint64_t id, uint64_t offset)
{
    if (w->count == KT_NATIVE_CONTENTS) return false;
    const size_t n = kt_native_frame_write(w->out + w->used, w->room - w->used, f);
    if (n == 0) return false;
    w->used += n;
    w->contents[w->count++] = (struct kt_native_content){.id = id, .offset = offset, .type = f->type};
    return true;
}

static bool write_ends(struct writer *w)
{
    struct kt_native_flows *f = w->f;
    struct kt_native_frame frame = {.type = KT_NATIVE_FRAME_FLOW_END};
    while (!kt_list_empty(&f->ends)) {
        struct kt_native_flow_end *e = KT_CONTAINER(f->ends.next, struct kt_native_flow_end, node);
        frame.flow_end.id = e->id;
        frame.flow_end.code = (uint64_t)e->code;
        if (!put(w, &frame, e->id, frame.flow_end.code)) return false;
        kt_native_flow_end_free(f, e);
    }
    return true;
}

static bool write_flow(struct writer *w, const struct kt_native_flow *flow)
{
    struct kt_native_frame frame = {.type = KT_NATIVE_FRAME_FLOW};
    frame.flow.id = flow->id;
    frame.flow.target = (struct kt_native_text){flow->texts, flow->target_len};
    frame.flow.client = (struct kt_native_text){flow->texts + flow->target_len, flow->client_len};
    return put(w, &frame, flow->id, 0);
}

/* FLOW, if the peer may not know of it and this packet does not say it yet. Sets *alone if the datagram must wait for
 * the next packet. */
static bool announce(struct writer *w, struct kt_native_flow *flow, size_t datagram, bool *alone)
{
    *alone = false;
    if (!flow->texts || flow->ahead) return true;
    for (size_t i = 0; i < w->count; i++)
        if (w->contents[i].type == KT_NATIVE_FRAME_FLOW && w->contents[i].id == flow->id) return true;
    const size_t before = w->used;
    if (!write_flow(w, flow)) return false;
    if (w->room - w->used >= datagram) return true;
    if (w->used - before + datagram > w->f->room) { /* they never fit together */
        flow->ahead = *alone = true;
        return true;
    }
    w->used = before;
    w->count--;
    return false;
}

static void after_sent(struct kt_native_flow *flow, struct kt_native_queued *q)
{
    struct kt_native_flows *f = flow->all;
    if (!q->sent) {
        flow->facts.sent++;
        flow->facts.bytes_out += q->len;
        f->facts.total.sent++;
        f->facts.total.bytes_out += q->len;
        q->sent = true;
    }
    if (q->copies == 0) {
        kt_native_queued_free(q);
        return;
    }
    q->copies--;
    q->due_us = f->now_us + f->gap_us;
    kt_list_push(&f->again, &q->node);
}

/* The next datagram of the flow that is first in line; false: the packet is full. */
static bool write_datagram(struct writer *w)
{
    struct kt_native_flow *flow = KT_CONTAINER(w->f->ready.next, struct kt_native_flow, entry);
    struct kt_native_queued *q = first_of(&flow->queue);
    const uint64_t sequence = q->sent ? q->sequence : flow->sequence;
    const size_t size = datagram_size(flow, sequence, q->len);
    struct kt_native_frame frame = {.type = KT_NATIVE_FRAME_DATAGRAM};
    bool alone;
    if (size > w->f->room) { /* the path has become smaller */
        place(dequeue(flow));
        return true;
    }
    if (!announce(w, flow, size, &alone) || alone) return false;
    size_t room = w->room - w->used;
    if (room < size) return false;
    if (room - size >= kt_native_varint_size(q->len)) {
        frame.type |= KT_NATIVE_DATAGRAM_LENGTH;
    } else { /* to the end of the packet, behind what would be left of it */
        memset(w->out + w->used, KT_NATIVE_FRAME_PADDING, room - size);
        w->used += room - size;
        room = size;
    }
    frame.datagram =
        (struct kt_native_datagram){.id = flow->id, .sequence = sequence, .data = q->data, .len = q->len};
    w->used += kt_native_frame_write(w->out + w->used, room, &frame);
    dequeue(flow);
    if (!q->sent) flow->sequence++;
    q->sequence = sequence;
    flow->ahead = false;
    w->f->asked = w->f->asked || flow->parity;
    after_sent(flow, q);
    if (flow->queued > 0) { /* now the others */
        kt_list_remove(&flow->entry);
        kt_list_push(&w->f->ready, &flow->entry);
    }
    return true;
}

bool kt_native_flows_pending(const struct kt_native_flows *f)
{
    return !kt_list_empty(&f->ends) || !kt_list_empty(&f->ready);
}

size_t kt_native_flows_write(
    struct kt_native_flows *f, uint8_t *out, size_t room, struct kt_native_content *contents, size_t *count)
{
    struct writer w = {.f = f, .out = out, .room = room, .contents = contents, .count = *count};
    f->asked = false;
    bool more = write_ends(&w);
    while (more && !kt_list_empty(&f->ready)) more = write_datagram(&w);
    *count = w.count;
    return w.used;
}

bool kt_native_flows_asked(const struct kt_native_flows *f)
{
    return f->asked;
}

void kt_native_flow_facts(const struct kt_native_flow *flow, struct kt_native_flow_facts *out)
{
    *out = flow->facts;
}

void kt_native_flow_listen(struct kt_native_flow *flow, const struct kt_native_flow_events *events, void *ctx)
{
    flow->events = events;
    flow->ctx = ctx;
}
