/* The queues of tasks that are ready to run, and the share of a loop turn that they get. */
#ifndef KT_SCRIPT_CORE_READY_H
#define KT_SCRIPT_CORE_READY_H

#include <stdbool.h>

struct kt_io;
struct kt_list;
struct kt_origin;
struct kt_ready;

struct kt_ready_ops {
    /* Runs a slice of the task with that node, which is out of its queue. Returns where the task was spawned. */
    const struct kt_origin *(*run)(struct kt_list *node);
    /* Whether no further task may run. */
    bool (*over)(void *ctx);
    /* All tasks that were ready have run. */
    void (*idle)(void *ctx);
    /* As in kt_runtime_opts. */
    void (*livelock)(void *ctx, const char *text);
    void *livelock_ctx;
};

/* NULL: out of memory. Free with kt_ready_free. */
struct kt_ready *kt_ready_new(struct kt_io *io, const struct kt_ready_ops *ops, void *ctx);
/* NULL is allowed. */
void kt_ready_free(struct kt_ready *r);
/* Runs nothing more. */
void kt_ready_stop(struct kt_ready *r);

/* Adds a node; it runs at the end of this turn, or in one of the next. own: the script itself made it ready. */
void kt_ready_push(struct kt_ready *r, struct kt_list *node, bool own);
/* Takes out a node that is in a queue. */
void kt_ready_remove(struct kt_ready *r, struct kt_list *node);

#endif
