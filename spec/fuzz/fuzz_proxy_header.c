/* Fuzz target: PROXY protocol headers. A header's length lies within the bytes; a shorter piece of a valid header asks
 * for more, and what follows it changes nothing; addresses that were read are read again from what is written of
 * them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "link/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct kt_proxy_header *h, unsigned version)
{
    uint8_t out[KT_PROXY_HEADER_OUT];
    struct kt_proxy_header again;
    const size_t n = kt_proxy_header_write(out, version, &h->from, &h->to);
    CHECK(n <= sizeof out);
    CHECK(kt_proxy_header_read(&again, out, n) == (int)n);
    CHECK(again.named && kt_addr_equal(&again.from, &h->from) && kt_addr_equal(&again.to, &h->to));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kt_proxy_header h, part;
    const int len = kt_proxy_header_read(&h, data, size);
    CHECK(len >= 0 || len == KT_EPROTO);
    CHECK(len <= (int)KT_PROXY_HEADER_MAX && (len <= 0 || (size_t)len <= size));
    CHECK(!h.named || len > 0);
    CHECK(size < KT_PROXY_HEADER_MAX || len != 0); /* never asks for more than the longest header */
    if (len <= 0) return 0;
    CHECK(kt_proxy_header_read(&part, data, (size_t)len) == len);
    const size_t cut = size > (size_t)len ? data[len] % (size_t)len : (size_t)len - 1;
    uint8_t *piece = malloc(cut ? cut : 1);
    if (!piece) return 0;
    memcpy(piece, data, cut);
    CHECK(kt_proxy_header_read(&part, piece, cut) == 0);
    free(piece);
    if (!h.named) return 0;
    round_trip(&h, 1);
    round_trip(&h, 2);
    return 0;
}
