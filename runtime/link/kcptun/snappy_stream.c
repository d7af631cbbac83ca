/* The snappy framing format (docs/wire-kcptun.md, section 8).
 *
 * A chunk is type(1) length(3, LE) body. A data chunk's body is a masked CRC-32C of the uncompressed bytes
 * followed by these bytes, compressed (type 0) or stored (type 1).
 *
 * Invariant of the decoder: it holds at most one chunk's body and one chunk's uncompressed bytes. Every
 * length is checked before a byte is written for it, and the size a compressed block claims before the block
 * is touched. Chunks to be skipped are counted down, never held.
 *
 * libsnappy allocates its working memory at each call and throws if that fails, which would end a C program:
 * see has_room. */
#include "link/kcptun/snappy_stream.h"

#include <assert.h>
#include <isa-l/crc.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"

#define HEAD 4u /* type, length */
#define CRC 4u
#define SMALL 256u
#define MAX_BLOCK (32u + KT_SNAPPY_CHUNK + KT_SNAPPY_CHUNK / 6u) /* snappy_max_compressed_length(a chunk) */

#define TYPE_COMPRESSED 0x00u
#define TYPE_STORED 0x01u
#define TYPE_SKIP 0x80u /* types from here on can be skipped (0xfe is padding), except the identifier */
#define TYPE_IDENTIFIER 0xffu

static const uint8_t identifier[10] = {0xff, 6, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y'};
#define ID_BODY (sizeof identifier - HEAD)

/* ISA-L leaves out the initial value and the final inversion of CRC-32C. */
static uint32_t masked_crc(const uint8_t *data, size_t n)
{
    uint32_t c = ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)n, 0xffffffffu); /* not written to */
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

/* ---- encoder ---- */

#define MIN_TRY 17u   /* shorter blocks never save anything: snappy finds no copies in them */
#define PATIENCE 8u   /* incompressible chunks in a row before only one in TRY_EVERY is tried */
#define TRY_EVERY 16u /* chunks */

struct kt_snappy_enc {
    bool started;     /* the identifier has been sent */
    unsigned failed;  /* tries in a row that saved too little, up to PATIENCE */
    unsigned skipped; /* chunks stored untried since */
};

int kt_snappy_enc_new(struct kt_snappy_enc **out)
{
    struct kt_snappy_enc *e = malloc(sizeof *e);
    *out = e;
    if (!e) return KT_ENOMEM;
    e->started = false;
    e->failed = e->skipped = 0;
    return 0;
}

void kt_snappy_enc_free(struct kt_snappy_enc *e)
{
    free(e);
}

static bool worth_trying(struct kt_snappy_enc *e, size_t n)
{
    if (n < MIN_TRY) return false;
    if (e->failed < PATIENCE) return true;
    if (++e->skipped < TRY_EVERY) return false;
    e->skipped = 0;
    return true;
}

/* Whether libsnappy can allocate what it needs for n bytes: a hash table of at most 32 Ki entries of 2 bytes,
 * a copy of the input and the longest output. Tries it in one piece; memory freed here is still free for
 * libsnappy right after, as this is one thread. */
static bool has_room(size_t n)
{
    size_t table = 4 * n + 1024;
    if (table > 65536u) table = 65536u;
    void *volatile block =
        malloc(table + n + MAX_BLOCK + 4096u); /* volatile, or the unused allocation is optimised away */
    free(block);
    return block != NULL;
}

/* Compresses into out (MAX_BLOCK bytes). Returns the size, or 0 if the chunk should be stored. */
static size_t compress(struct kt_snappy_enc *e, const uint8_t *data, size_t n, uint8_t *out)
{
    if (!worth_trying(e, n) || !has_room(n)) return 0;
    size_t size = MAX_BLOCK;
    bool saves = snappy_compress((const char *)data, n, (char *)out, &size) == SNAPPY_OK && size < n - n / 8;
    if (saves)
        e->failed = 0;
    else if (e->failed < PATIENCE)
        e->failed++;
    return saves ? size : 0;
}

static size_t put_chunk(struct kt_snappy_enc *e, const uint8_t *data, size_t n, uint8_t *out)
{
    uint8_t *body = out + HEAD + CRC;
    size_t size = compress(e, data, n, body);
    out[0] = (uint8_t)(size ? TYPE_COMPRESSED : TYPE_STORED);
    if (!size) {
        memcpy(body, data, n);
        size = n;
    }
    kt_put24(out + 1, (uint32_t)(CRC + size));
    kt_put32(out + HEAD, masked_crc(data, n));
    return HEAD + CRC + size;
}

size_t kt_snappy_encode(struct kt_snappy_enc *e, const uint8_t *data, size_t n, uint8_t *out)
{
    assert(n >= 1 && n <= 2 * (size_t)KT_SNAPPY_CHUNK);
    size_t len = 0;
    if (!e->started) {
        memcpy(out, identifier, sizeof identifier);
        len = sizeof identifier;
        e->started = true;
    }
    size_t first = n < KT_SNAPPY_CHUNK ? n : KT_SNAPPY_CHUNK;
    len += put_chunk(e, data, first, out + len);
    if (n > first) len += put_chunk(e, data + first, n - first, out + len);
    return len;
}

/* ---- decoder ---- */

#define KEEP 16384u /* a larger buffer is freed once it is empty */

/* Grown as needed, so that a session with little traffic uses little memory. */
struct buffer {
    uint8_t *data;
    size_t size;
};

struct kt_snappy_dec {
    bool started; /* the identifier has arrived */
    bool dead;
    uint8_t head[HEAD]; /* of the chunk at hand */
    size_t head_have;
    size_t body_len, body_have; /* of the current chunk, once its head is complete */

    const uint8_t *ready; /* decoded bytes not yet consumed: in plain, or a stored body in place */
    size_t ready_len;
    struct buffer plain, body;
};

int kt_snappy_dec_new(struct kt_snappy_dec **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : KT_ENOMEM;
}

void kt_snappy_dec_free(struct kt_snappy_dec *d)
{
    if (!d) return;
    free(d->plain.data);
    free(d->body.data);
    free(d);
}

/* Grows by doubling, from the size of a keystroke to that of the largest chunk. */
static int reserve(struct buffer *b, size_t n, size_t most, struct kt_err *err)
{
    if (n <= b->size) return 0;
    size_t size = b->size ? b->size : SMALL;
    while (size < n) size *= 2;
    if (size > most) size = most;
    uint8_t *data = realloc(b->data, size);
    if (!data) return kt_err_set(err, KT_ENOMEM, "snappy: out of memory for a chunk");
    b->data = data;
    b->size = size;
    return 0;
}

static void release(struct buffer *b, size_t keep)
{
    if (b->size <= keep) return;
    free(b->data);
    *b = (struct buffer){0};
}

static bool skippable(unsigned type)
{
    return type >= TYPE_SKIP && type != TYPE_IDENTIFIER;
}

/* Checks a complete head: is its type known and its length in range? */
static int check_head(const struct kt_snappy_dec *d, struct kt_err *err)
{
    unsigned type = d->head[0];
    size_t len = d->body_len;
    if (!d->started && type != TYPE_IDENTIFIER)
        return kt_err_set(err, KT_EPROTO,
            "snappy: the stream does not begin with its identifier (chunk type 0x%02x)"
            " (does one end run with nocomp?)",
            type);
    if (type == TYPE_IDENTIFIER) {
        if (len == ID_BODY) return 0;
        return kt_err_set(
            err, KT_EPROTO, "snappy: expected a stream identifier of %zu bytes, got %zu", ID_BODY, len);
    }
    if (skippable(type)) return 0;
    if (type != TYPE_COMPRESSED && type != TYPE_STORED)
        return kt_err_set(err, KT_EPROTO, "snappy: unknown chunk type 0x%02x", type);
    size_t most = CRC + (type == TYPE_STORED ? KT_SNAPPY_CHUNK : MAX_BLOCK);
    if (len < CRC || len > most)
        return kt_err_set(
            err, KT_EPROTO, "snappy: chunk of %zu bytes (type %u), expected %u to %zu", len, type, CRC, most);
    return 0;
}

/* Decodes a complete data chunk. */
static int decode(struct kt_snappy_dec *d, struct kt_err *err)
{
    const uint8_t *block = d->body.data + CRC;
    size_t n = d->body_len - CRC;
    if (d->head[0] == TYPE_COMPRESSED) {
        size_t size;
        if (snappy_uncompressed_length((const char *)block, n, &size) != SNAPPY_OK)
            return kt_err_set(err, KT_EPROTO, "snappy: corrupt block of %zu bytes", n);
        if (size > KT_SNAPPY_CHUNK)
            return kt_err_set(err, KT_EPROTO,
                "snappy: block claims %zu bytes uncompressed, at most %u are allowed", size, KT_SNAPPY_CHUNK);
        int r = reserve(&d->plain, size, KT_SNAPPY_CHUNK, err);
        if (r < 0) return r;
        if (snappy_uncompress((const char *)block, n, (char *)d->plain.data, &size) != SNAPPY_OK)
            return kt_err_set(err, KT_EPROTO, "snappy: corrupt block of %zu bytes", n);
        block = d->plain.data;
        n = size;
    }
    if (masked_crc(block, n) != kt_get32(d->body.data))
        return kt_err_set(err, KT_EPROTO, "snappy: wrong checksum");
    d->ready = block;
    d->ready_len = n;
    if (d->head[0] == TYPE_COMPRESSED) release(&d->body, KEEP);
    return 0;
}

/* The current chunk is complete. */
static int finish(struct kt_snappy_dec *d, struct kt_err *err)
{
    unsigned type = d->head[0];
    d->head_have = 0;
    if (skippable(type)) return 0;
    if (type != TYPE_IDENTIFIER) return decode(d, err);
    if (memcmp(d->body.data, identifier + HEAD, ID_BODY) != 0)
        return kt_err_set(err, KT_EPROTO, "snappy: wrong stream identifier");
    d->started = true;
    return 0;
}

/* Reads bytes of the current head or body; returns their number. */
static int take(struct kt_snappy_dec *d, const uint8_t *data, size_t n, size_t *taken, struct kt_err *err)
{
    if (d->head_have < HEAD) {
        *taken = kt_min_size(n, HEAD - d->head_have);
        memcpy(d->head + d->head_have, data, *taken);
        d->head_have += *taken;
        if (d->head_have < HEAD) return 0;
        d->body_len = kt_get24(d->head + 1);
        d->body_have = 0;
        int r = check_head(d, err);
        if (r < 0) return r;
    } else {
        *taken = kt_min_size(n, d->body_len - d->body_have);
        if (!skippable(d->head[0])) {
            int r = reserve(&d->body, d->body_have + *taken, CRC + MAX_BLOCK, err);
            if (r < 0) return r;
            memcpy(d->body.data + d->body_have, data, *taken);
        }
        d->body_have += *taken;
    }
    return d->body_have == d->body_len ? finish(d, err) : 0;
}

int kt_snappy_feed(struct kt_snappy_dec *d, const uint8_t *data, size_t n, size_t *used, struct kt_err *err)
{
    *used = 0;
    if (d->dead) return kt_err_set(err, KT_EPROTO, "snappy: the stream is broken");
    while (*used < n && !d->ready_len) {
        size_t taken = 0;
        int r = take(d, data + *used, n - *used, &taken, err);
        *used += taken;
        if (r < 0) {
            d->dead = true;
            return r;
        }
    }
    return 0;
}

size_t kt_snappy_peek(const struct kt_snappy_dec *d, const uint8_t **data)
{
    *data = d->ready;
    return d->ready_len;
}

void kt_snappy_consume(struct kt_snappy_dec *d, size_t n)
{
    assert(n <= d->ready_len);
    d->ready += n;
    d->ready_len -= n;
    if (d->ready_len > 0) return;
    release(&d->plain, KEEP);
    if (d->head_have < HEAD) release(&d->body, KEEP); /* no body has begun */
}

size_t kt_snappy_held(const struct kt_snappy_dec *d)
{
    return d->plain.size + d->body.size;
}

void kt_snappy_trim(struct kt_snappy_dec *d)
{
    if (d->ready_len > 0) return;
    release(&d->plain, 0);
    if (d->head_have < HEAD) release(&d->body, 0);
}
