/* For the files of crypto/ and the specs: seals messages with tags that kt itself does not send. */
#ifndef KT_CRYPTO_SECRETSTREAM_INTERNAL_H
#define KT_CRYPTO_SECRETSTREAM_INTERNAL_H

#include "crypto/secretstream.h"

/* Like kt_secretstream_seal, with any text length up to KT_SECRETSTREAM_TEXT_MAX and any secretstream tag. */
size_t kt_secretstream_seal_tagged(
    struct kt_secretstream_tx *t, const uint8_t *text, size_t n, uint8_t tag, uint8_t *out);

#endif
