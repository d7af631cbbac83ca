/* Processes: a kt_io on a host, with its turns, clock and random bytes.
 *
 * A turn is like libuv's: arrivals are handled, then due timers run, then turn hooks, then committed datagrams
 * leave. Invariant: what arrives during a turn waits for the next. A dead process gets no turns, and its handles
 * can only be closed. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "io/sim/internal.h"

#define HOOKS_MAX 1000000u /* in one turn */

/* ---- turns ---- */

static bool over(const struct sim_io *p)
{
    return p->dead || p->sim->failed.code;
}

static void hand_over(struct sim_io *p)
{
    struct kt_list now, *node;
    kt_list_take(&now, &p->arrivals); /* later arrivals belong to the next turn */
    while (!over(p) && (node = kt_list_pop(&now)) != NULL) {
        struct kt_turn *t = KT_CONTAINER(node, struct kt_turn, node);
        t->fn(t->ctx);
    }
    while ((node = kt_list_pop(&now)) != NULL) continue; /* no node may point to this stack frame */
}

/* Like kt_io_turn_end, but reports hooks that queue themselves forever as a livelock. The hooks of a dead
 * process run when it is freed, because some handles free themselves in one. */
static void run_hooks(struct sim_io *p, bool ending)
{
    for (unsigned n = 0; n < HOOKS_MAX && (ending || !over(p)); n++) {
        struct kt_list *node = kt_list_pop(&p->io.turn);
        if (!node) return;
        struct kt_turn *t = KT_CONTAINER(node, struct kt_turn, node);
        t->fn(t->ctx);
    }
    if (over(p)) return;
    kt_sim_fail(p->sim, KT_ELIMIT,
        "livelock: a turn of %s on host %s does not end; its hooks queue each other", p->name, p->host->name);
}

static void end_turn(struct sim_io *p)
{
    run_hooks(p, false);
    if (!over(p)) kt_sim_udp_flush(p);
}

void kt_sim_turn(struct sim_io *p)
{
    if (over(p) || p->stopped) return;
    p->turns++;
    hand_over(p);
    if (!over(p)) kt_wheel_run(&p->io.wheel, p->io.now);
    end_turn(p);
    if (!over(p) && !kt_list_empty(&p->arrivals)) kt_sim_make_ready(p);
}

static void on_wake(void *ctx)
{
    kt_sim_make_ready(ctx);
}

void kt_sim_settle(struct sim_io *p)
{
    if (p->dead || p->stopped || !kt_list_empty(&p->ready)) return;
    uint64_t next = kt_wheel_next(&p->io.wheel);
    if (!kt_list_empty(&p->io.turn) || !kt_list_empty(&p->udp_dirty) || !kt_list_empty(&p->arrivals) ||
        next <= p->io.now) {
        kt_sim_make_ready(p);
    } else if (next == KT_TIME_NEVER) {
        kt_sim_event_cancel(p->sim, &p->wake);
    } else if (!p->wake.slot || p->wake.at != next - KT_SIM_EPOCH) {
        kt_sim_event_set(p->sim, &p->wake, next - KT_SIM_EPOCH);
    }
}

/* ---- watching signals ---- */

struct sim_signal {
    struct kt_signal signal;
    struct sim_io *p;
    struct kt_list node; /* in p->signals */
    struct kt_turn arrival;
    struct sim_grave grave;
    int signum;
    void (*fn)(void *ctx, int signum);
    void *ctx;
};

static void on_signal(void *ctx)
{
    struct sim_signal *s = ctx;
    s->fn(s->ctx, s->signum);
}

static void destroy_signal(struct sim_grave *g)
{
    free(KT_CONTAINER(g, struct sim_signal, grave));
}

static void signal_close(struct kt_signal *signal)
{
    struct sim_signal *s = (struct sim_signal *)(void *)signal;
    kt_list_remove(&s->node);
    kt_list_remove(&s->arrival.node);
    kt_sim_ended(s->p);
    kt_sim_bury(s->p->sim, &s->grave, destroy_signal);
}

static int sim_signal_watch(struct kt_io *io, int signum, void (*fn)(void *ctx, int signum), void *ctx,
    struct kt_signal **out, struct kt_err *err)
{
    *out = NULL;
    struct sim_io *p = kt_sim_io(io);
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    if (signum <= 0 || signum == 9 || signum == 19) /* SIGKILL, SIGSTOP */
        return kt_err_set(err, KT_EINVAL, "cannot watch signal %d: invalid argument", signum);
    struct sim_signal *s = calloc(1, sizeof *s);
    if (!s) return kt_err_set(err, KT_ENOMEM, "out of memory");
    s->signal.close = signal_close;
    s->p = p;
    s->signum = signum;
    s->fn = fn;
    s->ctx = ctx;
    kt_turn_init(&s->arrival, on_signal, s);
    kt_list_init(&s->node);
    kt_list_push(&p->signals, &s->node);
    kt_sim_opened(p);
    *out = &s->signal;
    return 0;
}

/* ---- the ops ---- */

static bool is_stopped(void *ctx)
{
    const struct sim_io *p = ctx;
    return p->stopped || p->dead;
}

static void sim_run(struct kt_io *io)
{
    struct sim_io *p = kt_sim_io(io);
    struct kt_err err;
    int end = kt_sim_run(p->sim, KT_TIME_NEVER, is_stopped, p, &err);
    if (end < 0) kt_log(io->log, KT_LOG_ERROR, "%s", err.text);
    p->stopped = false;
    end_turn(p);
}

static void sim_stop(struct kt_io *io)
{
    struct sim_io *p = kt_sim_io(io);
    p->stopped = true;
    kt_list_remove(&p->ready);
}

static void sim_free(struct kt_io *io)
{
    struct sim_io *p = kt_sim_io(io);
    run_hooks(p, true); /* hooks of the last turn may still close things */
    if (!over(p)) kt_sim_udp_flush(p);
    assert(p->open == 0);
    kt_sim_event_cancel(p->sim, &p->wake);
    kt_list_remove(&p->ready);
    kt_list_remove(&p->node);
    free(p);
}

static uint64_t sim_clock(struct kt_io *io)
{
    return io->now;
}

static uint64_t sim_wall(struct kt_io *io)
{
    const struct sim_io *p = kt_sim_io(io);
    return p->sim->wall_us + p->sim->now + (uint64_t)p->host->wall_jump;
}

static void sim_machine(struct kt_io *io, char *out, size_t size)
{
    snprintf(out, size, "%s", kt_sim_io(io)->host->name);
}

static void sim_random(struct kt_io *io, void *out, size_t n)
{
    kt_sim_random_fill(&kt_sim_io(io)->random, out, n);
}

static const struct kt_io_ops ops = {
    .run = sim_run,
    .stop = sim_stop,
    .free = sim_free,
    .clock = sim_clock,
    .wall = sim_wall,
    .machine = sim_machine,
    .random = sim_random,
    .udp_open = kt_sim_udp_open,
    .listen = kt_sim_listen,
    .dialer = &kt_sim_dialer,
    .resolve = kt_sim_resolve,
    .query = kt_sim_query,
    .signal_watch = sim_signal_watch,
    .file_read = kt_sim_file_read,
    .file_real = kt_sim_file_real,
    .file_watch = kt_sim_file_watch,
    .file_append = kt_sim_file_append,
    .work = kt_work_later,
    /* no .watch_new: in virtual time nothing takes long */
};

/* ---- making and killing ---- */

int kt_sim_process(
    struct kt_sim_host *h, const char *name, const struct kt_log *log, struct kt_io **out, struct kt_err *err)
{
    *out = NULL;
    if (!h->up) return kt_err_set(err, KT_ECLOSED, "host %s is down; restart it first", h->name);
    struct sim_io *p = calloc(1, sizeof *p);
    if (!p) return kt_err_set(err, KT_ENOMEM, "out of memory");
    char stream[3 * SIM_NAME];
    p->sim = h->sim;
    p->host = h;
    snprintf(p->name, sizeof p->name, "%s", name);
    /* Seeded with the number of processes that the host has had, so that a restarted process draws different
     * numbers, and other hosts have no influence. */
    snprintf(stream, sizeof stream, "%s/%s/%llu", h->name, p->name, (unsigned long long)kt_sim_host_spawn(h));
    kt_sim_random_init(&p->random, h->sim->seed, stream, "random");
    kt_io_init(&p->io, &ops, log, h->sim->now + KT_SIM_EPOCH);
    p->io.portable = true;
    if (h->descriptors) p->io.descriptors = h->descriptors;
    kt_list_init(&p->ready);
    kt_list_init(&p->arrivals);
    kt_list_init(&p->udp_dirty);
    kt_list_init(&p->signals);
    kt_sim_event_init(&p->wake, on_wake, p);
    kt_list_init(&p->node);
    kt_list_push(&h->sim->ios, &p->node);
    *out = &p->io;
    return 0;
}

bool kt_sim_stopped(const struct kt_io *io)
{
    return ((const struct sim_io *)(const void *)io)->stopped;
}

uint64_t kt_sim_turns(const struct kt_io *io)
{
    return ((const struct sim_io *)(const void *)io)->turns;
}

static void die(struct sim_io *p, bool crash)
{
    p->dead = true;
    p->crashed = crash;
    kt_list_remove(&p->ready);
    kt_sim_event_cancel(p->sim, &p->wake);
    while (kt_list_pop(&p->arrivals)) continue;
    while (kt_list_pop(&p->udp_dirty)) continue;
}

void kt_sim_kill(struct kt_io *io)
{
    struct sim_io *p = kt_sim_io(io);
    if (p->dead) return;
    die(p, false);
    kt_sim_udp_vanish(p->host, p);
    kt_sim_listen_vanish(p->host, p);
    kt_sim_tcp_vanish(p->host, p, false);
    kt_sim_resolve_vanish(p->host, p);
}

void kt_sim_host_crash(struct kt_sim_host *h)
{
    if (!h->up) return;
    kt_sim_host_set_up(h, false);
    for (struct kt_list *n = h->sim->ios.next; n != &h->sim->ios; n = n->next) {
        struct sim_io *p = KT_CONTAINER(n, struct sim_io, node);
        if (p->host == h && !p->dead) die(p, true);
    }
    kt_sim_udp_vanish(h, NULL);
    kt_sim_listen_vanish(h, NULL);
    kt_sim_tcp_vanish(h, NULL, true);
    kt_sim_resolve_vanish(h, NULL);
}

void kt_sim_host_restart(struct kt_sim_host *h)
{
    kt_sim_host_set_up(h, true);
}

bool kt_sim_host_up(const struct kt_sim_host *h)
{
    return h->up;
}

/* ---- sending signals ---- */

size_t kt_sim_signal(struct kt_io *io, int signum)
{
    struct sim_io *p = kt_sim_io(io);
    size_t n = 0;
    if (p->dead) return 0;
    for (struct kt_list *node = p->signals.next; node != &p->signals; node = node->next) {
        struct sim_signal *s = KT_CONTAINER(node, struct sim_signal, node);
        if (s->signum != signum) continue;
        kt_sim_arrive(p, &s->arrival);
        n++;
    }
    return n;
}
