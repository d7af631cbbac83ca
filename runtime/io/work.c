/* Work that takes long (io.h) in a backend without threads: it runs at the end of the turn. */
#include <stdlib.h>
#include "io/io.h"

struct later {
    struct kt_work work;
    struct kt_job job;
    void (*done)(void *ctx);
    void *ctx;
    struct kt_turn turn;
};

static void end(struct later *l)
{
    l->job.free(l->job.arg);
    free(l);
}

static void on_turn(void *ctx)
{
    struct later *l = ctx;
    l->job.run(l->job.arg);
    l->done(l->ctx);
    end(l);
}

static void cancel(struct kt_work *work)
{
    struct later *l = (struct later *)(void *)work;
    kt_io_turn_cancel(&l->turn);
    end(l);
}

int kt_work_later(
    struct kt_io *io, const struct kt_job *job, void (*done)(void *ctx), void *ctx, struct kt_work **out)
{
    *out = NULL;
    struct later *l = calloc(1, sizeof *l);
    if (!l) return KT_ENOMEM;
    l->work.cancel = cancel;
    l->job = *job;
    l->done = done;
    l->ctx = ctx;
    kt_turn_init(&l->turn, on_turn, l);
    kt_io_turn(io, &l->turn);
    *out = &l->work;
    return 0;
}
