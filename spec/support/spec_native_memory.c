/* A tunnel on kt's own wire in which one allocation fails, for spec/link/native_memory_spec.lua.
 *
 *   { allocations, echoed, answered, up, kept } = run(n)
 *
 * The n-th allocation after both ends have begun fails, and no other; n = 0: none. echoed: bytes that came back on a
 * stream; answered: datagrams that came back on a flow; up: whether a further stream was echoed at the end; kept:
 * blocks that were not freed. Aborts if an end does not come to its end, or takes a byte for another. */
#include <lauxlib.h>
#include <lua.h>
#include "../fuzz/native_peer.h"
#include "crypto/crypto.h"
#include "link/flow.h"

#define ROUNDS 4u
#define BYTES 2000u
#define DEPARTURES 1024u /* size of the first queue of a simulated line, which cannot do without */

int luaopen_spec_native_memory(lua_State *L);

/* ---- the allocator ---- */

static struct {
    bool on;
    long allocations, fails, kept;
} memory;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t n);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

static bool fails(void)
{
    return memory.on && ++memory.allocations == memory.fails;
}

static void *given(void *p)
{
    memory.kept += p != NULL;
    return p;
}

void *__wrap_malloc(size_t n)
{
    return n != DEPARTURES && fails() ? NULL : given(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : given(__real_calloc(n, size));
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : given(__real_aligned_alloc(align, n));
}

/* Never fails: only the simulator calls it, which cannot go on without. */
void *__wrap_realloc(void *p, size_t n)
{
    memory.kept -= p != NULL;
    return given(__real_realloc(p, n));
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : given(__real_strdup(s));
}

void __wrap_free(void *p)
{
    memory.kept -= p != NULL;
    __real_free(p);
}

/* ---- flows ---- */

static unsigned answered;
static struct kt_flow *own;

static void on_echoed(void *ctx, const uint8_t *data, size_t len)
{
    (void)ctx;
    CHECK(len == 5 && memcmp(data, "query", 5) == 0);
    answered++;
}

static void on_own_ended(void *ctx, int code)
{
    (void)ctx;
    (void)code;
    kt_flow_close(own, 0);
    own = NULL;
}

static void on_query(void *ctx, const uint8_t *data, size_t len)
{
    kt_flow_send(ctx, data, len);
}

static void on_query_ended(void *ctx, int code)
{
    (void)code;
    kt_flow_close(ctx, 0);
}

static void on_flow(void *ctx, struct kt_flow *flow, const struct kt_peer_info *peer)
{
    static const struct kt_flow_events events = {on_query, on_query_ended};
    (void)ctx;
    (void)peer;
    kt_flow_listen(flow, &events, flow);
}

/* ---- the scenario ---- */

static void open_stream(struct tunnel *t)
{
    struct kt_err err;
    if (kt_link_open(t->link, NULL, tunnel_on_open, t, &t->opening, &err)) t->opening = NULL;
}

static void open_flow(struct tunnel *t)
{
    static const struct kt_flow_events events = {on_echoed, on_own_ended};
    const struct kt_flow_options options = {.target = "far:53", .copies = 1};
    struct kt_err err;
    if (kt_link_flow(t->link, &options, &own, &err))
        own = NULL;
    else
        kt_flow_listen(own, &events, NULL);
}

/* Whether a stream that is opened now is echoed. */
static bool echoes(struct tunnel *t)
{
    if (t->opening) kt_open_cancel(t->opening);
    if (t->stream) kt_pipe_close(t->stream);
    t->opening = NULL;
    t->stream = NULL;
    t->written = t->echoed = 0;
    open_stream(t);
    tunnel_advance(t, 5 * S);
    tunnel_write(t, BYTES);
    tunnel_advance(t, 5 * S);
    return t->echoed == BYTES;
}

static int run(lua_State *L)
{
    static const struct kt_acceptor_events events = {.stream = tunnel_on_accepted, .flow = on_flow};
    struct kt_native_config near = native_peer_settings(true), far = native_peer_settings(false);
    struct tunnel *t = lua_newuserdatauv(L, sizeof *t, 0);
    const long before = memory.kept;
    size_t echoed = 0;
    bool up = false;
    memset(t, 0, sizeof *t);
    answered = 0;
    own = NULL;
    memory.allocations = 0;
    memory.fails = luaL_checkinteger(L, 1);
    tunnel_build(t, &kt_native_wire, &far.common, 1, &events, NULL, NULL);
    const struct kt_wire_env env = {.io = t->near, .counters = &t->near_counters};
    kt_endpoint_parse(&near.common.at, "10.0.2.1:29900", KT_ENDPOINT_RANGE, NULL);
    /* The simulator cannot go on without memory for packets, so it has it before. */
    for (uint8_t i = 0; i < 8; i++) tunnel_inject(t, 0, &i, 1);
    tunnel_advance(t, S);
    memory.on = true;
    struct kt_err err;
    if (kt_native_wire.link(&kt_native_wire, &env, &near.common, &t->link, &err)) {
        CHECK(err.code == KT_ENOMEM);
        t->link = NULL;
    }
    if (t->link) {
        open_stream(t);
        open_flow(t);
        for (unsigned i = 0; i < ROUNDS; i++) {
            tunnel_advance(t, S / 2);
            tunnel_write(t, BYTES);
            if (own) kt_flow_send(own, (const uint8_t *)"query", 5);
        }
        tunnel_advance(t, 5 * S);
        echoed = t->echoed;
        memory.fails = 0;
        up = echoes(t);
        if (own) kt_flow_close(own, 0);
        own = NULL;
    }
    memory.on = false;
    tunnel_close(t);
    tunnel_free(t);
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, memory.allocations);
    lua_setfield(L, -2, "allocations");
    lua_pushinteger(L, (lua_Integer)echoed);
    lua_setfield(L, -2, "echoed");
    lua_pushinteger(L, answered);
    lua_setfield(L, -2, "answered");
    lua_pushboolean(L, up);
    lua_setfield(L, -2, "up");
    lua_pushinteger(L, memory.kept - before);
    lua_setfield(L, -2, "kept");
    return 1;
}

int luaopen_spec_native_memory(lua_State *L)
{
    struct kt_err err;
    if (kt_crypto_init(&err) < 0) return luaL_error(L, "%s", err.text);
    lua_pushcfunction(L, run);
    return 1;
}
