/* Stream sockets: the names of their two ends, their options and errors. */
#include <assert.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "io/uv/internal.h"

#define KEEPALIVE_S 60u

const char *kt_uv_name_text(char out[KT_CONN_NAME], const union kt_uv_name *name, socklen_t len)
{
    struct kt_addr addr;
    if (name->sa.sa_family == AF_UNIX && len <= offsetof(struct sockaddr_un, sun_path)) {
        snprintf(out, KT_CONN_NAME, "unix:"); /* not bound, as clients are */
    } else if (name->sa.sa_family == AF_UNIX) {
        /* A full sun_path need not end with a NUL. An abstract name starts with a NUL, which tools write as "@". */
        const char *path = name->un.sun_path;
        const int n = (int)(len - offsetof(struct sockaddr_un, sun_path)), at = path[0] ? 0 : 1;
        snprintf(out, KT_CONN_NAME, "unix:%s%.*s", at ? "@" : "", n - at, path + at);
    } else if (kt_addr_from_sockaddr(&addr, &name->sa)) {
        kt_addr_unmap(&addr);
        kt_addr_text(&addr, out);
    } else {
        snprintf(out, KT_CONN_NAME, "?");
    }
    return out;
}

void kt_uv_tune(int fd)
{
    const int on = 1;
    /* These fail if the peer is already gone; reading will report that. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#ifdef TCP_KEEPIDLE
    const int idle = KEEPALIVE_S, interval = 1, count = 10; /* seconds, seconds, probes */
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
#endif
}

int kt_uv_socket_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? 0 : error;
}

void kt_uv_reset_on_close(int fd)
{
    const struct linger rst = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
}

ssize_t kt_uv_try_write(uv_stream_t *stream, const struct kt_iov *iov, size_t pieces)
{
    uv_buf_t bufs[KT_PIPE_PIECES];
    assert(pieces <= KT_PIPE_PIECES);
    for (size_t i = 0; i < pieces; i++) {
        const unsigned len = iov[i].len < INT_MAX ? (unsigned)iov[i].len : INT_MAX;
        bufs[i] = uv_buf_init((char *)(uintptr_t)iov[i].data, len);
    }
    const int r = uv_try_write(stream, bufs, (unsigned)pieces);
    return r == UV_EAGAIN ? 0 : r;
}
