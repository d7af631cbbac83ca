/* Logs failed tasks: the error, the script's lines, and where the task was spawned.
 *
 * A handler that fails for each conn must not fill the disk with the same lines. For each line that spawns
 * tasks and each message, whatever numbers are in it, KT_FAILURES_TOLD failures per KT_FAILURES_US are logged in
 * full; the number of further ones is logged once, at the end of that interval, with the first message. A line
 * has KT_FAILURES_KINDS messages in an interval; further ones share a limit. */
#ifndef KT_SCRIPT_CORE_FAILURE_H
#define KT_SCRIPT_CORE_FAILURE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct kt_origin;
struct kt_runtime;

#define KT_FAILURES_TOLD 10u
#define KT_FAILURES_US 10000000u
#define KT_FAILURES_KINDS 16u

/* Returns 0 or KT_ENOMEM. */
int kt_failures_new(struct kt_runtime *rt);
/* Ends all intervals and logs their counts. */
void kt_failures_end(struct kt_runtime *rt);
void kt_failures_free(struct kt_runtime *rt);

/* A task that failed: the error is on top of its thread's stack. */
struct kt_failed {
    struct kt_runtime *rt;
    lua_State *thread;
    const struct kt_origin *origin; /* where the task was spawned */
    bool stopped;                   /* it did not fail: kt_task_stop ended it */
};

/* Writes why the task failed and returns true, or returns false: the value that it raised says why. status as
 * below. */
bool kt_failure_text(const struct kt_failed *f, int status, char *out, size_t size);

/* Logs the failure. status is lua_resume's, not LUA_OK. Returns false if the failure was only counted. */
bool kt_failure_tell(const struct kt_failed *f, int status);
/* Counts and logs, at the same rate, an error that a caller of the task's function catches: it is on top of L's stack.
 * what: "request failed: GET /". For a message handler: the function's frames are still there. May raise. */
void kt_failure_note(lua_State *L, const char *what);
/* Leaves the task's scopes, which runs their __close metamethods. Errors in those are logged if `tell` is true.
 * status: LUA_YIELD if no error is on the stack. Returns whether the error is now the only value on the stack;
 * otherwise there is none. */
bool kt_failure_close(const struct kt_failed *f, int status, bool tell);

#endif
