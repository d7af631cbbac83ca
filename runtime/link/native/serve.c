/* Serves opens and probes. A probe in progress is in its association's list, so a call that is cancelled takes it out
 * there. */
#include "link/native/serve.h"
#include <stdlib.h>

/* `call` first: it is freed as a kt_call. The texts lie behind it. */
struct native_call {
    struct kt_call call;
    struct kt_native_probe probe;
    struct kt_open_options options;
    char texts[];
};

/* Why an open that times out had to wait. */
static const struct kt_err crowded = {
    KT_ELIMIT, "the link has as many streams open as it or its peer allows (max_streams, max_buffered)"};

static struct native_call *of(struct kt_call *call)
{
    return KT_CONTAINER(call, struct native_call, call);
}

static void withdraw(struct kt_call *call)
{
    kt_native_association_probe_cancel(&of(call)->probe);
}

void kt_native_calls_init(struct kt_calls *c, struct kt_io *io)
{
    kt_calls_init(c, io, withdraw);
}

static void on_probed(struct kt_native_probe *p, uint64_t rtt_us, int code)
{
    struct kt_call *call = &KT_CONTAINER(p, struct native_call, probe)->call;
    if (code)
        kt_call_fail_code(call, code);
    else
        kt_call_probed(call, rtt_us);
}

struct kt_call *kt_native_call_new(struct kt_calls *c, const struct kt_request *r)
{
    struct kt_call *call = kt_call_new(c, sizeof(struct native_call) + kt_call_texts(&r->options), r);
    if (!call) return NULL;
    struct native_call *n = of(call);
    kt_call_keep(&n->options, &r->options, n->texts);
    n->probe.done = on_probed;
    kt_list_init(&n->probe.node);
    return call;
}

bool kt_native_call_serve(struct kt_call *call, struct kt_native_association *a)
{
    struct native_call *n = of(call);
    struct kt_pipe *stream;
    if (!call->opened) {
        kt_list_remove(&call->node);
        kt_native_association_probe(a, &n->probe);
        return true;
    }
    const int rc = kt_native_association_open(a, &n->options, &stream);
    if (rc == KT_EAGAIN) {
        call->open.why = &crowded;
        return false;
    }
    if (rc)
        kt_call_fail_code(call, rc);
    else
        kt_call_opened(call, stream);
    return true;
}

void kt_native_calls_serve(struct kt_list *waiting, struct kt_native_association *a)
{
    while (!kt_list_empty(waiting) &&
           kt_native_call_serve(KT_CONTAINER(waiting->next, struct kt_call, node), a)) {
    }
}

void kt_native_calls_add(struct kt_list *waiting, struct kt_call *call)
{
    kt_list_push(call->opened ? waiting : waiting->next, &call->node);
}
