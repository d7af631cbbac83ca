/* The masks of kt's own wire (docs/wire.md section 3.1), which make what is not encrypted look like random bytes. A mask
 * is a function of a key and of a sample: the last bytes of the datagram. Both ends XOR it with the bytes that it masks.
 * Constant time on every processor, no state between calls. By libsodium. */
#ifndef KT_CRYPTO_MASK_H
#define KT_CRYPTO_MASK_H

#include <stddef.h>
#include <stdint.h>

#define KT_MASK_SAMPLE 16u
#define KT_MASK_KEY 16u
#define KT_MASK 16u
#define KT_MASK_STREAM_KEY 32u

/* Writes a mask for up to KT_MASK bytes: SipHash-2-4 of the sample, with 128 bits of output. It takes a fifth of
 * the time of a block of ChaCha20, and every packet needs it at both ends. */
void kt_mask(const uint8_t key[KT_MASK_KEY], const uint8_t sample[KT_MASK_SAMPLE], uint8_t out[KT_MASK]);

/* XORs data of any length with ChaCha20's stream (RFC 8439), with the first 4 bytes of the sample as the block counter
 * and the other 12 as the nonce. Doing it twice restores the data. data does not overlap sample. */
void kt_mask_stream(
    const uint8_t key[KT_MASK_STREAM_KEY], const uint8_t sample[KT_MASK_SAMPLE], uint8_t *data, size_t n);

#endif
