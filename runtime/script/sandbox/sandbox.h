/* The sandbox of one Lua state: bounds on a script's time and memory, and Lua's library made safe.
 *
 * It knows nothing of tasks, services or handles. What it needs of the runtime around it comes in struct
 * kt_sandbox_host. */
#ifndef KT_SCRIPT_SANDBOX_SANDBOX_H
#define KT_SCRIPT_SANDBOX_SANDBOX_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "base/list.h"
#include "script/sandbox/blocks.h"
#include "script/sandbox/guard.h"

struct kt_io;
struct kt_log;

/* What the sandbox asks of whoever runs the state. */
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

/* The fields belong to the files of the sandbox. */
struct kt_sandbox {
    struct kt_guard guard; /* the state's allocator data, by which kt_sandbox_of finds the sandbox */
    struct kt_blocks blocks;
    struct kt_sandbox_opts opts;
    lua_State *L;       /* the main thread */
    FILE *streams[2];   /* io.stdout and io.stderr (unsafe.c); NULL without --unsafe */
    int ref_finalizers; /* registry reference: objects with a __gc → sentinels (finalizers.c) */
    bool no_finalizers; /* a finalizer had to be stopped: run no more */
};

/* ---- life (sandbox.c) ---- */

/* Creates the state, with an empty registry and garbage collection stopped; returns NULL when out of memory.
 * *rc is 0, or why the guard could not start. Call kt_sandbox_free in any case. */
lua_State *kt_sandbox_new(struct kt_sandbox *s, const struct kt_sandbox_opts *opts, int *rc);
/* Closes the state, which runs finalizers, and frees everything. */
void kt_sandbox_free(struct kt_sandbox *s);

static inline struct kt_sandbox *kt_sandbox_of(lua_State *L)
{
    return KT_CONTAINER(kt_guard_of(L), struct kt_sandbox, guard);
}

/* ---- the globals (globals.c) ---- */

/* Opens the parts of Lua's library that scripts and the modules in the binary may use, as globals. */
void kt_globals_open(lua_State *L);
/* Turns them into the script's globals: guarded functions, no undefined reads. */
void kt_globals_guard(lua_State *L);
/* Pushes a shallow copy of the table at idx; returns 1. */
int kt_table_copy(lua_State *L, int idx);

/* ---- replacements for functions of Lua's library ---- */

/* In the table on top, coroutine. */
void kt_lua_coroutine(lua_State *L);
/* The globals pairs and next: for a repeatable runtime, whose guard counts their work, or for a spec's state,
 * which has no guard (NULL). */
void kt_lua_order(lua_State *L, struct kt_guard *guard);
/* In the table on top, table: sort. */
void kt_lua_sort(lua_State *L);
/* In the table on top, table: concat, insert, move, remove, unpack. */
void kt_lua_table(lua_State *L);
/* String functions and load, in place of Lua's own; no other copy of those may remain reachable. */
void kt_lua_bounded(lua_State *L);
/* The clock and the environment in os, if the script has it, for a repeatable runtime. */
void kt_lua_os(lua_State *L);
/* os.exit: ends the script as if the process had exited; pcall does not catch it. */
int kt_lua_os_exit(lua_State *L);
/* The globals io and os for --unsafe (unsafe.c). Close the state before calling kt_unsafe_close, which frees
 * the streams. */
void kt_lua_unsafe(lua_State *L);
void kt_unsafe_close(struct kt_sandbox *s);
/* The global setmetatable. */
void kt_lua_finalizer(lua_State *L);

#endif
