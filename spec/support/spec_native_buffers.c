/* Send and receive buffers of streams, for spec/link/native_buffers_spec.lua. Bytes follow a pattern by offset, so only
 * lengths are given; what comes out is checked here.
 *
 *   s = send()   s:write(n) -> n   s:finish()   s:rewind()   s:clear()
 *     offset, len, last = s:next(limit, most)   false: nothing      s:sent(offset, len, last)
 *     s:acked(offset, len, last)  s:lost(offset, len, last)  s:needed(offset, len, last) -> bool
 *     s:facts() -> {acked, sent, written, losses, complete}
 *   r = recv()   r:put(offset, len, last) -> true, or nil, error   r:take(n)
 *     r:facts() -> {taken, ready, highest, final, complete}
 *   blocks()     in use, of all; fail_after(n)   lets n more be had */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include "pattern.h"
#include "results.h"
#include "link/native/recv_buffer.h"
#include "link/native/send_buffer.h"

#define SEND "spec_native_buffers.send"
#define RECV "spec_native_buffers.recv"

int luaopen_spec_native_buffers(lua_State *L);

static int pool_gc(lua_State *L)
{
    kt_slab_free(*(struct kt_slab **)lua_touserdata(L, 1));
    return 0;
}

/* One of the state, made before the first buffer and so collected after the last. */
static struct kt_slab *pool(lua_State *L)
{
    static const char key = 0;
    struct kt_slab **box;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
        box = lua_newuserdatauv(L, sizeof(struct kt_slab *), 0);
        if (kt_slab_new(box, sizeof(struct kt_native_block), 0) < 0) luaL_error(L, "no memory");
        lua_newtable(L);
        lua_pushcfunction(L, pool_gc);
        lua_setfield(L, -2, "__gc");
        lua_setmetatable(L, -2);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    } else {
        box = lua_touserdata(L, -1);
    }
    lua_pop(L, 1);
    return *box;
}

static struct kt_native_chunk chunk(lua_State *L)
{
    return (struct kt_native_chunk){
        (uint64_t)luaL_checkinteger(L, 2), (size_t)luaL_checkinteger(L, 3), lua_toboolean(L, 4)};
}

static int send_new(lua_State *L)
{
    kt_native_send_init(lua_newuserdatauv(L, sizeof(struct kt_native_send_buffer), 0), pool(L));
    luaL_setmetatable(L, SEND);
    return 1;
}

static struct kt_native_send_buffer *check_send(lua_State *L)
{
    return luaL_checkudata(L, 1, SEND);
}

static int send_write(lua_State *L)
{
    struct kt_native_send_buffer *s = check_send(L);
    const size_t n = (size_t)luaL_checkinteger(L, 2);
    uint8_t *bytes = lua_newuserdatauv(L, n + 1, 0);
    for (size_t i = 0; i < n; i++) bytes[i] = pattern(s->written + i);
    lua_pushinteger(L, (lua_Integer)kt_native_send_write(s, bytes, n));
    return 1;
}

static int send_finish(lua_State *L)
{
    check_send(L)->ended = true;
    return 0;
}

static int send_next(lua_State *L)
{
    struct kt_native_send_buffer *s = check_send(L);
    struct kt_native_chunk c;
    if (!kt_native_send_next(s, (uint64_t)luaL_checkinteger(L, 2), (size_t)luaL_checkinteger(L, 3), &c))
        return 0;
    uint8_t *bytes = lua_newuserdatauv(L, c.len + 1, 0);
    kt_native_blocks_copy(&s->blocks, c.offset, bytes, c.len);
    for (size_t i = 0; i < c.len; i++)
        if (bytes[i] != pattern(c.offset + i)) return luaL_error(L, "wrong bytes");
    lua_pushinteger(L, (lua_Integer)c.offset);
    lua_pushinteger(L, (lua_Integer)c.len);
    lua_pushboolean(L, c.last);
    return 3;
}

static int send_sent(lua_State *L)
{
    const struct kt_native_chunk c = chunk(L);
    kt_native_send_sent(check_send(L), &c);
    return 0;
}

static int send_acked(lua_State *L)
{
    const struct kt_native_chunk c = chunk(L);
    kt_native_send_acked(check_send(L), &c);
    return 0;
}

static int send_lost(lua_State *L)
{
    const struct kt_native_chunk c = chunk(L);
    kt_native_send_lost(check_send(L), &c);
    return 0;
}

static int send_needed(lua_State *L)
{
    const struct kt_native_chunk c = chunk(L);
    lua_pushboolean(L, kt_native_send_needed(check_send(L), &c));
    return 1;
}

static int send_rewind(lua_State *L)
{
    kt_native_send_rewind(check_send(L));
    return 0;
}

static int send_clear(lua_State *L)
{
    kt_native_send_clear(check_send(L));
    return 0;
}

static int send_facts(lua_State *L)
{
    const struct kt_native_send_buffer *s = check_send(L);
    lua_newtable(L);
    set(L, "acked", s->acked);
    set(L, "sent", s->sent);
    set(L, "written", s->written);
    set(L, "losses", s->losses);
    lua_pushboolean(L, kt_native_send_complete(s));
    lua_setfield(L, -2, "complete");
    return 1;
}

static int send_gc(lua_State *L)
{
    kt_native_blocks_clear(&check_send(L)->blocks);
    return 0;
}

static int recv_new(lua_State *L)
{
    kt_native_recv_init(lua_newuserdatauv(L, sizeof(struct kt_native_recv_buffer), 0), pool(L));
    luaL_setmetatable(L, RECV);
    return 1;
}

static struct kt_native_recv_buffer *check_recv(lua_State *L)
{
    return luaL_checkudata(L, 1, RECV);
}

static int recv_put(lua_State *L)
{
    const struct kt_native_chunk c = chunk(L);
    uint8_t *bytes = lua_newuserdatauv(L, c.len, 0);
    struct kt_err err;
    for (size_t i = 0; i < c.len; i++) bytes[i] = pattern(c.offset + i);
    const int rc = kt_native_recv_put(check_recv(L), c.offset, bytes, c.len, c.last, &err);
    if (rc == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

static int recv_take(lua_State *L)
{
    struct kt_native_recv_buffer *r = check_recv(L);
    size_t n = (size_t)luaL_checkinteger(L, 2), done = 0;
    while (done < n) {
        struct kt_iov iov[2];
        size_t got = 0;
        const size_t pieces = kt_native_recv_peek(r, iov, 2);
        for (size_t i = 0; i < pieces && done + got < n; i++)
            for (size_t j = 0; j < iov[i].len && done + got < n; j++, got++)
                if (iov[i].data[j] != pattern(r->taken + got)) return luaL_error(L, "wrong bytes");
        if (got == 0) return luaL_error(L, "not so much is ready");
        kt_native_recv_consume(r, got);
        done += got;
    }
    return 0;
}

static int recv_facts(lua_State *L)
{
    const struct kt_native_recv_buffer *r = check_recv(L);
    lua_newtable(L);
    set(L, "taken", r->taken);
    set(L, "ready", r->ready);
    set(L, "highest", r->highest);
    if (r->final != UINT64_MAX) set(L, "final", r->final);
    lua_pushboolean(L, kt_native_recv_complete(r));
    lua_setfield(L, -2, "complete");
    return 1;
}

static int recv_gc(lua_State *L)
{
    kt_native_recv_clear(check_recv(L));
    return 0;
}

static int blocks(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_slab_in_use(pool(L)));
    return 1;
}

static int fail_after(lua_State *L)
{
    kt_slab_fail_after(pool(L), lua_isnoneornil(L, 1) ? SIZE_MAX : (size_t)luaL_checkinteger(L, 1));
    return 0;
}

static void make(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

int luaopen_spec_native_buffers(lua_State *L)
{
    static const luaL_Reg send[] = {{"write", send_write}, {"finish", send_finish}, {"next", send_next},
        {"sent", send_sent}, {"acked", send_acked}, {"lost", send_lost}, {"needed", send_needed},
        {"rewind", send_rewind}, {"clear", send_clear}, {"facts", send_facts}, {NULL, NULL}};
    static const luaL_Reg recv[] = {
        {"put", recv_put}, {"take", recv_take}, {"facts", recv_facts}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"send", send_new}, {"recv", recv_new}, {"blocks", blocks}, {"fail_after", fail_after}, {NULL, NULL}};
    make(L, SEND, send, send_gc);
    make(L, RECV, recv, recv_gc);
    luaL_newlib(L, functions);
    return 1;
}
