/* Evidence of loss: which transmissions are known to have arrived.
 *
 * Every transmission has a number. An acknowledgement that echoes the time of a segment's last transmission
 * proves that this transmission arrived. Once `want` later transmissions have arrived and a segment's own
 * has not, the segment is lost. Only the `want` highest numbers matter, so only they are kept: segments
 * numbered below the lowest of them are sent again. A segment sent again gets a new number and needs new
 * evidence. So a lost retransmission is found like any other loss, and no segment is sent twice on the same
 * evidence.
 *
 * The answer to a probe is also evidence: anything sent before the probe would have been acknowledged
 * before the answer. It counts as one later arrival. So a timeout that has grown to many seconds, because
 * the path or a machine stopped for a while, delays recovery by at most the time between two probes. */
#ifndef KT_KCP_LOSS_EVIDENCE_H
#define KT_KCP_LOSS_EVIDENCE_H

#include <stdint.h>

#define KT_KCP_RESEND_MAX 32u

struct kt_loss_evidence {
    uint32_t want, count;           /* want 0: keeps nothing, and nothing is ever lost */
    uint64_t tx[KT_KCP_RESEND_MAX]; /* highest first */
    uint64_t lost;                  /* transmissions below this are lost; never falls */
    uint64_t overtaken; /* those below this were overtaken by another, or by a probe; never falls */
};

static inline void kt_loss_evidence_raise(uint64_t *mark, uint64_t tx)
{
    if (*mark < tx) *mark = tx;
}

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
    if (e->count == e->want) kt_loss_evidence_raise(&e->lost, e->tx[e->want - 1]);
    kt_loss_evidence_raise(&e->overtaken, tx);
}

/* A probe was answered; `tx` was the last transmission before it. */
static inline void kt_loss_evidence_probed(struct kt_loss_evidence *e, uint64_t tx)
{
    kt_loss_evidence_raise(&e->overtaken, tx + 1);
}

/* All transmissions up to `tx` are lost, whatever has arrived. */
static inline void kt_loss_evidence_drop(struct kt_loss_evidence *e, uint64_t tx)
{
    kt_loss_evidence_raise(&e->lost, tx + 1);
}

/* Changes `want`. Arrivals that were not kept do not count towards a larger one: evidence comes later, but
 * is never false. */
static inline void kt_loss_evidence_tune(struct kt_loss_evidence *e, uint32_t want)
{
    e->want = want;
    if (e->count > want) e->count = want;
}

#endif
