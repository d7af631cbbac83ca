/* Fuzz target: loss recovery of kt's own wire, with a peer that acknowledges whatever it likes.
 *
 * The input is a program: a byte that says what to do, then its operands; ACKs are read from it as frames. What
 * is checked: each content has one fate for each time it was sent, the controller's count is that of recovery,
 * there is a timer exactly while packets are in flight, and memory is bounded. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "link/native/recovery.h"

#define MOST 256u
#define CONTENTS (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct kt_native_recovery r;
    struct kt_cc cc;
    const uint8_t *in;
    size_t left;
    uint64_t now;
    uint32_t contents;      /* sent so far */
    uint32_t open;          /* of them, without a fate */
    uint8_t fate[CONTENTS]; /* by id */
};

static unsigned byte(struct world *w)
{
    if (w->left == 0) return 0;
    w->left--;
    return *w->in++;
}

static void fate(void *ctx, const struct kt_native_content *content)
{
    struct world *w = ctx;
    CHECK(content->id < w->contents && content->offset == ~content->id && w->fate[content->id] == 0);
    w->fate[content->id] = 1;
    w->open--;
}

static void packet_fate(void *ctx, uint32_t bytes, uint64_t now_us)
{
    const struct world *w = ctx;
    CHECK(bytes >= 40 && now_us == w->now);
}

static const struct kt_native_recovery_events events = {fate, fate, packet_fate, packet_fate};

static void send(struct world *w, unsigned how)
{
    struct kt_native_content contents[KT_NATIVE_CONTENTS];
    struct kt_native_sent sent = {
        .bytes = 40 + how, .eliciting = how % 8 != 0, .mtu_probe = how % 16 == 1, .contents = contents};
    const unsigned count = how >> 4;
    for (unsigned i = 0; sent.eliciting && i < count && w->contents < CONTENTS; i++) {
        contents[sent.count++] =
            (struct kt_native_content){.id = w->contents, .offset = ~(uint64_t)w->contents};
        w->contents++;
        w->open++;
    }
    CHECK(kt_native_recovery_ready(&w->r));
    const uint64_t number = kt_native_recovery_number(&w->r);
    kt_native_recovery_sent(&w->r, &sent, w->now);
    CHECK(kt_native_recovery_number(&w->r) == number + 1);
}

/* A frame out of the program, moved up to where numbers are. */
static void acknowledge(struct world *w)
{
    struct kt_native_frame f;
    uint8_t frame[300] = {KT_NATIVE_FRAME_ACK};
    const size_t len = byte(w);
    const size_t n = len < w->left ? len : w->left;
    memcpy(frame + 1, w->in, n);
    w->in += n;
    w->left -= n;
    if (kt_native_frame_read(&f, frame, n + 1, NULL) < 0) return;
    const uint64_t next = kt_native_recovery_number(&w->r), up = next > 64 ? next - 64 : 0;
    for (uint32_t i = 0; i < f.ack.count; i++) {
        f.ack.ranges[i].first += up;
        f.ack.ranges[i].last += up;
    }
    struct kt_err err = {0};
    const uint32_t open = w->open;
    const int rc = kt_native_recovery_ack(&w->r, &f.ack, w->now, &err);
    CHECK(rc == (f.ack.ranges[0].last >= next ? KT_EPROTO : 0));
    CHECK(rc == 0 || (err.text[0] && open == w->open));
}

static void step(struct world *w)
{
    const unsigned what = byte(w);
    switch (what % 8) {
    case 0:
    case 1:
    case 2:
        send(w, byte(w));
        break;
    case 3:
    case 4:
        acknowledge(w);
        break;
    case 5:
        w->now += byte(w) << (what >> 4);
        kt_native_recovery_timer(&w->r, w->now);
        break;
    case 6: {
        const uint64_t due = kt_native_recovery_due(&w->r);
        if (due == UINT64_MAX) break;
        if (due > w->now) w->now = due;
        kt_native_recovery_timer(&w->r, w->now);
        CHECK(kt_native_recovery_due(&w->r) > w->now);
        break;
    }
    default:
        if (what & 0x08) kt_native_recovery_hand_over(&w->r, w->now - byte(w), 5000);
        if (what & 0x10) kt_native_recovery_trim(&w->r);
        if (what & 0x20) {
            kt_native_recovery_give_up(&w->r);
            CHECK(w->open == 0);
            kt_native_recovery_restart(&w->r, byte(w) * 1000);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = calloc(1, sizeof *w);
    CHECK(w);
    w->in = data;
    w->left = size;
    kt_cc_init(&w->cc, &kt_cc_reno);
    const struct kt_native_recovery_config cfg = {
        .events = &events, .ctx = w, .cc = &w->cc, .peer_ack_delay_us = 5000, .most = MOST};
    kt_native_recovery_init(&w->r, &cfg);
    while (w->left) {
        step(w);
        CHECK(w->cc.packets == w->r.inflight && w->r.inflight <= MOST);
        CHECK((kt_native_recovery_due(&w->r) == UINT64_MAX) == (w->r.inflight == 0));
        CHECK(w->r.inflight > 0 || (w->open == 0 && w->cc.rate.inflight == 0));
        CHECK(kt_native_recovery_bytes(&w->r) <=
              MOST * (64 + KT_NATIVE_CONTENTS * 2 * sizeof(struct kt_native_content)));
    }
    kt_native_recovery_give_up(&w->r);
    CHECK(w->open == 0);
    kt_native_recovery_free(&w->r);
    CHECK(w->cc.packets == 0 && w->cc.rate.inflight == 0);
    free(w);
    return 0;
}
