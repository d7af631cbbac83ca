/* Fuzz target: the KCP engine. Invariants are checked after every step, and settings change in between.
 *
 * The first byte picks one of two programs. Alone: one engine gets packets, raw or nearly valid, between
 * writes, reads, flushes, jumps in time and failing allocations. Paired: two engines exchange packets that
 * the input loses, repeats and reorders; each must read what the other wrote. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../support/kcp_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONV 7u
#define WIRE 64u /* packets in flight between a pair; more are lost */

struct input {
    const uint8_t *p;
    size_t n;
};

struct packet {
    uint8_t *data;
    size_t len;
};

struct end {
    struct kt_kcp *kcp;
    struct kt_cc cc;
    struct kt_slab *pool;
    uint32_t mtu;
    unsigned allowed;
    struct packet wire[WIRE];
    unsigned packets;
    uint32_t snd_most, rcv_most; /* the largest windows so far */
    uint32_t written, read;      /* bytes; byte number i of a stream is pattern(i) */
};

static void need(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "fuzz_kcp: %s\n", what);
    abort();
}

static uint8_t byte(struct input *in)
{
    if (in->n == 0) return 0;
    in->n--;
    return *in->p++;
}

static uint8_t pattern(uint32_t i)
{
    return (uint8_t)(i * 167 + (i >> 8));
}

static uint8_t *reserve(void *ctx, size_t *len)
{
    struct end *e = ctx;
    if (e->allowed == 0) return NULL;
    e->allowed--;
    if (e->allowed % 3) *len = e->mtu; /* otherwise no more than requested */
    return malloc(*len);               /* exact size: the sanitizer catches writes past the end */
}

static void send(void *ctx, const struct kt_packet *pkts, size_t n)
{
    struct end *e = ctx;
    need(n > 0 && n <= KT_PACKET_BATCH, "a batch of the wrong size");
    for (size_t i = 0; i < n; i++) {
        need(pkts[i].len >= KT_KCP_OVERHEAD && pkts[i].len <= e->mtu, "a packet of the wrong length");
        if (e->packets < WIRE)
            e->wire[e->packets++] = (struct packet){pkts[i].data, pkts[i].len};
        else
            free(pkts[i].data);
    }
}

static struct kt_kcp_config settings(uint8_t kind, uint8_t size)
{
    return (struct kt_kcp_config){
        .conv = CONV,
        .mtu = KT_KCP_MTU_MIN + size * 5u,
        .snd_wnd = 1u + (size & 63),
        .rcv_wnd = 1u + (size >> 2),
        .nodelay = kind & 1,
        .interval_ms = kind & 2 ? 10 : 40,
        .resend = kind >> 4,
        .ack_nodelay = kind & 8,
    };
}

static const struct kt_cc_ops *controller(uint8_t kind)
{
    if (kind & 8) return &kt_cc_auto;
    return kind & 4 ? &kt_cc_reno : &kt_cc_fixed;
}

static void end_tune(struct end *e, uint8_t kind, uint8_t size)
{
    struct kt_kcp_config cfg = settings(kind, size);
    cfg.cc = &e->cc;
    kt_cc_switch(&e->cc, controller(kind));
    need(kt_kcp_tune(e->kcp, &cfg) == 0, "good settings were refused");
    if (cfg.snd_wnd > e->snd_most) e->snd_most = cfg.snd_wnd;
    if (cfg.rcv_wnd > e->rcv_most) e->rcv_most = cfg.rcv_wnd;
}

static void end_new(struct end *e, uint8_t kind, uint8_t size, uint32_t snd, uint32_t rcv)
{
    struct kt_kcp_config cfg = settings(kind, size);
    struct kt_packet_out out = {.reserve = reserve, .send = send, .ctx = e};
    *e = (struct end){.mtu = cfg.mtu, .snd_most = cfg.snd_wnd, .rcv_most = cfg.rcv_wnd};
    kt_cc_init(&e->cc, controller(kind));
    cfg.cc = &e->cc;
    need(kt_slab_new(&e->pool, kt_kcp_block_size(cfg.mtu), 0) == 0, "no pool");
    need(kt_kcp_new(&e->kcp, &cfg, e->pool, &out, 0) == 0, "no engine");
    kcp_check_start(e->kcp, snd, rcv);
}

static void end_check(const struct end *e)
{
    const char *wrong = kcp_check(e->kcp, e->pool, e->snd_most, e->rcv_most);
    need(!wrong, wrong);
}

static void end_free(struct end *e)
{
    for (unsigned i = 0; i < e->packets; i++) free(e->wire[i].data);
    kt_kcp_free(e->kcp);
    kt_slab_free(e->pool); /* asserts that every block was returned */
}

static void write_some(struct end *e, size_t n, bool message)
{
    uint8_t buf[1024];
    for (size_t i = 0; i < n; i++) buf[i] = pattern(e->written + (uint32_t)i);
    size_t room = kt_kcp_room(e->kcp), taken;
    if (message)
        taken = n > 0 && kt_kcp_write_message(e->kcp, buf, n) ? n : 0;
    else
        taken = kt_kcp_write(e->kcp, buf, n);
    need(taken <= n && taken <= room, "a write took more than there was room for");
    e->written += (uint32_t)taken;
}

/* Reads the first message, if it is complete. */
static void read_message(struct end *e)
{
    const uint8_t *data;
    const int len = kt_kcp_message(e->kcp);
    if (len <= 0) return;
    size_t left = (size_t)len;
    need(kt_kcp_unread(e->kcp, SIZE_MAX) >= left, "a message longer than what is there");
    while (left > 0) {
        const size_t got = kt_kcp_peek(e->kcp, &data), n = got < left ? got : left;
        need(n > 0, "a message that ends early");
        kt_kcp_consume(e->kcp, n);
        left -= n;
    }
}

/* Reads up to n bytes. In a pair, checks them. */
static void read_some(struct end *e, size_t n, bool known)
{
    const uint8_t *data;
    size_t got = kt_kcp_peek(e->kcp, &data);
    if (got > n) got = n;
    for (size_t i = 0; known && i < got; i++) need(data[i] == pattern(e->read + (uint32_t)i), "wrong bytes");
    kt_kcp_consume(e->kcp, got);
    e->read += (uint32_t)got;
}

static void flush(struct end *e, unsigned allowed, uint64_t now)
{
    e->allowed = allowed;
    kt_kcp_flush(e->kcp, now);
    /* With enough buffers nothing is left to send now, unless the first flush reported a loss to reno, which
     * may then open its window. */
    if (e->allowed > 0 && kt_kcp_due(e->kcp, now) <= now) kt_kcp_flush(e->kcp, now);
    if (e->allowed > 0) need(kt_kcp_due(e->kcp, now) > now, "still due after a flush");
}

static void deliver(struct end *to, const uint8_t *data, size_t len, bool recovered, uint64_t now)
{
    uint8_t *copy = malloc(len > 0 ? len : 1); /* exact size: the sanitizer catches reads past the end */
    memcpy(copy, data, len);
    kt_kcp_input(to->kcp, copy, len, recovered ? KT_KCP_RECOVERED : KT_KCP_REGULAR, now);
    free(copy);
}

/* Nearly valid segments: numbers close to the windows. */
static size_t build(struct input *in, const struct kt_kcp *k, uint64_t now, uint8_t *out, size_t cap)
{
    size_t len = 0;
    for (unsigned i = 1 + byte(in) % 4; i > 0; i--) {
        uint8_t cmd = byte(in), a = byte(in), b = byte(in), n = byte(in);
        struct kt_kcp_segment s = {
            .conv = CONV,
            .cmd = (uint8_t)(KT_KCP_PUSH + (cmd & 3)),
            .frg = cmd >> 6,
            .wnd = b,
            .ts = (uint32_t)(now / 1000) - (n & 15) * 10u,
            .una = k->snd.una + (b & 31) - 4,
            .len = cmd & 3 ? 0 : n & 31,
        };
        s.sn = s.cmd == KT_KCP_PUSH ? k->rcv.nxt + a - 16 : k->snd.una + a - 4;
        if (len + KT_KCP_OVERHEAD + s.len > cap) break;
        kt_kcp_segment_put(out + len, &s);
        memset(out + len + KT_KCP_OVERHEAD, 'x', s.len);
        len += KT_KCP_OVERHEAD + s.len;
    }
    return len;
}

static void play_alone(struct input *in)
{
    struct end e;
    uint64_t now = 0;
    uint8_t kind = byte(in), size = byte(in), start = byte(in);
    end_new(&e, kind, size, 0u - start, start * 0x01000000u);
    while (in->n > 0) {
        uint8_t op = byte(in), arg = byte(in);
        uint8_t packet[256];
        switch (op % 8) {
        case 0:
            if (arg > in->n) arg = (uint8_t)in->n;
            deliver(&e, in->p, arg, op & 8, now);
            in->p += arg;
            in->n -= arg;
            break;
        case 1:
        case 2:
            deliver(&e, packet, build(in, e.kcp, now, packet, sizeof packet), op & 8, now);
            break;
        case 3:
            write_some(&e, arg * 4u, op & 8);
            break;
        case 4:
            if (op & 8)
                read_message(&e);
            else
                read_some(&e, arg, false);
            break;
        case 5:
            flush(&e, op & 8 ? arg % 4 : UINT32_MAX, now);
            break;
        case 6:
            now += (uint64_t)1 << arg % 30;
            break;
        case 7:
            kt_slab_fail_after(e.pool, arg & 1 ? arg : SIZE_MAX);
            if (arg & 2) kt_kcp_probe(e.kcp);
            if (arg & 4) end_tune(&e, byte(in), byte(in));
            break;
        }
        end_check(&e);
    }
    end_free(&e);
}

/* Delivers one packet from `from` to `to`; keep: it arrives again later. */
static void carry(struct end *from, struct end *to, unsigned which, bool keep, bool recovered, uint64_t now)
{
    if (from->packets == 0) return;
    struct packet *p = &from->wire[which % from->packets];
    if (to) deliver(to, p->data, p->len, recovered, now);
    if (keep) return;
    free(p->data);
    *p = from->wire[--from->packets];
}

static void play_pair(struct input *in)
{
    struct end e[2];
    uint64_t now = 0;
    uint32_t a = 0u - byte(in), b = 0x80000000u - byte(in);
    uint8_t kind = byte(in), size = byte(in);
    end_new(&e[0], kind, size, a, b);
    kind = byte(in), size = byte(in);
    end_new(&e[1], kind, size, b, a);
    while (in->n > 0) {
        uint8_t op = byte(in), arg = byte(in);
        struct end *me = &e[op >> 7], *peer = &e[!(op >> 7)];
        switch (op % 8) {
        case 0:
            write_some(me, arg * 4u, op & 8);
            break;
        case 1:
            read_some(me, arg * 8u, true);
            break;
        case 2:
            flush(me, op & 8 ? arg % 4 : UINT32_MAX, now);
            break;
        case 3:
        case 4:
            carry(me, peer, arg, op & 16, op & 32, now);
            break;
        case 5:
            carry(me, NULL, arg, false, false, now);
            break;
        case 6:
            now += (uint64_t)1 << arg % 24;
            break;
        case 7:
            kt_slab_fail_after(me->pool, arg & 1 ? arg : SIZE_MAX);
            if (arg & 4) end_tune(me, byte(in), byte(in));
            break;
        }
        need(me->read - peer->written == 0 || (int32_t)(me->read - peer->written) < 0,
            "read what was not written");
        end_check(me);
    }
    /* On a good path everything that was written arrives. */
    for (int i = 0; i < 2; i++) kt_slab_fail_after(e[i].pool, SIZE_MAX);
    for (unsigned round = 0; e[0].read != e[1].written || e[1].read != e[0].written; round++) {
        need(round < 20000, "the conversation is stuck");
        uint64_t next = UINT64_MAX;
        for (int i = 0; i < 2; i++) {
            while (e[i].packets > 0) carry(&e[i], &e[!i], 0, false, false, now);
            for (uint32_t before = e[!i].read - 1; before != e[!i].read;) {
                before = e[!i].read;
                read_some(&e[!i], SIZE_MAX, true);
            }
        }
        for (int i = 0; i < 2; i++) {
            if (kt_kcp_due(e[i].kcp, now) <= now) flush(&e[i], UINT32_MAX, now);
            uint64_t at = kt_kcp_due(e[i].kcp, now);
            if (at < next) next = at;
            if (e[i].packets > 0) next = now;
        }
        if (next != UINT64_MAX && next > now) now = next;
    }
    for (int i = 0; i < 2; i++) end_free(&e[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {.p = data, .n = size};
    if (byte(&in) & 1)
        play_pair(&in);
    else
        play_alone(&in);
    return 0;
}
