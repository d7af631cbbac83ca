/* Makes room for what libuv allocates without checking: when memory is out, it aborts the process. So these
 * allocations are made, or tried, at a moment when a failure is only an error.
 *
 *  - The table of watchers, with one pointer per descriptor, doubles whenever a descriptor does not fit. It is
 *    grown for WATCHERS descriptors at start.
 *  - The threads that look up names are started at the first lookup. The C library keeps the stacks of ended
 *    threads and gives them to new ones, so the same number of threads is started and ended here first. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "io/uv/internal.h"

#define WATCHERS 4096
#define THREADS 4 /* libuv's default; UV_THREADPOOL_SIZE changes it */
#define THREADS_MAX 1024

/* ---- watchers ---- */

static void on_event(uv_poll_t *poll, int status, int events)
{
    (void)poll, (void)status, (void)events;
}

static void on_closed(uv_handle_t *handle)
{
    kt_uv_close_done(handle->data);
}

static int highest(void)
{
    struct rlimit limit;
    const int top = WATCHERS - 3; /* libuv adds two entries and rounds up to a power of two */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= (rlim_t)top)
        return (int)limit.rlim_cur - 1;
    return top;
}

int kt_uv_prealloc_watchers(struct uv_io *u)
{
    uv_poll_t *poll = &u->grow;
    void *volatile table =
        malloc(WATCHERS * sizeof(void *)); /* volatile keeps it from being optimised away */
    free(table);
    if (!table) return UV_ENOMEM;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return 0; /* a later step will report it */
    const int fd = fcntl(ends[0], F_DUPFD_CLOEXEC, highest());
    int r = fd < 0 ? UV_EMFILE : uv_poll_init(&u->loop, poll, fd);
    if (r == 0) {
        uv_poll_start(poll, UV_READABLE, on_event);
        poll->data = u;
        u->closing++;
        uv_close((uv_handle_t *)poll, on_closed);
    }
    if (fd >= 0) close(fd);
    close(ends[0]);
    close(ends[1]);
    return 0; /* if that failed, nothing has changed */
}

/* ---- threads ---- */

static void wait_go(void *arg)
{
    uv_sem_wait(arg);
}

static size_t pool_size(void)
{
    const char *text = getenv("UV_THREADPOOL_SIZE");
    const long n = text ? strtol(text, NULL, 10) : THREADS;
    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (size_t)n;
}

bool kt_uv_prealloc_threads(struct uv_io *u)
{
    if (u->has_threads) return true;
    const size_t want = pool_size();
    uv_thread_t *threads = calloc(want, sizeof *threads);
    uv_sem_t go;
    if (!threads || uv_sem_init(&go, 0)) {
        free(threads);
        return false;
    }
    size_t n = 0;
    while (n < want && uv_thread_create(&threads[n], wait_go, &go) == 0) n++;
    for (size_t i = 0; i < n; i++) uv_sem_post(&go);
    for (size_t i = 0; i < n; i++) uv_thread_join(&threads[i]);
    uv_sem_destroy(&go);
    free(threads);
    u->has_threads = n == want;
    return u->has_threads;
}
