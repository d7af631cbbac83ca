/* Fuzz target: a packet of kt's own wire, once opened: its frames. Every frame read satisfies frame.h, and writing it
 * into a buffer of exactly its size and reading it back gives the same frame. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "link/native/frame.h"
#include "link/native/varint.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ack(const struct kt_native_ack *ack)
{
    CHECK(ack->path < KT_NATIVE_PATHS && ack->count >= 1 && ack->count <= KT_NATIVE_ACK_RANGES);
    for (uint32_t i = 0; i < ack->count; i++) {
        CHECK(ack->ranges[i].first <= ack->ranges[i].last);
        CHECK(i == 0 || ack->ranges[i].last + 1 < ack->ranges[i - 1].first);
    }
}

/* Writes f, reads that, and writes what was read: both must be the same bytes. */
static void round_trip(const struct kt_native_frame *f, size_t most)
{
    uint8_t *first = malloc(most), *second = malloc(most);
    CHECK(first && second);
    const size_t n = kt_native_frame_write(first, most, f);
    CHECK(n > 0 && n <= most); /* the shortest varints, so never longer than what was read */
    uint8_t *exact = malloc(n);
    CHECK(exact);
    CHECK(kt_native_frame_write(exact, n, f) == n && memcmp(exact, first, n) == 0);
    struct kt_native_frame g;
    CHECK(kt_native_frame_read(&g, exact, n, NULL) == (long)n && g.type == f->type);
    CHECK(kt_native_frame_write(second, most, &g) == n && memcmp(first, second, n) == 0);
    CHECK(kt_native_frame_write(exact, n - 1, f) == 0);
    CHECK(f->type != KT_NATIVE_FRAME_ACK || n <= KT_NATIVE_ACK_BYTES);
    free(exact);
    free(second);
    free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Of the exact size, so that the sanitizer catches reads past the end. */
    uint8_t *packet = malloc(size ? size : 1);
    CHECK(packet);
    if (size) memcpy(packet, data, size);
    for (size_t at = 0;;) {
        struct kt_native_frame f;
        struct kt_err err = {0};
        const long n = kt_native_frame_read(&f, packet + at, size - at, &err);
        if (n < 0) {
            CHECK(n == KT_EPROTO && err.code == KT_EPROTO && err.text[0]);
            break;
        }
        CHECK(n > 0 && (size_t)n <= size - at);
        if (f.type == KT_NATIVE_FRAME_ACK) check_ack(&f.ack);
        if (kt_native_frame_is_data(f.type))
            CHECK(f.data.len <= size && f.data.offset + f.data.len <= KT_NATIVE_VARINT_MAX);
        round_trip(&f, (size_t)n);
        at += (size_t)n;
        if (at == size) break;
    }
    free(packet);
    return 0;
}
