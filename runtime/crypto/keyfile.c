/* Keys as text, and keys from passphrases. Base64 goes through libsodium, whose coder takes no branch that depends on
 * the key. */
#include "crypto/keyfile.h"
#include <sodium.h>
#include <stdbool.h>
#include <string.h>
#include "crypto/primitives.h"

#define PASSES 3u
#define MEMORY ((size_t)64 << 20)

static const char *const kinds[] = {
    [KT_KEY_SHARED] = "shared", [KT_KEY_PRIVATE] = "private", [KT_KEY_PUBLIC] = "public"};

struct line {
    const char *text;
    size_t len;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next line, without blanks at its ends; false at the end of the text. */
static bool next_line(const char **at, const char *end, struct line *line)
{
    if (*at == end) return false;
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    const char *from = *at, *to = stop ? stop : end;
    *at = stop ? stop + 1 : end;
    while (from < to && blank(*from)) from++;
    while (from < to && blank(to[-1])) to--;
    *line = (struct line){from, (size_t)(to - from)};
    return true;
}

static bool names_kind(const struct line *line, const char *kind)
{
    static const char head[] = "# kt ", tail[] = " key";
    const size_t n = strlen(kind), h = sizeof head - 1, t = sizeof tail - 1;
    return line->len == h + n + t && memcmp(line->text, head, h) == 0 &&
           memcmp(line->text + h, kind, n) == 0 && memcmp(line->text + h + n, tail, t) == 0;
}

/* A comment that says that the key is of another kind: its name, or NULL. */
static const char *other_kind(const struct line *line, enum kt_key_kind kind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (i != (size_t)kind && names_kind(line, kinds[i])) return kinds[i];
    return NULL;
}

static int decode(const struct line *line, const char *what, uint8_t key[KT_KEY], struct kt_err *err)
{
    uint8_t bytes[KT_KEY_FILE];
    size_t n = 0;
    const struct kt_bytes text = {line->text, line->len};
    const bool whole = line->len <= sizeof bytes && kt_decode(KT_ENCODING_BASE64, bytes, text, &n) == 0;
    if (whole && n == KT_KEY) memcpy(key, bytes, KT_KEY);
    sodium_memzero(bytes, sizeof bytes);
    if (!whole)
        return kt_err_set(err, KT_ECONFIG, "%s: not base64; expected a key as kt keygen writes it", what);
    if (n != KT_KEY) return kt_err_set(err, KT_ECONFIG, "%s: %zu bytes, expected %u", what, n, KT_KEY);
    return 0;
}

void kt_key_encode(const uint8_t key[KT_KEY], char out[KT_KEY_TEXT])
{
    sodium_bin2base64(out, KT_KEY_TEXT, key, KT_KEY, sodium_base64_VARIANT_ORIGINAL);
}

int kt_key_parse(enum kt_key_kind kind, const char *text, size_t len, const char *what, uint8_t key[KT_KEY],
    struct kt_err *err)
{
    struct line line, found = {0};
    const char *at = text, *const end = text + len;
    if (len > KT_KEY_FILE)
        return kt_err_set(err, KT_ECONFIG, "%s: too long for a key; expected one line", what);
    while (next_line(&at, end, &line)) {
        if (line.len == 0) continue;
        if (line.text[0] == '#') {
            const char *other = other_kind(&line, kind);
            if (other)
                return kt_err_set(
                    err, KT_ECONFIG, "%s: holds a %s key, expected a %s one", what, other, kinds[kind]);
            continue;
        }
        if (found.text) return kt_err_set(err, KT_ECONFIG, "%s: more than one line; expected one key", what);
        found = line;
    }
    if (!found.text) return kt_err_set(err, KT_ECONFIG, "%s: holds no key; make one with kt keygen", what);
    return decode(&found, what, key, err);
}

int kt_key_mode_check(const char *path, unsigned mode, struct kt_err *err)
{
    if ((mode & 077) == 0) return 0;
    return kt_err_set(err, KT_EACCES, "%s: other users can read this file; run chmod 600 %s", path, path);
}

int kt_key_from_passphrase(const char *text, size_t len, uint8_t key[KT_KEY])
{
    static const char salt[] = "kt wire 1 phrase";
    _Static_assert(
        sizeof salt - 1 == crypto_pwhash_SALTBYTES, "the salt has the length that Argon2id requires");
    const int rc = crypto_pwhash(
        key, KT_KEY, text, len, (const uint8_t *)salt, PASSES, MEMORY, crypto_pwhash_ALG_ARGON2ID13);
    return rc == 0 ? 0 : KT_ENOMEM; /* nothing else can fail with these numbers */
}
