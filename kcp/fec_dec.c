/* FEC decoder: a window of the four newest groups.
 *
 * A data packet goes to the sink at once; its shard is also kept until its group has `data` shards of any
 * kind. Then the missing ones, if any, are rebuilt, the group is done, and its buffer is free for another.
 *
 * Invariants:
 * - window[head] is group `newest`, and the group k before it is at (head - k) mod 4. Nothing is searched.
 * - A group keeps at most `data` shards, in one buffer. There are at most four buffers, each grown as
 *   needed and then reused: nothing is allocated per packet, and no seqid can make memory grow.
 * - Buffers and the solver's tables, made or not, take at most `most` bytes together.
 * - No shard of a group is longer than its parity, and all its parity is of one length.
 * - Nothing is filed, so nothing is rebuilt, while the peer's parameters are in doubt: the coefficients of
 *   a parity row add up to 1, so parity taken for data carries the right conv and a wrong sn. */
#include <stdlib.h>
#include <string.h>
#include "kcp/fec.h"
#include "kcp/kcp_segment.h"
#include "kcp/fec_solve.h"
#include "kcp/fec_tune.h"
#include "kcp/fec_wire.h"

#define WINDOW 4u     /* groups */
#define TUNE_EVERY 8u /* packets between two attempts to tune, while in doubt */
#define RUN_EXTRA 32u /* two groups and this many more packets in a row are a long run */

struct group {
    uint8_t *shards;                 /* KT_FEC_STRIDE apart, in order of arrival; NULL: none yet, or done */
    unsigned room;                   /* shards that fit the buffer */
    bool done;                       /* complete or rebuilt: needs no further shards */
    unsigned count;                  /* shards kept */
    unsigned data;                   /* of these, data */
    size_t longest;                  /* longest data shard */
    size_t parity_len;               /* 0: no parity yet */
    uint16_t len[KT_FEC_MAX_SHARDS]; /* by position; 0: not here */
    uint8_t at[KT_FEC_MAX_SHARDS];   /* by position: index in shards */
};

struct kt_fec_dec {
    unsigned data, parity;
    uint32_t groups; /* groups before seqids wrap */

    struct group window[WINDOW];
    unsigned head;
    uint32_t newest;
    bool started;   /* newest is set */
    unsigned stale; /* packets in a row from before the window */
    struct {
        uint8_t *shards;
        unsigned room;
    } spare[WINDOW];
    unsigned spares;
    size_t kept; /* bytes of all buffers */
    size_t most; /* bytes that buffers and tables may take */

    bool doubt;     /* the parameters may be wrong */
    unsigned calm;  /* packets in a row that fit the parameters, while in doubt */
    unsigned pause; /* packets until the next attempt to tune */
    struct kt_fec_tune tune;
    struct kt_fec_solver solver;
    struct kt_fec_dec_stats stats;
};

static unsigned long_run(const struct kt_fec_dec *d)
{
    return 2 * (d->data + d->parity) + RUN_EXTRA;
}

/* ---- parameters ---- */

static void close_group(struct kt_fec_dec *d, struct group *g)
{
    if (g->shards) {
        d->spare[d->spares].shards = g->shards;
        d->spare[d->spares++].room = g->room;
    }
    g->shards = NULL;
    g->room = 0;
    g->done = true;
}

static void open_group(struct group *g)
{
    *g = (struct group){0};
}

static void give_up(struct kt_fec_dec *d, struct group *g)
{
    if (g->count > 0 && !g->done) d->stats.lost_groups++;
    close_group(d, g);
}

static void free_spare(struct kt_fec_dec *d)
{
    free(d->spare[--d->spares].shards);
    d->kept -= (size_t)d->spare[d->spares].room * KT_FEC_STRIDE;
}

static void forget(struct kt_fec_dec *d)
{
    for (unsigned i = 0; i < WINDOW; i++) {
        close_group(d, &d->window[i]);
        open_group(&d->window[i]);
    }
    d->started = false;
    d->stale = 0;
}

static void set_parameters(struct kt_fec_dec *d, unsigned data, unsigned parity)
{
    forget(d);
    while (d->spares > 0) free_spare(d); /* their size changes */
    d->data = data;
    d->parity = parity;
    d->groups = fec_groups(data + parity);
    kt_fec_solver_reset(&d->solver, data, parity);
}

int kt_fec_dec_new(struct kt_fec_dec **out, unsigned data, unsigned parity)
{
    *out = NULL;
    bool known = data || parity;
    if (known && (data < 1 || parity < 1 || data > KT_FEC_MAX_SHARDS || parity > KT_FEC_MAX_SHARDS - data))
        return KT_EINVAL;
    struct kt_fec_dec *d = calloc(1, sizeof *d);
    if (!d) return KT_ENOMEM;
    d->most = SIZE_MAX;
    set_parameters(d, known ? data : 1, known ? parity : 1);
    d->doubt = !known;
    *out = d;
    return 0;
}

void kt_fec_dec_free(struct kt_fec_dec *d)
{
    if (!d) return;
    forget(d);
    while (d->spares > 0) free_spare(d);
    kt_fec_solver_free(&d->solver);
    free(d);
}

void kt_fec_dec_stats(const struct kt_fec_dec *d, struct kt_fec_dec_stats *out)
{
    *out = d->stats;
    out->cur_data = d->data;
    out->cur_parity = d->parity;
}

/* Checks a packet against the parameters and returns whether it may be filed. A packet out of place puts
 * them in doubt, until the tuner finds parameters, old or new, or a long run of packets fits. */
static bool check_parameters(struct kt_fec_dec *d, uint32_t seqid, bool is_data)
{
    kt_fec_tune_sample(&d->tune, seqid, is_data);
    if (!kt_fec_tune_fits(d->data, d->parity, seqid, is_data)) {
        if (!d->doubt) d->pause = 0;
        d->doubt = true;
        d->calm = 0;
    } else if (d->doubt && ++d->calm >= long_run(d)) {
        d->doubt = false;
    }
    if (!d->doubt) return true;
    if (d->pause > 0) {
        d->pause--;
        return false;
    }
    d->pause = TUNE_EVERY - 1;
    unsigned data, parity;
    if (!kt_fec_tune_find(&d->tune, &data, &parity)) return false;
    if (data != d->data || parity != d->parity) {
        set_parameters(d, data, parity);
        d->stats.retuned++;
    }
    d->doubt = false;
    d->calm = 0;
    return true;
}

/* ---- the window ---- */

static void advance(struct kt_fec_dec *d, uint32_t by)
{
    for (uint32_t i = 0; i < by && i < WINDOW; i++) {
        d->head = (d->head + 1) % WINDOW;
        struct group *g = &d->window[d->head];
        give_up(d, g);
        open_group(g);
    }
}

/* The group's place in the window, moved on if this is the newest so far; NULL if it is too old. */
static struct group *find_group(struct kt_fec_dec *d, uint32_t id)
{
    if (!d->started) {
        d->started = true;
        d->newest = id;
    }
    uint32_t ahead = id >= d->newest ? id - d->newest : d->groups - d->newest + id;
    uint32_t behind = ahead ? d->groups - ahead : 0;
    if (behind < WINDOW) {
        d->stale = 0;
        return &d->window[(d->head + WINDOW - behind) % WINDOW];
    }
    if (ahead <= d->groups / 2) {
        advance(d, ahead);
        d->newest = id;
        d->stale = 0;
        return &d->window[d->head];
    }
    /* Late packets arrive singly among new ones. If only old ones arrive, `newest` was wrong. */
    if (++d->stale < long_run(d)) return NULL;
    forget(d);
    d->started = true;
    d->newest = id;
    return &d->window[d->head];
}

/* ---- memory ---- */

/* The oldest group that has a buffer, or NULL. */
static struct group *oldest(struct kt_fec_dec *d)
{
    for (unsigned behind = WINDOW; behind-- > 0;) {
        struct group *g = &d->window[(d->head + WINDOW - behind) % WINDOW];
        if (g->shards) return g;
    }
    return NULL;
}

static bool fits(const struct kt_fec_dec *d, size_t buffers)
{
    return buffers <= d->most && d->solver.bytes <= d->most - buffers;
}

/* One group, which is of use only when it is whole. */
static bool group_fits(const struct kt_fec_dec *d)
{
    return fits(d, (size_t)d->data * KT_FEC_STRIDE);
}

void kt_fec_dec_limit(struct kt_fec_dec *d, size_t bytes)
{
    d->most = bytes;
    const bool any = group_fits(d);
    while (d->kept > 0 && !(any && fits(d, d->kept))) {
        if (d->spares == 0) give_up(d, oldest(d));
        free_spare(d);
    }
    if (!any) kt_fec_solver_free(&d->solver);
}

size_t kt_fec_dec_held(const struct kt_fec_dec *d)
{
    return d->kept + (d->solver.block ? d->solver.bytes : 0);
}

void kt_fec_dec_trim(struct kt_fec_dec *d)
{
    for (unsigned i = 0; i < WINDOW; i++)
        if (i != d->head) give_up(d, &d->window[i]);
    while (d->spares > 0) free_spare(d);
    kt_fec_solver_free(&d->solver);
}

/* Exchanges the group's buffer, if it has one, for a spare that is larger; false if the next spare is not. */
static bool take_spare(struct kt_fec_dec *d, struct group *g)
{
    if (d->spares == 0 || d->spare[d->spares - 1].room <= g->room) return false;
    uint8_t *own = g->shards;
    const unsigned own_room = g->room;
    g->shards = d->spare[--d->spares].shards;
    g->room = d->spare[d->spares].room;
    if (!own) return true;
    memcpy(g->shards, own, (size_t)g->count * KT_FEC_STRIDE);
    d->spare[d->spares].shards = own;
    d->spare[d->spares++].room = own_room;
    return true;
}

/* Makes room for one more shard of the group, in its buffer, a spare one or a new one; false if there is no memory
 * but that of newer groups. A new one starts small and doubles, as the groups of a session that carries little
 * never fill. */
static bool give_buffer(struct kt_fec_dec *d, struct group *g)
{
    if (g->count < g->room || take_spare(d, g)) return true;
    unsigned room = g->room ? 2 * g->room : 1;
    if (room > d->data) room = d->data;
    const size_t more = (size_t)(room - g->room) * KT_FEC_STRIDE;
    while (!fits(d, d->kept + more)) {
        if (d->spares > 0) {
            free_spare(d);
            continue;
        }
        struct group *old = oldest(d);
        if (!old || old == g) return false;
        give_up(d, old);
        if (take_spare(d, g)) return true;
    }
    uint8_t *shards = aligned_alloc(64, (size_t)room * KT_FEC_STRIDE);
    if (!shards) return false;
    if (g->count > 0) memcpy(shards, g->shards, (size_t)g->count * KT_FEC_STRIDE);
    free(g->shards);
    g->shards = shards;
    g->room = room;
    d->kept += more;
    return true;
}

/* ---- shards ---- */

static bool empty_tail(const uint8_t *p, size_t from, size_t to)
{
    uint8_t any = 0;
    for (size_t i = from; i < to; i++) any |= p[i];
    return !any;
}

static void rebuild(struct kt_fec_dec *d, struct group *g, kt_fec_sink sink, void *ctx)
{
    uint8_t known[KT_FEC_MAX_SHARDS] = {0}, wanted[KT_FEC_MAX_SHARDS] = {0};
    uint8_t *shards[KT_FEC_MAX_SHARDS] = {NULL};
    unsigned have = 0, missing = 0;
    size_t len = g->parity_len;
    for (unsigned pos = 0; pos < d->data + d->parity; pos++) {
        if (g->len[pos]) {
            uint8_t *shard = g->shards + (size_t)g->at[pos] * KT_FEC_STRIDE;
            memset(shard + g->len[pos], 0, len - g->len[pos]);
            known[have] = (uint8_t)pos;
            shards[have++] = shard;
        } else if (pos < d->data) {
            wanted[missing++] = (uint8_t)pos;
        }
    }
    const uint8_t *out = kt_fec_solver_run(&d->solver, known, shards, wanted, missing, len);
    if (!out) return;
    for (unsigned i = 0; i < missing; i++, out += KT_FEC_STRIDE) {
        /* Nonzero padding shows that the shards were not of one group. */
        size_t size = kt_get16(out);
        if (size < FEC_SIZE_LEN || size > len || !empty_tail(out, size, len)) {
            d->stats.errors++;
            continue;
        }
        d->stats.recovered++;
        if (size > FEC_SIZE_LEN) sink(ctx, out + FEC_SIZE_LEN, size - FEC_SIZE_LEN, KT_KCP_RECOVERED);
    }
}

static bool length_fits(const struct group *g, bool is_data, size_t len)
{
    if (is_data) return !g->parity_len || len <= g->parity_len;
    return g->parity_len ? len == g->parity_len : len >= g->longest;
}

static void file(
    struct kt_fec_dec *d, uint32_t seqid, const uint8_t *shard, size_t len, kt_fec_sink sink, void *ctx)
{
    unsigned pos = seqid % (d->data + d->parity);
    bool is_data = pos < d->data;
    struct group *g = find_group(d, seqid / (d->data + d->parity));
    if (!g || g->done || g->len[pos]) return;
    if (!length_fits(g, is_data, len)) {
        d->stats.errors++;
        return;
    }
    if (!group_fits(d)) return;
    if (!give_buffer(d, g)) {
        give_up(d, g);
        return;
    }
    memcpy(g->shards + (size_t)g->count * KT_FEC_STRIDE, shard, len);
    g->at[pos] = (uint8_t)g->count++;
    g->len[pos] = (uint16_t)len;
    if (is_data) {
        g->data++;
        if (len > g->longest) g->longest = len;
    } else {
        g->parity_len = len;
    }
    if (g->count < d->data) return;
    if (g->data < d->data) rebuild(d, g, sink, ctx);
    close_group(d, g);
}

/* ---- input ---- */

int kt_fec_dec_input(struct kt_fec_dec *d, const uint8_t *body, size_t len, kt_fec_sink sink, void *ctx)
{
    uint32_t type = len >= FEC_OFF_SHARD ? kt_get16(body + FEC_OFF_TYPE) : 0;
    bool is_data = type == KT_FEC_TYPE_DATA;
    bool fec = is_data || type == KT_FEC_TYPE_PARITY || type == KT_FEC_TYPE_OOB;
    if (len < FEC_OFF_SHARD || (fec && (len < KT_FEC_HEADER || len > KT_FEC_MAX_PACKET))) {
        d->stats.errors++;
        return KT_EPROTO;
    }
    if (!fec) {
        sink(ctx, body, len, KT_KCP_REGULAR);
        return 0;
    }
    if (type == KT_FEC_TYPE_OOB) {
        d->stats.oob++;
        return 0;
    }
    if (is_data) {
        d->stats.data++;
        /* Everything after the header; the size field is ignored (wire-kcptun.md 5.4). */
        if (len > KT_FEC_HEADER) sink(ctx, body + KT_FEC_HEADER, len - KT_FEC_HEADER, KT_KCP_REGULAR);
    } else {
        d->stats.parity++;
    }
    uint32_t seqid = kt_get32(body);
    if (seqid / (d->data + d->parity) >= d->groups) { /* paws or above */
        d->stats.errors++;
        return 0;
    }
    if (check_parameters(d, seqid, is_data))
        file(d, seqid, body + FEC_OFF_SHARD, len - FEC_OFF_SHARD, sink, ctx);
    return 0;
}

const uint8_t *kt_fec_packet(const uint8_t *body, size_t len, size_t *packet_len)
{
    if (len < FEC_OFF_SHARD) return NULL;
    uint32_t type = kt_get16(body + FEC_OFF_TYPE);
    if (type == KT_FEC_TYPE_PARITY || type == KT_FEC_TYPE_OOB) return NULL;
    size_t at = type == KT_FEC_TYPE_DATA ? KT_FEC_HEADER : 0;
    if (len < at + KT_KCP_OVERHEAD) return NULL;
    *packet_len = len - at;
    return body + at;
}

bool kt_fec_peek(const uint8_t *body, size_t len, struct kt_kcp_head *head)
{
    if (len < FEC_OFF_SHARD) return false;
    uint32_t type = kt_get16(body + FEC_OFF_TYPE);
    if (type == KT_FEC_TYPE_PARITY) return false;
    if (type == KT_FEC_TYPE_OOB) {
        if (len < KT_FEC_HEADER + 4) return false;
        *head = (struct kt_kcp_head){.conv = kt_get32(body + KT_FEC_HEADER)};
        return true;
    }
    size_t n;
    const uint8_t *packet = kt_fec_packet(body, len, &n);
    if (!packet) return false;
    struct kt_kcp_segment seg = kt_kcp_segment_get(packet);
    *head =
        (struct kt_kcp_head){.cmd = seg.cmd, .conv = seg.conv, .ts = seg.ts, .sn = seg.sn, .una = seg.una};
    return true;
}
