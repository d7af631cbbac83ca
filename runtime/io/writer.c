/* Writers: two buffers and a thread. Callers append to `front`; the thread takes the whole buffer, leaves its own
 * empty one in its place, and writes without holding the lock.
 *
 * Invariant: once a text is dropped, all later ones are too until the thread has taken `front`. So the gap is at
 * the end of `front`, where the thread reports how many lines are missing. */
#include "io/writer.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif
#include "io/system.h"

#define STACK_BYTES ((size_t)256 << 10)
#define KEEP_BYTES ((size_t)16 << 10) /* a larger buffer is freed once it is written */
#define STALL_MS 500                  /* stop waiting for a reader that takes nothing for this long */
#define CLOSE_MS 5000                 /* stop waiting altogether */
#define TICK_MS 20
#define MARK_MAX 256

struct buffer {
    char *data;
    size_t len, cap;
};

struct kt_writer {
    pthread_mutex_t lock;
    pthread_cond_t work, taken, idle; /* text to write; `front` was taken; all written */
    struct buffer front;
    uint64_t gap;  /* lines dropped since the thread took `front` */
    uint64_t lost; /* total lines dropped */
    bool busy;     /* the thread is writing */
    bool stop;     /* the thread ends once everything is written */
    bool detached; /* the thread frees this when it ends */
    _Atomic size_t written;
    size_t vain_written; /* at the end of the last useless wait for room; and its time, ms */
    uint64_t vain_at;
    int fd;
    void (*record)(int fd, const char *data, size_t len); /* NULL: text is written to fd */
    char *path;                                           /* NULL: fd */
    bool real;                                            /* path is real; links are not followed */
    char *head;                                           /* of a file that is empty; NULL: none */
    const struct kt_append_events *events;
    void *ctx;
    pthread_t thread;
};

/* ---- the thread ---- */

static void put_out(struct kt_writer *w, const char *p, size_t len)
{
    while (len > 0) {
        /* Whole lines of at most PIPE_BUF bytes, since others may write to the same pipe. */
        size_t part = len < PIPE_BUF ? len : PIPE_BUF;
        const char *nl = part < len ? memrchr(p, '\n', part) : NULL;
        if (nl) part = (size_t)(nl - p) + 1;
        ssize_t n = write(w->fd, p, part);
        if (n >= 0) {
            p += n;
            len -= (size_t)n;
            atomic_fetch_add_explicit(&w->written, (size_t)n, memory_order_relaxed);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) { /* another program has set O_NONBLOCK */
            poll(&(struct pollfd){.fd = w->fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return; /* closed, or the device is full */
        }
    }
}

static void put_records(struct kt_writer *w, const char *p, size_t len)
{
    for (const char *end = p + len; p < end;) {
        const size_t n = strnlen(p, (size_t)(end - p));
        w->record(w->fd, p, n);
        atomic_fetch_add_explicit(&w->written, n, memory_order_relaxed);
        p += n + 1;
    }
}

static int to_file(const char *path, bool real, const char *text, size_t len, struct kt_err *err)
{
    return (real ? kt_system_file_append_real : kt_system_file_append)(NULL, path, text, len, err);
}

static void deliver(struct kt_writer *w, const char *text, size_t len)
{
    if (len == 0) return;
    if (!w->path) {
        (w->record ? put_records : put_out)(w, text, len);
        return;
    }
    struct kt_err err = {0};
    struct stat st;
    int rc = 0;
    if (w->head && (stat(w->path, &st) != 0 || st.st_size == 0))
        rc = to_file(w->path, w->real, w->head, strlen(w->head), &err);
    if (rc == 0) rc = to_file(w->path, w->real, text, len, &err);
    if (rc == 0) {
        atomic_fetch_add_explicit(&w->written, len, memory_order_relaxed);
        return;
    }
    pthread_mutex_lock(&w->lock);
    if (w->events && w->events->failed) w->events->failed(w->ctx, &err, text, len);
    pthread_mutex_unlock(&w->lock);
}

static void destroy(struct kt_writer *w)
{
    pthread_cond_destroy(&w->idle);
    pthread_cond_destroy(&w->taken);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    if (w->record) close(w->fd);
    free(w->front.data);
    free(w->path);
    free(w->head);
    free(w);
}

static uint64_t wall_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* The end of a line, or of a record. */
static char end_of(const struct kt_writer *w)
{
    return w->record ? '\0' : '\n';
}

static bool waits(const struct kt_writer *w)
{
    return w->front.len > 0 || w->gap > 0;
}

static void *run(void *arg)
{
    struct kt_writer *w = arg;
    struct buffer back = {0};
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!waits(w) && !w->stop) pthread_cond_wait(&w->work, &w->lock);
        if (!waits(w)) break;
        const struct buffer taken = w->front;
        w->front = (struct buffer){.data = back.data, .cap = back.cap};
        back = taken;
        char mark[MARK_MAX];
        size_t marked = 0;
        if (w->gap > 0 && w->events && w->events->lost)
            marked = w->events->lost(w->ctx, wall_us(), w->gap, mark, sizeof mark);
        w->gap = 0;
        w->busy = true;
        pthread_cond_broadcast(&w->taken);
        pthread_mutex_unlock(&w->lock);
        deliver(w, back.data, back.len);
        if (marked > 0 && back.len > 0 && back.data[back.len - 1] != end_of(w)) deliver(w, "\n", 1);
        deliver(w, mark, marked);
        if (back.cap > KEEP_BYTES) {
            free(back.data);
            back = (struct buffer){0};
        }
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        pthread_cond_broadcast(&w->idle);
    }
    const bool last = w->detached;
    pthread_mutex_unlock(&w->lock);
    free(back.data);
    if (last) destroy(w);
    return NULL;
}

/* Blocks all signals in the thread: they belong to the loop. This also keeps a terminal that background programs
 * may not write to from stopping it. */
static int start_thread(struct kt_writer *w)
{
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    int rc = pthread_attr_init(&attr);
    if (rc) return rc;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&w->thread, &attr, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

/* ---- the callers ---- */

/* of->path NULL: writes to fd. */
static int make(struct kt_writer **out, int fd, void (*record)(int fd, const char *data, size_t len),
    const struct kt_append_options *of)
{
    struct kt_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w && record) close(fd);
    if (!w) return KT_ENOMEM;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->taken, &attr);
    pthread_cond_init(&w->idle, &attr);
    pthread_condattr_destroy(&attr);
    w->fd = fd;
    w->record = record;
    w->real = of->real;
    w->events = of->events;
    w->ctx = of->ctx;
    int rc = 0;
    if (of->path && !(w->path = strdup(of->path))) rc = ENOMEM;
    if (of->head && !(w->head = strdup(of->head))) rc = ENOMEM;
    if (rc == 0) rc = start_thread(w);
    if (rc) {
        destroy(w);
        return rc == ENOMEM ? KT_ENOMEM : KT_ELIMIT;
    }
    *out = w;
    return 0;
}

int kt_writer_new(struct kt_writer **out, int fd, const struct kt_append_events *events, void *ctx)
{
    return make(out, fd, NULL, &(struct kt_append_options){.events = events, .ctx = ctx});
}

int kt_writer_new_records(struct kt_writer **out, int fd,
    void (*record)(int fd, const char *data, size_t len), const struct kt_append_events *events, void *ctx)
{
    return make(out, fd, record, &(struct kt_append_options){.events = events, .ctx = ctx});
}

static bool append(struct buffer *b, const char *text, size_t len)
{
    if (b->len > 0 && b->len + len > KT_WRITER_MAX) return false;
    if (len > b->cap - b->len) {
        size_t cap = b->cap * 2 > b->len + len ? b->cap * 2 : b->len + len;
        char *more = realloc(b->data, cap);
        if (!more) return false;
        b->data = more;
        b->cap = cap;
    }
    memcpy(b->data + b->len, text, len);
    b->len += len;
    return true;
}

static uint64_t count_lines(const char *text, size_t len, char end_of_line)
{
    uint64_t n = 0;
    for (const char *p = text, *end = text + len; p < end; n++) {
        const char *nl = memchr(p, end_of_line, (size_t)(end - p));
        p = nl ? nl + 1 : end;
    }
    return n;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* Call locked. */
static void wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until)
{
    const struct timespec ts = {(time_t)(until / 1000u), (long)(until % 1000u) * 1000000L};
    pthread_cond_timedwait(cond, lock, &ts);
}

/* Call locked, with `front` full. Waits for the thread to take it, unless that is likely to be useless. */
static void wait_room(struct kt_writer *w)
{
    const uint64_t now = now_ms(), until = now + KT_WRITER_WAIT_MS;
    if (w->vain_at && (now - w->vain_at < 1000u || atomic_load(&w->written) == w->vain_written)) return;
    while (w->front.len > 0 && now_ms() < until) wait_ms(&w->taken, &w->lock, until);
    if (w->front.len == 0) return;
    w->vain_at = now_ms();
    w->vain_written = atomic_load(&w->written);
}

bool kt_writer_put(struct kt_writer *w, const char *text, size_t len)
{
    if (len == 0) return true;
    pthread_mutex_lock(&w->lock);
    bool taken = w->gap == 0 && append(&w->front, text, len);
    if (!taken && w->gap == 0) {
        pthread_cond_signal(&w->work);
        wait_room(w);
        taken = append(&w->front, text, len);
    }
    if (!taken) {
        const uint64_t lines = count_lines(text, len, end_of(w));
        w->gap += lines;
        w->lost += lines;
    }
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    return taken;
}

uint64_t kt_writer_lost(struct kt_writer *w)
{
    pthread_mutex_lock(&w->lock);
    const uint64_t lost = w->lost;
    pthread_mutex_unlock(&w->lock);
    return lost;
}

/* Whether a write would not block now, so that the thread only waits for a busy machine's processor. */
static bool has_room(const struct kt_writer *w)
{
    struct pollfd p = {.fd = w->fd, .events = POLLOUT};
    return !w->path && poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

/* Whether records wait in the socket. A reader that looks their sender up, as the journal does to find its unit, finds
 * none if the process has ended before it reads. */
static bool is_unread(const struct kt_writer *w)
{
#ifdef SIOCOUTQ
    int bytes;
    return w->record && ioctl(w->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
#else
    (void)w;
    return false;
#endif
}

/* Call locked. Waits until everything is written, and records are read, or nothing could be written for STALL_MS. */
static void wait_written(struct kt_writer *w)
{
    size_t before = atomic_load(&w->written);
    for (int ms = 0, stalled = 0; (waits(w) || w->busy) && ms < CLOSE_MS && stalled < STALL_MS;
         ms += TICK_MS) {
        wait_ms(&w->idle, &w->lock, now_ms() + TICK_MS);
        const size_t now = atomic_load(&w->written);
        stalled = now == before && !has_room(w) ? stalled + TICK_MS : 0;
        before = now;
    }
    for (int ms = 0; is_unread(w) && ms < STALL_MS; ms++) wait_ms(&w->idle, &w->lock, now_ms() + 1);
}

/* Call locked; unlocks. The thread ends with the writer, now or once it is no longer stuck. */
static void let_go(struct kt_writer *w)
{
    const bool at_once = !waits(w) && !w->busy;
    const pthread_t thread = w->thread;
    w->events = NULL;
    w->stop = true;
    w->detached = !at_once;
    pthread_cond_signal(&w->work);
    if (!at_once) pthread_detach(thread);
    pthread_mutex_unlock(&w->lock);
    if (!at_once) return;
    pthread_join(thread, NULL);
    destroy(w);
}

void kt_writer_close(struct kt_writer *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    wait_written(w);
    let_go(w);
}

/* ---- as an appender ---- */

struct file_appender {
    struct kt_appender appender; /* first */
    struct kt_writer *writer;
};

static void file_put(struct kt_appender *a, const char *text, size_t len)
{
    kt_writer_put(((struct file_appender *)(void *)a)->writer, text, len);
}

static void file_close(struct kt_appender *a, bool wait)
{
    struct kt_writer *w = ((struct file_appender *)(void *)a)->writer;
    pthread_mutex_lock(&w->lock);
    if (wait) wait_written(w);
    let_go(w);
    free(a);
}

int kt_writer_append_open(
    struct kt_io *io, const struct kt_append_options *options, struct kt_appender **out, struct kt_err *err)
{
    const char *path = options->path;
    *out = NULL;
    (void)io;
    int rc = to_file(path, options->real, "", 0, err);
    if (rc) return rc;
    struct file_appender *f = calloc(1, sizeof *f);
    if (!f) return kt_err_set(err, KT_ENOMEM, "%s: out of memory", path);
    rc = make(&f->writer, -1, NULL, options);
    if (rc) {
        free(f);
        return kt_err_set(err, rc, "%s: cannot start a thread to write it: %s", path, kt_strerror(rc));
    }
    f->appender = (struct kt_appender){.put = file_put, .close = file_close};
    *out = &f->appender;
    return 0;
}
