/* Work that takes long, in libuv's thread pool, one piece at a time: names are also looked up there.
 *
 * Invariant: the first of u->works runs, the others wait. Only the one that runs can be there after its cancel. */
#include <stdlib.h>
#include "io/uv/internal.h"

struct uv_work {
    struct kt_work work;
    struct uv_io *u;
    struct kt_job job;
    void (*done)(void *ctx); /* NULL after cancel */
    void *ctx;
    struct kt_list node;
    bool running;
    uv_work_t req;
};

static void begin_next(struct uv_io *u);

/* On a thread of the pool. */
static void run(uv_work_t *req)
{
    struct uv_work *w = req->data;
    w->job.run(w->job.arg);
}

static void end(struct uv_work *w)
{
    w->job.free(w->job.arg);
    free(w);
}

static void on_done(uv_work_t *req, int status)
{
    struct uv_work *w = req->data;
    struct uv_io *u = w->u;
    (void)status;
    kt_uv_wake(u);
    kt_list_remove(&w->node);
    begin_next(u);
    if (w->done) {
        kt_uv_ended(u);
        w->done(w->ctx);
    } else {
        kt_uv_close_done(u);
    }
    end(w);
}

static void begin_next(struct uv_io *u)
{
    if (kt_list_empty(&u->works)) return;
    struct uv_work *w = KT_CONTAINER(u->works.next, struct uv_work, node);
    if (w->running) return;
    w->running = true;
    uv_queue_work(&u->loop, &w->req, run, on_done); /* fails only without `run` */
}

static void cancel(struct kt_work *work)
{
    struct uv_work *w = (struct uv_work *)(void *)work;
    if (w->running) {
        w->done = NULL;
        kt_uv_close_begun(w->u);
        uv_cancel((uv_req_t *)&w->req); /* on_done is called either way */
        return;
    }
    kt_list_remove(&w->node);
    kt_uv_ended(w->u);
    end(w);
}

int kt_uv_work(
    struct kt_io *io, const struct kt_job *job, void (*done)(void *ctx), void *ctx, struct kt_work **out)
{
    struct uv_io *u = kt_uv(io);
    *out = NULL;
    struct uv_work *w = kt_uv_prealloc_threads(u) ? calloc(1, sizeof *w) : NULL;
    if (!w) return KT_ENOMEM;
    w->work.cancel = cancel;
    w->u = u;
    w->job = *job;
    w->done = done;
    w->ctx = ctx;
    w->req.data = w;
    kt_list_init(&w->node);
    kt_list_push(&u->works, &w->node);
    kt_uv_opened(u);
    begin_next(u);
    *out = &w->work;
    return 0;
}
