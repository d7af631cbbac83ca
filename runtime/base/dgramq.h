/* A bounded queue of datagrams with their source and destination addresses, in one ring of bytes. A datagram
 * that does not fit is dropped and counted, as a network would. */
#ifndef KT_BASE_DGRAMQ_H
#define KT_BASE_DGRAMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"

struct kt_dgramq {
    uint8_t *ring; /* NULL until the first datagram arrives */
    size_t cap;    /* bytes, including a 60-byte head per datagram */
    size_t head, used, count;
    uint64_t dropped;
};

void kt_dgramq_init(struct kt_dgramq *q, size_t cap);
/* Frees the ring; keeps the count of dropped datagrams. */
void kt_dgramq_free(struct kt_dgramq *q);
/* to may be NULL. Returns false if the datagram was dropped. */
bool kt_dgramq_put(
    struct kt_dgramq *q, const void *data, size_t len, const struct kt_addr *from, const struct kt_addr *to);
/* The length and addresses of the oldest datagram (*to has family AF_UNSPEC if it was put without one); false
 * if the queue is empty. */
bool kt_dgramq_first(const struct kt_dgramq *q, size_t *len, struct kt_addr *from, struct kt_addr *to);
/* Copies all bytes of the oldest datagram out; drop then removes it. */
void kt_dgramq_copy(const struct kt_dgramq *q, void *out);
void kt_dgramq_drop(struct kt_dgramq *q);

#endif
