/* The send window. Invariants: kcp_sndwnd.h. Every function here is O(1) a segment. */
#include "kcp/kcp_sndwnd.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "kcp/kcp_segment.h"

#define FIRST_CAP 8u

int kt_sndwnd_init(struct kt_sndwnd *w, struct kt_slab *pool, uint32_t limit)
{
    *w = (struct kt_sndwnd){.pool = pool, .limit = limit, .cap = FIRST_CAP};
    w->ring = calloc(w->cap, sizeof *w->ring);
    return w->ring ? 0 : KT_ENOMEM;
}

void kt_sndwnd_destroy(struct kt_sndwnd *w)
{
    for (uint32_t sn = w->una; w->ring && sn != w->end; sn++) {
        struct kt_snd_slot *s = kt_sndwnd_at(w, sn);
        if (s->data) kt_slab_put(w->pool, s->data);
    }
    free(w->ring);
    w->ring = NULL;
}

/* Gives the ring another size, a power of two that all that is held fits in. Links are sn, so the lists
 * survive the move. */
static bool resize(struct kt_sndwnd *w, uint32_t cap)
{
    struct kt_sndwnd other = {.cap = cap};
    other.ring = calloc(cap, sizeof *other.ring);
    if (!other.ring) return false;
    for (uint32_t sn = w->una; sn != w->end; sn++) *kt_sndwnd_at(&other, sn) = *kt_sndwnd_at(w, sn);
    free(w->ring);
    w->ring = other.ring;
    w->cap = cap;
    return true;
}

void kt_sndwnd_limit(struct kt_sndwnd *w, uint32_t limit)
{
    uint32_t cap = FIRST_CAP, most = w->end - w->una > limit ? w->end - w->una : limit;
    w->limit = limit;
    while (cap < most) cap *= 2;
    if (cap < w->cap) resize(w, cap); /* without memory for it, the larger one does */
}

static size_t fill(struct kt_snd_slot *s, const uint8_t *data, size_t n, uint32_t mss)
{
    size_t room = s->len < mss ? (size_t)mss - s->len : 0; /* mss may have shrunk */
    if (n > room) n = room;
    memcpy(s->data + s->len, data, n);
    s->len = (uint16_t)(s->len + n);
    return n;
}

size_t kt_sndwnd_write(struct kt_sndwnd *w, const uint8_t *data, size_t n, uint32_t mss)
{
    size_t taken = 0;
    if (n > 0 && w->end != w->nxt) taken = fill(kt_sndwnd_at(w, w->end - 1), data, n, mss);
    while (taken < n && kt_sndwnd_free(w) > 0) {
        if (w->end - w->una == w->cap && !resize(w, w->cap * 2)) break;
        uint8_t *block = kt_slab_get(w->pool);
        if (!block) break;
        struct kt_snd_slot *s = kt_sndwnd_at(w, w->end);
        *s = (struct kt_snd_slot){.data = block};
        taken += fill(s, data + taken, n - taken, mss);
        w->end++;
    }
    return taken;
}

static void list_push(struct kt_sndwnd *w, struct kt_snd_slot *s, uint32_t sn, uint8_t level)
{
    struct kt_snd_list *l = &w->lists[level];
    s->level = level;
    s->prev = l->last;
    if (l->count == 0)
        l->first = sn;
    else
        kt_sndwnd_at(w, l->last)->next = sn;
    l->last = sn;
    l->count++;
    w->levels |= 1u << level;
}

static void list_remove(struct kt_sndwnd *w, const struct kt_snd_slot *s, uint32_t sn)
{
    struct kt_snd_list *l = &w->lists[s->level];
    if (l->first == sn)
        l->first = s->next;
    else
        kt_sndwnd_at(w, s->prev)->next = s->next;
    if (l->last == sn)
        l->last = s->prev;
    else
        kt_sndwnd_at(w, s->next)->prev = s->prev;
    if (--l->count == 0) w->levels &= ~(1u << s->level);
}

void kt_sndwnd_sent(struct kt_sndwnd *w, uint32_t sn, uint8_t level, uint64_t now_us)
{
    struct kt_snd_slot *s = kt_sndwnd_at(w, sn);
    if (sn == w->nxt) {
        w->nxt++;
        s->first_ms = kt_ts(now_us);
    } else {
        list_remove(w, s, sn);
    }
    s->sent_us = now_us;
    s->tx = ++w->tx;
    list_push(w, s, sn, level);
}

void kt_sndwnd_ack(struct kt_sndwnd *w, uint32_t sn)
{
    struct kt_snd_slot *s = kt_sndwnd_at(w, sn);
    list_remove(w, s, sn);
    kt_slab_put(w->pool, s->data);
    s->data = NULL;
}

void kt_sndwnd_cover(struct kt_sndwnd *w, uint32_t una)
{
    assert(kt_sn_diff(una, w->una) >= 0 && kt_sn_diff(una, w->nxt) <= 0);
    for (; w->una != una; w->una++) {
        if (kt_sndwnd_at(w, w->una)->data) kt_sndwnd_ack(w, w->una);
    }
}
