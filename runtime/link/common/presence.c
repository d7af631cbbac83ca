/* Counts the sessions that are up or carry something. The invariant is in presence.h. */
#include "link/common/presence.h"

void kt_presence_up(struct kt_presence *p, struct kt_presence_part *part)
{
    if (part->up) return;
    part->up = true;
    if (p->up++ == 0 && !p->closing && p->events && p->events->up) p->events->up(p->ctx);
}

void kt_presence_down(struct kt_presence *p, struct kt_presence_part *part, int code, const char *why)
{
    if (!part->up) return;
    part->up = false;
    if (--p->up > 0 || p->closing || !p->events || !p->events->down) return;
    struct kt_err err;
    kt_err_set(&err, code, "%s", why);
    p->events->down(p->ctx, &err);
}

void kt_presence_carries(struct kt_presence *p, struct kt_presence_part *part, bool anything)
{
    if (part->carries == anything) return;
    part->carries = anything;
    const bool changed = anything ? p->carrying++ == 0 : --p->carrying == 0;
    if (changed && !p->closing && p->events && p->events->carries) p->events->carries(p->ctx, anything);
}
