/* Masks by two pseudorandom functions: one is short and fast, the other as long as the data. */
#include "crypto/mask.h"
#include <sodium.h>
#include "base/bytes.h"

void kt_mask(const uint8_t key[KT_MASK_KEY], const uint8_t sample[KT_MASK_SAMPLE], uint8_t out[KT_MASK])
{
    crypto_shorthash_siphashx24(out, sample, KT_MASK_SAMPLE, key);
}

void kt_mask_stream(
    const uint8_t key[KT_MASK_STREAM_KEY], const uint8_t sample[KT_MASK_SAMPLE], uint8_t *data, size_t n)
{
    crypto_stream_chacha20_ietf_xor_ic(data, data, n, sample + 4, kt_get32(sample), key);
}
