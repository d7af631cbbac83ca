/* See health.h. */
#include "link/kcptun/health.h"

#define ASK_EVERY_US 1000000u
#define LATE_US 2000000u /* a check that comes so late says nothing about the peer */
/* Answers in a row with an una that fell back, over at least this time and two round trips, before we believe
 * in a restart: what was sent before our probe and merely overtaken has arrived by then, and one packet with
 * the right una in between ends the row. */
#define BEHIND_ROW 4u
#define BEHIND_US 50000u

void kt_health_heard(struct kt_health *h, uint64_t now_us)
{
    h->heard = now_us;
    h->waiting = 0;
}

int kt_health_check(struct kt_health *h, const struct kt_kcp_stats *st, bool owes, uint64_t now_us,
    bool *probe, struct kt_err *why)
{
    *probe = false;
    if (st->una_behind) {
        uint64_t span = 2 * (uint64_t)st->srtt_us;
        if (span < BEHIND_US) span = BEHIND_US;
        if (st->una_behind >= BEHIND_ROW && now_us - st->una_behind_since >= span)
            return kt_err_set(why, KT_ERESTART, "it has restarted and knows nothing of this session");
        if (!h->behind_asked || now_us - h->asked >= span / 2) {
            *probe = true;
            h->behind_asked = true;
            h->asked = now_us;
        }
    } else {
        h->behind_asked = false;
    }

    if (!owes) {
        h->waiting = 0;
        h->owed = false;
        return 0;
    }
    /* While something is owed we are called every second. If not, we were stopped (a busy machine, a
     * debugger), and what the peer answered meanwhile waits to be read. */
    bool late = h->owed && now_us - h->checked >= ASK_EVERY_US + LATE_US;
    h->checked = now_us;
    if (!h->owed || late || st->una != h->una || st->rmt_wnd == 0) h->moved = now_us;
    h->owed = true;
    h->una = st->una;
    if (now_us - h->moved >= KT_HEALTH_STUCK * h->patience)
        return kt_err_set(
            why, KT_EDEAD, "it acknowledged nothing for %.1f s", (double)(now_us - h->moved) / 1e6);
    if (h->waiting == 0 || late) {
        /* Quiet for a while before this: the peer may be gone or new, ask along with what is sent (24 bytes).
         */
        if (late || (h->heard && now_us - h->heard >= ASK_EVERY_US)) *probe = true;
        h->waiting = h->asked = now_us;
        return 0;
    }
    if (now_us - h->waiting >= h->patience)
        return kt_err_set(
            why, KT_EDEAD, "silent for %.1f s while it owed an answer", (double)(now_us - h->waiting) / 1e6);
    if (now_us - h->asked >= ASK_EVERY_US) {
        h->asked = now_us;
        *probe = true;
    }
    return 0;
}

uint64_t kt_health_due(const struct kt_health *h)
{
    uint64_t ask = h->asked + (h->behind_asked ? BEHIND_US / 2 : ASK_EVERY_US);
    if (h->waiting == 0) return h->behind_asked ? ask : UINT64_MAX;
    uint64_t dead = h->waiting + h->patience;
    return ask < dead ? ask : dead;
}
