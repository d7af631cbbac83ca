/* Serves opens and probes with a session, and accepts the peer's streams.
 *
 * A probe in progress is in its session's list, so a call that is cancelled takes it out there. */
#include "link/kcptun/serve.h"
#include "link/kcptun/features.h"
#include "link/kcptun/tuncrypt.h"

static struct kt_kcptun_call *of(struct kt_call *call)
{
    return KT_CONTAINER(call, struct kt_kcptun_call, call);
}

static void withdraw(struct kt_call *call)
{
    kt_kcptun_session_probe_cancel(&of(call)->probe);
}

void kt_kcptun_calls_init(struct kt_calls *c, struct kt_kcptun_context *context)
{
    kt_calls_init(c, context->io, withdraw);
}

static void on_probed(struct kt_kcptun_session_probe *p, uint64_t rtt_us, int code)
{
    struct kt_call *call = &KT_CONTAINER(p, struct kt_kcptun_call, probe)->call;
    if (code)
        kt_call_fail_code(call, code);
    else
        kt_call_probed(call, rtt_us);
}

struct kt_call *kt_kcptun_call_new(struct kt_calls *c, const struct kt_request *r)
{
    struct kt_call *call = kt_call_new(c, sizeof(struct kt_kcptun_call), r);
    if (!call) return NULL;
    of(call)->probe.done = on_probed;
    kt_list_init(&of(call)->probe.node);
    return call;
}

int kt_kcptun_no_target(struct kt_err *err)
{
    return kt_err_set(
        err, KT_ENOTSUP, "kcptun's wire cannot carry a target; use kt's wire, or leave out `to`");
}

bool kt_kcptun_call_serve(
    struct kt_call *call, struct kt_kcptun_context *context, struct kt_kcptun_session *s)
{
    struct kt_pipe *stream = NULL, *clear;
    if (!call->opened) {
        kt_list_remove(&call->node);
        kt_kcptun_session_probe(s, &of(call)->probe);
        return true;
    }
    int rc = kt_kcptun_session_open(s, &stream);
    if (rc == KT_ELIMIT) return false;
    if (!rc && context->cfg.tuncrypt) {
        rc = kt_kcptun_tuncrypt(context->io, stream, context->pass, true, &clear);
        if (rc)
            kt_pipe_reset(stream, rc);
        else
            stream = clear;
    }
    if (rc) {
        kt_call_fail_code(call, rc);
        return true;
    }
    kt_stream_set(stream, &call->policy);
    kt_call_opened(call, stream);
    return true;
}

struct kt_pipe *kt_kcptun_admit(struct kt_kcptun_context *context, const struct kt_kcptun_session *s,
    struct kt_pipe *stream, bool *logged)
{
    uint16_t features = 0;
    const bool hello = kt_kcptun_session_hello(s, &features);
    struct kt_pipe *clear = stream;
    struct kt_err why;
    if (!kt_kcptun_features_agree(
            context->features, hello, features, context->client ? "the server" : "the client", &why)) {
        if (!*logged)
            kt_log_with(context->log, KT_LOG_ERROR, kt_log_peer(kt_kcptun_session_peer_text(s)),
                "%s: %s; its streams are refused", kt_kcptun_session_peer_text(s), why.text);
        *logged = true;
        kt_pipe_reset(stream, KT_EMISMATCH);
        return NULL;
    }
    if (context->cfg.tuncrypt && kt_kcptun_tuncrypt(context->io, stream, context->pass, false, &clear)) {
        kt_pipe_reset(stream, KT_ENOMEM);
        return NULL;
    }
    return clear;
}
