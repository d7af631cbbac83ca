/* A bounded datagram queue in a ring of bytes.
 *
 * Invariant: each record is a head followed by its bytes; either may wrap around the end of the ring. */
#include "base/dgramq.h"

#include <stdlib.h>
#include <string.h>

struct record {
    struct kt_addr from, to;
    uint32_t len;
};

void kt_dgramq_init(struct kt_dgramq *q, size_t cap)
{
    *q = (struct kt_dgramq){.cap = cap};
}

void kt_dgramq_free(struct kt_dgramq *q)
{
    free(q->ring);
    *q = (struct kt_dgramq){.cap = q->cap, .dropped = q->dropped};
}

/* Writes n bytes at offset `at` from the ring's head. */
static void write_at(struct kt_dgramq *q, size_t at, const void *data, size_t n)
{
    size_t pos = (q->head + at) % q->cap;
    size_t first = n < q->cap - pos ? n : q->cap - pos;
    if (first) memcpy(q->ring + pos, data, first);
    if (n > first) memcpy(q->ring, (const uint8_t *)data + first, n - first);
}

static void read_at(const struct kt_dgramq *q, size_t at, void *out, size_t n)
{
    size_t pos = (q->head + at) % q->cap;
    size_t first = n < q->cap - pos ? n : q->cap - pos;
    if (first) memcpy(out, q->ring + pos, first);
    if (n > first) memcpy((uint8_t *)out + first, q->ring, n - first);
}

bool kt_dgramq_put(
    struct kt_dgramq *q, const void *data, size_t len, const struct kt_addr *from, const struct kt_addr *to)
{
    struct record head = {.from = *from, .len = (uint32_t)len};
    if (to) head.to = *to;
    if (!q->ring) q->ring = malloc(q->cap);
    if (!q->ring || sizeof head + len > q->cap - q->used) {
        q->dropped++;
        return false;
    }
    write_at(q, q->used, &head, sizeof head);
    write_at(q, q->used + sizeof head, data, len);
    q->used += sizeof head + len;
    q->count++;
    return true;
}

bool kt_dgramq_first(const struct kt_dgramq *q, size_t *len, struct kt_addr *from, struct kt_addr *to)
{
    struct record head;
    if (q->count == 0) return false;
    read_at(q, 0, &head, sizeof head);
    *len = head.len;
    *from = head.from;
    *to = head.to;
    return true;
}

void kt_dgramq_copy(const struct kt_dgramq *q, void *out)
{
    struct record head;
    read_at(q, 0, &head, sizeof head);
    read_at(q, sizeof head, out, head.len);
}

void kt_dgramq_drop(struct kt_dgramq *q)
{
    struct record head;
    read_at(q, 0, &head, sizeof head);
    q->head = (q->head + sizeof head + head.len) % q->cap;
    q->used -= sizeof head + head.len;
    q->count--;
}
