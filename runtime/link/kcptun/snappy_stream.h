/* The snappy framing format as kcptun uses it (docs/wire-kcptun.md, section 8): one stream per direction, one
 * chunk per write. The block compression is libsnappy's. */
#ifndef KT_LINK_KCPTUN_SNAPPY_STREAM_H
#define KT_LINK_KCPTUN_SNAPPY_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_SNAPPY_CHUNK 65536u /* most uncompressed bytes in a chunk */
#define KT_SNAPPY_OVERHEAD                                                                                   \
    (10u + 2u * 8u) /* most bytes added to one write of up to 2 chunks: identifier, headers */

/* Output room for 2 chunks, including what libsnappy writes for incompressible data. */
#define KT_SNAPPY_MOST (2u * KT_SNAPPY_CHUNK + KT_SNAPPY_CHUNK / 6u + 32u + KT_SNAPPY_OVERHEAD)

struct kt_snappy_enc;
struct kt_snappy_dec;

int kt_snappy_enc_new(struct kt_snappy_enc **out);
void kt_snappy_enc_free(struct kt_snappy_enc *e);

/* Encodes n (1..2 * KT_SNAPPY_CHUNK) bytes as one chunk, two if n > KT_SNAPPY_CHUNK, with the stream
 * identifier before the first ever. Writes to `out`, which has room for KT_SNAPPY_MOST bytes, and returns the
 * number of encoded bytes, at most n + KT_SNAPPY_OVERHEAD. Stores instead of compressing when that saves less
 * than 1/8 (wire-kcptun.md 8). After a run of stored chunks only one in several is tried, to save time on
 * incompressible streams. */
size_t kt_snappy_encode(struct kt_snappy_enc *e, const uint8_t *data, size_t n, uint8_t *out);

int kt_snappy_dec_new(struct kt_snappy_dec **out);
void kt_snappy_dec_free(struct kt_snappy_dec *d);

/* Reads wire bytes until one chunk is complete or the input ends, and sets *used to how many (0 while decoded
 * bytes wait). 0; KT_EPROTO with the reason in err (bad identifier, CRC, length, unknown chunk) or KT_ENOMEM,
 * after which the stream is dead. Memory grows as needed, up to one chunk. */
int kt_snappy_feed(struct kt_snappy_dec *d, const uint8_t *data, size_t n, size_t *used, struct kt_err *err);
/* The decoded bytes; consume n of them. */
size_t kt_snappy_peek(const struct kt_snappy_dec *d, const uint8_t **data);
void kt_snappy_consume(struct kt_snappy_dec *d, size_t n);

/* Bytes of its buffers. */
size_t kt_snappy_held(const struct kt_snappy_dec *d);
/* Frees those that are empty. */
void kt_snappy_trim(struct kt_snappy_dec *d);

#endif
