/* The control socket: a unix socket on which programs of the same user, or root, send requests (request.h) and get
 * answers, one JSON object per line.
 *
 * Nothing that a client does costs the tunnel more than a bound: KT_CONTROL_CLIENTS at a time, one request of each at a
 * time, KT_CONTROL_LINE bytes of input and KT_CONTROL_OUT of output kept, KT_CONTROL_STREAM_OUT for a trace. A client
 * that does not read, that does not finish a line, or that connects and asks nothing is dropped after
 * KT_CONTROL_PATIENCE_US. */
#ifndef KT_CONTROL_SERVER_H
#define KT_CONTROL_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_CONTROL_CLIENTS 16u
#define KT_CONTROL_OUT (1024u * 1024)
#define KT_CONTROL_STREAM_OUT (17u * 1024 * 1024) /* instead, for a stream that asks for it */
#define KT_CONTROL_PATIENCE_US 5000000u

struct kt_control_client;
struct kt_control_request;
struct kt_control_server;
struct kt_io;
struct kt_log;

struct kt_control_events {
    /* A request, valid during the call. The callee answers it with one of the calls below, now or later. No other
     * request of this client comes until then. */
    void (*request)(void *ctx, struct kt_control_client *c, const struct kt_control_request *r);
    /* The client has gone before its request was answered, or while it follows a stream. After the end of a stream's
     * input, a last line may be sent to it. */
    void (*gone)(void *ctx, struct kt_control_client *c);
};

/* Listens at a path, where only this user can connect. A stale socket file is replaced; KT_EINUSE: a live one. Free
 * with kt_control_server_close. */
int kt_control_server_open(struct kt_io *io, const struct kt_log *log, const char *path,
    const struct kt_control_events *events, void *ctx, struct kt_control_server **out, struct kt_err *err);
/* Ends all clients, without calling `gone`, and removes the socket file. NULL is allowed. */
void kt_control_server_close(struct kt_control_server *s);

/* Answers the client's request with a result: JSON on one line. One that is too large becomes an error. */
void kt_control_answer(struct kt_control_client *c, const char *json, size_t len);
/* Answers it with an error. */
void kt_control_refuse(struct kt_control_client *c, int code, const char *text);
/* Answers it, with a result of true, and begins a stream: from now on the client gets lines of kt_control_stream, and
 * its input is ignored; the stream ends with it, once the client has what was sent. max: most bytes that may wait for
 * the client. */
void kt_control_stream_begin(struct kt_control_client *c, size_t max);
/* Sends a line {"NAME": json}, at the end of the turn. A client that does not keep up is dropped, and `gone` is
 * called. */
void kt_control_stream(struct kt_control_client *c, const char *name, const char *json, size_t len);
/* Bytes of the stream that wait for the client to read. */
size_t kt_control_backlog(const struct kt_control_client *c);

#endif
