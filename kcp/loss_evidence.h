/* Evidence of loss: which transmissions are known to have arrived.
 *
 * Every transmission has a number. An acknowledgement that echoes the time of a segment's last transmission
 * proves that this very transmission arrived. If `resend` transmissions later than a segment's own arrived
 * and it did not, it is taken for lost. Only the `resend` highest numbers matter, so that is all that is
 * kept: the segments to send again are those whose number is below the lowest one kept. A segment sent again
 * has a new number and needs new evidence; so a lost retransmission is found like any other loss, and no
 * segment is sent twice on the same evidence.
 *
 * The answer to a probe is evidence, too: what was transmitted before the probe would have been acknowledged
 * before the answer. It counts as one later arrival. A timeout that has grown to many seconds, because the
 * path or a machine stood still for a while, then costs no more than the time between two probes. */
#ifndef KT_KCP_LOSS_EVIDENCE_H
#define KT_KCP_LOSS_EVIDENCE_H

#include <stdint.h>

#define KT_KCP_RESEND_MAX 32u

struct kt_evidence {
    uint32_t want, count;           /* `resend`; 0: nothing is kept, nothing is ever due */
    uint64_t tx[KT_KCP_RESEND_MAX]; /* highest first */
    uint64_t dropped;               /* transmissions below this are given up, whatever arrives */
    uint64_t probed;                /* a probe sent after the transmissions below this was answered */
};

/* Notes the arrival of a transmission; each is noted once. */
static inline void kt_evidence_add(struct kt_evidence *e, uint64_t tx)
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

/* A probe was answered that was sent when `tx` was the number of the last transmission. */
static inline void kt_evidence_probed(struct kt_evidence *e, uint64_t tx)
{
    if (tx + 1 > e->probed) e->probed = tx + 1;
}

/* Another `want`. With a larger one the arrivals that are forgotten count as if they had not been: later
 * evidence, never a false one. */
static inline void kt_evidence_tune(struct kt_evidence *e, uint32_t want)
{
    e->want = want;
    if (e->count > want) e->count = want;
}

/* Transmissions below this are lost; 0: none. */
static inline uint64_t kt_evidence_lost(const struct kt_evidence *e)
{
    const uint64_t lost = e->want > 0 && e->count == e->want ? e->tx[e->want - 1] : 0;
    return lost > e->dropped ? lost : e->dropped;
}

/* Transmissions below this were overtaken by at least one, or by a probe. */
static inline uint64_t kt_evidence_overtaken(const struct kt_evidence *e)
{
    return e->count > 0 && e->tx[0] > e->probed ? e->tx[0] : e->probed;
}

#endif
