/* A running kt: one script on one io. A process may hold many; nothing is shared between them but the io's
 * loop, if they were given the same one. Signals and reloads are the supervisor's (supervisor.h).
 *
 * Life: new; load (the DECLARE context: the main chunk builds handles and opens nothing); open (opens what
 * was declared, in order), or replace (the same, taking over from a runtime that runs); run (tasks); drain;
 * free. */
#ifndef KT_SCRIPT_CORE_RUNTIME_H
#define KT_SCRIPT_CORE_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct kt_counters;
struct kt_starts;
struct kt_io;
struct kt_logger;
struct kt_runtime;

struct kt_runtime_opts {
    struct kt_io *io;         /* outlives the runtime */
    struct kt_logger *logger; /* outlives the runtime */
    bool unsafe;              /* the script gets os and io */
    unsigned long child_fds;  /* soft descriptor limit of programs that the script starts; 0: inherited */
    size_t memory;            /* bytes that the script's state may hold; 0: no limit */
    uint64_t main_us; /* how long the main chunk may take; 0: long, as nothing waits for it but the start */
    /* For simulated hosts: what a script sees depends on nothing but the io. Tables are walked in the order
     * of their keys, garbage is collected by count, os tells the io's time; a slice is stopped after so many
     * instructions instead of so much time. */
    bool repeatable;
    /* The environment; NULL: the process' own. */
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    /* Where the state gets its memory: as realloc, size 0 frees; NULL: from its own
     * blocks. Tests have it fail. */
    void *(*alloc)(void *ctx, void *ptr, size_t old, size_t size);
    void *alloc_ctx;
    /* What the script prints: fd 1 or 2. NULL: the process' own. */
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    void *print_ctx;
    /* Where the clock stands still while code runs, nothing else ends tasks that begin or wake each other for
     * ever: called when there were very many at one time, with a text that says which. NULL: nobody asks. */
    void (*livelock)(void *ctx, const char *text);
    void *livelock_ctx;
    /* Where its links count; outlives the runtime and those that take over from it. NULL: its own. */
    struct kt_counters *counters;
    /* Where its acceptors remember the sessions that were begun; likewise. */
    struct kt_starts *starts;
    /* The script is at its end: it asked for it, has nothing left to do, or has been drained. It is freed by
     * the callee, later. NULL: the io's loop is stopped. */
    void (*ended)(void *ctx);
    void *ended_ctx;
};

/* The print of a runtime that was given none: to the process's own standard output or error, at once. */
void kt_print_to_process(void *ctx, int fd, const char *text, size_t len);

/* 0, KT_ENOMEM. kt_crypto_init must have been called by the process. Freed with kt_runtime_free. */
int kt_runtime_new(struct kt_runtime **out, const struct kt_runtime_opts *opts, struct kt_err *err);

/* Runs the main chunk of a file, or of a module that ships in the binary ("kt.cli.client"), with argv as its
 * `...`. 0, or a code with kt_runtime_message saying why. */
int kt_runtime_load_file(struct kt_runtime *rt, const char *path, int argc, char **argv);
int kt_runtime_load_module(struct kt_runtime *rt, const char *module, int argc, char **argv);

/* Opens what was declared. 0, or a code and kt_runtime_message. */
int kt_runtime_open(struct kt_runtime *rt);

/* Opens what was declared in place of what other runtimes have open: n of them, the one that runs first, then
 * those that it replaced and that still drain. What they hold at the same address is handed over with its
 * clients; the rest of the running one is drained as kt.reload said in it. All or nothing: after an error
 * they are as they were, and rt is fit for kt_runtime_free only. All of them count in the same counters. */
struct kt_replaced {
    size_t kept, opened, closed; /* addresses */
    size_t pipes;                /* conns and streams of the replaced one that go on */
    uint64_t drain_us;           /* ... for so long at most; UINT64_MAX: as long as they live */
};
int kt_runtime_replace(
    struct kt_runtime *rt, struct kt_runtime *const *old, size_t n, struct kt_replaced *out);

/* Takes nothing new from now on; it has ended when its conns and streams have, or after so many µs, when they
 * are reset. Called again, it can only bring that nearer. */
void kt_runtime_drain(struct kt_runtime *rt, uint64_t us);
/* How long that is when the process is to end: kt.core.drain_timeout, or 5 s. */
uint64_t kt_runtime_drain_us(const struct kt_runtime *rt);
/* Conns and streams that it has open. */
size_t kt_runtime_pipes(const struct kt_runtime *rt);

/* Runs the loop until the runtime has ended. Returns the process' exit code. */
int kt_runtime_run(struct kt_runtime *rt);

/* True when it has ended, maybe in its main chunk (kt.core.exit); *code is its exit code. */
bool kt_runtime_exited(const struct kt_runtime *rt, int *code);

/* Why load or open failed: one or more lines, without a newline at the end. Valid until the runtime is freed.
 */
const char *kt_runtime_message(const struct kt_runtime *rt);

/* Ends all tasks and closes everything in order; the last of it happens, as with everything that the io
 * closes, at the end of the turn, or in kt_io_free. NULL is harmless. Not from inside one of its own
 * callbacks. */
void kt_runtime_free(struct kt_runtime *rt);

#endif
