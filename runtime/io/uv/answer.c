/* Detects a TCP peer that no longer answers.
 *
 * This does not use the kernel's TCP_USER_TIMEOUT: since Linux 5.11 it also ends conns whose peer answers but
 * does not read (it runs while the peer's window is zero), so a reader that pauses too long would lose its conn.
 *
 * Instead it looks at the kernel's own figures now and then while a conn has bytes out. A live peer acknowledges
 * each retransmission and each probe of its zero window. A peer is mute if nothing came from it between the
 * first look that saw bytes out and one `timeout` later, while at least one retransmission or two probes went
 * unanswered. */
#ifdef __linux__
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#endif
#include "io/uv/internal.h"

#define LOOKS 6u /* within the timeout */

enum answered { ALL_ACKED, WAITS, MUTE };

#ifdef __linux__

static enum answered look(struct kt_uv_answer *a, int fd, uint64_t now_us)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    int out = 0;
    if (ioctl(fd, TIOCOUTQ, &out) < 0 || out == 0) return ALL_ACKED;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0) return ALL_ACKED;
    const uint64_t silent_us = (uint64_t)info.tcpi_last_ack_recv * 1000;
    const bool heard = now_us - silent_us >= a->looked_at; /* since the previous look, or this is the first */
    a->looked_at = now_us;
    if (heard) a->mute_since = now_us;
    const bool asked = info.tcpi_unacked ? silent_us > info.tcpi_rto : info.tcpi_probes >= 2;
    return asked && now_us - a->mute_since >= *a->timeout_us ? MUTE : WAITS;
}

#else

static enum answered look(struct kt_uv_answer *a, int fd, uint64_t now_us)
{
    (void)a, (void)fd, (void)now_us;
    return ALL_ACKED;
}

#endif

static void look_later(struct kt_uv_answer *a)
{
    const uint64_t every = *a->timeout_us / LOOKS;
    kt_io_timer_set(&a->u->io, &a->timer, kt_io_now(&a->u->io) + (every ? every : 1));
}

static void on_timer(void *ctx)
{
    struct kt_uv_answer *a = ctx;
    uv_os_fd_t fd;
    if (uv_is_closing(a->handle) || *a->timeout_us == 0 || uv_fileno(a->handle, &fd) < 0) return;
    const enum answered how = look(a, fd, kt_io_clock(&a->u->io));
    if (how == MUTE)
        a->mute(a->ctx);
    else if (how == WAITS)
        look_later(a);
}

void kt_uv_answer_init(struct kt_uv_answer *a, struct uv_io *u, const uv_handle_t *handle,
    const uint64_t *timeout_us, void (*mute)(void *ctx), void *ctx)
{
    *a = (struct kt_uv_answer){.u = u, .handle = handle, .timeout_us = timeout_us, .mute = mute, .ctx = ctx};
    kt_timer_init(&a->timer, on_timer, a);
}

void kt_uv_answer_expect(struct kt_uv_answer *a)
{
    if (a->timer.armed || *a->timeout_us == 0) return;
    a->looked_at = a->mute_since = 0;
    look_later(a);
}

void kt_uv_answer_stop(struct kt_uv_answer *a)
{
    kt_io_timer_cancel(&a->u->io, &a->timer);
}
