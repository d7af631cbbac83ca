/* Shared by the files of reading and writing: lua_pipe_io.c (events, arguments, errors), lua_pipe_read.c and
 * lua_pipe_write.c. No other file includes it. */
#ifndef KT_SCRIPT_API_LUA_PIPE_IO_H
#define KT_SCRIPT_API_LUA_PIPE_IO_H

#include "script/api/lua_pipe.h"

/* A result of a step, which does what is possible without waiting: not done yet; 0 is done, negative is a KT_E… */
#define KT_LUA_IO_WAIT 1
#define KT_LUA_IO_CLOSED "closed during the call"
#define KT_LUA_IO_NAMES(method) "conn:" method, "stream:" method

/* ---- lua_pipe_io.c ---- */

/* The handle and the task of a call that waits, and its name in *what; raises if either is missing or the pipe is
 * closed. */
struct kt_lua_pipe *kt_lua_io_begin(
    lua_State *L, const char *of_conn, const char *of_stream, const char **what, struct kt_task **t);
/* Raises: another task is in such a call. does: "reading from it" */
void kt_lua_io_one_at_a_time(lua_State *L, const char *what, const char *does, const struct kt_task *other);
/* Argument idx - 1 of a call; raises if it is something else. The string is anchored by the stack. */
const char *kt_lua_io_string_arg(lua_State *L, int idx, const char *what, size_t *len);
/* The timeout in the table at idx, in µs. */
uint64_t kt_lua_io_timeout_arg(lua_State *L, int idx, const char *what);
/* The error that broke the pipe, or 0. Notes that the script will see it. */
int kt_lua_io_broken(struct kt_lua_pipe *h);
/* The text for a pipe's error code, with the reason given by the peer, if any; in `out`, or static. */
const char *kt_lua_io_sentence(const struct kt_lua_pipe *h, int code, char *out, size_t size);
/* Returns nil and an err: the pipe was closed during the call. */
int kt_lua_io_closed_meanwhile(lua_State *L, const char *what);
/* Ends the wait of a call, with 0 or a code and its sentence. */
void kt_lua_io_wake(struct kt_task *t, const char *what, int code, const char *text);

/* ---- lua_pipe_read.c, lua_pipe_write.c ---- */

/* An event: ends the wait if the call is done, or can never be. */
void kt_lua_read_retry(struct kt_lua_pipe *h);
void kt_lua_write_retry(struct kt_lua_pipe *h);
/* Ends the wait, because the pipe is about to be closed. */
void kt_lua_read_interrupt(struct kt_lua_pipe *h);
void kt_lua_write_interrupt(struct kt_lua_pipe *h);
/* Bytes that the waiting call lacks; 0: none waits. */
size_t kt_lua_read_wanted(const struct kt_lua_pipe *h);

#endif
