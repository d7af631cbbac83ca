/* See calls.h. */
#include "link/kcptun/calls.h"
#include <stdlib.h>
#include "link/kcptun/features.h"
#include "link/kcptun/tuncrypt.h"

static void cancel(struct kt_open *open)
{
    struct kt_call *call = KT_CONTAINER(open, struct kt_call, open);
    if (call->stream) kt_pipe_reset(call->stream, KT_ECANCELED);
    kt_kcptun_session_probe_cancel(&call->probe);
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

void kt_calls_init(struct kt_calls *c, struct kt_kcptun_context *sh)
{
    *c = (struct kt_calls){.sh = sh};
    kt_list_init(&c->ready);
    kt_turn_init(&c->turn, deliver, c);
}

void kt_calls_end(struct kt_calls *c)
{
    c->ended = true;
    kt_calls_cancel(&c->ready);
    kt_io_turn_cancel(&c->turn);
}

/* It has its result. */
static void answer(struct kt_call *call)
{
    struct kt_calls *c = call->calls;
    kt_list_remove(&call->node);
    if (c->ended) {
        cancel(&call->open);
        return;
    }
    kt_list_push(&c->ready, &call->node);
    kt_io_turn(c->sh->io, &c->turn);
}

static void probed(struct kt_kcptun_session_probe *p, uint64_t rtt_us, int code)
{
    struct kt_call *call = KT_CONTAINER(p, struct kt_call, probe);
    call->rtt_us = rtt_us;
    if (code) kt_err_set(&call->err, code, "%s", kt_strerror(code));
    answer(call);
}

struct kt_call *kt_call_new(struct kt_calls *c, kt_open_cb opened, kt_probe_cb probed_cb, void *ctx)
{
    struct kt_call *call = calloc(1, sizeof *call);
    if (!call) return NULL;
    call->open.cancel = cancel;
    call->calls = c;
    call->opened = opened;
    call->probed = probed_cb;
    call->ctx = ctx;
    call->probe.done = probed;
    kt_list_init(&call->node);
    kt_list_init(&call->probe.node);
    return call;
}

void kt_call_fail(struct kt_call *call, const struct kt_err *err)
{
    call->err = *err;
    answer(call);
}

void kt_calls_fail(struct kt_list *waiting, const struct kt_err *err)
{
    while (!kt_list_empty(waiting)) kt_call_fail(KT_CONTAINER(waiting->next, struct kt_call, node), err);
}

bool kt_call_serve(struct kt_call *call, struct kt_kcptun_session *s)
{
    struct kt_kcptun_context *sh = call->calls->sh;
    struct kt_pipe *stream = NULL, *clear;
    if (!call->opened) {
        kt_list_remove(&call->node);
        kt_kcptun_session_probe(s, &call->probe);
        return true;
    }
    int rc = kt_kcptun_session_open(s, &stream);
    if (rc == KT_ELIMIT) return false;
    if (!rc && sh->cfg.tuncrypt) {
        rc = kt_tuncrypt(sh->io, stream, sh->pass, true, &clear);
        if (rc)
            kt_pipe_reset(stream, rc);
        else
            stream = clear;
    }
    if (!rc) kt_stream_set(stream, &call->policy);
    call->stream = rc ? NULL : stream;
    if (rc) kt_err_set(&call->err, rc, "%s", kt_strerror(rc));
    answer(call);
    return true;
}

struct kt_pipe *kt_kcptun_admit(
    struct kt_kcptun_context *sh, const struct kt_kcptun_session *s, struct kt_pipe *stream, bool *told)
{
    uint16_t features = 0;
    const bool hello = kt_kcptun_session_hello(s, &features);
    struct kt_pipe *clear = stream;
    struct kt_err why;
    if (!kt_kcptun_features_agree(
            sh->features, hello, features, sh->client ? "the server" : "the client", &why)) {
        if (!*told)
            kt_log(sh->log, KT_LOG_ERROR, "%s: %s; its streams are refused", kt_kcptun_session_peer_text(s),
                why.text);
        *told = true;
        kt_pipe_reset(stream, KT_EMISMATCH);
        return NULL;
    }
    if (sh->cfg.tuncrypt && kt_tuncrypt(sh->io, stream, sh->pass, false, &clear)) {
        kt_pipe_reset(stream, KT_ENOMEM);
        return NULL;
    }
    return clear;
}
