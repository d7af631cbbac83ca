/* Acknowledgements owed to the peer, oldest first: a bounded ring of (sn, ts).
 *
 * Every flush empties it. If nothing may leave for a while it grows to KT_KCP_ACKS_MAX entries; then the oldest
 * are dropped: una covers them, or the peer sends the segment again.
 *
 * The latest ones sent are kept, for a path that loses them: the next flush can send them once more. */
#ifndef KT_KCP_ACKS_H
#define KT_KCP_ACKS_H

#include <stdint.h>

#define KT_KCP_ACKS_MAX 4096u
#define KT_KCP_ACKS_SENT 64u

struct kt_kcp_ack {
    uint32_t sn, ts;
};

struct kt_kcp_acks {
    struct kt_kcp_ack *ring;
    uint32_t cap, head, count; /* cap: a power of two */
    struct kt_kcp_ack sent[KT_KCP_ACKS_SENT];
    uint32_t sent_count;
};

/* 0 or KT_ENOMEM. */
int kt_kcp_acks_init(struct kt_kcp_acks *a);
void kt_kcp_acks_destroy(struct kt_kcp_acks *a);
/* Frees room that is not in use. */
void kt_kcp_acks_trim(struct kt_kcp_acks *a);
/* Makes room for one more in a full ring. */
void kt_kcp_acks_make_room(struct kt_kcp_acks *a);

static inline void kt_kcp_acks_push(struct kt_kcp_acks *a, uint32_t sn, uint32_t ts)
{
    if (a->count == a->cap) kt_kcp_acks_make_room(a);
    a->ring[(a->head + a->count++) & (a->cap - 1)] = (struct kt_kcp_ack){.sn = sn, .ts = ts};
}

static inline const struct kt_kcp_ack *kt_kcp_acks_first(const struct kt_kcp_acks *a)
{
    return &a->ring[a->head & (a->cap - 1)];
}

/* Keeps the first one as sent; of too many, the oldest stay. */
static inline void kt_kcp_acks_keep(struct kt_kcp_acks *a)
{
    if (a->sent_count < KT_KCP_ACKS_SENT) a->sent[a->sent_count++] = *kt_kcp_acks_first(a);
}

/* Drops the latest of those kept. */
static inline void kt_kcp_acks_drop(struct kt_kcp_acks *a)
{
    a->sent_count--;
}

/* Drops all of those kept. */
static inline void kt_kcp_acks_forget(struct kt_kcp_acks *a)
{
    a->sent_count = 0;
}

static inline void kt_kcp_acks_pop(struct kt_kcp_acks *a)
{
    a->head++;
    a->count--;
}

#endif
