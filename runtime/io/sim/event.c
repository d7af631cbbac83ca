/* The base that all parts of the simulated world use: time, events, arrivals, graves, and a process's state. It uses
 * none of them. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include "io/sim/internal.h"

uint64_t kt_sim_now(const struct kt_sim *sim)
{
    return sim->now;
}

void kt_sim_stream(const struct kt_sim *sim, const char *name, const char *purpose, struct kt_sim_random *out)
{
    kt_sim_random_init(out, sim->seed, name, purpose);
}

void kt_sim_event_init(struct kt_sim_event *e, void (*fn)(void *ctx), void *ctx)
{
    *e = (struct kt_sim_event){.fn = fn, .ctx = ctx};
}

void kt_sim_event_set(struct kt_sim *sim, struct kt_sim_event *e, uint64_t at_us)
{
    if (at_us == KT_TIME_NEVER)
        kt_sim_heap_remove(&sim->heap, e);
    else if (kt_sim_heap_set(&sim->heap, e, at_us > sim->now ? at_us : sim->now) != 0)
        kt_sim_fail(sim, KT_ENOMEM, "out of memory for events");
}

void kt_sim_event_cancel(struct kt_sim *sim, struct kt_sim_event *e)
{
    kt_sim_heap_remove(&sim->heap, e);
}

void kt_sim_fail(struct kt_sim *sim, int code, const char *fmt, ...)
{
    if (sim->failed.code) return;
    va_list args;
    char text[sizeof sim->failed.text];
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    kt_err_set(&sim->failed, code, "%s", text);
}

void kt_sim_make_ready(struct sim_io *p)
{
    if (p->dead || p->stopped || !kt_list_empty(&p->ready)) return;
    kt_list_push(&p->sim->ready, &p->ready);
}

void kt_sim_arrive(struct sim_io *p, struct kt_turn *t)
{
    if (p->dead || !kt_list_empty(&t->node)) return;
    kt_list_push(&p->arrivals, &t->node);
    kt_sim_make_ready(p);
}

void kt_sim_bury(struct kt_sim *sim, struct sim_grave *g, void (*destroy)(struct sim_grave *g))
{
    g->destroy = destroy;
    kt_list_init(&g->node);
    kt_list_push(&sim->graves, &g->node);
}

int kt_sim_alive(const struct sim_io *p, struct kt_err *err)
{
    if (!p->dead) return 0;
    return kt_err_set(err, KT_ECLOSED, "%s on host %s was killed", p->name, p->host->name);
}

void kt_sim_ended(struct sim_io *p)
{
    assert(p->open > 0);
    p->open--;
}
