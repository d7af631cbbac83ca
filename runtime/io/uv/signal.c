/* Signals. Invariant: the user's callback runs from the loop, never from a signal handler. */
#include <assert.h>
#include <stdlib.h>
#include "io/uv/internal.h"

struct uv_signal {
    struct kt_signal signal;
    struct uv_io *u;
    uv_signal_t handle;
    void (*fn)(void *ctx, int signum);
    void *ctx;
};

static void on_signal(uv_signal_t *handle, int signum)
{
    struct uv_signal *s = handle->data;
    kt_uv_wake(s->u);
    s->fn(s->ctx, signum);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_signal *s = handle->data;
    kt_uv_close_done(s->u);
    free(s);
}

static void signal_close(struct kt_signal *signal)
{
    struct uv_signal *s = (struct uv_signal *)(void *)signal;
    assert(!uv_is_closing((uv_handle_t *)&s->handle));
    kt_uv_close_begun(s->u);
    uv_close((uv_handle_t *)&s->handle, on_closed);
}

int kt_uv_signal_watch(struct kt_io *io, int signum, void (*fn)(void *ctx, int signum), void *ctx,
    struct kt_signal **out, struct kt_err *err)
{
    *out = NULL;
    struct uv_signal *s = calloc(1, sizeof *s);
    if (!s) return kt_err_set(err, KT_ENOMEM, "out of memory");
    s->signal.close = signal_close;
    s->u = kt_uv(io);
    s->fn = fn;
    s->ctx = ctx;
    int r = uv_signal_init(&s->u->loop, &s->handle);
    if (r < 0) {
        free(s);
        return kt_err_set(err, kt_uv_code(r), "cannot watch signal %d: %s", signum, uv_strerror(r));
    }
    s->handle.data = s;
    kt_uv_opened(s->u);
    r = uv_signal_start(&s->handle, on_signal, signum);
    if (r < 0) {
        signal_close(&s->signal);
        return kt_err_set(err, kt_uv_code(r), "cannot watch signal %d: %s", signum, uv_strerror(r));
    }
    *out = &s->signal;
    return 0;
}
