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

static enum answered look(struct kt_uv_mute_peer *m, int fd, uint64_t timeout_us, uint64_t now_us)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    int out = 0;
    if (ioctl(fd, TIOCOUTQ, &out) < 0 || out == 0) return ALL_ACKED;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0) return ALL_ACKED;
    const uint64_t silent_us = (uint64_t)info.tcpi_last_ack_recv * 1000;
    const bool heard = now_us - silent_us >= m->looked_at; /* since the previous look, or this is the first */
    m->looked_at = now_us;
    if (heard) m->mute_since = now_us;
    const bool asked = info.tcpi_unacked ? silent_us > info.tcpi_rto : info.tcpi_probes >= 2;
    return asked && now_us - m->mute_since >= timeout_us ? MUTE : WAITS;
}

#else

static enum answered look(struct kt_uv_mute_peer *m, int fd, uint64_t timeout_us, uint64_t now_us)
{
    (void)m, (void)fd, (void)timeout_us, (void)now_us;
    return ALL_ACKED;
}

#endif

static void look_later(struct kt_uv_mute_peer *m, struct kt_io *io, uint64_t timeout_us)
{
    const uint64_t every = timeout_us / LOOKS;
    kt_io_timer_set(io, &m->timer, kt_io_now(io) + (every ? every : 1));
}

bool kt_uv_mute_peer_check(struct kt_uv_mute_peer *m, struct kt_io *io, int fd, uint64_t timeout_us)
{
    if (timeout_us == 0) return false;
    const enum answered how = look(m, fd, timeout_us, kt_io_clock(io));
    if (how == WAITS) look_later(m, io, timeout_us);
    return how == MUTE;
}

void kt_uv_mute_peer_init(struct kt_uv_mute_peer *m, void (*due)(void *ctx), void *ctx)
{
    kt_timer_init(&m->timer, due, ctx);
}

void kt_uv_mute_peer_expect(struct kt_uv_mute_peer *m, struct kt_io *io, uint64_t timeout_us)
{
    if (m->timer.armed || timeout_us == 0) return;
    m->looked_at = m->mute_since = 0;
    look_later(m, io, timeout_us);
}

void kt_uv_mute_peer_stop(struct kt_uv_mute_peer *m, struct kt_io *io)
{
    kt_io_timer_cancel(io, &m->timer);
}
