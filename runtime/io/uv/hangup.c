/* Detects broken sockets in every state of a conn.
 *
 * libuv polls a stream only while it reads or writes. A conn that has read to the end of data, or whose reader
 * pauses, is in no poll set, and would miss a reset or a keepalive failure. So a second epoll set holds such conns,
 * until they close. It asks for nothing but what epoll always reports, errors and hang-ups, and is edge-triggered, so
 * each is reported once and the set costs nothing until then. Closing a socket removes it from the set.
 *
 * Most conns close or are read again soon. So a conn enters the set only if libuv does not read it when the timer
 * fires, which is armed while there are such conns. What happened before is reported when it enters.
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
#define ENTER_US 100000u

struct kt_uv_hangups {
    struct uv_io *u;
    int fd; /* the epoll set; libuv polls it */
    uv_poll_t handle;
    struct kt_list unread; /* of kt_uv_watched: not read, and not in the set */
    struct kt_timer enter; /* armed unless that is empty */
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

static void enter_later(struct kt_uv_hangups *h)
{
    if (!h->enter.armed) kt_io_timer_set(&h->u->io, &h->enter, kt_io_now(&h->u->io) + ENTER_US);
}

static void on_enter(void *ctx)
{
    struct kt_uv_hangups *h = ctx;
    while (!kt_list_empty(&h->unread)) {
        struct kt_uv_watched *w = KT_CONTAINER(h->unread.next, struct kt_uv_watched, node);
        struct epoll_event event = {.events = EPOLLET, .data.ptr = w};
        if (epoll_ctl(h->fd, EPOLL_CTL_ADD, w->fd, &event) < 0) { /* the system is out of memory: try again */
            enter_later(h);
            return;
        }
        w->held = true;
        kt_list_remove(&w->node);
    }
}

int kt_uv_hangups_new(struct uv_io *u, struct kt_uv_hangups **out)
{
    struct kt_uv_hangups *h = calloc(1, sizeof *h);
    if (!h) return UV_ENOMEM;
    h->u = u;
    h->handle.data = h;
    kt_list_init(&h->unread);
    kt_timer_init(&h->enter, on_enter, h);
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

void kt_uv_hangups_unread(struct kt_uv_hangups *h, struct kt_uv_watched *w)
{
    if (w->held || w->fd < 0) return;
    kt_list_push(&h->unread, &w->node);
    enter_later(h);
}

void kt_uv_hangups_close(struct kt_uv_hangups *h)
{
    h->u->closing++;
    kt_io_timer_cancel(&h->u->io, &h->enter);
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

void kt_uv_hangups_unread(struct kt_uv_hangups *h, struct kt_uv_watched *w)
{
    (void)h, (void)w;
}

void kt_uv_hangups_close(struct kt_uv_hangups *h)
{
    (void)h;
}

#endif
