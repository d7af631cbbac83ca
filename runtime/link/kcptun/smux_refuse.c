/* smux: refuses streams that the peer opens. A peer may open many without reading our answers, so only the id
 * and reason of a refused stream are kept, for at most KT_SMUX_REFUSALS of them. */
#include <stdlib.h>
#include "link/kcptun/smux_internal.h"

#define FIRST_CAP 16u
#define FEW 256u /* that fit even without memory to spare */

int kt_smux_refuse(struct kt_smux *m, uint32_t id, int code)
{
    struct kt_smux_refusals *q = &m->refused;
    if (q->end == q->cap) {
        const size_t cap = q->cap ? 2 * q->cap : FIRST_CAP, bytes = cap * sizeof *q->list;
        const bool fits = cap <= KT_SMUX_REFUSALS && (cap <= FEW || bytes < kt_smux_spare(m, false));
        struct kt_smux_refusal *list = fits ? realloc(q->list, bytes) : NULL;
        if (!list) return 0;
        q->list = list;
        q->cap = cap;
    }
    q->list[q->end++] = (struct kt_smux_refusal){id, (uint8_t)-code};
    kt_smux_wake(m);
    return 0;
}

const struct kt_smux_refusal *kt_smux_refusal(const struct kt_smux *m)
{
    return m->refused.first < m->refused.end ? &m->refused.list[m->refused.first] : NULL;
}

void kt_smux_refusal_sent(struct kt_smux *m)
{
    if (++m->refused.first == m->refused.end) kt_smux_refusals_free(m);
}

size_t kt_smux_refusals_held(const struct kt_smux *m)
{
    return m->refused.cap * sizeof *m->refused.list;
}

void kt_smux_refusals_free(struct kt_smux *m)
{
    free(m->refused.list);
    m->refused = (struct kt_smux_refusals){0};
}
