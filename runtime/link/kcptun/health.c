/* Combines a peer's silence with the signs that it has restarted.
 *
 * Invariant: a peer is asked at most twice within row_us because of doubts, and `doubt_due` is later than the
 * check that set it. */
#include "link/kcptun/health.h"
#include "base/bytes.h"

/* Conclude that the peer has restarted after this many answers in a row whose una fell back, spread over at
 * least this time and two round trips. By then everything sent before our probe has arrived, however it was
 * reordered, and a single packet with the right una ends the row. */
#define BEHIND_ROW 4u
#define BEHIND_US 50000u

static uint64_t row_us(const struct kt_kcp_stats *st)
{
    uint64_t two_trips = 2 * (uint64_t)st->srtt_us;
    return two_trips > BEHIND_US ? two_trips : BEHIND_US;
}

/* True if the peer has restarted; otherwise asks it twice within row_us while that is in doubt. */
static bool restarted(struct kt_kcptun_health *h, const struct kt_kcp_stats *st,
    const struct kt_kcptun_restart *restart, uint64_t now_us, bool *probe)
{
    if (restart->contradictions) return true;
    if (restart->behind == 0) {
        h->doubted = 0;
        return false;
    }
    if (restart->behind >= BEHIND_ROW && now_us - restart->behind_since >= row_us(st)) return true;
    if (h->doubted == 0 || now_us - h->doubted >= row_us(st) / 2) {
        h->doubted = now_us;
        *probe = true;
    }
    h->doubt_due = h->doubted + row_us(st) / 2;
    return false;
}

int kt_kcptun_health_check(struct kt_kcptun_health *h, const struct kt_kcp_stats *st,
    const struct kt_kcptun_restart *restart, bool owes, uint64_t now_us, bool *probe, struct kt_err *why)
{
    *probe = false;
    if (restarted(h, st, restart, now_us, probe))
        return kt_err_set(why, KT_ERESTART, "the peer does not know this session; it restarted or closed it");
    const bool doubtful = h->doubted != 0;
    const struct kt_patience_facts facts = {
        .owes = owes || doubtful, /* an answer to our probe, at least */
        .doubtful = doubtful,
        .blocked = st->rmt_wnd == 0,
        .progress = st->una,
        .rto_us = st->rto_us,
    };
    return kt_patience_check(&h->patience, &facts, now_us, probe, why);
}

uint64_t kt_kcptun_health_due(const struct kt_kcptun_health *h)
{
    const uint64_t due = kt_patience_due(&h->patience);
    return h->doubted ? kt_min64(due, h->doubt_due) : due;
}
