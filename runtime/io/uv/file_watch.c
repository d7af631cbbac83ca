/* Watches a file by its folder, since editors replace files instead of writing to them. Names that begin with ".."
 * count too: a Kubernetes volume changes all its files at once by replacing the link "..data". */
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/uv/internal.h"

struct uv_file_watch {
    struct kt_file_watch watch;
    struct uv_io *u;
    uv_fs_event_t handle;
    void (*fn)(void *ctx);
    void *ctx;
    char name[NAME_MAX + 1];
};

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct uv_file_watch *w = handle->data;
    (void)events, (void)status;
    if (name && strcmp(name, w->name) != 0 && strncmp(name, "..", 2) != 0) return;
    kt_uv_wake(w->u);
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
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    struct uv_file_watch *w = calloc(1, sizeof *w);
    if (!w) return kt_err_set(err, KT_ENOMEM, "out of memory");
    w->watch.close = watch_close;
    w->u = kt_uv(io);
    w->fn = fn;
    w->ctx = ctx;
    strcpy(w->name, name);
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
    *out = &w->watch;
    return 0;
}
