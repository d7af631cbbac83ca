/* Watches slices: a timer whose signal interrupts the loop's own thread, whatever it is doing.
 *
 * The timer runs only while there are slices: the first slice that finds it unarmed arms it, and a tick that finds
 * no slice leaves it unarmed. So a loop of many short slices pays for one tick per KT_WATCH_TICK_US, and an idle
 * loop for none.
 *
 * Invariant: `since` is 0 between slices. Slice and handler run on the same thread, so nothing is shared with
 * another; atomics only keep the compiler from caching what the handler may change. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "io/uv/internal.h"

#ifdef __linux__

#define TICK_NS (KT_WATCH_TICK_US * 1000u)

struct uv_watch {
    struct kt_watch watch;
    kt_watch_tick tick;
    void *ctx;
    timer_t timer;
    _Atomic uint64_t since; /* ns: when the slice began; odd, so that it is never 0 */
    atomic_bool armed;

    /* used only by the handler */
    uint64_t slice;        /* the `since` of the slice that these fields describe */
    uint64_t last, wall;   /* ns: time of the last tick; time run until then */
    uint64_t cpu_at_first; /* ns of the thread, at the slice's first tick */
};

/* A real-time signal that neither other programs nor the C library commonly use. */
static int watch_signal(void)
{
    return SIGRTMIN + 3;
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* `since` may be ahead of the clock because of its odd bit. */
static uint64_t between(uint64_t since, uint64_t now)
{
    return now > since ? now - since : 0;
}

static void arm(struct uv_watch *w, long ns)
{
    const struct itimerspec once = {.it_value.tv_nsec = ns};
    timer_settime(w->timer, 0, &once, NULL);
}

static void on_tick(int signum, siginfo_t *info, void *context)
{
    (void)signum;
    (void)context;
    if (info->si_code != SI_TIMER) return; /* sent with kill(1) */
    struct uv_watch *w = info->si_value.sival_ptr;
    const int saved = errno;
    const uint64_t since = atomic_load_explicit(&w->since, memory_order_relaxed);
    if (!since) {
        atomic_store_explicit(&w->armed, false, memory_order_relaxed);
        return;
    }
    const uint64_t now = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    if (since != w->slice) {
        w->slice = w->last = since;
        w->wall = 0;
        w->cpu_at_first = cpu;
    }
    /* A process that was stopped (SIGSTOP, a suspended machine) gets a single tick for all that time. */
    const uint64_t passed = between(w->last, now);
    w->wall += passed < 2 * TICK_NS ? passed : 2 * TICK_NS;
    w->last = now;
    arm(w, TICK_NS);
    w->tick(w->ctx, w->wall / 1000, (cpu - w->cpu_at_first) / 1000);
    errno = saved;
}

static void begin(struct kt_watch *watch)
{
    struct uv_watch *w = (struct uv_watch *)(void *)watch;
    atomic_store_explicit(&w->since, clock_ns(CLOCK_MONOTONIC) | 1, memory_order_relaxed);
    if (atomic_load_explicit(&w->armed, memory_order_relaxed)) return;
    atomic_store_explicit(&w->armed, true, memory_order_relaxed);
    arm(w, TICK_NS);
}

static uint64_t end(struct kt_watch *watch)
{
    struct uv_watch *w = (struct uv_watch *)(void *)watch;
    const uint64_t since = atomic_load_explicit(&w->since, memory_order_relaxed);
    atomic_store_explicit(&w->since, 0, memory_order_relaxed);
    return between(since, clock_ns(CLOCK_MONOTONIC)) / 1000;
}

static void watch_free(struct kt_watch *watch)
{
    struct uv_watch *w = (struct uv_watch *)(void *)watch;
    arm(w, 0); /* a pending signal arrives before this call returns, as it is for this thread */
    timer_delete(w->timer);
    free(w);
}

/* Installs the process-wide handler, which finds its watch in the signal. Leaves a foreign handler alone. */
static bool install(void)
{
    struct sigaction old;
    if (sigaction(watch_signal(), NULL, &old) != 0) return false;
    if (old.sa_flags & SA_SIGINFO) return old.sa_sigaction == on_tick;
    if (old.sa_handler != SIG_DFL) return false;
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    return sigaction(watch_signal(), &action, NULL) == 0;
}

int kt_uv_watch_new(struct kt_io *io, kt_watch_tick tick, void *ctx, struct kt_watch **out)
{
    (void)io;
    if (!install()) return KT_ENOTSUP;
    struct uv_watch *w = calloc(1, sizeof *w);
    if (!w) return KT_ENOMEM;
    w->watch = (struct kt_watch){.begin = begin, .end = end, .free = watch_free};
    w->tick = tick;
    w->ctx = ctx;
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = watch_signal(), .sigev_value.sival_ptr = w};
    event._sigev_un._tid = gettid(); /* the C library's name for sigev_notify_thread_id */
    if (timer_create(CLOCK_MONOTONIC, &event, &w->timer) != 0) {
        const int code = kt_err_from_errno(errno);
        free(w);
        return code;
    }
    *out = &w->watch;
    return 0;
}

#else

int kt_uv_watch_new(struct kt_io *io, kt_watch_tick tick, void *ctx, struct kt_watch **out)
{
    (void)io;
    (void)tick;
    (void)ctx;
    *out = NULL;
    return KT_ENOTSUP; /* no signals for one thread of many */
}

#endif
