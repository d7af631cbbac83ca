/* Replay memory as two hash sets with open addressing.
 *
 * Invariant: a set is at most half full, so every search reaches an empty slot. */
#include "link/common/session_starts.h"
#include <stdlib.h>
#include "base/hmap.h"

#define SLOTS_FIRST 64u

void kt_session_starts_init(struct kt_session_starts *s, uint64_t seed)
{
    *s = (struct kt_session_starts){.seed = seed};
}

void kt_session_starts_free(struct kt_session_starts *s)
{
    free(s->young.slots);
    free(s->old.slots);
    s->young = s->old = (struct kt_session_starts_set){0};
}

/* The lowest bit is set so that no entry is 0, which marks an empty slot. It costs one bit of the clock. */
static uint64_t entry_of(uint32_t conv, uint32_t ts)
{
    return (uint64_t)conv << 32 | ts | 1;
}

static size_t slot_of(
    const struct kt_session_starts *s, const struct kt_session_starts_set *set, uint64_t entry)
{
    return (size_t)kt_hash_u64(entry >> 32, s->seed) & set->mask;
}

static bool same_id(uint64_t a, uint64_t b)
{
    return a >> 32 == b >> 32;
}

static bool same_start(uint64_t a, uint64_t b)
{
    const int32_t apart = (int32_t)((uint32_t)a - (uint32_t)b);
    return same_id(a, b) && apart < (int32_t)KT_SESSION_STARTS_SPAN_MS &&
           apart > -(int32_t)KT_SESSION_STARTS_SPAN_MS;
}

static bool holds(const struct kt_session_starts *s, const struct kt_session_starts_set *set, uint64_t entry,
    bool (*same)(uint64_t a, uint64_t b))
{
    if (!set->slots) return false;
    for (size_t i = slot_of(s, set, entry); set->slots[i]; i = (i + 1) & set->mask)
        if (same(set->slots[i], entry)) return true;
    return false;
}

bool kt_session_starts_seen(const struct kt_session_starts *s, uint32_t conv, uint32_t ts)
{
    const uint64_t entry = entry_of(conv, ts);
    return holds(s, &s->young, entry, same_start) || holds(s, &s->old, entry, same_start);
}

bool kt_session_starts_has(const struct kt_session_starts *s, uint32_t conv)
{
    const uint64_t entry = entry_of(conv, 0);
    return holds(s, &s->young, entry, same_id) || holds(s, &s->old, entry, same_id);
}

static void put(const struct kt_session_starts *s, struct kt_session_starts_set *set, uint64_t entry)
{
    size_t i = slot_of(s, set, entry);
    while (set->slots[i]) i = (i + 1) & set->mask;
    set->slots[i] = entry;
    set->count++;
}

static bool grow(const struct kt_session_starts *s, struct kt_session_starts_set *set)
{
    const size_t n = set->slots ? 2 * (set->mask + 1) : SLOTS_FIRST;
    struct kt_session_starts_set larger = {.slots = calloc(n, sizeof *larger.slots), .mask = n - 1};
    if (!larger.slots) return false;
    for (size_t i = 0; set->slots && i <= set->mask; i++)
        if (set->slots[i]) put(s, &larger, set->slots[i]);
    free(set->slots);
    *set = larger;
    return true;
}

static bool full(const struct kt_session_starts_set *set)
{
    return !set->slots || 2 * (set->count + 1) > set->mask + 1;
}

void kt_session_starts_add(struct kt_session_starts *s, uint32_t conv, uint32_t ts)
{
    struct kt_session_starts_set *set = &s->young;
    if (set->count >= KT_SESSION_STARTS_GENERATION || (full(set) && !grow(s, set))) {
        free(s->old.slots);
        s->old = *set;
        *set = (struct kt_session_starts_set){0};
        if (!grow(s, set)) return; /* out of memory for even the smallest set */
    }
    put(s, set, entry_of(conv, ts));
}
