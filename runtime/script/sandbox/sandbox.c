/* Creates and closes a sandboxed Lua state.
 *
 * Invariant: every state created here has the guard as its allocator, so that kt_guard_of and kt_sandbox_of
 * work on each of its threads. */
#include "script/sandbox/sandbox.h"
#include <lauxlib.h>
#include <stdlib.h>
#include "base/err.h"
#include "script/sandbox/box.h"

static void *own_alloc(void *ctx, void *ptr, size_t old, size_t size)
{
    return kt_allocator_alloc(ctx, ptr, old, size);
}

int kt_sandbox_new(struct kt_sandbox **out, const struct kt_sandbox_opts *opts)
{
    struct kt_sandbox *s = *out = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->opts = *opts;
    s->ref_finalizers = LUA_NOREF;
    kt_allocator_init(&s->allocator);
    int rc = kt_guard_init(&s->guard, &(struct kt_guard_opts){.io = opts->io,
                                          .log = opts->log,
                                          .limit = opts->memory,
                                          .alloc = opts->alloc ? opts->alloc : own_alloc,
                                          .alloc_ctx = opts->alloc ? opts->alloc_ctx : &s->allocator,
                                          .wall = opts->unsafe,
                                          .counts = opts->repeatable});
    if (rc == 0) s->L = lua_newstate(kt_guard_alloc, &s->guard);
    if (!s->L) {
        kt_sandbox_free(s);
        *out = NULL;
        return rc ? rc : KT_ENOMEM;
    }
    /* Lua collects garbage, and runs finalizers, on the current thread. If its stack is nearly full, as in
     * endless recursion, finalizers fail and are skipped, which would leave the C side of handles in use
     * after they are freed. So the host collects between slices, on the main thread. (When memory runs out
     * Lua still collects at once, but runs no finalizers.) */
    lua_gc(s->L, LUA_GCSTOP);
    kt_guard_unhook(&s->guard, s->L); /* sets the hook that counts, if any */
    return 0;
}

void kt_sandbox_free(struct kt_sandbox *s)
{
    if (!s) return;
    if (s->L) lua_close(s->L);
    kt_unsafe_close(s);
    kt_allocator_free(&s->allocator);
    kt_guard_free(&s->guard);
    kt_origins_free(&s->origins);
    free(s);
}

lua_State *kt_sandbox_state(const struct kt_sandbox *s)
{
    return s->L;
}

struct kt_guard *kt_sandbox_guard(struct kt_sandbox *s)
{
    return &s->guard;
}

const struct kt_origin *kt_origin_here(lua_State *L)
{
    return kt_origin_find(&kt_sandbox_of(L)->origins, L);
}
