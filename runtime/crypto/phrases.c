/* A small table of derived keys, found by a hash of their passphrase. */
#include "crypto/phrases.h"
#include <stdbool.h>
#include <string.h>
#include "crypto/hash.h"
#include "crypto/locked.h"

struct kt_phrase {
    bool used;
    uint8_t hash[KT_HASH], key[KT_KEY];
};

void kt_phrases_init(struct kt_phrases *p)
{
    *p = (struct kt_phrases){0};
}

void kt_phrases_end(struct kt_phrases *p)
{
    kt_locked_free(p->kept);
    kt_phrases_init(p);
}

static const struct kt_phrase *find(const struct kt_phrases *p, const uint8_t hash[KT_HASH])
{
    for (unsigned i = 0; i < KT_PHRASES; i++)
        if (p->kept[i].used && kt_same_secret(p->kept[i].hash, hash, KT_HASH)) return &p->kept[i];
    return NULL;
}

int kt_phrases_key(struct kt_phrases *p, const char *text, size_t len, uint8_t key[KT_KEY])
{
    uint8_t hash[KT_HASH];
    if (p && !p->kept) p->kept = kt_locked_alloc(KT_PHRASES * sizeof *p->kept);
    if (!p || !p->kept) return kt_key_from_passphrase(text, len, key);
    kt_hash(hash, NULL, text, len, NULL, 0);
    const struct kt_phrase *known = find(p, hash);
    int rc = 0;
    if (known)
        memcpy(key, known->key, KT_KEY);
    else
        rc = kt_key_from_passphrase(text, len, key);
    if (!known && rc == 0) {
        struct kt_phrase *fresh = &p->kept[p->next++ % KT_PHRASES];
        fresh->used = true;
        memcpy(fresh->hash, hash, KT_HASH);
        memcpy(fresh->key, key, KT_KEY);
    }
    kt_wipe(hash, sizeof hash);
    return rc;
}
