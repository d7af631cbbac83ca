/* Keeps packets, and rebuilds those that are missing.
 *
 * A packet is kept in the slot of its number modulo the slots, PARITY packets too: a group only notes where its parity
 * is. A group is made by the first PARITY frame of it that arrives while packets of it are missing. It is dropped
 * once they have arrived or been rebuilt, or when another group needs the slot.
 *
 * Invariant: what a slot holds arrived or was rebuilt, as a shard: its length (2 bytes), its frames. */
#include "link/native/parity_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "kcp/fec_rebuild.h"

#define GROUPS 4u
#define HEAD KT_NATIVE_PARITY_HEAD
#define ROWS KT_NATIVE_PARITY_SHARDS

_Static_assert(KT_NATIVE_PARITY_SPAN == KT_FEC_SPAN && KT_NATIVE_PARITY_SHARDS <= KT_FEC_SPAN_ROWS,
    "the code has a position for each packet and each parity shard");
_Static_assert(KT_NATIVE_PARITY_SPAN < KT_NATIVE_PARITY_KEPT, "a group fits the slots");

struct slot {
    uint64_t next; /* the packet's number plus one; 0: empty */
    uint16_t len;  /* of the shard */
    uint8_t shard[KT_FEC_SHARD];
};

struct group {
    uint64_t first, members; /* members 0: not in use */
    uint32_t have;           /* bit i: parity shard i has come */
    uint16_t len;            /* of each parity shard */
    struct {
        uint64_t number; /* of the packet that brought it */
        uint16_t at;     /* in its slot */
    } parity[ROWS];
};

struct kt_native_parity_store {
    struct slot slots[KT_NATIVE_PARITY_KEPT];
    struct group groups[GROUPS];
    unsigned next_group; /* to be replaced */
    struct kt_fec_rebuild *rebuild;
};

_Static_assert(sizeof(struct kt_native_parity_store) + 60000u <= KT_NATIVE_PARITY_IN_BYTES,
    "as promised to the context");

void kt_native_parity_in_free(struct kt_native_parity_in *p)
{
    if (!p->store) return;
    kt_fec_rebuild_free(p->store->rebuild);
    free(p->store);
    p->store = NULL;
}

uint64_t kt_native_parity_in_due(const struct kt_native_parity_in *p)
{
    return p->store ? p->heard_us + KT_NATIVE_PARITY_IDLE_US : UINT64_MAX;
}

/* ---- slots ---- */

static struct slot *slot_of(struct kt_native_parity_store *s, uint64_t number)
{
    return &s->slots[number % KT_NATIVE_PARITY_KEPT];
}

static bool kept(struct kt_native_parity_store *s, uint64_t number)
{
    return slot_of(s, number)->next == number + 1;
}

/* False: the slot has a later packet. */
static bool keep(struct kt_native_parity_store *s, uint64_t number, const uint8_t *frames, size_t len)
{
    struct slot *slot = slot_of(s, number);
    assert(len + HEAD <= KT_FEC_SHARD);
    if (slot->next > number) return false;
    slot->next = number + 1;
    slot->len = (uint16_t)(len + HEAD);
    kt_put16(slot->shard, (uint32_t)len);
    memcpy(slot->shard + HEAD, frames, len);
    return true;
}

/* ---- groups ---- */

static bool is_member(const struct group *g, uint64_t number)
{
    return number >= g->first && number - g->first < KT_FEC_SPAN && g->members >> (number - g->first) & 1;
}

/* The positions of packets that are not kept; *lost: some of them have not arrived. */
static uint64_t missing(
    struct kt_native_parity_store *s, const struct group *g, const struct kt_replay *seen, bool *lost)
{
    uint64_t out = 0;
    *lost = false;
    for (unsigned i = 0; i < KT_FEC_SPAN; i++) {
        if (!(g->members >> i & 1) || kept(s, g->first + i)) continue;
        out |= UINT64_C(1) << i;
        *lost = *lost || kt_replay_check(seen, g->first + i) == KT_REPLAY_NEW;
    }
    return out;
}

static void drop(struct kt_native_parity_in *p, struct group *g, bool lost)
{
    p->short_groups += lost;
    g->members = 0;
}

/* The shard padded with zeros to `len` bytes. NULL: it is longer. */
static uint8_t *padded(struct slot *slot, size_t len)
{
    if (slot->len > len) return NULL;
    memset(slot->shard + slot->len, 0, len - slot->len);
    return slot->shard;
}

/* Collects the group's packets that are kept, then as many parity shards as packets are gone. wanted: the positions of
 * those; their number is returned. 0: there is too little parity, or the group contradicts itself. */
static unsigned collect(struct kt_native_parity_store *s, const struct group *g, uint64_t gone,
    struct kt_fec_shard *shards, unsigned *n, uint8_t *wanted)
{
    unsigned count = 0, parity = 0;
    *n = 0;
    for (unsigned i = 0; i < KT_FEC_SPAN; i++) {
        if (gone >> i & 1) {
            if (count == ROWS) return 0;
            wanted[count++] = (uint8_t)i;
        } else if (g->members >> i & 1) {
            const uint8_t *data = padded(slot_of(s, g->first + i), g->len);
            if (!data) return 0;
            shards[(*n)++] = (struct kt_fec_shard){(uint8_t)i, data};
        }
    }
    for (unsigned i = 0; i < ROWS && parity < count; i++) {
        if (!(g->have >> i & 1) || !kept(s, g->parity[i].number)) continue;
        shards[(*n)++] = (struct kt_fec_shard){
            (uint8_t)(KT_FEC_SPAN + i), slot_of(s, g->parity[i].number)->shard + g->parity[i].at};
        parity++;
    }
    return parity == count ? count : 0;
}

/* Rebuilds what is missing, if there is enough parity. */
static void attempt(struct kt_native_parity_in *p, struct group *g, const struct kt_native_parity_arrival *in)
{
    struct kt_native_parity_store *s = p->store;
    struct kt_fec_shard shards[KT_FEC_SPAN];
    uint8_t wanted[ROWS];
    unsigned n;
    bool lost;
    const uint64_t gone = missing(s, g, in->seen, &lost), first = g->first;
    if (!lost) {
        drop(p, g, false);
        return;
    }
    const unsigned count = collect(s, g, gone, shards, &n, wanted);
    if (count == 0) return;
    const uint8_t *out = kt_fec_rebuild_run(s->rebuild, shards, n, wanted, count, g->len);
    const size_t most = g->len;
    drop(p, g, false);
    for (unsigned i = 0; i < count; i++, out += KT_FEC_STRIDE) {
        const uint64_t number = first + wanted[i];
        const size_t len = kt_get16(out);
        if (len == 0 || len + HEAD > most) {
            p->errors++;
            continue;
        }
        if (!keep(s, number, out + HEAD, len) || kt_replay_check(in->seen, number) != KT_REPLAY_NEW) continue;
        p->rebuilt++;
        in->sink(in->ctx, number, slot_of(s, number)->shard + HEAD, len);
    }
}

bool kt_native_parity_in_start(struct kt_native_parity_in *p, const struct kt_native_parity_arrival *in)
{
    assert(!p->store);
    p->store = calloc(1, sizeof *p->store);
    if (!p->store) return false;
    if (kt_fec_rebuild_new(&p->store->rebuild)) {
        kt_native_parity_in_free(p);
        return false;
    }
    keep(p->store, in->number, in->frames, in->len);
    return true;
}

void kt_native_parity_in_packet(struct kt_native_parity_in *p, const struct kt_native_parity_arrival *in)
{
    struct kt_native_parity_store *s = p->store;
    if (!s || !keep(s, in->number, in->frames, in->len)) return;
    for (unsigned i = 0; i < GROUPS; i++)
        if (is_member(&s->groups[i], in->number)) attempt(p, &s->groups[i], in);
}

/* The group of a PARITY frame; a new one replaces the oldest. */
static struct group *group_of(
    struct kt_native_parity_in *p, const struct kt_native_parity *f, const struct kt_replay *seen)
{
    struct kt_native_parity_store *s = p->store;
    struct group *free_one = NULL;
    for (unsigned i = 0; i < GROUPS; i++) {
        struct group *g = &s->groups[i];
        if (g->members == f->members && g->first == f->first && g->len == f->len) return g;
        if (g->members == 0) free_one = g;
    }
    struct group *g = free_one ? free_one : &s->groups[s->next_group++ % GROUPS];
    if (g->members) {
        bool lost;
        missing(s, g, seen, &lost);
        drop(p, g, lost);
    }
    *g = (struct group){.first = f->first, .members = f->members, .len = (uint16_t)f->len};
    return g;
}

int kt_native_parity_in_take(struct kt_native_parity_in *p, const struct kt_native_parity *f,
    const struct kt_native_parity_arrival *in, uint64_t now_us, struct kt_err *err)
{
    struct kt_native_parity_store *s = p->store;
    const uint64_t last = f->first + kt_native_parity_span(f->members) - 1;
    if (last >= in->number)
        return kt_err_set(err, KT_EPROTO, "frame PARITY (0x20): about packets that were not sent before it");
    p->frames++;
    p->heard_us = now_us;
    if (!s || f->first + KT_NATIVE_PARITY_KEPT <= in->seen->next || !kept(s, in->number)) return 0;
    struct group *g = group_of(p, f, in->seen);
    g->have |= 1u << f->index;
    g->parity[f->index].number = in->number;
    g->parity[f->index].at = (uint16_t)(HEAD + (size_t)(f->shard - in->frames));
    attempt(p, g, in);
    return 0;
}
