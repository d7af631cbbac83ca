/* Conns and streams as a script has them. */
#ifndef KT_SCRIPT_API_LUA_PIPE_H
#define KT_SCRIPT_API_LUA_PIPE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "script/api/lua_peer.h"
#include "script/core/handle.h"
#include "script/core/task.h"

struct kt_conn;
struct kt_io;
struct kt_iov;
struct kt_origin;
struct kt_peer_info;
struct kt_pipe;
struct kt_runtime;
struct kt_shared_limit;
struct kt_task;
struct kt_lua_reading;
struct kt_lua_writing;
struct kt_lua_limits;
struct kt_lua_look;
struct kt_service;
struct kt_splice;

struct kt_lua_pipe {
    struct kt_owned owned;          /* first */
    struct kt_list open;            /* in kt_runtime_open_pipes, while it has a pipe or a splice has it */
    const char *peer;               /* the peer's address, anchored by the handle, or NULL */
    struct kt_pipe *pipe;           /* NULL: closed, or taken over by a splice */
    struct kt_splice *splice;       /* the splice that took it over, or NULL */
    struct kt_lua_pipe *other;      /* the other pipe of the splice */
    struct kt_task *splicing;       /* the task that waits for the splice; valid while that has the pipe */
    uint64_t number;                /* kt_runtime_number_pipe */
    struct kt_lua_limits *limits;   /* NULL: none was ever set */
    struct kt_conn *conn;           /* NULL: a stream, or ended */
    bool accepted;                  /* a stream that the peer opened */
    bool shut;                      /* the script called :shutdown */
    bool heard;                     /* the script has seen the error */
    bool second;                    /* b of its splice */
    int code;                       /* the error that broke it, or 0 */
    struct kt_lua_reading *reading; /* the call that waits for data, or NULL */
    struct kt_lua_writing *writing; /* the call that waits for room, or NULL */
    struct kt_task *asking;         /* the task that waits until the peer knows of the stream, or NULL */
    struct kt_task *served_by;      /* the task to stop if the pipe breaks (stop_if_gone), or NULL */
    uint64_t bytes_in, bytes_out;   /* totals, once it has ended */
    uint64_t born;                  /* µs; once it has ended: its lifetime */
    struct kt_lua_look *look;       /* the last :stats sample; NULL: never called */
};

/* Changes of the shared limits of a pipe, by kt_limits_way. */
struct kt_lua_shares {
    bool given[2];
    struct kt_shared_limit *limit[2]; /* NULL: none any more */
};

/* Uservalues of a stream's handle beyond those of lua_peer.h: of one that a pool opened, its link's name there. */
enum { KT_STREAM_LINK = KT_PEER_USERVALUES + 1, KT_STREAM_USERVALUES = KT_STREAM_LINK };

/* Pushes a handle without a pipe. */
struct kt_lua_pipe *kt_lua_pipe_push(lua_State *L, const char *kind);
/* Moves the pipe that the task holds (kt_task_hold_pipe) into the handle on top of the stack, which the task
 * then owns. Raises when out of memory; the task then still holds the pipe. */
void kt_lua_pipe_take(lua_State *L, struct kt_task *t);
/* The conn or stream at idx, open or not; NULL if it is something else. */
struct kt_lua_pipe *kt_lua_pipe_test(lua_State *L, int idx);
/* The open conn or stream at idx, or an error. */
struct kt_lua_pipe *kt_lua_pipe_arg(lua_State *L, int idx, const char *what);
/* Returns nil and an err that says that the script holds KT_PIPES_MAX conns and streams. */
int kt_lua_pipe_too_many(lua_State *L, const char *what);
/* Runs the service's handler in a task that owns the pipe; conn: the same if it is a conn, or NULL; peer: of a
 * stream, or NULL. Resets the pipe if no task can be created. */
void kt_lua_pipe_serve(
    const struct kt_service *s, struct kt_pipe *pipe, struct kt_conn *conn, const struct kt_peer_info *peer);
/* Pushes the table of figures of a splice of pipes or flows, a kt_splice_result that was put in the task. */
void kt_lua_splice_push(lua_State *L, const struct kt_task *t);
/* Hands both to a splice. To the script they are closed, except for :set and :stats. Both still count in
 * kt_runtime_pipes. */
void kt_lua_pipe_give(
    struct kt_lua_pipe *a, struct kt_lua_pipe *b, struct kt_splice *splice, struct kt_task *t);
/* Ends the pipe of a handle from outside the script: the far side sees this reason, and so does the script's call that
 * uses it. */
void kt_lua_pipe_abort(struct kt_lua_pipe *h, int code, const char *text);
/* The same for a handle whose pipe a splice has, and for the other pipe of the splice (lua_splice.c). */
void kt_lua_splice_abort(struct kt_lua_pipe *h, int code, const char *text);
/* Takes the open pipe out of the handle, which is closed to the script from then on; its limits end. The caller ends
 * the pipe, which no longer counts in kt_runtime_pipes. */
struct kt_pipe *kt_lua_pipe_release(struct kt_lua_pipe *h);
/* Records the totals of a's splice, which has ended both pipes or is about to. */
void kt_lua_pipe_moved(struct kt_lua_pipe *a, uint64_t a_to_b, uint64_t b_to_a, uint64_t now);
/* Subscribes to the pipe's events, whether or not a call waits (lua_pipe_io.c). */
void kt_lua_pipe_attend(struct kt_lua_pipe *h);

/* The conn or stream that a method was called on, open or not; raises for anything else. */
struct kt_lua_pipe *kt_lua_pipe_self(lua_State *L, const char *method);

/* ---- limits and statistics (lua_pipe_set.c) ---- */

int kt_lua_pipe_set(lua_State *L);
int kt_lua_pipe_stats(lua_State *L);
/* The pipe, whether the handle or a splice holds it; NULL once it has ended. */
struct kt_pipe *kt_lua_pipe_anywhere(const struct kt_lua_pipe *h);
/* Whether the pipe is alive. False also once an idle or total limit has ended it. */
bool kt_lua_pipe_there(const struct kt_lua_pipe *h);

/* ---- moving bytes within the limits (lua_pipe_limits.c) ---- */

/* As kt_pipe_peek, _consume and _write on h->pipe. When a rate allows no more, kt_lua_pipe_retry follows once
 * it does. */
size_t kt_lua_limits_peek(struct kt_lua_pipe *h, struct kt_iov *iov, size_t max);
void kt_lua_limits_consume(struct kt_lua_pipe *h, size_t n);
size_t kt_lua_limits_write(struct kt_lua_pipe *h, const void *data, size_t n);
/* Whether bytes have arrived that kt_lua_limits_peek does not show yet. */
bool kt_lua_limits_held(const struct kt_lua_pipe *h);
/* 0, or KT_ENOMEM. The pipe is alive (kt_lua_pipe_there), in the handle or in a splice. */
int kt_lua_limits_set(struct kt_lua_pipe *h, struct kt_io *io, const struct kt_limits_terms *terms,
    const struct kt_lua_shares *shares);
void kt_lua_limits_terms(const struct kt_lua_pipe *h, struct kt_limits_terms *out);
/* Whether a time limit has ended the pipe. h->pipe is then a stand-in that carries nothing. */
bool kt_lua_limits_ended(const struct kt_lua_pipe *h);
/* From now on the splice enforces the limits of its pipe. */
void kt_lua_limits_give(struct kt_lua_pipe *h);
/* The pipe has ended: nothing is enforced any more. */
void kt_lua_limits_stop(struct kt_lua_pipe *h);
void kt_lua_limits_free(struct kt_lua_pipe *h);

/* ---- for kt.pool (lua_pipe_pool.c) ---- */

/* An event: ends the wait for the peer to know of the stream, if it does or never will. */
void kt_lua_pipe_answer(struct kt_lua_pipe *h);
/* Ends that wait because the stream is about to be closed. */
void kt_lua_pipe_stop_asking(struct kt_lua_pipe *h);
/* Adds the functions to kt.core, the table on top of the stack. */
void kt_lua_pipe_pool(lua_State *L);

/* ---- reading and writing (lua_pipe_read.c, lua_pipe_write.c, lua_pipe_io.c) ---- */

int kt_lua_pipe_read(lua_State *L);
int kt_lua_pipe_read_exactly(lua_State *L);
int kt_lua_pipe_read_until(lua_State *L);
int kt_lua_pipe_peek(lua_State *L);
int kt_lua_pipe_write(lua_State *L);
int kt_lua_pipe_await_room(lua_State *L);
int kt_lua_pipe_write_now(lua_State *L);
int kt_lua_pipe_stop_if_gone(lua_State *L);
int kt_lua_pipe_is_gone(lua_State *L);
int kt_lua_pipe_shutdown(lua_State *L);
/* Lets the calls that wait on the pipe try again. */
void kt_lua_pipe_retry(struct kt_lua_pipe *h);
/* Ends the calls that wait on the pipe, which is about to be closed. */
void kt_lua_pipe_interrupt(struct kt_lua_pipe *h);
/* Registers the metatables that these calls need. */
void kt_lua_pipe_io(lua_State *L);

#endif
