/* Fuzz target: the snappy stream decoder. The first byte chooses a mode and the size of pieces. The input is
 * decoded as it is, or after a valid identifier; in the third mode it is encoded, and must decode to the same
 * bytes. The CRC is checked after a block was decompressed, so it does not hide code from the fuzzer. */
#include <stdlib.h>
#include <string.h>
#include "link/kcptun/snappy_stream.h"

static volatile unsigned touched;

/* Feeds in pieces; appends what comes out to out if it is not NULL. Returns bytes decoded, or -1. */
static long pump(
    struct kt_snappy_dec *d, const uint8_t *data, size_t n, size_t piece, uint8_t *out, size_t room)
{
    size_t got = 0;
    while (n > 0) {
        size_t most = piece < n ? piece : n, used;
        uint8_t *exact = malloc(most);
        if (!exact) abort();
        memcpy(exact, data, most);
        int r = kt_snappy_feed(d, exact, most, &used, NULL);
        free(exact);
        if (used > most) abort();
        if (r < 0) {
            if (r != KT_EPROTO || kt_snappy_feed(d, data, n, &used, NULL) != KT_EPROTO || used) abort();
            return -1;
        }
        data += used;
        n -= used;
        const uint8_t *plain;
        size_t ready;
        bool any = used > 0;
        while ((ready = kt_snappy_peek(d, &plain)) > 0) {
            if (ready > KT_SNAPPY_CHUNK) abort();
            size_t take = ready > 1000 ? 1000 : ready;
            for (size_t i = 0; i < take; i++) touched += plain[i];
            if (out) {
                if (take > room - got) abort();
                memcpy(out + got, plain, take);
            }
            got += take;
            kt_snappy_consume(d, take);
            any = true;
        }
        if (!any) abort(); /* no progress */
    }
    return (long)got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t identifier[] = {0xff, 6, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y'};
    if (size < 2) return 0;
    unsigned mode = data[0] & 3;
    size_t piece = (size_t)(data[0] >> 2) * 37 + 1;
    data++;
    size--;
    struct kt_snappy_dec *d;
    if (kt_snappy_dec_new(&d) < 0) return 0;
    if (mode == 0) {
        struct kt_snappy_enc *e;
        if (kt_snappy_enc_new(&e) < 0) abort();
        uint8_t *back = malloc(size);
        if (!back) abort();
        size_t from = 0, got = 0;
        while (from < size) {
            size_t n = 1 + data[from] * 17u;
            if (n > size - from) n = size - from;
            static uint8_t wire[KT_SNAPPY_MOST];
            size_t len = kt_snappy_encode(e, data + from, n, wire);
            if (len > n + KT_SNAPPY_OVERHEAD) abort();
            long r = pump(d, wire, len, piece, back + got, size - got);
            if (r < 0) abort();
            got += (size_t)r;
            from += n;
        }
        if (got != size || memcmp(back, data, size) != 0) abort();
        free(back);
        kt_snappy_enc_free(e);
    } else {
        if (mode == 1 || pump(d, identifier, sizeof identifier, piece, NULL, 0) == 0)
            pump(d, data, size, piece, NULL, 0);
    }
    kt_snappy_dec_free(d);
    return 0;
}
