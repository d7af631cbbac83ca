/* See health.h.
 *
 * Invariant: while an answer is owed (`owed`), `due` says when to look again, and that is always later than
 * the check that set it; so whoever arms a timer for it neither spins nor forgets. */
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

/* How long a row of unas that fell back must be. */
static uint64_t row_us(const struct kt_kcp_stats *st)
{
    uint64_t two_trips = 2 * (uint64_t)st->srtt_us;
    return two_trips > BEHIND_US ? two_trips : BEHIND_US;
}

/* True if it has restarted; else sees to it that it is asked twice in the time that a row takes. */
static bool restarted(struct kt_health *h, const struct kt_kcp_stats *st, uint64_t now_us, bool *probe)
{
    if (st->contradictions) return true;
    if (st->una_behind == 0) {
        h->doubted = 0;
        return false;
    }
    if (st->una_behind >= BEHIND_ROW && now_us - st->una_behind_since >= row_us(st)) return true;
    if (h->doubted == 0 || now_us - h->doubted >= row_us(st) / 2) {
        h->doubted = now_us;
        *probe = true;
    }
    return false;
}

/* Heard or not, nothing of what it owes was acknowledged for so long. */
static bool stuck(struct kt_health *h, const struct kt_kcp_stats *st, bool fresh, uint64_t now_us)
{
    if (fresh || st->una != h->una || st->rmt_wnd == 0) {
        h->una = st->una;
        h->moved = now_us;
    }
    return now_us - h->moved >= KT_HEALTH_STUCK * h->patience;
}

static void look_again(struct kt_health *h, const struct kt_kcp_stats *st)
{
    h->due = h->asked + ASK_EVERY_US;
    if (h->waiting + h->patience < h->due) h->due = h->waiting + h->patience;
    if (h->doubted && h->doubted + row_us(st) / 2 < h->due) h->due = h->doubted + row_us(st) / 2;
}

int kt_health_check(struct kt_health *h, const struct kt_kcp_stats *st, bool owes, uint64_t now_us,
    bool *probe, struct kt_err *why)
{
    *probe = false;
    if (restarted(h, st, now_us, probe))
        return kt_err_set(why, KT_ERESTART, "it has restarted and knows nothing of this session");
    if (!owes && !h->doubted) { /* in doubt it owes an answer to our probe */
        h->owed = false;
        h->waiting = 0;
        return 0;
    }
    /* Late: we were stopped (a busy machine, a debugger), and what it answered meanwhile waits to be read. */
    const bool late = h->owed && now_us - h->checked >= ASK_EVERY_US + LATE_US;
    const bool fresh = !h->owed || late;
    h->owed = true;
    h->checked = now_us;
    if (stuck(h, st, fresh, now_us))
        return kt_err_set(
            why, KT_EDEAD, "it acknowledged nothing for %.1f s", (double)(now_us - h->moved) / 1e6);
    if (h->waiting == 0 || late) {
        /* Quiet for a while before this: it may be gone or new, ask along with what is sent (24 bytes). */
        if (late || (h->heard && now_us - h->heard >= ASK_EVERY_US)) *probe = true;
        h->waiting = h->asked = now_us;
    } else if (now_us - h->waiting >= h->patience) {
        return kt_err_set(
            why, KT_EDEAD, "silent for %.1f s while it owed an answer", (double)(now_us - h->waiting) / 1e6);
    } else if (now_us - h->asked >= ASK_EVERY_US) {
        h->asked = now_us;
        *probe = true;
    }
    look_again(h, st);
    return 0;
}

uint64_t kt_health_due(const struct kt_health *h)
{
    return h->owed ? h->due : UINT64_MAX;
}
