/* Keys that were derived from passphrases lately. Deriving one takes 0.1 s and 64 MiB (kt_key_from_passphrase), and
 * most links of a process have the same passphrase.
 *
 * Invariant: neither a passphrase nor a key is ever outside locked memory here. */
#ifndef KT_CRYPTO_PHRASES_H
#define KT_CRYPTO_PHRASES_H

#include <stddef.h>
#include <stdint.h>
#include "crypto/keyfile.h"

#define KT_PHRASES 16u /* keys that are kept; the oldest makes room */

struct kt_phrase;
struct kt_phrases {
    struct kt_phrase *kept; /* KT_PHRASES of them in locked memory; NULL: none yet */
    unsigned next;
};

/* All zero is also an empty one. */
void kt_phrases_init(struct kt_phrases *p);
/* Wipes and frees the keys. */
void kt_phrases_end(struct kt_phrases *p);
/* As kt_key_from_passphrase. p: NULL: nothing is kept. */
int kt_phrases_key(struct kt_phrases *p, const char *text, size_t len, uint8_t key[KT_KEY]);

#endif
