/* QPP: kcptun's byte permutation of stream payload (docs/wire-kcptun.md, section 10). It is weak and no
 * substitute for packet encryption; kt has it for peers that use it. */
#ifndef KT_CRYPTO_KCPTUN_QPP_H
#define KT_CRYPTO_KCPTUN_QPP_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct kt_qpp; /* the pads: made once from the key, shared by all streams */

/* key: the raw bytes that the user typed; pads: 1..4096 (kcptun's QPPCount, default 61). Slow: PBKDF2 and about
 * 1,800 AES calls per pad, 10 ms for 61 pads. 0, KT_EINVAL (pads), KT_ENOMEM or KT_ENOTSUP. Freed with
 * kt_qpp_free. */
int kt_qpp_new(struct kt_qpp **out, const void *key, size_t key_len, unsigned pads);
void kt_qpp_free(struct kt_qpp *q);

/* One direction of one stream. */
struct kt_qpp_state {
    uint64_t s[4];  /* xoshiro256** */
    uint64_t r;     /* its last output */
    unsigned count; /* bytes of r used, 0..7 */
};

void kt_qpp_start(const struct kt_qpp *q, struct kt_qpp_state *st);
/* Permutes in place. A stream may be split into calls anywhere. */
void kt_qpp_encrypt(const struct kt_qpp *q, struct kt_qpp_state *st, uint8_t *data, size_t n);
void kt_qpp_decrypt(const struct kt_qpp *q, struct kt_qpp_state *st, uint8_t *data, size_t n);

#endif
