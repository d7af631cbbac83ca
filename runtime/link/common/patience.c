/* Measures how long a peer has owed an answer, and judges it by that.
 *
 * Invariant: while an answer is owed (`owed`), `due` is later than the check that set it, so a timer armed
 * for it neither spins nor is forgotten. */
#include "link/common/patience.h"
#include "base/bytes.h"

#define ASK_EVERY_US 1000000u
#define LATE_US 2000000u /* a check this late says nothing about the peer: this host was busy */

static uint64_t suspect_us(const struct kt_patience *p)
{
    const uint64_t timeouts = KT_PATIENCE_TIMEOUTS * (uint64_t)p->rto_us;
    return kt_min64(timeouts > p->suspect_us ? timeouts : p->suspect_us, p->dead_us);
}

uint64_t kt_patience_heard(struct kt_patience *p, uint64_t now_us)
{
    const uint64_t silence = kt_patience_silence(p, now_us);
    if (silence >= suspect_us(p))
        p->moved = now_us; /* it could not acknowledge anything during the silence */
    p->heard = now_us;
    p->waiting = 0;
    return silence;
}

static uint64_t stuck_dead(const struct kt_patience *p)
{
    const uint64_t suspect = KT_PATIENCE_STUCK * suspect_us(p);
    return suspect > p->dead_us ? suspect : p->dead_us;
}

/* How long it has acknowledged nothing that it owes, whether heard or not. */
static uint64_t stuck_for(
    struct kt_patience *p, const struct kt_patience_facts *f, bool fresh, uint64_t now_us)
{
    if (fresh || f->progress != p->progress || f->blocked) {
        p->progress = f->progress;
        p->moved = now_us;
    }
    return now_us - p->moved;
}

/* 0 or KT_EDEAD. A suspect peer is trusted again once it is heard and, if it was stuck, makes progress; not
 * while it is doubtful. */
static int judge(struct kt_patience *p, uint64_t silence, uint64_t stuck, bool doubtful, struct kt_err *why)
{
    p->silent = silence >= suspect_us(p);
    if (!p->silent && stuck < KT_PATIENCE_STUCK * suspect_us(p)) {
        p->suspect = p->suspect && doubtful;
        return 0;
    }
    if (!p->suspect) p->since = p->silent ? p->waiting : p->moved;
    p->suspect = true;
    if (p->silent)
        kt_err_set(why, KT_EDEAD, "no answer for %.1f s", (double)silence / 1e6);
    else
        kt_err_set(why, KT_EDEAD, "it has acknowledged nothing for %.1f s", (double)stuck / 1e6);
    return silence >= p->dead_us || stuck >= stuck_dead(p) ? KT_EDEAD : 0;
}

uint64_t kt_patience_left(const struct kt_patience *p, uint64_t now_us)
{
    const uint64_t end = kt_min64(p->waiting + p->dead_us, p->moved + stuck_dead(p));
    return end > now_us ? end - now_us : 0;
}

int kt_patience_check(
    struct kt_patience *p, const struct kt_patience_facts *f, uint64_t now_us, bool *ask, struct kt_err *why)
{
    p->rto_us = f->rto_us;
    if (!f->owes) {
        p->owed = p->suspect = false;
        p->waiting = 0;
        return 0;
    }
    /* If we were stopped (a busy machine, a debugger), its answers are still waiting to be read. */
    const bool late = p->owed && now_us - p->checked >= ASK_EVERY_US + LATE_US;
    const bool fresh = !p->owed || late;
    p->owed = true;
    p->checked = now_us;
    const uint64_t stuck = stuck_for(p, f, fresh, now_us);
    if (p->waiting == 0 || late) {
        /* After a pause the peer may be gone or have restarted: ask it along with what is sent. */
        if (late || (p->heard && now_us - p->heard >= ASK_EVERY_US)) *ask = true;
        p->waiting = p->asked = now_us;
    } else if (now_us - p->asked >= ASK_EVERY_US) {
        p->asked = now_us;
        *ask = true;
    }
    const int code = judge(p, now_us - p->waiting, stuck, f->doubtful, why);
    p->due = kt_min64(p->asked + ASK_EVERY_US, p->waiting + p->dead_us);
    if (!p->suspect) p->due = kt_min64(p->due, p->waiting + suspect_us(p));
    return code;
}
