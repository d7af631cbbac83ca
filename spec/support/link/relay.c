/* A relay of spec_link: forwards datagrams between a client and a server over loopback, and can cut the path or
 * change the client's address. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../class.h"
#include "internal.h"

#define RELAY "spec_link.relay"

struct relay {
    struct handle h;
    struct kt_udp *down, *up; /* towards the client; towards the server */
    struct kt_addr server, client;
    bool known, cut;
    lua_Integer to_server, to_client;
    uint8_t first[KT_UDP_MAX]; /* the first datagram of the client */
    size_t first_len;
};

static void relay_on(struct kt_udp *udp, const struct kt_dgram *d, const struct kt_addr *to)
{
    uint8_t *buf = kt_udp_reserve(udp);
    if (!buf) return;
    memcpy(buf, d->data, d->len);
    kt_udp_commit(udp, buf, buf, d->len, to, NULL);
}

static void from_client(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct relay *r = ctx;
    for (size_t i = 0; i < n; i++) {
        r->client = *dgrams[i].from;
        r->known = true;
        if (!r->first_len) memcpy(r->first, dgrams[i].data, r->first_len = dgrams[i].len);
        r->to_server++;
        if (!r->cut) relay_on(r->up, &dgrams[i], &r->server);
    }
}

static void from_server(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct relay *r = ctx;
    for (size_t i = 0; i < n; i++) {
        r->to_client++;
        if (!r->cut && r->known) relay_on(r->down, &dgrams[i], &r->client);
    }
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_error(void *ctx, int code)
{
    (void)ctx;
    (void)code;
}

static const struct kt_udp_events down_events = {from_client, on_nothing, on_error};
static const struct kt_udp_events up_events = {from_server, on_nothing, on_error};

static struct kt_udp *open_udp(lua_State *L, struct world *w, const struct kt_udp_events *events, void *ctx)
{
    struct kt_udp_opts opts = {0};
    struct kt_udp *udp;
    struct kt_err err;
    kt_addr_from_ip(&opts.local, "127.0.0.1", 0);
    if (kt_udp_open(w->io, &opts, events, ctx, &udp, &err)) luaL_error(L, "%s", err.text);
    return udp;
}

static uint16_t port_of(const struct kt_udp *udp)
{
    struct kt_addr a;
    kt_udp_local(udp, &a);
    return kt_addr_port(&a);
}

static void relay_end(struct handle *h)
{
    struct relay *r = (struct relay *)h;
    kt_udp_close(r->down);
    kt_udp_close(r->up);
    r->down = r->up = NULL;
}

int world_relay(lua_State *L)
{
    struct world *w = check_world(L);
    uint16_t port = (uint16_t)luaL_checkinteger(L, 2);
    struct relay *r = push_handle(L, w, RELAY, sizeof *r, relay_end);
    kt_addr_from_ip(&r->server, "127.0.0.1", port);
    r->down = open_udp(L, w, &down_events, r);
    r->up = open_udp(L, w, &up_events, r);
    return 1;
}

static int relay_port(lua_State *L)
{
    lua_pushinteger(L, port_of(((struct relay *)luaL_checkudata(L, 1, RELAY))->down));
    return 1;
}

/* From now on the server sees another address. */
static int relay_move(lua_State *L)
{
    struct relay *r = luaL_checkudata(L, 1, RELAY);
    struct kt_udp *old = r->up;
    r->up = open_udp(L, r->h.w, &up_events, r);
    kt_udp_close(old);
    return 0;
}

static int relay_cut(lua_State *L)
{
    ((struct relay *)luaL_checkudata(L, 1, RELAY))->cut = lua_toboolean(L, 2);
    return 0;
}

/* replay(other): sends the client's first datagram once more, from the address of another relay. */
static int relay_replay(lua_State *L)
{
    struct relay *r = luaL_checkudata(L, 1, RELAY), *other = luaL_checkudata(L, 2, RELAY);
    struct kt_dgram d = {.data = r->first, .len = r->first_len};
    relay_on(other->up, &d, &r->server);
    return 0;
}

static int relay_counts(lua_State *L)
{
    const struct relay *r = luaL_checkudata(L, 1, RELAY);
    lua_pushinteger(L, r->to_server);
    lua_pushinteger(L, r->to_client);
    return 2;
}

/* A UDP port of 127.0.0.1 that no other process of specs uses, below the range from which the kernel takes ports. A
 * guard, a socket on an address of its own, holds the number until this process ends. As harness/ports.lua, which is
 * not available here: it needs luv. */
int world_free_port(lua_State *L)
{
    enum { FIRST = 8000, COUNT = 3000 };
    static unsigned next;
    check_world(L);
    int guard = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (guard < 0) return luaL_error(L, "socket: %s", strerror(errno));
    for (int tries = 0; tries < COUNT; tries++) {
        uint16_t port = (uint16_t)(FIRST + ((unsigned)getpid() * 8 + next++) % COUNT);
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
        inet_pton(AF_INET, "127.75.84.1", &at.sin_addr);
        if (bind(guard, (struct sockaddr *)&at, sizeof at)) continue;
        lua_pushinteger(L, port);
        return 1;
    }
    close(guard);
    return luaL_error(L, "every port is taken");
}

void link_spec_relay(lua_State *L)
{
    static const luaL_Reg relay[] = {{"port", relay_port}, {"move", relay_move}, {"cut", relay_cut},
        {"replay", relay_replay}, {"counts", relay_counts}, {NULL, NULL}};
    class(L, RELAY, relay);
}
