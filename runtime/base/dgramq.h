/* A bounded queue of datagrams with their senders and where they were sent to, in one ring of bytes. What
 * finds no room is dropped and counted, as the network does it. */
#ifndef KT_BASE_DGRAMQ_H
#define KT_BASE_DGRAMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"

struct kt_dgramq {
    uint8_t *ring; /* NULL until the first datagram comes */
    size_t cap;    /* bytes, heads of 60 included */
    size_t head, used, count;
    uint64_t dropped;
};

void kt_dgramq_init(struct kt_dgramq *q, size_t cap);
/* Frees the ring; the count of the dropped stays. */
void kt_dgramq_free(struct kt_dgramq *q);
/* to may be NULL. False if it was dropped. */
bool kt_dgramq_put(
    struct kt_dgramq *q, const void *data, size_t len, const struct kt_addr *from, const struct kt_addr *to);
/* The length and the addresses of the oldest (*to of family AF_UNSPEC if there was none); false if there is
 * none. */
bool kt_dgramq_first(const struct kt_dgramq *q, size_t *len, struct kt_addr *from, struct kt_addr *to);
/* Copies the oldest, all of its bytes, out; then drop takes it off. */
void kt_dgramq_copy(const struct kt_dgramq *q, void *out);
void kt_dgramq_drop(struct kt_dgramq *q);

#endif
