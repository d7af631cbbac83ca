/* Round trips measured for callers.
 *
 * Two questions are asked at once, and the first answer counts. WASK: every live KCP answers it with WINS,
 * ahead of queued data; but it may be lost, and WINS does not say which WASK it answers. A NOP of smux, which
 * every peer accepts: KCP delivers it reliably and reports that, but only after everything written before. So
 * a probe on a busy session measures the path, not the queue, and a probe on a bad path is not lost.
 *
 * Answers to earlier WASKs may still arrive, so that many WINS are ignored first. If those were lost, the NOP
 * decides. */
#include "link/kcptun/session_internal.h"

#define RECENT_ASK_US 2000000u

void kt_kcptun_session_probe(struct kt_kcptun_session *s, struct kt_kcptun_session_probe *p)
{
    struct kt_kcp_stats st;
    const uint64_t now = kt_io_now(s->context->io);
    kt_kcp_stats(s->kcp, &st);
    p->started = now;
    p->answers = st.answers + 1;
    if (st.unanswered && now - st.asked_us < RECENT_ASK_US) p->answers += st.unanswered;
    p->marked = false;
    kt_list_push(&s->probes, &p->node);
    kt_smux_keepalive(s->smux);
    kt_kcp_probe(s->kcp);
    kt_kcptun_session_schedule(s);
}

void kt_kcptun_session_probe_cancel(struct kt_kcptun_session_probe *p)
{
    kt_list_remove(&p->node);
}

void kt_kcptun_session_probes_turn(struct kt_kcptun_session *s, uint64_t now_us)
{
    if (kt_list_empty(&s->probes)) return;
    struct kt_kcp_stats st;
    struct kt_list *next;
    kt_kcp_stats(s->kcp, &st);
    for (struct kt_list *n = s->probes.next; n != &s->probes; n = next) {
        struct kt_kcptun_session_probe *p = KT_CONTAINER(n, struct kt_kcptun_session_probe, node);
        next = n->next;
        if (st.answers < p->answers && !(p->marked && kt_kcp_covered(s->kcp, p->mark))) {
            if (!p->marked && !kt_smux_nop_due(s->smux)) {
                p->marked = true;
                p->mark = kt_kcp_mark(s->kcp);
            }
            continue;
        }
        kt_list_remove(&p->node);
        p->done(p, now_us > p->started ? now_us - p->started : 1, 0);
    }
}

void kt_kcptun_session_probes_end(struct kt_kcptun_session *s, int code)
{
    for (struct kt_list *n; (n = kt_list_pop(&s->probes));) {
        struct kt_kcptun_session_probe *p = KT_CONTAINER(n, struct kt_kcptun_session_probe, node);
        p->done(p, 0, code);
    }
}
