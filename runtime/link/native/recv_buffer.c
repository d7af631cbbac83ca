/* Reassembly by offset.
 *
 * Invariant: taken <= ready <= highest <= final. The bytes taken..ready are in blocks, whatever their marks. Of those
 * in ready..highest exactly the marked ones have arrived, and the one at ready has not. Bytes that the reader may have
 * seen are never written again. */
#include "link/native/recv_buffer.h"

#include <assert.h>
#include <inttypes.h>

void kt_native_recv_init(struct kt_native_recv_buffer *r, struct kt_slab *slab)
{
    *r = (struct kt_native_recv_buffer){.final = UINT64_MAX};
    kt_native_blocks_init(&r->blocks, slab);
}

void kt_native_recv_clear(struct kt_native_recv_buffer *r)
{
    kt_native_blocks_clear(&r->blocks);
    r->taken = r->ready;
}

static int check(const struct kt_native_recv_buffer *r, uint64_t end, bool last, struct kt_err *err)
{
    if (end > r->final)
        return kt_err_set(
            err, KT_EPROTO, "bytes up to %" PRIu64 " of a stream that ends at %" PRIu64, end, r->final);
    if (last && r->final != UINT64_MAX && end != r->final)
        return kt_err_set(err, KT_EPROTO, "ends at %" PRIu64 ", and at %" PRIu64 " before", end, r->final);
    if (last && end < r->highest)
        return kt_err_set(err, KT_EPROTO, "ends at %" PRIu64 " after bytes up to %" PRIu64, end, r->highest);
    return 0;
}

int kt_native_recv_put(struct kt_native_recv_buffer *r, uint64_t offset, const void *data, size_t n,
    bool last, struct kt_err *err)
{
    const uint64_t end = offset + n, from = offset > r->ready ? offset : r->ready;
    const int rc = check(r, end, last, err);
    if (rc < 0) return rc;
    if (end > from) {
        const size_t fresh = (size_t)(end - from);
        const uint8_t *bytes = data;
        if (kt_native_blocks_put(&r->blocks, from, bytes + (n - fresh), fresh) < fresh)
            return kt_err_set(err, KT_ENOMEM, "no memory for bytes of a stream");
        if (from > r->ready) {
            kt_native_blocks_mark(&r->blocks, from, end);
        } else {
            r->ready = end;
            if (r->highest > end) r->ready = kt_native_blocks_find(&r->blocks, end, r->highest, false);
        }
        if (end > r->highest) r->highest = end;
    }
    if (last) r->final = end;
    return 0;
}

void kt_native_recv_consume(struct kt_native_recv_buffer *r, size_t n)
{
    assert(n <= r->ready - r->taken);
    r->taken += n;
    if (r->taken == r->highest)
        kt_native_blocks_clear(&r->blocks);
    else
        kt_native_blocks_drop(&r->blocks, r->taken);
}
