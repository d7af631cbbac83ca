/* A rate limit that several pipes share: one token bucket, with a queue of those that wait for it.
 *
 * Each direction of a pipe that uses the limit has a share of it. While the queue is empty, a share may move what the
 * bucket holds. Once the bucket is empty, shares wait in the queue. When it has bytes again, each gets the same part of
 * them as its credit, first come first served, and goes to the end of the queue if it needs more. So all waiting shares
 * get the same rate, and none starves. A share that does not wait costs nothing.
 *
 * Credit lets a share wait for a second limit without losing its place at the first. Give back what is not used. */
#ifndef KT_LINK_SHARED_LIMIT_H
#define KT_LINK_SHARED_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_io;
struct kt_share;
struct kt_shared_limit;

#define KT_SHARED_BURST_MIN 1024u
#define KT_SHARED_BURST_MAX (UINT64_C(1) << 37)

/* rate in bytes per second, 0: no limit; burst in bytes, 0: an eighth of a second's. The caller holds a reference. 0,
 * or KT_ENOMEM. */
int kt_shared_limit_new(struct kt_io *io, uint64_t rate, uint64_t burst, struct kt_shared_limit **out);
/* Takes effect at once. */
void kt_shared_limit_set(struct kt_shared_limit *l, uint64_t rate, uint64_t burst);
/* As they were set. */
void kt_shared_limit_terms(const struct kt_shared_limit *l, uint64_t *rate, uint64_t *burst);
/* Gives up the caller's reference. It is freed with its last share. NULL is harmless. */
void kt_shared_limit_release(struct kt_shared_limit *l);

/* A share, which kt_share_free frees. 0, or KT_ENOMEM. */
int kt_share_new(struct kt_shared_limit *l, struct kt_share **out);
/* In all functions below, s may be NULL: no limit. */
void kt_share_free(struct kt_share *s);
/* NULL: s is. */
struct kt_shared_limit *kt_share_limit(const struct kt_share *s);
/* Bytes that may move now; SIZE_MAX: no limit. */
size_t kt_share_room(struct kt_share *s);
/* n bytes, at most the room, have moved. */
void kt_share_take(struct kt_share *s, size_t n);
/* Waits in the queue; ready comes once, from the loop, when there is room. Does nothing while it waits already. */
void kt_share_wait(struct kt_share *s, void (*ready)(void *ctx), void *ctx);
bool kt_share_waits(const struct kt_share *s);
/* Gives back the credit. */
void kt_share_give_back(struct kt_share *s);
/* Leaves the queue, and gives back the credit. */
void kt_share_leave(struct kt_share *s);

#endif
