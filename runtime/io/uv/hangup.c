/* Hears of sockets that broke, in every state that a conn can be in.
 *
 * libuv polls a stream only while it reads or writes. A conn that has read the end of data, or whose reader
 * pauses, is in no poll set, and neither a reset nor the verdict of keepalive would be heard. So there is a
 * second set, with every conn in it from its first read to its close, which asks for nothing but what epoll
 * always reports: errors and hang-ups. It is edge-triggered, so each is reported once, and costs nothing
 * until then. Closing a socket takes it out.
 *
 * Elsewhere than on Linux such a conn hears of it when it reads or writes again. */
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
    int fd; /* of the set, which is polled itself */
    uv_poll_t handle;
};

static void on_closed(uv_handle_t *handle)
{
    struct kt_uv_hangups *h = handle->data;
    kt_uv_close_done(h->u);
    free(h);
}

/* A conn's memory outlives this call, even if an earlier one of the batch has closed it. */
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
    uv_poll_start(&h->handle, UV_READABLE, on_hangups); /* cannot fail for an fd that libuv accepted */
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
