/* Fuzz target: parity of kt's own wire, from both ends.
 *
 * The input is a program. One end sends packets and their parity as the program says, the other gets those that the
 * program does not drop, in its order. What is rebuilt must be a packet that was sent and did not arrive, once each.
 * Then, with other packets and PARITY frames of the input's own, nothing may be read or written out of bounds, and what
 * is rebuilt has a length that a packet may have. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "link/native/parity_in.h"
#include "link/native/parity_out.h"
#include "link/native/varint.h"

#define MOST 4096u /* packets sent */
#define BYTES 1471u
#define HELD 64u /* packets that are late */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct packet {
    uint64_t number;
    size_t len;
    uint8_t frames[BYTES];
};

struct world {
    struct kt_native_parity_out out;
    struct kt_native_parity_in in;
    struct kt_replay seen;
    struct kt_native_recovery_stats stats;
    const uint8_t *at;
    size_t left;
    uint64_t now, next;
    bool honest;
    uint8_t rebuilt[MOST], arrived[MOST];
    uint16_t len[MOST];
    struct packet late[HELD];
    unsigned lates;
};

static unsigned byte(struct world *w)
{
    if (w->left == 0) return 0;
    w->left--;
    return *w->at++;
}

/* The frames of a packet that is no PARITY, known by its number. */
static void content(uint8_t *out, size_t len, uint64_t number)
{
    for (size_t i = 0; i < len; i++) out[i] = (uint8_t)((number * 2654435761u + i * 40503u) >> 8);
    out[0] = KT_NATIVE_FRAME_PING;
}

static void on_rebuilt(void *ctx, uint64_t number, const uint8_t *frames, size_t len)
{
    struct world *w = ctx;
    uint8_t expected[BYTES];
    CHECK(len >= 1 && len <= BYTES);
    CHECK(kt_replay_check(&w->seen, number) == KT_REPLAY_NEW);
    if (!w->honest) return;
    CHECK(number < w->next && !w->rebuilt[number] && !w->arrived[number] && len == w->len[number]);
    w->rebuilt[number] = 1;
    content(expected, len, number);
    CHECK(memcmp(frames, expected, len) == 0);
}

static void arrive(struct world *w, const struct packet *p)
{
    struct kt_native_frame f;
    struct kt_err err = {0};
    if (kt_replay_check(&w->seen, p->number) != KT_REPLAY_NEW) return;
    kt_replay_add(&w->seen, p->number);
    if (w->honest) w->arrived[p->number] = 1;
    uint8_t *exact = malloc(p->len); /* so that the sanitizer catches accesses past the end */
    CHECK(exact);
    memcpy(exact, p->frames, p->len);
    const struct kt_native_parity_arrival in = {
        .number = p->number, .frames = exact, .len = p->len, .seen = &w->seen, .sink = on_rebuilt, .ctx = w};
    kt_native_parity_in_packet(&w->in, &in);
    if (kt_native_frame_read(&f, exact, p->len, &err) > 0 && f.type == KT_NATIVE_FRAME_PARITY) {
        CHECK(kt_native_parity_in_on(&w->in) || kt_native_parity_in_start(&w->in, &in));
        const int rc = kt_native_parity_in_take(&w->in, &f.parity, &in, w->now, &err);
        CHECK(rc == 0 || (rc == KT_EPROTO && !w->honest && err.text[0]));
    }
    free(exact);
    if (kt_native_parity_in_due(&w->in) <= w->now) kt_native_parity_in_free(&w->in);
}

/* A packet arrives now, later, or not at all. */
static void travel(struct world *w, const struct packet *p, unsigned how)
{
    if (how % 4 == 0) return;
    if (how % 4 == 1 && w->lates < HELD)
        w->late[w->lates++] = *p;
    else
        arrive(w, p);
    if (how % 8 == 2 && w->lates > 0) arrive(w, &w->late[--w->lates]);
}

static void send_parity(struct world *w)
{
    struct packet p;
    while (w->next < MOST && kt_native_parity_out_due(&w->out, w->next) <= w->now) {
        p.len = kt_native_parity_out_write(&w->out, p.frames, BYTES, w->now);
        if (p.len == 0) continue;
        p.number = w->next++;
        w->len[p.number] = (uint16_t)p.len;
        travel(w, &p, byte(w));
    }
}

static void send(struct world *w, unsigned how)
{
    uint8_t shard[KT_NATIVE_PARITY_HEAD + BYTES];
    struct packet p;
    send_parity(w);
    if (w->next >= MOST) return;
    p.number = w->next++;
    p.len = 1 + (byte(w) << 3 | how >> 5) % (BYTES - KT_NATIVE_PARITY_OVERHEAD);
    content(p.frames, p.len, p.number);
    w->len[p.number] = (uint16_t)p.len;
    if (how & 1 && kt_native_parity_out_open(&w->out, &w->stats)) {
        memcpy(shard + KT_NATIVE_PARITY_HEAD, p.frames, p.len);
        const struct kt_native_parity_packet packet = {
            .number = p.number, .shard = shard, .len = p.len, .asked = how & 2};
        kt_native_parity_out_add(&w->out, &packet, 100000, w->now);
    }
    travel(w, &p, how >> 2);
}

/* A packet of the attacker's: PARITY with fields of its choice, or any bytes. */
static void forge(struct world *w)
{
    struct packet p = {.number = w->next};
    const unsigned how = byte(w);
    w->next += 1 + how % 16;
    struct kt_native_frame f = {.type = KT_NATIVE_FRAME_PARITY};
    uint8_t shard[256];
    for (unsigned i = 0; i < sizeof shard; i++) shard[i] = i < 8 ? (uint8_t)byte(w) : (uint8_t)how;
    const uint64_t back = byte(w);
    f.parity.first = p.number > back ? p.number - back : back;
    for (unsigned i = 0; i < 8; i++) f.parity.members = f.parity.members << 8 | byte(w);
    f.parity.members = (f.parity.members & KT_NATIVE_VARINT_MAX) | 1;
    f.parity.index = (uint8_t)(byte(w) % KT_NATIVE_PARITY_SHARDS);
    f.parity.shard = shard;
    f.parity.len = 3 + byte(w) % (sizeof shard - 2);
    p.len = kt_native_frame_write(p.frames, BYTES, &f);
    if (how & 16) {
        p.len = 1 + how * 5;
        for (size_t i = 0; i < p.len; i++) p.frames[i] = (uint8_t)byte(w);
    }
    arrive(w, &p);
}

static void step(struct world *w)
{
    const unsigned what = byte(w);
    switch (what % 8) {
    case 0:
        w->now += byte(w) * 1000u;
        break;
    case 1:
        w->stats.acked += byte(w);
        break;
    case 2: {
        const unsigned n = byte(w) % 32;
        w->stats.lost += n;
        w->stats.bursts += n > 0 ? 1 + byte(w) % n : 0;
        break;
    }
    case 3:
        if (what & 0x80) kt_native_parity_out_reset(&w->out);
        break;
    default:
        send(w, byte(w));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = calloc(1, sizeof *w);
    CHECK(w);
    w->at = data;
    w->left = size;
    w->honest = true;
    w->stats = (struct kt_native_recovery_stats){.acked = 95, .lost = 5, .bursts = 5};
    const size_t hostile = size / 2;
    while (w->left > hostile) step(w);
    w->honest = false;
    while (w->left) forge(w);
    kt_native_parity_out_free(&w->out);
    kt_native_parity_in_free(&w->in);
    free(w);
    return 0;
}
