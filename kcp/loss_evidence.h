/* Evidence of loss: which transmissions are known to have arrived.
 *
 * Every transmission has a number. An acknowledgement that echoes the time of a segment's last transmission
 * proves that this transmission arrived. Once `want` later transmissions have arrived and a segment's own
 * has not, the segment is lost. Only the `want` highest numbers matter, so only they are kept: segments
 * numbered below the lowest of them are sent again. A segment sent again gets a new number and needs new
 * evidence. So a lost retransmission is found like any other loss, and no segment is sent twice on the same
 * evidence.
 *
 * The answer to a probe is evidence, too: whatever was sent before the probe would have been acknowledged
 * before the answer. It counts as one later arrival. So a timeout that has grown to many seconds, because
 * the path or a machine stopped for a while, delays recovery by at most the time between two probes. */
#ifndef KT_KCP_LOSS_EVIDENCE_H
#define KT_KCP_LOSS_EVIDENCE_H

#include <stdint.h>

#define KT_KCP_RESEND_MAX 32u

struct kt_loss_evidence {
    uint32_t want, count;           /* want 0: keeps nothing, and nothing is ever lost */
    uint64_t tx[KT_KCP_RESEND_MAX]; /* highest first */
    uint64_t dropped;               /* transmissions below this are lost in any case */
    uint64_t probed;                /* transmissions below this were sent before a probe that was answered */
};

/* A transmission has arrived. Call once for each. */
static inline void kt_loss_evidence_add(struct kt_loss_evidence *e, uint64_t tx)
{
    uint32_t i = e->count;
    if (i == e->want) {
        if (i == 0 || tx < e->tx[i - 1]) return;
        i--;
    } else {
        e->count++;
    }
    for (; i > 0 && e->tx[i - 1] < tx; i--) e->tx[i] = e->tx[i - 1];
    e->tx[i] = tx;
}

/* A probe was answered; `tx` was the last transmission before it. */
static inline void kt_loss_evidence_probed(struct kt_loss_evidence *e, uint64_t tx)
{
    if (tx + 1 > e->probed) e->probed = tx + 1;
}

/* Changes `want`. Arrivals that were not kept do not count towards a larger one: evidence comes later, but
 * is never false. */
static inline void kt_loss_evidence_tune(struct kt_loss_evidence *e, uint32_t want)
{
    e->want = want;
    if (e->count > want) e->count = want;
}

/* Transmissions below this are lost; 0: none. */
static inline uint64_t kt_loss_evidence_lost(const struct kt_loss_evidence *e)
{
    const uint64_t lost = e->want > 0 && e->count == e->want ? e->tx[e->want - 1] : 0;
    return lost > e->dropped ? lost : e->dropped;
}

/* Transmissions below this were overtaken by at least one other, or by a probe. */
static inline uint64_t kt_loss_evidence_overtaken(const struct kt_loss_evidence *e)
{
    return e->count > 0 && e->tx[0] > e->probed ? e->tx[0] : e->probed;
}

#endif
