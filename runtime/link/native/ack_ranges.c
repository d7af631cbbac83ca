/* The set of packet numbers that arrived, as an array of ranges in ascending order. See ack_ranges.h for its
 * bounds. Arrival in order extends the last range; everything else is found by binary search. */
#include "link/native/ack_ranges.h"

#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "link/native/mtu.h"
#include "link/native/packet.h"

#define ASK_RANGES 8u /* ask the peer only while an ACK has this many ranges or more */
#define ASK_EVERY 16u /* once in this many ACKs */

_Static_assert(KT_NATIVE_OVERHEAD + KT_NATIVE_ACK_BYTES <= KT_NATIVE_MTU_BASE,
    "an ACK fits into any packet that holds nothing else");

void kt_native_acks_init(struct kt_native_acks *a, uint32_t max_delay_us)
{
    a->max_delay_us = max_delay_us;
    a->every = KT_NATIVE_ACK_EVERY_FIRST;
    a->waiting = a->written = 0;
    a->due_us = UINT64_MAX;
    a->next = a->largest_us = 0;
    a->count = 0;
}

static void erase(struct kt_native_acks *a, uint32_t at, uint32_t n)
{
    memmove(&a->ranges[at], &a->ranges[at + n], (a->count - at - n) * sizeof *a->ranges);
    a->count -= n;
}

/* A range of one number, to become the one at this index. */
static void insert(struct kt_native_acks *a, uint32_t at, uint64_t number)
{
    if (a->count == KT_NATIVE_ACK_RANGES) {
        if (at == 0) return; /* below all others: the peer no longer waits for it */
        erase(a, 0, 1);
        at--;
    }
    memmove(&a->ranges[at + 1], &a->ranges[at], (a->count - at) * sizeof *a->ranges);
    a->ranges[at] = (struct kt_native_range){number, number};
    a->count++;
}

/* Index of the first range that ends at or above number - 1, so that it holds the number, touches it from
 * below, or lies above it. */
static uint32_t search(const struct kt_native_acks *a, uint64_t number)
{
    uint32_t low = 0, high = a->count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (a->ranges[middle].last + 1 < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool add(struct kt_native_acks *a, uint64_t number)
{
    const uint32_t at = search(a, number);
    struct kt_native_range *range = &a->ranges[at];
    if (at == a->count || number + 1 < range->first) {
        insert(a, at, number);
    } else if (number + 1 == range->first) {
        range->first = number;
    } else if (number == range->last + 1) {
        range->last = number;
        if (at + 1 < a->count && range[1].first == number + 1) {
            range->last = range[1].last;
            erase(a, at + 1, 1);
        }
    } else {
        return false;
    }
    return true;
}

bool kt_native_acks_received(struct kt_native_acks *a, uint64_t number, bool eliciting, uint64_t now_us)
{
    const bool in_order = number == a->next;
    if (in_order && a->count > 0 && a->ranges[a->count - 1].last + 1 == number)
        a->ranges[a->count - 1].last = number;
    else if (!add(a, number))
        return false;
    if (number >= a->next) {
        a->next = number + 1;
        a->largest_us = now_us;
    }
    if (!eliciting) return true;
    a->waiting++;
    if (!in_order || a->waiting >= a->every)
        a->due_us = 0;
    else if (a->due_us == UINT64_MAX)
        a->due_us = now_us + a->max_delay_us;
    return true;
}

size_t kt_native_acks_write(struct kt_native_acks *a, uint8_t path, uint8_t *out, size_t room,
    uint64_t now_us, struct kt_native_content *content)
{
    if (a->count == 0) return 0;
    struct kt_native_frame f;
    f.type = KT_NATIVE_FRAME_ACK;
    f.ack.path = path;
    f.ack.delay_us = now_us - a->largest_us;
    f.ack.count = a->count;
    for (uint32_t i = 0; i < a->count; i++) f.ack.ranges[i] = a->ranges[a->count - 1 - i];
    const size_t n = kt_native_frame_write(out, room, &f);
    if (n == 0) return 0;
    a->waiting = 0;
    a->due_us = UINT64_MAX;
    a->written++;
    *content = (struct kt_native_content){.offset = a->next, .type = KT_NATIVE_FRAME_ACK, .path = path};
    return n;
}

bool kt_native_acks_ask(struct kt_native_acks *a)
{
    if (a->count < ASK_RANGES || a->written < ASK_EVERY) return false;
    a->written = 0;
    return true;
}

void kt_native_acks_known(struct kt_native_acks *a, const struct kt_native_content *content)
{
    uint32_t known = 0;
    while (known < a->count && a->ranges[known].last < content->offset) known++;
    erase(a, 0, known);
    if (a->count > 0 && a->ranges[0].first < content->offset) a->ranges[0].first = content->offset;
}

void kt_native_acks_every(struct kt_native_acks *a, uint32_t packets)
{
    a->every = packets < 1 ? 1 : packets > KT_NATIVE_ACK_EVERY_MAX ? KT_NATIVE_ACK_EVERY_MAX : packets;
}
