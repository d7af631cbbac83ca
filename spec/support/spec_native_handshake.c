/* Binding of runtime/link/native's handshake for the specs. Each end has an io of its own, with a clock that the spec
 * sets and random bytes from a seed; datagrams lie in blocks of exactly their size. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "crypto/hash.h"
#include "io/io.h"
#include "link/common/session_starts.h"
#include "link/native/handshake_client.h"
#include "link/native/handshake_server.h"
#include "class.h"
#include "damage.h"

#define CLIENT "kt.native_client"
#define SERVER "kt.native_server"

int luaopen_spec_native_handshake(lua_State *L);

/* --- an io with a clock and chance, and nothing else --- */

struct end {
    struct kt_io io;
    uint64_t wall_us, seed, drawn;
    struct kt_native_secrets secrets;
    struct kt_native_drops drops;
};

static void draw(struct kt_io *io, void *out, size_t n)
{
    struct end *e = (struct end *)io;
    uint8_t *p = out, hash[KT_HASH];
    while (n > 0) {
        const size_t take = n < KT_HASH ? n : KT_HASH;
        kt_hash(hash, NULL, &e->seed, sizeof e->seed, &e->drawn, sizeof e->drawn);
        e->drawn++;
        memcpy(p, hash, take);
        p += take;
        n -= take;
    }
}

static uint64_t wall(struct kt_io *io)
{
    return ((struct end *)io)->wall_us;
}

static const struct kt_io_ops ops = {.random = draw, .wall = wall};

/* --- tables to structs and back --- */

static const uint8_t *bytes_field(lua_State *L, int table, const char *name, size_t want)
{
    size_t n = 0;
    lua_getfield(L, table, name);
    const char *s = lua_tolstring(L, -1, &n);
    lua_pop(L, 1); /* the table keeps it */
    if (s && n != want) luaL_error(L, "%s: wrong length", name);
    return (const uint8_t *)s;
}

static lua_Integer int_field(lua_State *L, int table, const char *name, lua_Integer missing)
{
    lua_getfield(L, table, name);
    const lua_Integer n = luaL_optinteger(L, -1, missing);
    lua_pop(L, 1);
    return n;
}

static void text_field(lua_State *L, int table, const char *name, char *out, size_t size)
{
    lua_getfield(L, table, name);
    strncpy(out, luaL_optstring(L, -1, ""), size - 1);
    lua_pop(L, 1);
}

#define NUMBERS(X)                                                                                           \
    X(max_data)                                                                                              \
    X(max_stream_data)                                                                                       \
    X(min_stream_data)                                                                                       \
    X(max_streams) X(max_flows) X(ack_delay_ms) X(survive_s) X(time_ms) X(parity) X(keepalive_s)

static void params_of(lua_State *L, int table, struct kt_native_params *p)
{
    memset(p, 0, sizeof *p);
    p->present =
        (uint32_t)int_field(L, table, "present", KT_NATIVE_PARAMS_NEEDED | 1u << KT_NATIVE_PARAM_AGENT);
    p->lowest = (uint8_t)int_field(L, table, "lowest", 1);
    p->highest = (uint8_t)int_field(L, table, "highest", 1);
    p->aead = (uint8_t)int_field(L, table, "aead", 3);
    p->error = (uint64_t)int_field(L, table, "error", 0);
#define GET(name) p->name = (uint64_t)int_field(L, table, #name, 0);
    NUMBERS(GET)
#undef GET
    const uint8_t *instance = bytes_field(L, table, "instance", KT_NATIVE_INSTANCE);
    if (instance) memcpy(p->instance, instance, KT_NATIVE_INSTANCE);
    const uint8_t *device = bytes_field(L, table, "device", KT_NATIVE_DEVICE);
    if (device) memcpy(p->device, device, KT_NATIVE_DEVICE);
    text_field(L, table, "agent", p->agent, sizeof p->agent);
    text_field(L, table, "error_text", p->error_text, sizeof p->error_text);
}

static void set_int(lua_State *L, const char *name, uint64_t v)
{
    lua_pushinteger(L, (lua_Integer)v);
    lua_setfield(L, -2, name);
}

static void set_bytes(lua_State *L, const char *name, const void *p, size_t n)
{
    lua_pushlstring(L, p, n);
    lua_setfield(L, -2, name);
}

static void push_params(lua_State *L, const struct kt_native_params *p)
{
    lua_newtable(L);
    set_int(L, "present", p->present);
    set_int(L, "lowest", p->lowest);
    set_int(L, "highest", p->highest);
    set_int(L, "aead", p->aead);
    set_int(L, "error", p->error);
#define SET(name) set_int(L, #name, p->name);
    NUMBERS(SET)
#undef SET
    set_bytes(L, "instance", p->instance, sizeof p->instance);
    set_bytes(L, "device", p->device, sizeof p->device);
    set_bytes(L, "agent", p->agent, strlen(p->agent));
    set_bytes(L, "error_text", p->error_text, strlen(p->error_text));
}

static void push_agreed(lua_State *L, const struct kt_native_agreed *a)
{
    lua_newtable(L);
    set_int(L, "version", a->version);
    lua_pushstring(L, kt_aead_name(a->aead));
    lua_setfield(L, -2, "aead");
    set_bytes(L, "tx", a->tx_secret, sizeof a->tx_secret);
    set_bytes(L, "rx", a->rx_secret, sizeof a->rx_secret);
    set_bytes(L, "public", a->peer_public, sizeof a->peer_public);
    push_params(L, &a->peer);
    lua_setfield(L, -2, "peer");
}

static int push_drops(lua_State *L, const struct kt_native_drops *d)
{
    lua_newtable(L);
#define PUSH(name)                                                                                           \
    if (d->name) set_int(L, #name, d->name);
    KT_NATIVE_DROPS(PUSH)
#undef PUSH
    return 1;
}

/* Clock, seed and keys of an end; opts is at index 1. */
static void init_end(lua_State *L, struct end *e, bool client)
{
    static const uint8_t zero[KT_NATIVE_KEY];
    struct kt_err err;
    e->io.ops = &ops;
    e->io.now = (uint64_t)int_field(L, 1, "now", 1000000);
    e->wall_us = (uint64_t)int_field(L, 1, "wall", 1700000000000000);
    e->seed = (uint64_t)int_field(L, 1, "seed", client ? 1 : 2);
    const uint8_t *psk = bytes_field(L, 1, "psk", KT_NATIVE_KEY),
                  *own = bytes_field(L, 1, "own", KT_NATIVE_KEY);
    const uint8_t *server = bytes_field(L, 1, "server_public", KT_NATIVE_KEY);
    if (!own)
        kt_native_secrets_shared(&e->secrets, psk ? psk : zero);
    else if (!client)
        kt_native_secrets_server(&e->secrets, own, psk);
    else if (kt_native_secrets_client(&e->secrets, own, server, psk, &err))
        luaL_error(L, "%s", err.text);
}

static uint8_t *copy_of(lua_State *L, int arg, size_t *n)
{
    const char *s = luaL_checklstring(L, arg, n);
    uint8_t *p = malloc(*n ? *n : 1);
    if (!p) luaL_error(L, "out of memory");
    memcpy(p, s, *n);
    return p;
}

/* --- the client --- */

struct client {
    struct end end; /* first */
    struct kt_native_client client;
};

static int new_client(lua_State *L) /* {psk, own, server_public, params, seed, now, wall} -> client */
{
    struct kt_native_params p;
    luaL_checktype(L, 1, LUA_TTABLE);
    struct client *c = object(L, CLIENT, sizeof *c);
    init_end(L, &c->end, true);
    lua_getfield(L, 1, "params");
    if (!lua_istable(L, -1)) lua_newtable(L);
    params_of(L, lua_gettop(L), &p);
    lua_settop(L, 2);
    kt_native_client_init(&c->client, &c->end.io, &c->end.secrets, &p, &c->end.drops);
    return 1;
}

static struct client *client(lua_State *L)
{
    return luaL_checkudata(L, 1, CLIENT);
}

static int client_initiate(lua_State *L) /* () -> datagram */
{
    uint8_t *out = malloc(KT_NATIVE_INITIATION_MAX);
    if (!out) return luaL_error(L, "out of memory");
    const size_t n = kt_native_client_initiate(&client(L)->client, client(L)->client.sent, out);
    lua_pushlstring(L, (const char *)out, n);
    free(out);
    return 1;
}

static int client_pause(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_native_client_pause(client(L)->client.sent - 1));
    return 1;
}

static int client_input(
    lua_State *L) /* (datagram) -> "nothing", "cookie", "agreed" and what, or "failed", text and code */
{
    static const char *const results[] = {"nothing", "cookie", "agreed", "failed"};
    struct client *c = client(L);
    size_t n;
    uint8_t *dgram = copy_of(L, 2, &n);
    struct kt_native_header h;
    struct kt_native_agreed agreed;
    struct kt_err err = {0};
    enum kt_native_client_result r = KT_NATIVE_CLIENT_NOTHING;
    if (kt_native_peek(&c->end.secrets.header_keys, dgram, n, &h) == 0)
        r = kt_native_client_input(&c->client, &h, dgram, n, &agreed, &err);
    free(dgram);
    lua_pushstring(L, results[r]);
    if (r == KT_NATIVE_CLIENT_AGREED) {
        push_agreed(L, &agreed);
        return 2;
    }
    if (r != KT_NATIVE_CLIENT_FAILED) return 1;
    lua_pushstring(L, err.text);
    lua_pushstring(L, kt_errname(err.code));
    return 3;
}

static int client_is_unknown(
    lua_State *L) /* (datagram) -> the connection id that a server does not know, or nil */
{
    struct client *c = client(L);
    size_t n;
    uint8_t *dgram = copy_of(L, 2, &n);
    struct kt_native_header h;
    const struct kt_native_header_keys *keys = &c->end.secrets.header_keys;
    const bool yes = kt_native_peek(keys, dgram, n, &h) == 0 && h.kind == KT_NATIVE_CONTROL &&
                     kt_native_is_unknown(keys, &h, dgram, n, &c->end.drops);
    free(dgram);
    if (!yes) return 0;
    lua_pushlstring(L, (const char *)h.id, sizeof h.id);
    return 1;
}

static int client_gc(lua_State *L)
{
    kt_native_client_end(&client(L)->client);
    return 0;
}

/* --- the server --- */

struct server {
    struct end end; /* first */
    struct kt_native_server server;
    struct kt_session_starts starts;
    lua_State *L; /* during a call */
    int ask;      /* a reference to a function, or LUA_NOREF */
};

static uint64_t ask(void *ctx, const struct kt_native_hello *hello, char text[KT_NATIVE_ERROR_TEXT + 1])
{
    struct server *s = ctx;
    lua_State *L = s->L;
    if (s->ask == LUA_NOREF) return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->ask);
    push_params(L, hello->params);
    if (hello->public_key) set_bytes(L, "public", hello->public_key, KT_NATIVE_KEY);
    char from[KT_ADDR_TEXT];
    lua_pushstring(L, kt_addr_text(hello->from, from));
    lua_setfield(L, -2, "from");
    lua_call(L, 1, 2);
    const uint64_t code = (uint64_t)luaL_optinteger(L, -2, 0);
    strncpy(text, luaL_optstring(L, -1, ""), KT_NATIVE_ERROR_TEXT);
    text[KT_NATIVE_ERROR_TEXT] = '\0';
    lua_pop(L, 2);
    return code;
}

static int new_server(lua_State *L) /* {psk, own, params, ask, seed, now, wall, started} -> server */
{
    struct kt_native_params p;
    luaL_checktype(L, 1, LUA_TTABLE);
    struct server *s = object(L, SERVER, sizeof *s);
    s->ask = LUA_NOREF;
    init_end(L, &s->end, false);
    kt_session_starts_init(&s->starts, s->end.seed);
    lua_getfield(L, 1, "params");
    if (!lua_istable(L, -1)) lua_newtable(L);
    params_of(L, lua_gettop(L), &p);
    lua_settop(L, 2);
    if (lua_getfield(L, 1, "ask") == LUA_TFUNCTION)
        s->ask = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
    const struct kt_native_server_opts opts = {.io = &s->end.io,
        .secrets = &s->end.secrets,
        .params = &p,
        .starts = &s->starts,
        .drops = &s->end.drops,
        .ask = ask,
        .ctx = s,
        .started_us = (uint64_t)int_field(L, 1, "started", (lua_Integer)s->end.io.now)};
    kt_native_server_init(&s->server, &opts);
    return 1;
}

static struct server *server(lua_State *L)
{
    return luaL_checkudata(L, 1, SERVER);
}

static int server_input(
    lua_State *L) /* (datagram, ip, port) -> "dropped", "answered" and out, "agreed", out and what */
{
    static const char *const results[] = {"dropped", "answered", "agreed"};
    struct server *s = server(L);
    size_t n;
    struct kt_addr from;
    luaL_argcheck(L,
        kt_addr_from_ip(&from, luaL_optstring(L, 3, "10.0.0.1"), (uint16_t)luaL_optinteger(L, 4, 4000)), 3,
        "address");
    uint8_t *data = copy_of(L, 2, &n);
    struct kt_native_reply *reply = malloc(sizeof *reply);
    if (!reply) return luaL_error(L, "out of memory");
    reply->len = 0;
    const struct kt_dgram dgram = {.data = data, .len = n, .from = &from};
    struct kt_native_header h;
    enum kt_native_server_result r = KT_NATIVE_SERVER_DROPPED;
    s->L = L;
    if (kt_native_peek(&s->end.secrets.header_keys, data, n, &h) == 0 && h.kind != KT_NATIVE_DATA)
        r = kt_native_server_input(&s->server, &h, &dgram, reply);
    lua_pushstring(L, results[r]);
    lua_pushlstring(L, (const char *)reply->data, reply->len);
    const struct kt_native_agreed agreed = reply->agreed;
    free(data);
    free(reply);
    if (r == KT_NATIVE_SERVER_DROPPED) lua_pop(L, 1);
    if (r != KT_NATIVE_SERVER_AGREED) return r == KT_NATIVE_SERVER_DROPPED ? 1 : 2;
    push_agreed(L, &agreed);
    return 3;
}

/* (datagram, n) -> results: what became of n datagrams of damage.h, by result; those that have an answer count there,
 * too */
static int server_storm(lua_State *L)
{
    struct server *s = server(L);
    size_t len;
    const uint8_t *in = (const uint8_t *)luaL_checklstring(L, 2, &len);
    const uint64_t n = (uint64_t)luaL_checkinteger(L, 3);
    uint64_t state = 88172645463325252u, results[3] = {0}, answers = 0;
    uint8_t data[KT_NATIVE_DATAGRAM_MAX];
    struct kt_addr from;
    luaL_argcheck(L, len <= sizeof data, 2, "too long");
    kt_addr_from_ip(&from, "203.0.113.9", 4000);
    s->L = L;
    for (uint64_t i = 0; i < n; i++) {
        struct kt_native_header h;
        struct kt_native_reply reply = {.len = 0};
        enum kt_native_server_result r = KT_NATIVE_SERVER_DROPPED;
        const size_t size = damage(data, in, len, i, &state);
        const struct kt_dgram dgram = {.data = data, .len = size, .from = &from};
        if (kt_native_peek(&s->end.secrets.header_keys, data, size, &h) == 0 && h.kind != KT_NATIVE_DATA)
            r = kt_native_server_input(&s->server, &h, &dgram, &reply);
        results[r]++;
        answers += reply.len > 0;
    }
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)results[KT_NATIVE_SERVER_DROPPED]);
    lua_setfield(L, -2, "dropped");
    lua_pushinteger(L, (lua_Integer)answers);
    lua_setfield(L, -2, "answers");
    return 1;
}

static int server_unknown(lua_State *L) /* (datagram) -> answer, or nil */
{
    struct server *s = server(L);
    size_t n;
    uint8_t *dgram = copy_of(L, 2, &n), out[KT_NATIVE_RESPONSE_MAX];
    struct kt_native_header h;
    const bool data = kt_native_peek(&s->end.secrets.header_keys, dgram, n, &h) == 0;
    free(dgram);
    const size_t len = data ? kt_native_server_unknown(&s->server, &h, n, out) : 0;
    if (!len) return 0;
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

static int server_proven(lua_State *L)
{
    kt_native_server_proven(&server(L)->server);
    return 0;
}

/* All that it remembers but counts of drops. */
static int server_state(lua_State *L)
{
    const struct server *s = server(L);
    lua_pushlstring(L, (const char *)&s->server, sizeof s->server);
    lua_pushinteger(L, (lua_Integer)(s->starts.young.count + s->starts.old.count));
    lua_concat(L, 2);
    return 1;
}

static int server_gc(lua_State *L)
{
    struct server *s = server(L);
    luaL_unref(L, LUA_REGISTRYINDEX, s->ask);
    kt_native_server_end(&s->server);
    kt_session_starts_free(&s->starts);
    return 0;
}

/* --- both --- */

static struct end *end(lua_State *L)
{
    void *p = luaL_testudata(L, 1, CLIENT);
    return p ? p : luaL_checkudata(L, 1, SERVER);
}

static int end_wait(lua_State *L) /* (µs): both clocks move on */
{
    struct end *e = end(L);
    const uint64_t us = (uint64_t)luaL_checkinteger(L, 2);
    e->io.now += us;
    e->wall_us += us;
    return 0;
}

static int end_drops(lua_State *L)
{
    return push_drops(L, &end(L)->drops);
}

static int end_header_keys(lua_State *L) /* () -> keys, as spec_native has them */
{
    lua_pushlstring(L, (const char *)&end(L)->secrets.header_keys, sizeof(struct kt_native_header_keys));
    return 1;
}

/* --- parameters --- */

static int params_write(lua_State *L) /* (params, size) -> bytes */
{
    struct kt_native_params p;
    params_of(L, 1, &p);
    const size_t size = (size_t)luaL_optinteger(L, 2, 0),
                 room = size > KT_NATIVE_PARAMS_SIZE ? size : KT_NATIVE_PARAMS_SIZE;
    uint8_t *out = malloc(room);
    if (!out) return luaL_error(L, "out of memory");
    const size_t n = kt_native_params_write(&p, size, out);
    lua_pushlstring(L, (const char *)out, n);
    free(out);
    return 1;
}

static int params_read(lua_State *L) /* (bytes) -> params; nil, error */
{
    struct kt_native_params p;
    size_t n;
    uint8_t *in = copy_of(L, 1, &n);
    const int rc = kt_native_params_read(&p, in, n);
    free(in);
    if (rc == 0) {
        push_params(L, &p);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, kt_errname(rc));
    return 2;
}

int luaopen_spec_native_handshake(lua_State *L)
{
    static const luaL_Reg of_client[] = {{"initiate", client_initiate}, {"pause", client_pause},
        {"input", client_input}, {"is_unknown", client_is_unknown}, {"wait", end_wait}, {"drops", end_drops},
        {"header_keys", end_header_keys}, {"__gc", client_gc}, {NULL, NULL}};
    static const luaL_Reg of_server[] = {{"input", server_input}, {"storm", server_storm},
        {"unknown", server_unknown}, {"proven", server_proven}, {"state", server_state}, {"wait", end_wait},
        {"drops", end_drops}, {"header_keys", end_header_keys}, {"__gc", server_gc}, {NULL, NULL}};
    static const luaL_Reg module[] = {{"client", new_client}, {"server", new_server},
        {"params_write", params_write}, {"params_read", params_read}, {NULL, NULL}};
    struct kt_err err;
    if (kt_crypto_init(&err) < 0) return luaL_error(L, "%s", err.text);
    class(L, CLIENT, of_client);
    class(L, SERVER, of_server);
    luaL_newlib(L, module);
    return 1;
}
