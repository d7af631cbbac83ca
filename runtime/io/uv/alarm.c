/* The single alarm that wakes the loop for the timer wheel: a timerfd where available (µs), else libuv's timer
 * (ms).
 *
 * Invariant: while anything is armed in the wheel, the alarm rings no later than its deadline; otherwise it is
 * off. When a deadline moves away the alarm may stay too early: timers that are pushed back again and again then
 * cost one wake-up per period instead of one system call per move. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/timerfd.h>
#endif
#include "io/uv/internal.h"

struct kt_uv_alarm {
    struct uv_io *u;
    uint64_t at; /* deadline; KT_TIME_NEVER: off; 0: rang, and the timerfd is still readable */
#ifdef __linux__
    int fd;
    uv_poll_t handle;
#else
    uv_timer_t handle;
#endif
};

static void on_closed(uv_handle_t *handle)
{
    struct kt_uv_alarm *a = handle->data;
    kt_uv_close_done(a->u);
    free(a);
}

#ifdef __linux__

static void on_ring(uv_poll_t *handle, int status, int events)
{
    (void)status, (void)events;
    struct kt_uv_alarm *a = handle->data;
    a->at = 0; /* setting it next clears the readiness, so there is no need to read it */
    kt_uv_wake(a->u);
}

static int start(struct kt_uv_alarm *a)
{
    a->fd = timerfd_create(KT_UV_CLOCK, TFD_NONBLOCK | TFD_CLOEXEC);
    if (a->fd < 0) return -errno;
    int r = uv_poll_init(&a->u->loop, &a->handle, a->fd);
    if (r < 0) {
        close(a->fd);
        return r;
    }
    /* Cannot fail for an open fd that libuv has accepted. */
    uv_poll_start(&a->handle, UV_READABLE, on_ring);
    return 0;
}

static void arm(struct kt_uv_alarm *a, uint64_t at)
{
    struct itimerspec spec = {0};
    if (at != KT_TIME_NEVER) {
        if (at == 0) at = 1; /* all zeros would switch it off */
        spec.it_value.tv_sec = (time_t)(at / 1000000);
        spec.it_value.tv_nsec = (long)(at % 1000000) * 1000;
    }
    timerfd_settime(a->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

#else

static void on_ring(uv_timer_t *handle)
{
    struct kt_uv_alarm *a = handle->data;
    a->at = 0;
    kt_uv_wake(a->u);
}

static int start(struct kt_uv_alarm *a)
{
    return uv_timer_init(&a->u->loop, &a->handle);
}

static void arm(struct kt_uv_alarm *a, uint64_t at)
{
    if (at == KT_TIME_NEVER) {
        uv_timer_stop(&a->handle);
        return;
    }
    uint64_t now = kt_io_clock(&a->u->io);
    uv_update_time(&a->u->loop);
    uv_timer_start(&a->handle, on_ring, at > now ? (at - now + 999) / 1000 : 0, 0);
}

#endif

int kt_uv_alarm_new(struct uv_io *u, struct kt_uv_alarm **out)
{
    struct kt_uv_alarm *a = calloc(1, sizeof *a);
    if (!a) return UV_ENOMEM;
    a->u = u;
    a->at = KT_TIME_NEVER;
    int r = start(a);
    if (r < 0) {
        free(a);
        return r;
    }
    a->handle.data = a;
    *out = a;
    return 0;
}

void kt_uv_alarm_set(struct kt_uv_alarm *a, uint64_t at)
{
    bool rang = a->at == 0;
    if (at == 0) at = 1;
    if (!rang && (at == a->at || (at > a->at && at != KT_TIME_NEVER))) return;
    arm(a, at);
    a->at = at;
}

void kt_uv_alarm_close(struct kt_uv_alarm *a)
{
    a->u->closing++;
    uv_close((uv_handle_t *)&a->handle, on_closed);
#ifdef __linux__
    close(a->fd);
#endif
}
