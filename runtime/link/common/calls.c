/* Delivers the results of calls on a link. The invariant is in calls.h. */
#include "link/common/calls.h"
#include <stdlib.h>
#include <string.h>

static void cancel(struct kt_open *open)
{
    struct kt_call *call = KT_CONTAINER(open, struct kt_call, open);
    if (call->stream) kt_pipe_reset(call->stream, KT_ECANCELED);
    if (call->calls->withdraw) call->calls->withdraw(call);
    kt_list_remove(&call->node);
    free(call);
}

void kt_calls_cancel(struct kt_list *waiting)
{
    while (!kt_list_empty(waiting)) cancel(&KT_CONTAINER(waiting->next, struct kt_call, node)->open);
}

static void deliver(void *ctx)
{
    struct kt_calls *c = ctx;
    struct kt_list *n;
    while ((n = kt_list_pop(&c->ready))) {
        struct kt_call *call = KT_CONTAINER(n, struct kt_call, node);
        const struct kt_call done = *call;
        const struct kt_err *err = done.err.code ? &done.err : NULL;
        free(call);
        if (done.opened)
            done.opened(done.ctx, done.stream, err);
        else
            done.probed(done.ctx, done.rtt_us, err);
    }
}

void kt_calls_init(struct kt_calls *c, struct kt_io *io, void (*withdraw)(struct kt_call *call))
{
    *c = (struct kt_calls){.io = io, .withdraw = withdraw};
    kt_list_init(&c->ready);
    kt_turn_init(&c->turn, deliver, c);
}

void kt_calls_end(struct kt_calls *c)
{
    c->ended = true;
    kt_calls_cancel(&c->ready);
    kt_io_turn_cancel(&c->turn);
}

struct kt_call *kt_call_new(struct kt_calls *c, size_t size, const struct kt_request *r)
{
    struct kt_call *call = calloc(1, size);
    if (!call) return NULL;
    call->open.cancel = cancel;
    call->calls = c;
    call->opened = r->opened;
    call->probed = r->probed;
    call->policy = r->options.policy;
    call->ctx = r->ctx;
    kt_list_init(&call->node);
    return call;
}

static size_t size_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

size_t kt_call_texts(const struct kt_open_options *o)
{
    return size_of(o->target) + size_of(o->client) + size_of(o->name);
}

static const char *keep(char **to, const char *text)
{
    if (!text) return NULL;
    const size_t n = size_of(text);
    char *kept = memcpy(*to, text, n);
    *to += n;
    return kept;
}

void kt_call_keep(struct kt_open_options *to, const struct kt_open_options *o, char *texts)
{
    *to = (struct kt_open_options){.target = keep(&texts, o->target),
        .client = keep(&texts, o->client),
        .name = keep(&texts, o->name),
        .policy = o->policy};
}

/* The call has its result. */
static void answer(struct kt_call *call)
{
    struct kt_calls *c = call->calls;
    kt_list_remove(&call->node);
    if (c->ended) {
        cancel(&call->open);
        return;
    }
    kt_list_push(&c->ready, &call->node);
    kt_io_turn(c->io, &c->turn);
}

void kt_call_opened(struct kt_call *call, struct kt_pipe *stream)
{
    call->stream = stream;
    answer(call);
}

void kt_call_probed(struct kt_call *call, uint64_t rtt_us)
{
    call->rtt_us = rtt_us;
    answer(call);
}

void kt_call_fail(struct kt_call *call, const struct kt_err *err)
{
    call->err = *err;
    answer(call);
}

void kt_call_fail_code(struct kt_call *call, int code)
{
    struct kt_err err;
    kt_err_set(&err, code, "%s", kt_strerror(code));
    kt_call_fail(call, &err);
}

void kt_calls_fail(struct kt_list *waiting, const struct kt_err *err)
{
    while (!kt_list_empty(waiting)) kt_call_fail(KT_CONTAINER(waiting->next, struct kt_call, node), err);
}
