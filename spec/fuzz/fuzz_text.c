/* Fuzz target: hex and base64 (crypto/primitives.h). What is decoded encodes to the same text, but for the case of hex,
 * and what is encoded decodes to the same bytes. */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "crypto/crypto.h"
#include "crypto/primitives.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *encode(enum kt_encoding kind, struct kt_bytes bytes)
{
    char *text = malloc(kt_encoded_size(kind, bytes.len));
    CHECK(text);
    kt_encode(kind, text, bytes);
    return text;
}

static void check_decode(enum kt_encoding kind, const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size ? size : 1); /* of this size exactly, so that a write beyond it is seen */
    size_t n;
    CHECK(bytes);
    if (kt_decode(kind, bytes, (struct kt_bytes){data, size}, &n) == 0) {
        CHECK(n <= size);
        char *text = encode(kind, (struct kt_bytes){bytes, n});
        CHECK(strlen(text) == size);
        for (size_t i = 0; i < size; i++)
            CHECK(text[i] == (kind == KT_ENCODING_HEX ? tolower(data[i]) : data[i]));
        free(text);
    }
    free(bytes);
}

static void check_encode(enum kt_encoding kind, const uint8_t *data, size_t size)
{
    char *text = encode(kind, (struct kt_bytes){data, size});
    const size_t len = strlen(text);
    uint8_t *bytes = malloc(len ? len : 1);
    size_t n;
    CHECK(bytes && len + 1 == kt_encoded_size(kind, size));
    CHECK(kt_decode(kind, bytes, (struct kt_bytes){text, len}, &n) == 0 && n == size);
    if (n) CHECK(memcmp(bytes, data, n) == 0);
    free(bytes);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CHECK(kt_crypto_init(NULL) == 0);
    for (enum kt_encoding kind = KT_ENCODING_HEX; kind <= KT_ENCODING_BASE64URL; kind++) {
        check_decode(kind, data, size);
        check_encode(kind, data, size);
    }
    return 0;
}
