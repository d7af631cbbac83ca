/* Reads keys and names from the text that the user gave. Invariant: each buffer that held a key is wiped, and
 * no message quotes a byte of a secret. */
#include "link/native/credentials.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/hash.h"
#include "crypto/keyfile.h"
#include "crypto/phrases.h"

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Whether a text that is no key must have been meant as one: a file with a comment or several lines, or a line of as
 * many characters of base64 as a key has, give or take its "=". A damaged key that passes for a passphrase would
 * only show as silence. */
static bool meant_as_key(const char *text, size_t len)
{
    while (len > 0 && strchr(" \t\r\n", text[len - 1])) len--;
    if (len > 0 && (text[0] == '#' || memchr(text, '\n', len))) return true;
    if (len != KT_KEY_TEXT - 1 && len != KT_KEY_TEXT - 2) return false;
    for (unsigned i = 0; i < 2 && text[len - 1] == '='; i++) len--;
    size_t n = 0;
    while (n < len && is_base64(text[n])) n++;
    return n == len;
}

/* A key as `kt keygen` writes it, or else a passphrase. */
static int read_shared(
    const struct kt_settings *s, struct kt_phrases *phrases, uint8_t psk[KT_NATIVE_KEY], struct kt_err *err)
{
    struct kt_err why;
    int rc = kt_key_parse(KT_KEY_SHARED, s->key, s->key_len, "key", psk, &why);
    if (rc && meant_as_key(s->key, s->key_len))
        return kt_err_set(
            err, rc, "%s (a text that looks like a damaged key is not taken for a passphrase)", why.text);
    if (rc) rc = kt_phrases_key(phrases, s->key, s->key_len, psk);
    return rc ? kt_err_set(err, rc,
                    "key: out of memory: deriving a key from a passphrase needs 64 MiB; use a key from kt keygen")
              : 0;
}

/* Mode K. psk: NULL if the ends do not also share a key. */
static int read_pair(struct kt_native_secrets *out, const struct kt_settings *s, bool client,
    const uint8_t *psk, struct kt_err *err)
{
    uint8_t own[KT_NATIVE_KEY], server[KT_NATIVE_KEY];
    int rc = kt_key_parse(KT_KEY_PRIVATE, s->private_key, s->private_key_len, "private_key", own, err);
    if (!rc && client) {
        rc = kt_key_parse(KT_KEY_PUBLIC, s->server_key, strlen(s->server_key), "server_key", server, err);
        if (!rc) rc = kt_native_secrets_client(out, own, server, psk, err);
    } else if (!rc) {
        kt_native_secrets_server(out, own, psk);
    }
    kt_wipe(own, sizeof own);
    return rc;
}

int kt_native_credentials_read(struct kt_native_secrets *out, const struct kt_settings *s, bool client,
    struct kt_phrases *phrases, struct kt_err *err)
{
    uint8_t psk[KT_NATIVE_KEY];
    if (client && !s->private_key != !s->server_key)
        return kt_err_set(err, KT_ECONFIG, "expected both private_key and server_key, or neither");
    if (!client && !s->private_key != !(s->authorized || s->asks))
        return kt_err_set(err, KT_ECONFIG, "expected both private_key and authorized, or neither");
    int rc = s->key ? read_shared(s, phrases, psk, err) : 0;
    if (!rc && s->private_key)
        rc = read_pair(out, s, client, s->key ? psk : NULL, err);
    else if (!rc)
        kt_native_secrets_shared(out, psk);
    kt_wipe(psk, sizeof psk);
    return rc;
}

/* ---- names ---- */

struct kt_native_names {
    size_t count;
    struct row {
        uint8_t key[KT_NATIVE_KEY];
        char name[KT_NATIVE_IDENTITY];
    } rows[]; /* sorted by key */
};

static int by_key(const void *a, const void *b)
{
    return memcmp(((const struct row *)a)->key, ((const struct row *)b)->key, KT_NATIVE_KEY);
}

int kt_native_names_read(struct kt_native_names **out, const struct kt_settings *s, struct kt_err *err)
{
    *out = NULL;
    if (!s->authorized) return 0;
    struct kt_native_names *n = calloc(1, sizeof *n + s->authorized_count * sizeof n->rows[0]);
    if (!n) return kt_err_set(err, KT_ENOMEM, "out of memory");
    for (; n->count < s->authorized_count; n->count++) {
        const struct kt_authorized *from = &s->authorized[n->count];
        struct row *row = &n->rows[n->count];
        char what[KT_NATIVE_IDENTITY + 16];
        const int len = snprintf(row->name, sizeof row->name, "%s", from->name);
        snprintf(what, sizeof what, "authorized.%s", row->name);
        int rc = len > 0 && len < (int)sizeof row->name ? 0 : KT_ECONFIG;
        if (rc)
            kt_err_set(err, rc, "%s: expected a name of 1 to %u bytes", what, KT_NATIVE_IDENTITY - 1);
        else
            rc = kt_key_parse(KT_KEY_PUBLIC, from->key, strlen(from->key), what, row->key, err);
        if (rc) {
            kt_native_names_free(n);
            return rc;
        }
    }
    qsort(n->rows, n->count, sizeof n->rows[0], by_key);
    for (size_t i = 1; i < n->count; i++) {
        if (by_key(&n->rows[i - 1], &n->rows[i]) != 0) continue;
        kt_err_set(
            err, KT_ECONFIG, "authorized: %s and %s have the same key", n->rows[i - 1].name, n->rows[i].name);
        kt_native_names_free(n);
        return KT_ECONFIG;
    }
    *out = n;
    return 0;
}

void kt_native_names_free(struct kt_native_names *names)
{
    free(names);
}

const char *kt_native_names_find(const struct kt_native_names *names, const uint8_t key[KT_NATIVE_KEY])
{
    if (!names) return NULL;
    const struct row *row = bsearch(key, names->rows, names->count, sizeof names->rows[0], by_key);
    return row ? row->name : NULL;
}

bool kt_native_names_equal(const struct kt_native_names *a, const struct kt_native_names *b)
{
    if (!a || !b) return a == b;
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (by_key(&a->rows[i], &b->rows[i]) != 0 || strcmp(a->rows[i].name, b->rows[i].name) != 0)
            return false;
    return true;
}
