/* Key files of kt's own wire, as `kt keygen` writes them: shared keys, and X25519 key pairs in two files. A file is
 * text: one line with 32 bytes in base64; blank lines and lines that begin with # are comments. The comment
 * "# kt private key" (or public, or shared) names the kind of key, and a file that names another kind than the
 * reader wants is refused: all keys look alike, and the wrong one would lead to silence. */
#ifndef KT_CRYPTO_KEYFILE_H
#define KT_CRYPTO_KEYFILE_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_KEY 32u        /* bytes of any key */
#define KT_KEY_TEXT 45u   /* buffer for one in base64, with its NUL */
#define KT_KEY_FILE 4096u /* most bytes of a file that are worth reading */

enum kt_key_kind { KT_KEY_SHARED, KT_KEY_PRIVATE, KT_KEY_PUBLIC };

/* Base64 of a key, with a NUL. */
void kt_key_encode(const uint8_t key[KT_KEY], char out[KT_KEY_TEXT]);

/* Reads a key from the text of a file, or from a script ("alice = 'base64'"). what: what errors begin with, such as
 * "key file secrets/psk". 0, or KT_ECONFIG with a sentence, in which no byte of the key appears. */
int kt_key_parse(enum kt_key_kind kind, const char *text, size_t len, const char *what, uint8_t key[KT_KEY],
    struct kt_err *err);

/* Whether a file with this mode (st_mode) is good enough for a private or a shared key. 0, or KT_EACCES with a
 * sentence if anyone but its owner can read or write it. */
int kt_key_mode_check(const char *path, unsigned mode, struct kt_err *err);

/* The shared key that a passphrase stands for: Argon2id with 3 passes over 64 MiB (docs/wire.md section 2.1). Takes
 * about 0.1 s; call it once, at start. 0 or KT_ENOMEM. */
int kt_key_from_passphrase(const char *text, size_t len, uint8_t key[KT_KEY]);

#endif
