/* Shared by the files of the sandbox. Only they include this header. */
#ifndef KT_SCRIPT_SANDBOX_BOX_H
#define KT_SCRIPT_SANDBOX_BOX_H

#include <stdio.h>
#include "base/list.h"
#include "script/sandbox/allocator.h"
#include "script/sandbox/sandbox.h"

struct kt_sandbox {
    struct kt_guard guard; /* the state's allocator data, by which kt_sandbox_of finds the sandbox */
    struct kt_allocator allocator;
    struct kt_sandbox_opts opts;
    lua_State *L; /* the main thread */
    struct kt_origins origins;
    FILE *streams[2];   /* io.stdout and io.stderr (unsafe.c); NULL without --unsafe */
    int ref_finalizers; /* registry reference: objects with a __gc → sentinels (finalizers.c) */
    unsigned modules;   /* main chunks of modules that run now; they may declare globals */
    bool no_finalizers; /* a finalizer had to be stopped: run no more (finalizers.c) */
};

static inline struct kt_sandbox *kt_sandbox_of(lua_State *L)
{
    return KT_CONTAINER(kt_guard_of(L), struct kt_sandbox, guard);
}

/* ---- replacements for functions of Lua's library ---- */

/* In the table on top, coroutine. */
void kt_lua_coroutine(lua_State *L);
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
