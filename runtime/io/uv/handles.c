/* Helpers for every file of the libuv backend: the count of what is open, the clock of a turn, and conversions between
 * the system's types and kt's. It uses none of the others. */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "io/uv/internal.h"

#define SHRINK_FROM 64u /* handles that were open */
#define SHRINK_AFTER_US                                                                                      \
    10000000u /* from when half of them have closed, or a session ended: after what the ends need */

void kt_uv_wake(struct uv_io *u)
{
    if (!u->stale) return;
    u->stale = false;
    u->io.now = kt_uv_clock();
}

uint8_t *kt_uv_scratch(struct uv_io *u)
{
    if (!u->scratch) u->scratch = malloc(KT_UV_SCRATCH);
    return u->scratch;
}

/* ---- what is open ---- */

/* Memory freed by many handles or by sessions lies between blocks still in use, so the C library does not return it by
 * itself. */
static void on_shrink(void *ctx)
{
    struct uv_io *u = ctx;
    u->most_open = u->open;
    kt_system_give_back();
}

void kt_uv_count_init(struct uv_io *u)
{
    kt_timer_init(&u->shrink, on_shrink, u);
}

void kt_uv_freed(struct kt_io *io)
{
    struct uv_io *u = kt_uv(io);
    if (!u->shrink.armed) kt_io_timer_set(io, &u->shrink, io->now + SHRINK_AFTER_US);
}

void kt_uv_opened(struct uv_io *u)
{
    u->open++;
    if (u->open > u->most_open) u->most_open = u->open;
}

void kt_uv_close_begun(struct uv_io *u)
{
    assert(u->open > 0);
    u->open--;
    u->closing++;
    if (u->most_open >= SHRINK_FROM && u->open < u->most_open / 2) kt_uv_freed(&u->io);
}

void kt_uv_close_done(struct uv_io *u)
{
    assert(u->closing > 0);
    u->closing--;
}

/* ---- conversions ---- */

int kt_uv_code(int uverr)
{
    switch (uverr) {
    case UV_EOF:
        return KT_EEOF;
    case UV_ECANCELED:
    case UV_EAI_CANCELED:
        return KT_ECANCELED;
    case UV_EAI_MEMORY:
        return KT_ENOMEM;
    default:
        break;
    }
    if (uverr <= UV_EAI_ADDRFAMILY && uverr >= UV_EAI_PROTOCOL) return KT_ENAME;
    return kt_err_from_errno(-uverr);
}

int kt_uv_fd_prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -1;
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void kt_uv_addr_map(struct kt_addr *a)
{
    if (a->sa.sa_family != AF_INET) return;
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = a->in4.sin_port};
    in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(in6.sin6_addr.s6_addr + 12, &a->in4.sin_addr, 4);
    a->in6 = in6;
}
