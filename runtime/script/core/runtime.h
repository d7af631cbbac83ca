/* A runtime: one script on one io. A process may hold several; they share nothing, except the io if they were
 * given the same one. The supervisor (supervisor.h) handles signals and reloads.
 *
 * Life cycle: new; load (the main chunk declares services and opens nothing); open (opens the declared
 * services, in order), or replace (the same, taking over from a running runtime); run (tasks); drain;
 * free. */
#ifndef KT_SCRIPT_CORE_RUNTIME_H
#define KT_SCRIPT_CORE_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct kt_counters;
struct lua_State;
struct kt_io;
struct kt_logger;
struct kt_known;
struct kt_runtime;

struct kt_runtime_opts {
    struct kt_io *io;         /* outlives the runtime */
    struct kt_logger *logger; /* outlives the runtime */
    /* Adds the script API to kt.core, the table on top of the stack: kt_api_bind (script/api/bind.h). */
    void (*bind)(struct lua_State *L);
    bool unsafe;             /* the script gets os and io */
    unsigned long child_fds; /* soft descriptor limit for programs that the script starts; 0: inherited */
    size_t memory;           /* memory limit of the Lua state, in bytes; 0: no limit */
    uint64_t main_us;        /* time limit of the main chunk; 0: a generous default, as only startup waits */
    /* For simulated hosts: the script's behaviour depends on the io alone. Tables are walked in key order,
     * garbage is collected by count, os reads the io's clock, and a slice is limited by instructions instead
     * of time. */
    bool repeatable;
    /* Reads the environment. NULL: the process's own. */
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    /* Allocates the state's memory, like realloc; size 0 frees. NULL: the runtime's own blocks. Tests use it
     * to inject failures. */
    void *(*alloc)(void *ctx, void *ptr, size_t old, size_t size);
    void *alloc_ctx;
    /* Receives the script's output, for fd 1 or 2. NULL: the process's own. */
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    void *print_ctx;
    /* Called when very many slices ran without the clock advancing, with a text that names a task. A
     * simulated clock stands still while code runs, so tasks that wake each other would never end. NULL: no
     * check. */
    void (*livelock)(void *ctx, const char *text);
    void *livelock_ctx;
    /* Counters of its links; outlive the runtime and its successors. NULL: its own. */
    struct kt_counters *counters;
    /* What its links and acceptors know (link/common/known.h); likewise. */
    struct kt_known *known;
    /* Called when the script has ended: it exited, has nothing left to do, or has been drained. The callee
     * frees the runtime later, not in this call. NULL: the io's loop is stopped. */
    void (*ended)(void *ctx);
    void *ended_ctx;
};

/* The default for `print`: writes to the process's standard output or error and flushes. */
void kt_print_to_process(void *ctx, int fd, const char *text, size_t len);

/* Returns 0 or KT_ENOMEM. Call kt_crypto_init first. Free with kt_runtime_free. */
int kt_runtime_new(struct kt_runtime **out, const struct kt_runtime_opts *opts, struct kt_err *err);

/* Runs a file, or a module that ships in the binary ("kt.cli.client"), as the main chunk, with argv as its
 * `...`. Returns 0, or a code; kt_runtime_message then says why. */
int kt_runtime_load_file(struct kt_runtime *rt, const char *path, int argc, char **argv);
int kt_runtime_load_module(struct kt_runtime *rt, const char *module, int argc, char **argv);

/* Opens the declared services. Returns 0, or a code and sets kt_runtime_message. */
int kt_runtime_open(struct kt_runtime *rt);

/* Opens the declared services in place of those of n other runtimes: old[0] is the running one, the others
 * were replaced earlier and still drain. A service at the same address is handed over with its clients; the
 * rest of the running runtime is drained as its kt.reload said. All or nothing: after an error the others are
 * unchanged and rt can only be freed. All of them must share their counters. */
struct kt_replaced {
    size_t kept, opened, closed; /* addresses */
    size_t pipes;                /* conns and streams that the replaced runtime keeps */
    uint64_t drain_us;           /* how long it may keep them; UINT64_MAX: no limit */
};
int kt_runtime_replace(
    struct kt_runtime *rt, struct kt_runtime *const *old, size_t n, struct kt_replaced *out);

/* Stops accepting. The runtime ends when its conns and streams have ended, or after `us` microseconds, when
 * those left are reset. Calling it again can only shorten the time. */
void kt_runtime_drain(struct kt_runtime *rt, uint64_t us);
/* The drain time at process exit: as set by kt.core.drain_timeout, or 5 s. */
uint64_t kt_runtime_drain_us(const struct kt_runtime *rt);
/* The number of open conns and streams. */
size_t kt_runtime_pipes(const struct kt_runtime *rt);

struct kt_runtime_usage {
    size_t memory, peak; /* bytes held by the Lua state, and the most it has held */
    size_t tasks, pipes; /* pipes: conns, streams and flows */
};
void kt_runtime_usage(const struct kt_runtime *rt, struct kt_runtime_usage *out);

/* Whether it has ended, possibly already in its main chunk (kt.core.exit); *code is the exit code. */
bool kt_runtime_exited(const struct kt_runtime *rt, int *code);

/* Why load or open failed: one or more lines, without a trailing newline. Valid until the runtime is
 * freed. */
const char *kt_runtime_message(const struct kt_runtime *rt);

/* Ends all tasks and closes everything in order; as with all closing in the io, the rest happens at the end
 * of the turn or in kt_io_free. NULL is allowed. Must not be called from one of the runtime's own
 * callbacks. */
void kt_runtime_free(struct kt_runtime *rt);

#endif
