/* A running kt: one script on one io. A process may hold many; nothing is shared between them but the io's
 * loop, if they were given the same one.
 *
 * Life: new; load (the DECLARE context: the main chunk builds handles and opens nothing); open (opens what
 * was declared, in order); run (tasks); free. */
#ifndef KT_SCRIPT_RUNTIME_H
#define KT_SCRIPT_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

struct kt_io;
struct kt_logger;
struct kt_runtime;

struct kt_runtime_opts {
    struct kt_io *io;         /* outlives the runtime */
    struct kt_logger *logger; /* outlives the runtime */
    bool unsafe;              /* the script gets os and io */
    size_t memory;            /* bytes that the script's state may hold; 0: no limit */
    /* For simulated hosts: what a script sees depends on nothing but the io. Tables are walked in the order
     * of their keys, garbage is collected by count, os tells the io's time; a slice is stopped after so many
     * instructions instead of so much time. */
    bool repeatable;
    /* The environment; NULL: the process' own. */
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    /* Where the state gets its memory: as realloc, size 0 frees; NULL: from realloc. Tests have it fail. */
    void *(*alloc)(void *ctx, void *ptr, size_t old, size_t size);
    void *alloc_ctx;
    /* What the script prints: fd 1 or 2. NULL: the process' own. */
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    void *print_ctx;
};

/* 0, KT_ENOMEM. kt_crypto_init must have been called by the process. Freed with kt_runtime_free. */
int kt_runtime_new(struct kt_runtime **out, const struct kt_runtime_opts *opts, struct kt_err *err);

/* Runs the main chunk of a file, or of a module that ships in the binary ("kt.cli.client"), with argv as its
 * `...`. 0, or a code with kt_runtime_message saying why. */
int kt_runtime_load_file(struct kt_runtime *rt, const char *path, int argc, char **argv);
int kt_runtime_load_module(struct kt_runtime *rt, const char *module, int argc, char **argv);

/* Opens what was declared. 0, or a code and kt_runtime_message. */
int kt_runtime_open(struct kt_runtime *rt);

/* Runs until a signal, kt.core.exit, or there is nothing left to do. Returns the process' exit code. */
int kt_runtime_run(struct kt_runtime *rt);

/* True when the script asked to end (kt.core.exit), maybe in its main chunk; *code is its exit code. */
bool kt_runtime_exited(const struct kt_runtime *rt, int *code);

/* Why load or open failed: one or more lines, without a newline at the end. Valid until the runtime is freed.
 */
const char *kt_runtime_message(const struct kt_runtime *rt);

/* Ends all tasks and closes everything in order; the last of it happens, as with everything that the io
 * closes, at the end of the turn, or in kt_io_free. NULL is harmless. Not from inside one of its own
 * callbacks. */
void kt_runtime_free(struct kt_runtime *rt);

#endif
