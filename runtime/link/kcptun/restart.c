/* Recognises a restarted kcptun peer by its packets. The reasons are in restart.h. */
#include "link/kcptun/restart.h"
#include "kcp/kcp_segment.h"

/* An una of 0 does not count while the peer has acknowledged nothing: this end may be the one that restarted.
 * An una that is behind but not 0 was overtaken, by seconds if copies of the peer's packets take a faster
 * path. */
static void note_una(struct kt_kcptun_restart *s, const struct kt_kcp_report *r)
{
    if (r->unknown || (s->acknowledged && !r->fits && r->una == 0)) {
        if (s->behind++ == 0) s->behind_since = r->now_us;
    } else if (r->fits) {
        s->behind = 0;
        s->behind_since = 0;
    }
}

void kt_kcptun_restart_note(void *restart, const struct kt_kcp_report *r)
{
    struct kt_kcptun_restart *s = restart;
    if (r->regular) note_una(s, r);
    if (r->advanced) {
        s->read = r->known_una;
        s->read_at = r->una;
        s->acknowledged = true;
    }
    if (s->acknowledged && r->regular && r->has_push && kt_sn_diff(r->una, s->read_at) >= 0 &&
        kt_sn_diff(r->push, s->read) < 0)
        s->contradictions++;
}
