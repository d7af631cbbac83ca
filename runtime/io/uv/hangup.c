/* Detects broken sockets in every state of a conn.
 *
 * libuv polls a stream only while it reads or writes. A conn that has read to the end of data, or whose reader
 * pauses, is in no poll set, and would miss a reset or a keepalive failure. So a second epoll set holds every
 * conn from its first read to its close. It asks for nothing but what epoll always reports, errors and hang-ups,
 * and is edge-triggered, so each is reported once and the set costs nothing until then. Closing a socket removes
 * it from the set.
 *
 * On systems other than Linux, such a conn notices only when it next reads or writes. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif
#include "io/uv/internal.h"

#ifdef __linux__

#define BATCH 64

struct kt_uv_hangups {
    struct uv_io *u;
    int fd; /* the epoll set; libuv polls it */
    uv_poll_t handle;
};

static void on_closed(uv_handle_t *handle)
{
    struct kt_uv_hangups *h = handle->data;
    kt_uv_close_done(h->u);
    free(h);
}

/* A conn's memory outlives this call, even if an earlier event of the batch has closed it. */
static void on_hangups(uv_poll_t *handle, int status, int events)
{
    (void)status, (void)events;
    struct kt_uv_hangups *h = handle->data;
    struct epoll_event batch[BATCH];
    int n;
    kt_uv_wake(h->u);
    do {
        n = epoll_wait(h->fd, batch, BATCH, 0);
        for (int i = 0; i < n; i++) kt_uv_conn_hung_up(batch[i].data.ptr);
    } while (n == BATCH);
}

int kt_uv_hangups_new(struct uv_io *u, struct kt_uv_hangups **out)
{
    struct kt_uv_hangups *h = calloc(1, sizeof *h);
    if (!h) return UV_ENOMEM;
    h->u = u;
    h->handle.data = h;
    h->fd = epoll_create1(EPOLL_CLOEXEC);
    int r = h->fd < 0 ? -errno : uv_poll_init(&u->loop, &h->handle, h->fd);
    if (r < 0) {
        if (h->fd >= 0) close(h->fd);
        free(h);
        return r;
    }
    uv_poll_start(&h->handle, UV_READABLE, on_hangups); /* cannot fail for an fd that libuv has accepted */
    *out = h;
    return 0;
}

int kt_uv_hangups_add(struct kt_uv_hangups *h, int fd, struct uv_conn *c)
{
    struct epoll_event event = {.events = EPOLLET, .data.ptr = c};
    return epoll_ctl(h->fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void kt_uv_hangups_close(struct kt_uv_hangups *h)
{
    h->u->closing++;
    uv_close((uv_handle_t *)&h->handle, on_closed);
    close(h->fd);
}

#else

int kt_uv_hangups_new(struct uv_io *u, struct kt_uv_hangups **out)
{
    (void)u;
    *out = NULL;
    return 0;
}

int kt_uv_hangups_add(struct kt_uv_hangups *h, int fd, struct uv_conn *c)
{
    (void)h, (void)fd, (void)c;
    return 0;
}

void kt_uv_hangups_close(struct kt_uv_hangups *h)
{
    (void)h;
}

#endif
