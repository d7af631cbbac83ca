/* Fuzz target: the FEC decoder. The first two bytes choose the parameters. Bodies follow: a length (2 bytes, LE) and
 * that many bytes. The third byte also sets a limit on memory. Random bytes rarely make a group, so a length with the
 * top bit set stands for the next packet of an encoder; the byte after it says whether that packet is lost, damaged,
 * cut or doubled. */
#include <stdlib.h>
#include <string.h>
#include "kcp/fec.h"

static volatile unsigned touched;

static void sink(void *ctx, const uint8_t *packet, size_t len, enum kt_kcp_origin origin)
{
    unsigned *recovered = ctx;
    if (len > KT_FEC_MAX_PACKET - KT_FEC_HEADER && origin == KT_KCP_RECOVERED) abort();
    if (origin == KT_KCP_RECOVERED) ++*recovered;
    for (size_t i = 0; i < len; i++) touched += packet[i]; /* so that the sanitizer catches a bad range */
}

/* A copy of exactly n bytes, so that the sanitizer catches reads past the end. */
static void input(struct kt_fec_dec *d, size_t most, const uint8_t *body, size_t n, unsigned *recovered)
{
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) return;
    if (n) memcpy(exact, body, n);
    kt_fec_dec_input(d, exact, n, sink, recovered);
    if (kt_fec_dec_held(d) > most) abort();
    struct kt_kcp_head head;
    if (kt_fec_peek(exact, n, &head)) touched += head.conv + head.sn + head.una;
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    struct kt_fec_dec *d;
    struct kt_fec_enc *e;
    bool known = data[0] && data[1] && data[0] + data[1] <= (int)KT_FEC_MAX_SHARDS;
    unsigned shards = known ? data[0] : 4, parity = known ? data[1] : 2;
    if (kt_fec_dec_new(&d, data[2] & 1 && known ? shards : 0, data[2] & 1 && known ? parity : 0) < 0)
        return 0;
    if (kt_fec_enc_new(&e, shards, parity) < 0) abort();
    const size_t most = data[2] & 4 ? (size_t)(data[2] >> 3) * 4096 : SIZE_MAX;
    kt_fec_dec_limit(d, most);
    if (data[2] & 2) kt_fec_enc_seek(e, UINT32_MAX / (shards + parity) - 1);
    data += 3;
    size -= 3;

    unsigned recovered = 0;
    unsigned waiting = 0, fetched = 0; /* parity packets from the encoder */
    while (size >= 3) {
        size_t n = (size_t)data[0] | (size_t)data[1] << 8;
        uint8_t spoil = data[2];
        if (n < 0x8000) {
            data += 2;
            size -= 2;
            if (n > size) n = size;
            input(d, most, data, n, &recovered);
            data += n;
            size -= n;
            continue;
        }
        data += 3;
        size -= 3;
        uint8_t pkt[KT_FEC_MAX_PACKET];
        size_t len;
        if (fetched < waiting) {
            len = kt_fec_enc_parity(e, fetched++, pkt);
        } else {
            len = KT_FEC_HEADER + n % 512;
            memset(pkt, spoil, len);
            waiting = kt_fec_enc_data(e, pkt, len, 0);
            fetched = 0;
        }
        if (spoil & 0x80) continue;                      /* lost */
        if (spoil & 0x40) pkt[spoil & 7] ^= spoil;       /* its header lies */
        if (spoil & 0x20 && len > 16) len -= spoil & 15; /* cut short */
        input(d, most, pkt, len, &recovered);
        if (spoil & 0x10) input(d, most, pkt, len, &recovered); /* twice */
    }
    struct kt_fec_dec_stats s;
    kt_fec_dec_stats(d, &s);
    if (s.cur_data < 1 || s.cur_parity < 1 || s.cur_data + s.cur_parity > KT_FEC_MAX_SHARDS) abort();
    if (recovered > s.recovered) abort();
    kt_fec_enc_free(e);
    kt_fec_dec_free(d);
    return 0;
}
