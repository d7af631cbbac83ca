/* Fuzz target: opening datagrams, with every cipher. The first byte picks the cipher. The rest is opened as
 * it is; then it is sealed, perhaps with one bit flipped, and opened again, which reaches the code behind the
 * CRC or tag. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "crypto/kcptun/kdf.h"
#include "crypto/kcptun/seal.h"

#define OVERHEAD_MAX 28u
#define METHODS 15u
#define DATAGRAM_MAX 2048u
#define MANY 20u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int truth)
{
    if (!truth) abort();
}

/* Made once per process, because setting keys would take most of the time. */
static struct kt_seal *sealer(unsigned i)
{
    static struct kt_seal *made[METHODS];
    if (!made[0]) {
        uint8_t pass[32];
        check(kt_crypto_init(NULL) == 0 && kt_kdf_pass("fuzz", 4, pass) == 0);
        for (unsigned n = 0; n < METHODS; n++)
            check(kt_seal_new(&made[n], kt_seal_method_name(n), pass, NULL) == 0);
        check(!kt_seal_method_name(METHODS));
    }
    return made[i];
}

/* Opens the n bytes at `from` in a block of exactly their size; the caller frees *pkt. */
static int open_copy(
    struct kt_seal *s, const uint8_t *from, size_t n, uint8_t **pkt, uint8_t **body, size_t *body_len)
{
    *pkt = malloc(n ? n : 1);
    check(*pkt != NULL);
    memcpy(*pkt, from, n);
    int rc = kt_seal_open(s, *pkt, n, body, body_len);
    check(rc == 0 || rc == KT_EAUTH);
    if (rc == 0) check(*body == *pkt + kt_seal_header(s) && *body_len + kt_seal_overhead(s) == n);
    return rc;
}

/* Cuts data into bodies of varying length and seals them as a batch, which must give the same bytes as one by
 * one. */
static void seal_many(struct kt_seal *s, const uint8_t *data, size_t size, size_t step)
{
    static uint8_t room[MANY][DATAGRAM_MAX + OVERHEAD_MAX], one[DATAGRAM_MAX + OVERHEAD_MAX];
    const uint8_t nonces[MANY * KT_SEAL_MAX_NONCE] = {9, 8, 7};
    const uint8_t *from[MANY];
    size_t len[MANY], header = kt_seal_header(s), n = 0;
    struct kt_seal_job jobs[MANY];
    for (size_t at = 0; n < MANY && at <= size; n++) {
        len[n] = step % 97 + n * (step & 7);
        if (len[n] > size - at) len[n] = size - at;
        from[n] = data + at;
        at += len[n] ? len[n] : 1;
        memcpy(room[n] + header, from[n], len[n]);
        jobs[n] = (struct kt_seal_job){room[n], len[n]};
    }
    kt_seal_packets(s, jobs, n, nonces);
    for (size_t i = 0; i < n; i++) {
        memcpy(one + header, from[i], len[i]);
        size_t total = kt_seal_packet(s, one, len[i], nonces + i * kt_seal_nonce(s));
        check(total == jobs[i].len && memcmp(one, jobs[i].pkt, total) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > DATAGRAM_MAX) return 0;
    struct kt_seal *s = sealer(data[0] % METHODS);
    size_t flip = (size_t)data[1] | (size_t)data[2] << 8;
    data += 3;
    size -= 3;

    uint8_t *pkt, *body;
    size_t n;
    open_copy(s, data, size, &pkt, &body, &n);
    free(pkt);

    size_t total = size + kt_seal_overhead(s), header = kt_seal_header(s);
    uint8_t nonce[KT_SEAL_MAX_NONCE] = {1, 2, 3}, *sealed = malloc(total ? total : 1);
    check(sealed != NULL);
    memcpy(sealed + header, data, size);
    check(kt_seal_packet(s, sealed, size, nonce) == total);
    check(open_copy(s, sealed, total, &pkt, &body, &n) == 0);
    check(n == size && memcmp(body, data, n) == 0);
    free(pkt);

    if (header > 0 && flip / 8 < total) { /* "null" has no check */
        sealed[flip / 8] ^= (uint8_t)(1u << flip % 8);
        /* A changed nonce may go unnoticed, and is then harmless. */
        if (open_copy(s, sealed, total, &pkt, &body, &n) == 0)
            check(flip / 8 < 16 && memcmp(body, data, n) == 0);
        free(pkt);
    }
    free(sealed);
    seal_many(s, data, size, flip);
    return 0;
}
