/* See health.h.
 *
 * Invariant: while an answer is owed (`owed`), `due` says when to look again, and that is always later than
 * the check that set it; so whoever arms a timer for it neither spins nor forgets. */
#include "link/kcptun/health.h"
#include "base/bytes.h"

#define ASK_EVERY_US 1000000u
#define LATE_US 2000000u /* a check that comes so late says nothing about the peer */
/* Answers in a row with an una that fell back, over at least this time and two round trips, before we believe
 * in a restart: what was sent before our probe and merely overtaken has arrived by then, and one packet with
 * the right una in between ends the row. */
#define BEHIND_ROW 4u
#define BEHIND_US 50000u

static uint64_t suspect_us(const struct kt_health *h)
{
    const uint64_t timeouts = KT_HEALTH_TIMEOUTS * (uint64_t)h->rto_us;
    return kt_min64(timeouts > h->suspect_us ? timeouts : h->suspect_us, h->dead_us);
}

uint64_t kt_health_heard(struct kt_health *h, uint64_t now_us)
{
    const uint64_t silence = kt_health_silence(h, now_us);
    if (silence >= suspect_us(h)) h->moved = now_us; /* it could not acknowledge anything meanwhile */
    h->heard = now_us;
    h->waiting = 0;
    return silence;
}

/* How long a row of unas that fell back must be. */
static uint64_t row_us(const struct kt_kcp_stats *st)
{
    uint64_t two_trips = 2 * (uint64_t)st->srtt_us;
    return two_trips > BEHIND_US ? two_trips : BEHIND_US;
}

/* True if it has restarted; else sees to it that it is asked twice in the time that a row takes. */
static bool restarted(struct kt_health *h, const struct kt_kcp_stats *st,
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
    return false;
}

static uint64_t stuck_dead(const struct kt_health *h)
{
    const uint64_t doubtful = KT_HEALTH_STUCK * suspect_us(h);
    return doubtful > h->dead_us ? doubtful : h->dead_us;
}

/* For how long, heard or not, it has acknowledged nothing of what it owes. */
static uint64_t stuck_for(struct kt_health *h, const struct kt_kcp_stats *st, bool fresh, uint64_t now_us)
{
    if (fresh || st->una != h->una || st->rmt_wnd == 0) {
        h->una = st->una;
        h->moved = now_us;
    }
    return now_us - h->moved;
}

/* 0 or KT_EDEAD, by how long it has been silent and stuck. A suspect peer is trusted again once it is heard
 * and, if it was stuck, acknowledges; not while it may have restarted. */
static int judge(struct kt_health *h, uint64_t silence, uint64_t stuck, struct kt_err *why)
{
    const uint64_t stuck_suspect = KT_HEALTH_STUCK * suspect_us(h);
    h->silent = silence >= suspect_us(h);
    if (!h->silent && stuck < stuck_suspect) {
        h->suspect = h->suspect && h->doubted;
        return 0;
    }
    if (!h->suspect) h->since = h->silent ? h->waiting : h->moved;
    h->suspect = true;
    if (h->silent)
        kt_err_set(why, KT_EDEAD, "silent for %.1f s while it owed an answer", (double)silence / 1e6);
    else
        kt_err_set(why, KT_EDEAD, "it acknowledged nothing for %.1f s", (double)stuck / 1e6);
    return silence >= h->dead_us || stuck >= stuck_dead(h) ? KT_EDEAD : 0;
}

uint64_t kt_health_left(const struct kt_health *h, uint64_t now_us)
{
    const uint64_t end = kt_min64(h->waiting + h->dead_us, h->moved + stuck_dead(h));
    return end > now_us ? end - now_us : 0;
}

static void look_again(struct kt_health *h, const struct kt_kcp_stats *st)
{
    h->due = kt_min64(h->asked + ASK_EVERY_US, h->waiting + h->dead_us);
    if (!h->suspect) h->due = kt_min64(h->due, h->waiting + suspect_us(h));
    if (h->doubted) h->due = kt_min64(h->due, h->doubted + row_us(st) / 2);
}

int kt_health_check(struct kt_health *h, const struct kt_kcp_stats *st,
    const struct kt_kcptun_restart *restart, bool owes, uint64_t now_us, bool *probe, struct kt_err *why)
{
    *probe = false;
    h->rto_us = st->rto_us;
    if (restarted(h, st, restart, now_us, probe))
        return kt_err_set(
            why, KT_ERESTART, "it does not know this session: it has restarted, or gave the session up");
    if (!owes && !h->doubted) { /* in doubt it owes an answer to our probe */
        h->owed = h->suspect = false;
        h->waiting = 0;
        return 0;
    }
    /* Late: we were stopped (a busy machine, a debugger), and what it answered meanwhile waits to be read. */
    const bool late = h->owed && now_us - h->checked >= ASK_EVERY_US + LATE_US;
    const bool fresh = !h->owed || late;
    h->owed = true;
    h->checked = now_us;
    const uint64_t stuck = stuck_for(h, st, fresh, now_us);
    if (h->waiting == 0 || late) {
        /* Quiet for a while before this: it may be gone or new, ask along with what is sent (24 bytes). */
        if (late || (h->heard && now_us - h->heard >= ASK_EVERY_US)) *probe = true;
        h->waiting = h->asked = now_us;
    } else if (now_us - h->asked >= ASK_EVERY_US) {
        h->asked = now_us;
        *probe = true;
    }
    const int code = judge(h, now_us - h->waiting, stuck, why);
    look_again(h, st);
    return code;
}

uint64_t kt_health_due(const struct kt_health *h)
{
    return h->owed ? h->due : UINT64_MAX;
}
