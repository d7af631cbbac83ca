/* Fuzz target: the receiver of --tuncrypt. The input is a list of what an attacker on the path does with a
 * real sender's frames: pass on, hold back, swap, repeat, damage, cut, insert bytes. In every case the output
 * must be a prefix of what was sent, the end may be reported only after everything, and an error must
 * persist. */
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "crypto/secretstream_internal.h"

#define WIRE_MAX (1u << 18)
#define FRAMES 8u
#define REKEY crypto_secretstream_xchacha20poly1305_TAG_REKEY

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
    if (!truth) abort();
}

/* The header is random, but here the same input must give the same header. */
static const char *fixed_name(void)
{
    return "fixed";
}

static uint32_t fixed_random(void)
{
    return 0x5eed;
}

static void fixed_buf(void *buf, size_t n)
{
    memset(buf, 0x5e, n);
}

static struct randombytes_implementation fixed = {
    .implementation_name = fixed_name, .random = fixed_random, .buf = fixed_buf};

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

struct wire {
    uint8_t *bytes;
    size_t len;
};

static void put(struct wire *w, const uint8_t *bytes, size_t n)
{
    if (n > WIRE_MAX - w->len) n = WIRE_MAX - w->len;
    if (n) memcpy(w->bytes + w->len, bytes, n);
    w->len += n;
}

/* The content of the sender's frame i: *n bytes of the value returned. The last frame is final; frame 3 asks
 * for a new key. */
static uint8_t text_of(unsigned i, size_t *n)
{
    *n = i * 41u + 1;
    return (uint8_t)(i + 1);
}

static size_t make_frames(
    uint8_t frames[FRAMES][512], size_t len[FRAMES], const uint8_t *key, uint8_t *header)
{
    struct kt_secretstream_tx *t;
    size_t all = 0;
    memset(header, 0x5a, KT_SECRETSTREAM_HEADER);
    check(kt_secretstream_tx_new(&t, key, header) == 0);
    for (unsigned i = 0; i < FRAMES; i++) {
        uint8_t text[512];
        size_t n;
        memset(text, text_of(i, &n), sizeof text);
        len[i] = i == 3 ? kt_secretstream_seal_tagged(t, text, n, REKEY, frames[i])
                        : kt_secretstream_seal(t, text, n, i == FRAMES - 1, frames[i]);
        check(len[i] == n + 19);
        all += n;
    }
    kt_secretstream_tx_free(t);
    return all;
}

/* The attacker's choice of the bytes to pass on. */
static void meddle(struct input *in, struct wire *w, uint8_t frames[FRAMES][512], const size_t len[FRAMES])
{
    unsigned next = 0;
    while (in->at < in->end && w->len < WIRE_MAX) {
        uint8_t step = take(in);
        unsigned which = step >> 4 & 7;
        switch (step & 7) {
        case 0: /* the next frame */
        case 1:
            if (next < FRAMES) put(w, frames[next], len[next]);
            next++;
            break;
        case 2: /* any one */
            put(w, frames[which], len[which]);
            break;
        case 3: /* leave one out */
            next++;
            break;
        case 4: { /* the next frame, damaged */
            uint8_t copy[512];
            if (next >= FRAMES) break;
            memcpy(copy, frames[next], len[next]);
            size_t at = (size_t)take(in) * 2 % len[next];
            copy[at] ^= (uint8_t)(1u << which);
            put(w, copy, len[next]);
            next++;
            break;
        }
        case 5: /* part of the next frame */
            if (next < FRAMES) put(w, frames[next], (size_t)take(in) % len[next]);
            break;
        default: { /* the attacker's own bytes */
            size_t n = take(in), left = (size_t)(in->end - in->at);
            if (n > left) n = left;
            put(w, in->at, n);
            in->at += n;
        }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *wire_bytes;
    static uint8_t key[KT_SECRETSTREAM_KEY];
    if (!wire_bytes) {
        uint8_t pass[32] = {7};
        randombytes_set_implementation(&fixed);
        check(kt_crypto_init(NULL) == 0);
        kt_secretstream_key(pass, true, key);
        wire_bytes = malloc(WIRE_MAX);
        check(wire_bytes != NULL);
    }
    if (size < 2) return 0;
    struct input in = {data, data + size};
    struct wire w = {wire_bytes, 0};
    uint8_t header[KT_SECRETSTREAM_HEADER], frames[FRAMES][512];
    size_t len[FRAMES], all = make_frames(frames, len, key, header);

    uint8_t cut = take(&in);
    if (!(take(&in) & 1)) put(&w, header, sizeof header); /* else his own */
    meddle(&in, &w, frames, len);

    struct kt_secretstream_rx *r;
    check(kt_secretstream_rx_new(&r, key) == 0);
    size_t at = 0, got = 0;
    unsigned frame = 0;
    bool ended = false;
    int error = 0;
    while (at < w.len) {
        /* In separate blocks, so that the sanitizer catches reads past the end. */
        size_t piece = cut ? cut : w.len, used;
        if (piece > w.len - at) piece = w.len - at;
        uint8_t *fed = malloc(piece);
        check(fed != NULL);
        memcpy(fed, w.bytes + at, piece);
        const uint8_t *text;
        bool final;
        int n = kt_secretstream_open(r, fed, piece, &used, &text, &final);
        free(fed);
        if (n < 0) {
            check(n == KT_EAUTH || n == KT_EPROTO);
            check(!final && text == NULL);
            error = n;
            break;
        }
        check(!ended && used > 0 && used <= piece);
        at += used;
        if (n > 0 || final) {
            size_t want;
            uint8_t value = text_of(frame, &want);
            check((size_t)n == want);
            for (int i = 0; i < n; i++) check(text[i] == value);
            frame++;
            got += (size_t)n;
        } else {
            check(used == piece);
        }
        ended = final;
        if (ended) check(got == all && frame == FRAMES);
    }
    if (error) {
        size_t used;
        const uint8_t *text;
        bool final;
        check(kt_secretstream_open(r, header, sizeof header, &used, &text, &final) == error && !final);
    }
    kt_secretstream_rx_free(r);
    return 0;
}
