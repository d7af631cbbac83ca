/* Fuzz target: streams and flows of kt's own wire fed with any frames, while their users read, write, close, reset and
 * cut them, packets are written and found lost or acknowledged, and the association ends at any time.
 *
 * The input is a program: a byte that says what to do, then its operands. What is checked: nothing crashes, memory
 * stays within what was announced, packets hold frames that the parser accepts, no event comes after the end of a
 * stream or flow, and nothing is left at the end. */
#include <stdlib.h>
#include <string.h>
#include "base/slab.h"
#include "link/native/blocks.h"
#include "link/native/flows.h"
#include "link/native/streams.h"
#include "link/native/varint.h"
#include "slots.h"

#define SLOTS 16u
#define PACKETS 16u
#define MAX_STREAMS 12u
#define MAX_FLOWS 6u
#define MEMORY 40000u
#define MIN_DATA 1000u

struct flow_slot {
    struct world *w;
    struct kt_native_flow *flow;
};

struct packet {
    struct kt_native_content contents[KT_NATIVE_CONTENTS];
    size_t count;
    bool flows;
};

struct world {
    struct kt_native_streams *streams, *next; /* next: where young streams are moved to; NULL: it was used */
    struct kt_native_flows *flows;
    struct slot slots[SLOTS];
    struct flow_slot flow_slots[SLOTS];
    struct packet packets[PACKETS];
    const uint8_t *in;
    size_t left;
    uint64_t now;
    bool client, failed;
};

static unsigned byte(struct world *w)
{
    if (w->left == 0) return 0;
    w->left--;
    return *w->in++;
}

/* ---- streams ---- */

/* A random action of the program on a stream. */
static void act(struct slot *s)
{
    static const uint8_t zeros[4096];
    struct world *w = s->w;
    struct slot *other = &w->slots[byte(w) % SLOTS];
    CHECK(s->pipe);
    switch (byte(w) % 12) {
    case 0:
    case 1:
        slot_drop(s, byte(w));
        break;
    case 2:
        slot_drop(other, byte(w));
        break;
    case 3:
        kt_pipe_shutdown(s->pipe);
        break;
    case 4:
        slot_set_policy(s, byte(w));
        break;
    case 5:
        kt_native_streams_dispatch(w->streams);
        break;
    case 6:
    case 7:
    case 8:
        kt_pipe_write(s->pipe, zeros, byte(w) * 16);
        break;
    default:
        slot_read(s, byte(w) * 16);
    }
}

static void on_readable(void *ctx)
{
    act(ctx);
}

static void on_closed(void *ctx, int code)
{
    struct slot *s = ctx;
    slot_broke(s, code, KT_NATIVE_RESET_TEXT);
    act(s);
}

static const struct kt_pipe_events stream_events = {
    .readable = on_readable, .writable = on_readable, .closed = on_closed};

static void hold(struct world *w, struct kt_pipe *p)
{
    slots_hold(w->slots, SLOTS, w, p, &stream_events);
}

static void on_wake(void *ctx)
{
    (void)ctx;
}

/* It changes with the program. */
static size_t on_allows(void *ctx)
{
    const struct world *w = ctx;
    return w->left % (3 * MAX_STREAMS);
}

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_open_options *o)
{
    CHECK(!o->target || strlen(o->target) <= KT_NATIVE_NAME_MAX);
    hold(ctx, stream);
}

/* ---- flows ---- */

static void act_flow(struct flow_slot *s)
{
    static const uint8_t zeros[KT_NATIVE_DATAGRAM + 1];
    struct world *w = s->w;
    if (!s->flow) return;
    switch (byte(w) % 8) {
    case 0: {
        struct kt_native_flow *flow = s->flow;
        s->flow = NULL;
        kt_native_flow_close(flow, KT_ECLOSED);
        break;
    }
    case 1:
        kt_native_flow_copies(s->flow, byte(w));
        break;
    case 2:
        kt_native_flow_send(s->flow, zeros, byte(w) * 8);
        break;
    default:
        kt_native_flow_send(s->flow, zeros, byte(w));
    }
}

static void on_datagram(void *ctx, const uint8_t *data, size_t len)
{
    uint8_t copy[KT_NATIVE_DATAGRAM + 1000];
    struct flow_slot *s = ctx;
    CHECK(s->flow && len <= sizeof copy);
    if (len > 0) memcpy(copy, data, len);
    act_flow(s);
}

static void on_ended(void *ctx, int code, const struct kt_native_flow_facts *facts)
{
    (void)facts;
    struct flow_slot *s = ctx;
    CHECK(s->flow && code < 0);
    s->flow = NULL;
}

static const struct kt_native_flow_events flow_events = {on_datagram, on_ended};

static void hold_flow(struct world *w, struct kt_native_flow *flow)
{
    for (size_t i = 0; i < SLOTS; i++) {
        struct flow_slot *s = &w->flow_slots[i];
        if (s->flow) continue;
        *s = (struct flow_slot){w, flow};
        kt_native_flow_listen(flow, &flow_events, s);
        return;
    }
    kt_native_flow_close(flow, KT_ELIMIT);
}

static void on_flow(void *ctx, struct kt_native_flow *flow, const struct kt_native_flow_addresses *a)
{
    CHECK(!a->target || strlen(a->target) <= KT_NATIVE_NAME_MAX);
    hold_flow(ctx, flow);
}

/* ---- packets ---- */

static void receive(struct world *w, const uint8_t *data, size_t len)
{
    while (len > 0) {
        struct kt_native_frame f;
        struct kt_err err = {0};
        const long n = kt_native_frame_read(&f, data, len, &err);
        int rc = n < 0 ? (int)n : 0;
        if (rc == 0 && kt_native_streams_takes(f.type)) rc = kt_native_streams_input(w->streams, &f, &err);
        if (rc == 0 && kt_native_flows_takes(f.type)) rc = kt_native_flows_input(w->flows, &f, &err);
        if (rc < 0) {
            CHECK(rc == KT_EPROTO && err.code == rc && (n < 0 || strstr(err.text, "frame ")));
            w->failed = n >= 0;
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

/* A copy of this length, so that reading beyond it is seen. */
static void receive_copy(struct world *w, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    CHECK(copy);
    memcpy(copy, data, len);
    receive(w, copy, len);
    free(copy);
}

/* A frame that is in order but for what it means. */
static void receive_frame(struct world *w)
{
    static const uint8_t zeros[600];
    struct kt_native_frame f;
    uint8_t out[1500];
    const uint64_t id = 1 + byte(w) % 32, offset = byte(w) * 40;
    memset(&f, 0, sizeof f);
    switch (byte(w) % 12) {
    case 0:
        f.type = KT_NATIVE_FRAME_OPEN;
        f.open = (struct kt_native_open){.id = id, .priority = 3, .weight = 16};
        f.open.target = (struct kt_native_text){"host:1", byte(w) % 7};
        break;
    case 1:
        f.type = KT_NATIVE_FRAME_RESET;
        f.reset.id = id;
        f.reset.offset = offset;
        f.reset.code = byte(w);
        f.reset.text = (struct kt_native_text){"reason", byte(w) % 7};
        break;
    case 2:
        f.type = KT_NATIVE_FRAME_STOP;
        f.stop.id = id;
        f.stop.taken = byte(w) % 2 * offset;
        break;
    case 3:
        f.type = KT_NATIVE_FRAME_MAX_DATA;
        f.max_data = offset * 20;
        break;
    case 4:
        f.type = KT_NATIVE_FRAME_MAX_STREAM_DATA;
        f.max_stream_data.id = id;
        f.max_stream_data.taken = byte(w) % 2 * offset;
        f.max_stream_data.window = offset + byte(w);
        break;
    case 5:
        f.type = KT_NATIVE_FRAME_MAX_STREAMS;
        f.max_streams = offset / 40;
        break;
    case 6:
        f.type = KT_NATIVE_FRAME_BLOCKED;
        f.blocked.id = byte(w) % 2 * id;
        f.blocked.offset = offset * 20;
        break;
    case 7:
        f.type = KT_NATIVE_FRAME_FLOW;
        f.flow.id = id;
        f.flow.target = (struct kt_native_text){"host:1", byte(w) % 7};
        break;
    case 8:
        f.type = KT_NATIVE_FRAME_FLOW_END;
        f.flow_end.id = id;
        f.flow_end.code = byte(w);
        break;
    case 9:
        f.type = KT_NATIVE_FRAME_DATAGRAM | KT_NATIVE_DATAGRAM_LENGTH;
        f.datagram = (struct kt_native_datagram){.id = id, .sequence = offset, .data = zeros, .len = byte(w)};
        break;
    default:
        f.type = (uint8_t)(KT_NATIVE_FRAME_DATA | KT_NATIVE_DATA_LENGTH | (byte(w) % 8 == 0));
        f.data = (struct kt_native_data){.id = id, .offset = offset, .data = zeros, .len = 1 + byte(w) * 2};
    }
    const size_t n = kt_native_frame_write(out, sizeof out, &f);
    CHECK(n > 0);
    receive_copy(w, out, n);
}

static void check_packet(const uint8_t *data, size_t len)
{
    while (len > 0) {
        struct kt_native_frame f;
        const long n = kt_native_frame_read(&f, data, len, NULL);
        CHECK(n > 0);
        data += n;
        len -= (size_t)n;
    }
}

static void write_packet(struct world *w)
{
    struct packet *p = &w->packets[byte(w) % PACKETS];
    const size_t room = 20 + byte(w) * 6;
    uint8_t *out = malloc(room);
    CHECK(out);
    p->count = 0;
    p->flows = byte(w) % 3 == 0;
    const size_t n = p->flows ? kt_native_flows_write(w->flows, out, room, p->contents, &p->count)
                              : kt_native_streams_write(w->streams, out, room, p->contents, &p->count);
    CHECK(n <= room && p->count <= KT_NATIVE_CONTENTS);
    check_packet(out, n);
    free(out);
}

static void decide(struct world *w)
{
    const struct packet *p = &w->packets[byte(w) % PACKETS];
    const unsigned how = byte(w) % 3;
    uint8_t out[1500];
    for (size_t i = 0; i < p->count; i++) {
        const struct kt_native_content *c = &p->contents[i];
        if (p->flows)
            (how == 0 ? kt_native_flows_lost : kt_native_flows_acked)(w->flows, c);
        else if (how == 0)
            kt_native_streams_lost(w->streams, c);
        else if (how == 1)
            kt_native_streams_acked(w->streams, c);
        else
            check_packet(out, kt_native_streams_copy(w->streams, c, out, sizeof out));
    }
}

/* ---- the program ---- */

static void move(struct world *w)
{
    struct kt_native_streams *old = w->streams;
    if (!w->next) return;
    kt_native_streams_move_young(old, w->next);
    w->streams = w->next;
    w->next = NULL;
    for (size_t i = 0; i < PACKETS; i++) w->packets[i].count = 0;
    kt_native_streams_free(old, KT_EDEAD);
}

static void step(struct world *w)
{
    struct kt_open_options options = KT_OPEN_OPTIONS_DEFAULT;
    const struct kt_native_flow_addresses addresses = {"host:1", "client"};
    const unsigned what = byte(w);
    struct slot *s = &w->slots[byte(w) % SLOTS];
    struct kt_native_flow *flow;
    struct kt_pipe *p;
    size_t n;
    switch (what % 16) {
    case 0:
        n = byte(w);
        if (n > w->left) n = w->left;
        w->in += n;
        w->left -= n;
        receive_copy(w, w->in - n, n);
        break;
    case 1:
        options.target = "host:1";
        if (kt_native_streams_open(w->streams, &options, &p) == 0) hold(w, p);
        break;
    case 2:
    case 3:
        if (s->pipe) act(s);
        break;
    case 4:
        kt_native_streams_dispatch(w->streams);
        break;
    case 5:
    case 6:
        write_packet(w);
        break;
    case 7:
    case 8:
        decide(w);
        break;
    case 9:
        if (kt_native_flows_open(w->flows, &addresses, &flow) == 0) hold_flow(w, flow);
        break;
    case 10:
        act_flow(&w->flow_slots[byte(w) % SLOTS]);
        break;
    case 11:
        w->now += byte(w) * 10000;
        kt_native_streams_clock(w->streams, w->now, 100000);
        if (kt_native_streams_due(w->streams) <= w->now) kt_native_streams_timer(w->streams, byte(w) > 20);
        kt_native_flows_clock(w->flows, w->now, 1000);
        kt_native_flows_timer(w->flows);
        kt_native_flows_path(w->flows, 600 + byte(w) * 4, 1500);
        break;
    case 12:
        if (byte(w) == 0) move(w);
        break;
    default:
        receive_frame(w);
    }
}

static void check(const struct world *w, const struct kt_slab *pool)
{
    struct kt_native_streams_facts f;
    struct kt_native_flows_facts flows;
    kt_native_streams_facts(w->streams, &f);
    kt_native_flows_facts(w->flows, &flows);
    CHECK(f.charged_in <= f.max_data_in && f.max_data_in <= MEMORY);
    CHECK(f.unread <= MEMORY + MIN_DATA * f.streams);
    CHECK(flows.flows <= 2 * MAX_FLOWS + 1 && flows.queued <= KT_NATIVE_FLOWS_QUEUE);
    /* Each stream has bytes in at most two blocks more than it has blocks full, in either direction. */
    CHECK(kt_slab_in_use(pool) <= (2 * MEMORY + f.queued) / KT_NATIVE_BLOCK + 4 * (f.streams + SLOTS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct kt_native_streams_owner owner = {
        .wake = on_wake, .stream = on_stream, .allows = on_allows};
    static const struct kt_native_flows_owner flows_owner = {on_wake, on_flow};
    static const struct kt_native_credit credit = {.max_data = MEMORY / 4,
        .max_stream_data = 5000,
        .min_stream_data = MIN_DATA,
        .max_streams = MAX_STREAMS};
    struct world w = {.in = data, .left = size};
    w.client = byte(&w) & 1;
    const struct kt_native_streams_config cfg = {.client = w.client,
        .ours = credit,
        .peers = credit,
        .memory = MEMORY,
        .max_window = 20000,
        .send_memory = MEMORY,
        .most_streams = 2 * MAX_STREAMS};
    const struct kt_native_flows_config flows_cfg = {
        .client = w.client, .ours = MAX_FLOWS, .peers = MAX_FLOWS, .idle_us = 1000000};
    struct kt_slab *pool;
    CHECK(kt_slab_new(&pool, sizeof(struct kt_native_block), 0) == 0);
    CHECK(kt_native_streams_new(&w.streams, &cfg, &owner, &w, &(struct kt_native_slabs){pool, pool}) == 0);
    CHECK(kt_native_streams_new(&w.next, &cfg, &owner, &w, &(struct kt_native_slabs){pool, pool}) == 0);
    CHECK(kt_native_flows_new(&w.flows, &flows_cfg, &flows_owner, &w) == 0);
    kt_native_flows_path(w.flows, 1200, 1500);
    while (w.left && !w.failed) {
        step(&w);
        check(&w, pool);
    }
    struct kt_native_streams *streams = w.streams;
    if (!w.next)
        CHECK(kt_native_streams_new(&w.next, &cfg, &owner, &w, &(struct kt_native_slabs){pool, pool}) == 0);
    w.streams = w.next; /* callbacks may still want one */
    kt_native_streams_free(streams, KT_EDEAD);
    for (size_t i = 0; i < SLOTS; i++) slot_drop(&w.slots[i], (unsigned)i);
    kt_native_streams_free(w.next, KT_ECLOSED);
    kt_native_flows_free(w.flows, KT_ECLOSED);
    for (size_t i = 0; i < SLOTS; i++) CHECK(!w.flow_slots[i].flow);
    CHECK(kt_slab_in_use(pool) == 0);
    kt_slab_free(pool);
    return 0;
}
