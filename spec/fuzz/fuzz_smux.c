/* Fuzz target: smux with arbitrary input, while its streams are read, written, reprioritized, shut down,
 * closed, aborted and moved.
 *
 * The input is a program: each step is a byte for the operation, then its operands. Nothing may crash, exceed
 * session_buffer, raise an event after close, or leave blocks in the pool at the end. */
#include <stdlib.h>
#include <string.h>
#include "base/slab.h"
#include "crypto/kcptun/qpp.h"
#include "link/kcptun/smux_internal.h"
#include "slots.h"

#define MAX_STREAMS 32u
#define SESSION_BUFFER 3000u

struct world {
    struct kt_smux *m, *next; /* next: gets the young streams of m; NULL: it has become m */
    struct slot slots[MAX_STREAMS];
    const uint8_t *in;
    size_t left;
    size_t room;
    uint8_t wire[2 * (KT_SMUX_HEADER + 255)]; /* received but not taken yet */
    size_t waiting;
};

static unsigned byte(struct world *w)
{
    if (w->left == 0) return 0;
    w->left--;
    return *w->in++;
}

/* On any event, execute the program's next step: callbacks may do anything. */
static void act(struct slot *s)
{
    struct world *w = s->w;
    struct slot *other = &w->slots[byte(w) % MAX_STREAMS];
    CHECK(s->pipe);
    switch (byte(w) % 12) {
    case 0:
        slot_drop(s, 0);
        break;
    case 1:
        slot_drop(s, 1 + byte(w) % 3);
        break;
    case 2:
        slot_drop(other, byte(w));
        break;
    case 3:
        kt_pipe_shutdown(s->pipe);
        break;
    case 4:
        kt_smux_dispatch(w->m);
        break;
    case 5:
        kt_smux_pump(w->m);
        break;
    case 6:
        if (w->next) kt_smux_move_young(w->m, w->next);
        break;
    case 7: /* once; the program continues with the other one */
        if (w->next) {
            struct kt_smux *m = w->m;
            w->m = w->next;
            w->next = NULL;
            kt_smux_free(m, KT_EDEAD);
        }
        break;
    default:
        slot_read(s, byte(w));
    }
}

static void on_readable(void *ctx)
{
    act(ctx);
}

static void on_writable(void *ctx)
{
    act(ctx);
}

static void on_closed(void *ctx, int code)
{
    struct slot *s = ctx;
    if (slot_broke(s, code, KT_SMUX_RST_TEXT)) CHECK(code == KT_ERESET);
    act(s);
}

static const struct kt_pipe_events events = {
    .readable = on_readable, .writable = on_writable, .closed = on_closed};

static void hold(struct world *w, struct kt_pipe *p)
{
    slots_hold(w->slots, MAX_STREAMS, w, p, &events);
}

static size_t on_room(void *ctx, size_t want)
{
    struct world *w = ctx;
    size_t room = w->room < want ? w->room : want;
    return room || want ? room : w->room > 0;
}

static void on_frame(void *ctx, const uint8_t *header, const struct kt_iov *payload, size_t pieces)
{
    struct world *w = ctx;
    size_t n = 0;
    for (size_t i = 0; i < pieces; i++) n += payload[i].len;
    CHECK((header[2] | header[3] << 8) == (int)n && pieces <= 2);
    w->room -= n + 1 < w->room ? n + 1 : w->room;
}

static void on_note(void *ctx)
{
    (void)ctx;
}

static void on_accept(void *ctx, struct kt_pipe *stream)
{
    hold(ctx, stream);
}

static void on_hello(void *ctx, uint16_t features)
{
    (void)ctx;
    (void)features;
}

static void on_streams(void *ctx, size_t n)
{
    (void)ctx;
    (void)n;
}

/* Receives what is waiting and, if there is space, n more bytes. They are copied, so that the sanitizer
 * catches reads past the end. */
static void receive(struct world *w, const uint8_t *data, size_t n)
{
    if (n > sizeof w->wire - w->waiting) n = 0;
    if (n) memcpy(w->wire + w->waiting, data, n);
    w->waiting += n;
    uint8_t *copy = malloc(w->waiting ? w->waiting : 1);
    CHECK(copy);
    memcpy(copy, w->wire, w->waiting);
    long took = kt_smux_input(w->m, copy, w->waiting, NULL);
    free(copy);
    CHECK(took < 0 || (size_t)took <= w->waiting);
    CHECK(w->m->buffered <= 2 * SESSION_BUFFER);
    if (took < 0) took = (long)w->waiting;
    w->waiting -= (size_t)took;
    memmove(w->wire, w->wire + took, w->waiting);
}

/* A frame with a valid form but arbitrary meaning. */
static void receive_frame(struct world *w, bool v2)
{
    uint8_t f[KT_SMUX_HEADER + 255] = {v2 ? 2 : 1};
    unsigned cmd = byte(w) % 6;
    if (cmd == 4 && !v2) cmd = 3;
    const unsigned id = byte(w), len = cmd == 2 ? byte(w) : cmd == 4 ? 8 : cmd == 5 ? byte(w) % 160 : 0;
    f[1] = (uint8_t)cmd;
    f[2] = (uint8_t)len;
    if (cmd == 3) { /* NOP: a hello */
        f[4] = (uint8_t)(id & 15);
        f[6] = KT_SMUX_HELLO >> 16 & 0xff;
        f[7] = KT_SMUX_HELLO >> 24;
    } else {
        f[4] = (uint8_t)(id % 16);
    }
    if (cmd == 4) {
        f[8] = (uint8_t)byte(w);
        f[9] = (uint8_t)(byte(w) % 8);
        f[13] = (uint8_t)byte(w);
    }
    if (cmd == 5)
        for (size_t i = 0; i < len; i++) f[KT_SMUX_HEADER + i] = (uint8_t)byte(w);
    receive(w, f, KT_SMUX_HEADER + len);
}

static void step(struct world *w, bool v2)
{
    static const uint8_t zeros[4096];
    const unsigned what = byte(w);
    struct slot *s = &w->slots[byte(w) % MAX_STREAMS];
    struct kt_pipe *p;
    size_t n;
    switch (what % 13) {
    case 0:
        n = byte(w);
        if (n > w->left) n = w->left;
        w->in += n;
        w->left -= n;
        receive(w, w->in - n, n);
        break;
    default:
        receive_frame(w, v2);
        break;
    case 4:
        if (kt_smux_open(w->m, &p) == 0) hold(w, p);
        break;
    case 5:
        if (s->pipe) kt_pipe_write(s->pipe, zeros, byte(w) * 16);
        break;
    case 6:
        if (s->pipe) slot_read(s, byte(w) * 16);
        break;
    case 7:
        if (s->pipe) act(s);
        break;
    case 8:
        w->room = byte(w) * 64;
        kt_smux_pump(w->m);
        break;
    case 9:
        kt_smux_dispatch(w->m);
        break;
    case 10:
        kt_smux_settled(w->m, kt_smux_mark(w->m) - byte(w) % 8);
        break;
    case 11:
        byte(w) & 1 ? kt_smux_heartbeat(w->m) : kt_smux_keepalive(w->m);
        break;
    case 12:
        if (s->pipe) slot_set_policy(s, byte(w));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct kt_smux_owner owner = {.room = on_room,
        .frame = on_frame,
        .wake = on_note,
        .accept = on_accept,
        .resume = on_note,
        .hello = on_hello,
        .streams = on_streams};
    struct world w = {.in = data, .left = size};
    const unsigned flags = byte(&w);
    const struct kt_smux_config cfg = {
        .client = flags & 1,
        .version = flags & 2 ? 2 : 1,
        .frame_size = 1 + byte(&w) * 8,
        .session_buffer = SESSION_BUFFER,
        .stream_buffer = 1000,
        .max_streams = 100,
        .features = flags & 4 ? KT_SMUX_F_HALF_CLOSE | KT_SMUX_F_ABORT : 0,
    };
    struct kt_slab *pool;
    CHECK(kt_slab_new(&pool, 64 + (flags >> 3) * 16, 0) == 0);
    CHECK(kt_smux_new(&w.m, &cfg, &owner, &w, pool) == 0);
    CHECK(kt_smux_new(&w.next, &cfg, &owner, &w, pool) == 0);
    while (w.left) step(&w, cfg.version == 2);
    const bool smux_first = flags & 0x80;
    if (smux_first && w.next) {
        struct kt_smux *m = w.m;
        w.m = w.next; /* callbacks may still need one */
        w.next = NULL;
        kt_smux_free(m, KT_EDEAD);
        for (size_t i = 0; i < MAX_STREAMS; i++) slot_drop(&w.slots[i], (unsigned)i);
    } else {
        for (size_t i = 0; i < MAX_STREAMS; i++) slot_drop(&w.slots[i], (unsigned)i);
        w.room = SIZE_MAX;
        kt_smux_pump(w.m);
    }
    kt_smux_free(w.next, KT_ECLOSED);
    kt_smux_free(w.m, KT_ECLOSED);
    for (size_t i = 0; i < MAX_STREAMS; i++)
        slot_drop(&w.slots[i], (unsigned)i); /* accepted by the last pump */
    CHECK(kt_slab_in_use(pool) == 0);
    kt_slab_free(pool);
    return 0;
}
