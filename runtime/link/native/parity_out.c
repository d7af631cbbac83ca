/* Puts sent packets into groups, and makes the parity frames of the groups that are complete. */
#include "link/native/parity_out.h"

#include <assert.h>
#include "base/bytes.h"
#include "kcp/fec_sums.h"

#define GROUP_LEAST 15u /* a full group has no fewer packets */
/* How long a group is open, in parts of min_rtt: one with streams; one with nothing but flows that ask for it. */
#define BULK_PART 4u
#define ASKED_PART 2u
#define WAIT_LEAST_US 1000u
#define WAIT_MOST_US 50000u

void kt_native_parity_out_reset(struct kt_native_parity_out *p)
{
    p->members = 0;
    p->waiting = 0;
}

void kt_native_parity_out_free(struct kt_native_parity_out *p)
{
    kt_native_parity_out_reset(p);
    kt_fec_sums_free(p->sums);
    p->sums = NULL;
}

/* The most parity for a group. A single datagram that asks gets up to two; streams, which are sent again anyway,
 * half. */
static unsigned cap(unsigned count, bool asked)
{
    const unsigned most = !asked ? (count + 1) / 2 : count > 2 ? count : 2;
    return most < KT_NATIVE_PARITY_SHARDS ? most : KT_NATIVE_PARITY_SHARDS;
}

static struct kt_native_parity_need need(const struct kt_native_parity_loss *l, unsigned count, unsigned most)
{
    return kt_native_parity_need(count, kt_native_parity_share(l), kt_native_parity_burst(l), most);
}

/* Makes groups as large as the code can protect. */
static void plan(struct kt_native_parity_out *p)
{
    struct kt_native_parity_need n = {0};
    for (p->most = KT_NATIVE_PARITY_SPAN; p->most >= GROUP_LEAST; p->most /= 2) {
        n = need(&p->loss, p->most, KT_NATIVE_PARITY_SHARDS);
        if (n.enough) break;
    }
    if (!n.enough) p->most = GROUP_LEAST;
    p->plan = n.enough && n.count > 0 ? n.count : KT_NATIVE_PARITY_SHARDS;
    p->bulk = need(&p->loss, p->most, cap(p->most, false)).count > 0;
}

bool kt_native_parity_out_open(struct kt_native_parity_out *p, const struct kt_native_recovery_stats *stats)
{
    if (kt_native_parity_loss_note(&p->loss, stats) && p->loss.on) plan(p);
    if (!p->loss.on) {
        if (p->sums) kt_native_parity_out_free(p);
        return false;
    }
    /* without memory: no parity */
    if (!p->sums) kt_fec_sums_new(&p->sums, KT_FEC_SPAN, KT_FEC_SPAN_ROWS);
    return p->sums && p->waiting == 0;
}

static uint64_t closes(bool asked, uint32_t min_rtt_us, uint64_t now_us)
{
    const uint32_t wait = asked ? min_rtt_us / ASKED_PART : min_rtt_us / BULK_PART;
    return now_us + (wait < WAIT_LEAST_US ? WAIT_LEAST_US : wait > WAIT_MOST_US ? WAIT_MOST_US : wait);
}

static void begin(struct kt_native_parity_out *p, uint64_t first)
{
    p->rows = p->plan;
    kt_fec_sums_begin(p->sums, p->rows);
    p->first = first;
    p->members = 0;
    p->count = 0;
    p->asked = false;
    p->close_us = UINT64_MAX;
}

void kt_native_parity_out_add(struct kt_native_parity_out *p, const struct kt_native_parity_packet *packet,
    uint32_t min_rtt_us, uint64_t now_us)
{
    assert(p->sums && p->waiting == 0);
    if (p->members == 0) begin(p, packet->number);
    const uint64_t position = packet->number - p->first;
    if (position >= KT_NATIVE_PARITY_SPAN) return;
    kt_put16(packet->shard, (uint32_t)packet->len);
    kt_fec_sums_add(p->sums, (unsigned)position, packet->shard, packet->len + KT_NATIVE_PARITY_HEAD);
    p->members |= UINT64_C(1) << position;
    p->count++;
    p->asked = p->asked || packet->asked;
    const uint64_t close = p->count < p->most ? closes(packet->asked, min_rtt_us, now_us) : now_us;
    if (close < p->close_us) p->close_us = close;
    p->stale_us = p->close_us + min_rtt_us;
}

uint64_t kt_native_parity_out_due(const struct kt_native_parity_out *p, uint64_t next)
{
    if (p->waiting > 0) return 0;
    if (p->members == 0) return UINT64_MAX;
    return next - p->first >= KT_NATIVE_PARITY_SPAN ? 0 : p->close_us;
}

size_t kt_native_parity_out_write(struct kt_native_parity_out *p, uint8_t *out, size_t room, uint64_t now_us)
{
    struct kt_native_frame f = {.type = KT_NATIVE_FRAME_PARITY};
    if (p->waiting == 0) { /* the group closes */
        p->next = 0;
        p->waiting = need(&p->loss, p->count, cap(p->count, p->asked)).count;
        if (p->waiting > p->rows) p->waiting = p->rows;
    }
    if (p->waiting == 0 || now_us > p->stale_us) {
        kt_native_parity_out_reset(p);
        return 0;
    }
    f.parity.first = p->first;
    f.parity.members = p->members;
    f.parity.index = (uint8_t)p->next;
    f.parity.shard = kt_fec_sums_row(p->sums, p->next, &f.parity.len);
    const size_t n = kt_native_frame_write(out, room, &f);
    p->next++;
    p->waiting--;
    if (p->waiting == 0 || n == 0) kt_native_parity_out_reset(p);
    p->sent += n > 0;
    return n;
}
