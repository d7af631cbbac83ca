/* Reads the keys that a user gave: a shared key, or this end's private key with the public keys of its
 * peers (docs/wire.md, 2.1). */
#ifndef KT_LINK_NATIVE_CREDENTIALS_H
#define KT_LINK_NATIVE_CREDENTIALS_H

#include "link/native/handshake.h"
#include "link/settings.h"

struct kt_phrases;

/* Takes 0.1 s if the shared key is a passphrase that is new to phrases (which may be NULL). out: in locked memory.
 * 0, KT_ENOMEM, or KT_ECONFIG with a sentence that names the setting; no byte of a secret appears in it. */
int kt_native_credentials_read(struct kt_native_secrets *out, const struct kt_settings *s, bool client,
    struct kt_phrases *phrases, struct kt_err *err);

#define KT_NATIVE_IDENTITY 64u /* bytes of a peer's name, with its NUL */

/* The clients that an acceptor allows, by public key. */
struct kt_native_names;

/* NULL for settings without any. Freed with kt_native_names_free. 0, KT_ENOMEM, or KT_ECONFIG with a sentence. */
int kt_native_names_read(struct kt_native_names **out, const struct kt_settings *s, struct kt_err *err);
void kt_native_names_free(struct kt_native_names *names); /* NULL is harmless */
/* The name that goes with a key, or NULL. names: NULL: none. */
const char *kt_native_names_find(const struct kt_native_names *names, const uint8_t key[KT_NATIVE_KEY]);
bool kt_native_names_equal(const struct kt_native_names *a, const struct kt_native_names *b);

#endif
