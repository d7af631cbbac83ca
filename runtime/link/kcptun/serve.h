/* Serves calls on a link with a session, and accepts the peer's streams. */
#ifndef KT_LINK_KCPTUN_SERVE_H
#define KT_LINK_KCPTUN_SERVE_H

#include "link/common/calls.h"
#include "link/kcptun/session.h"

struct kt_kcptun_call {
    struct kt_call call; /* first */
    struct kt_kcptun_session_probe probe;
};

void kt_kcptun_calls_init(struct kt_calls *c, struct kt_kcptun_context *context);

/* A new call in no list, for kt_kcptun_call_serve; NULL: out of memory. */
struct kt_call *kt_kcptun_call_new(struct kt_calls *c, const struct kt_request *r);

/* Fails an open that names a target: this wire has no way to tell the peer. */
int kt_kcptun_no_target(struct kt_err *err);

/* Opens the call's stream in the session (encrypted with --tuncrypt), or starts its probe. False if the
 * session can open no more streams because its ids are used up. */
bool kt_kcptun_call_serve(
    struct kt_call *call, struct kt_kcptun_context *context, struct kt_kcptun_session *s);

/* Accepts a stream that the peer opened: returns the pipe to use, decrypted with --tuncrypt. NULL: refused,
 * because the features of the two ends do not match; *logged makes sure that this is logged only once. */
struct kt_pipe *kt_kcptun_admit(struct kt_kcptun_context *context, const struct kt_kcptun_session *s,
    struct kt_pipe *stream, bool *logged);

#endif
