/* The sandbox of one Lua state: bounds on a script's time and memory, and Lua's library made safe.
 *
 * It knows nothing of tasks, services or handles. Its needs of the runtime around it come in struct
 * kt_sandbox_host. */
#ifndef KT_SCRIPT_SANDBOX_SANDBOX_H
#define KT_SCRIPT_SANDBOX_SANDBOX_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include "script/sandbox/guard.h"
#include "script/sandbox/origin.h"

struct kt_io;
struct kt_log;
struct kt_sandbox;

/* Services that the runtime provides to the sandbox. */
struct kt_sandbox_host {
    void *ctx;
    /* Writes the script's output, for fd 1 or 2. */
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    /* Reads the environment; NULL: not set. */
    const char *(*getenv)(void *ctx, const char *name);
    /* Ends the script, after the current slice; returns false if it is ending already. */
    bool (*exit)(void *ctx, int code);
    /* Whether a thread belongs to the host, so that the script must not resume or close it. */
    bool (*owns)(lua_State *co);
};

struct kt_sandbox_opts {
    struct kt_sandbox_host host;
    struct kt_io *io;         /* outlives the sandbox */
    const struct kt_log *log; /* likewise */
    bool unsafe;              /* the script gets os and io */
    bool repeatable;          /* the script's behaviour depends on the io alone (runtime.h) */
    unsigned long child_fds;  /* soft descriptor limit for programs that the script starts; 0: inherited */
    size_t memory;            /* memory limit of the state, in bytes; 0: none */
    /* Allocates the state's memory, like realloc; size 0 frees. NULL: the sandbox's own blocks. */
    void *(*alloc)(void *ctx, void *ptr, size_t old, size_t size);
    void *alloc_ctx;
};

/* Creates the state, with its garbage collection stopped. Returns 0, KT_ENOMEM, or why the guard could not
 * start. */
int kt_sandbox_new(struct kt_sandbox **out, const struct kt_sandbox_opts *opts);
/* Closes the state, which runs finalizers, and frees everything. NULL is allowed. */
void kt_sandbox_free(struct kt_sandbox *s);
/* The main thread. */
lua_State *kt_sandbox_state(const struct kt_sandbox *s);
struct kt_guard *kt_sandbox_guard(struct kt_sandbox *s);

/* The current line of the script. Never NULL; valid until the sandbox is freed. */
const struct kt_origin *kt_origin_here(lua_State *L);

/* ---- the globals ---- */

/* Opens the parts of Lua's library that scripts and the modules in the binary may use, as globals. */
void kt_globals_open(lua_State *L);
/* Turns them into the script's globals: guarded functions, no undefined reads, and no new names once the main
 * chunk is over (kt_guard_in_tasks). */
void kt_globals_guard(lua_State *L);
/* Call around the main chunk of a module, which may declare globals at any time. It cannot wait. */
void kt_globals_begin_module(lua_State *L);
void kt_globals_end_module(lua_State *L);
/* Pushes a shallow copy of the table at idx; returns 1. */
int kt_table_copy(lua_State *L, int idx);

/* The globals pairs and next: for a repeatable runtime, whose guard counts their work, or for a spec's state,
 * which has no guard (NULL). */
void kt_lua_order(lua_State *L, struct kt_guard *guard);

#endif
