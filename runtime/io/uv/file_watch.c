/* Watches a file by its folder, since editors replace files instead of writing to them. Names that begin with ".."
 * count too: a Kubernetes volume changes all its files at once by replacing the link "..data".
 *
 * The folder shows nothing of a change behind a symbolic link: of the file that it leads to, or of a link on the way
 * that is replaced. So a path with a link in it is also looked at every POLL_US, and so is one whose folder was moved
 * or removed. A path without links costs nothing while nothing happens.
 *
 * Invariant: `seen` is what the path led to when the timer was set last. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "io/uv/internal.h"

#define POLL_US UINT64_C(1000000)

/* The file that a path leads to; all zero: none. */
struct seen {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec modified, changed;
};

struct uv_file_watch {
    struct kt_file_watch watch;
    struct uv_io *u;
    uv_fs_event_t handle;
    struct kt_timer poll;
    struct seen seen;
    bool folder_is_gone; /* moved or removed since the watch began */
    void (*fn)(void *ctx);
    void *ctx;
    const char *name; /* the last part of path */
    char path[];
};

/* Whether a part of the path is a symbolic link. */
static bool has_link(const char *path)
{
    char part[PATH_MAX];
    struct stat st;
    for (size_t n = 0; path[n];) {
        n += strspn(path + n, "/");
        n += strcspn(path + n, "/");
        memcpy(part, path, n);
        part[n] = '\0';
        if (lstat(part, &st) == 0 && S_ISLNK(st.st_mode)) return true;
    }
    return false;
}

static struct seen look(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return (struct seen){0};
    return (struct seen){.dev = st.st_dev,
        .ino = st.st_ino,
        .size = st.st_size,
        .modified = st.st_mtim,
        .changed = st.st_ctim};
}

static bool is_at(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_same(const struct seen *a, const struct seen *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && is_at(a->modified, b->modified) &&
           is_at(a->changed, b->changed);
}

/* Looks at the path again later if its folder does not show every change. */
static void poll_if_needed(struct uv_file_watch *w)
{
    if (!w->folder_is_gone && !has_link(w->path)) {
        kt_io_timer_cancel(&w->u->io, &w->poll);
        return;
    }
    w->seen = look(w->path);
    kt_io_timer_set(&w->u->io, &w->poll, kt_io_now(&w->u->io) + POLL_US);
}

static void on_poll(void *ctx)
{
    struct uv_file_watch *w = ctx;
    const struct seen before = w->seen;
    poll_if_needed(w);
    if (!is_same(&before, &w->seen)) w->fn(w->ctx); /* may close the watch */
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct uv_file_watch *w = handle->data;
    (void)status;
    const bool of_folder = name && (!*name || strcmp(name, ".") == 0);
    if (of_folder && events & UV_RENAME) w->folder_is_gone = true;
    if (name && !of_folder && strcmp(name, w->name) != 0 && strncmp(name, "..", 2) != 0) return;
    kt_uv_wake(w->u);
    poll_if_needed(w);
    w->fn(w->ctx);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_file_watch *w = handle->data;
    kt_uv_close_done(w->u);
    free(w);
}

static void watch_close(struct kt_file_watch *watch)
{
    struct uv_file_watch *w = (struct uv_file_watch *)(void *)watch;
    assert(!uv_is_closing((uv_handle_t *)&w->handle));
    kt_io_timer_cancel(&w->u->io, &w->poll);
    kt_uv_close_begun(w->u);
    uv_close((uv_handle_t *)&w->handle, on_closed);
}

int kt_uv_file_watch(struct kt_io *io, const char *path, void (*fn)(void *ctx), void *ctx,
    struct kt_file_watch **out, struct kt_err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    *out = NULL;
    if (!*name || strlen(name) > NAME_MAX || strlen(path) >= sizeof folder)
        return kt_err_set(err, KT_EINVAL, "%s: not the path of a file", path);
    kt_system_folder(path, folder, sizeof folder);
    struct uv_file_watch *w = calloc(1, sizeof *w + strlen(path) + 1);
    if (!w) return kt_err_set(err, KT_ENOMEM, "out of memory");
    w->watch.close = watch_close;
    w->u = kt_uv(io);
    w->fn = fn;
    w->ctx = ctx;
    strcpy(w->path, path);
    w->name = w->path + (name - path);
    kt_timer_init(&w->poll, on_poll, w);
    int r = uv_fs_event_init(&w->u->loop, &w->handle);
    if (r < 0) {
        free(w);
        return kt_err_set(err, kt_uv_code(r), "%s: cannot be watched: %s", path, uv_strerror(r));
    }
    w->handle.data = w;
    kt_uv_opened(w->u);
    r = uv_fs_event_start(&w->handle, on_event, folder, 0);
    if (r < 0) {
        watch_close(&w->watch);
        return kt_err_set(err, kt_uv_code(r), "%s: cannot be watched: %s", path, uv_strerror(r));
    }
    poll_if_needed(w);
    *out = &w->watch;
    return 0;
}
