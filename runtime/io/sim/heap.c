/* The queue of events of a world.
 *
 * A binary heap of (time, order of setting, event). The order is unique, so events always come in exactly one
 * sequence, whatever the heap's shape. Invariant: an event in the heap knows its slot (index + 1), which makes
 * moving and cancelling O(log n). */
#include <stdlib.h>
#include "io/sim/internal.h"

#define FIRST_CAP 64u

static bool before(const struct sim_entry *a, const struct sim_entry *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void put(struct sim_heap *h, size_t i, struct sim_entry e)
{
    h->entries[i] = e;
    e.event->slot = i + 1;
}

static void rise(struct sim_heap *h, size_t i, struct sim_entry e)
{
    while (i > 0 && before(&e, &h->entries[(i - 1) / 2])) {
        put(h, i, h->entries[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(h, i, e);
}

static void sink(struct sim_heap *h, size_t i, struct sim_entry e)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n) break;
        if (child + 1 < h->n && before(&h->entries[child + 1], &h->entries[child])) child++;
        if (!before(&h->entries[child], &e)) break;
        put(h, i, h->entries[child]);
        i = child;
    }
    put(h, i, e);
}

/* Where e belongs, starting from a hole at i. */
static void place(struct sim_heap *h, size_t i, struct sim_entry e)
{
    if (i > 0 && before(&e, &h->entries[(i - 1) / 2]))
        rise(h, i, e);
    else
        sink(h, i, e);
}

int kt_sim_heap_set(struct sim_heap *h, struct kt_sim_event *e, uint64_t at)
{
    struct sim_entry entry = {.at = at, .order = h->order++, .event = e};
    e->at = at;
    if (e->slot) {
        place(h, e->slot - 1, entry);
        return 0;
    }
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : FIRST_CAP;
        struct sim_entry *more = realloc(h->entries, cap * sizeof *more);
        if (!more) return KT_ENOMEM;
        h->entries = more;
        h->cap = cap;
    }
    rise(h, h->n++, entry);
    return 0;
}

void kt_sim_heap_remove(struct sim_heap *h, struct kt_sim_event *e)
{
    if (!e->slot) return;
    size_t i = e->slot - 1;
    e->slot = 0;
    struct sim_entry last = h->entries[--h->n];
    if (i < h->n) place(h, i, last);
}
