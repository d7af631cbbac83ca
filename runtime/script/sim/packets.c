/* Packet events of a simulated world: their fingerprint, the trace, and packet rules. */
#include <stdio.h>
#include <string.h>
#include "base/bytes.h"
#include "base/hmap.h"
#include "script/core/fields.h"
#include "script/sim/core.h"

/* ---- the fingerprint ---- */

static uint64_t mix(uint64_t h, uint64_t x)
{
    return kt_hash_u64(x, h);
}

static uint64_t mix_bytes(uint64_t h, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t rest = 0;
    h = mix(h, len);
    for (; len >= sizeof rest; p += sizeof rest, len -= sizeof rest) h = mix(h, kt_get64(p));
    for (; len > 0; len--) rest = rest << 8 | p[len - 1];
    return mix(h, rest);
}

static uint64_t mix_addr(uint64_t h, const struct kt_addr *a)
{
    h = mix(h, kt_addr_port(a));
    if (a->sa.sa_family == AF_INET) return mix_bytes(h, &a->in4.sin_addr, sizeof a->in4.sin_addr);
    return mix_bytes(h, &a->in6.sin6_addr, sizeof a->in6.sin6_addr);
}

static void add(struct kt_lua_world *w, const struct kt_sim_packet *p)
{
    uint64_t h = mix(mix(w->print, p->at), p->id);
    h = mix(h, (uint64_t)p->what << 32 | (uint64_t)p->cause << 16 | (uint64_t)p->proto);
    h = mix_bytes(h, p->from, strlen(p->from));
    h = mix_bytes(h, p->to, strlen(p->to));
    h = mix_addr(mix_addr(h, p->src), p->dst);
    h = mix_bytes(h, p->flags, strlen(p->flags));
    /* Hash the bytes once: a packet is delivered as sent unless an event says that it was corrupted. */
    if (p->what == KT_SIM_SENT || p->what == KT_SIM_CORRUPTED) h = mix_bytes(h, p->data, p->len);
    w->print = h;
    w->packets++;
}

/* ---- the trace ---- */

static int push_packet(lua_State *L, void *ctx)
{
    static const char *const whats[] = {"sent", "delivered", "dropped", "corrupted", "duplicated"};
    const struct kt_sim_packet *p = ctx;
    char text[KT_ADDR_TEXT];
    lua_createtable(L, 0, 13);
    kt_field_integer(L, "at", p->at);
    kt_field_integer(L, "id", p->id);
    kt_field_string(L, "what", whats[p->what]);
    if (p->cause) kt_field_string(L, "cause", kt_sim_cause_name(p->cause));
    kt_field_string(L, "proto", p->proto == KT_SIM_UDP ? "udp" : p->proto == KT_SIM_TCP ? "tcp" : "icmp");
    kt_field_string(L, "from", p->from);
    kt_field_string(L, "to", p->to);
    kt_field_string(L, "src", kt_addr_text(p->src, text));
    kt_field_string(L, "dst", kt_addr_text(p->dst, text));
    kt_field_string(L, "flags", p->flags);
    kt_field_integer(L, "size", p->wire_len);
    lua_pushlstring(L, p->data ? (const char *)p->data : "", p->len);
    lua_setfield(L, -2, "data");
    return 1;
}

static void on_packet(void *ctx, const struct kt_sim_packet *p)
{
    struct kt_lua_world *w = ctx;
    add(w, p);
    if (w->watched) kt_lua_sim_dispatch(w, "packet", 0, push_packet, (void *)p);
}

void kt_lua_sim_packets_watch(struct kt_lua_world *w)
{
    kt_sim_trace_set(w->sim, on_packet, w);
}

/* world:watch(on): turns on dispatch("packet", 0, packet) and dispatch("log", script, line) */
static int watch(lua_State *L)
{
    kt_lua_sim_world_arg(L)->watched = lua_toboolean(L, 2);
    return 0;
}

/* world:fingerprint() → a hash of all packet events as 16 hex digits, the number of events */
static int fingerprint(lua_State *L)
{
    const struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    char text[20];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)w->print);
    lua_pushstring(L, text);
    lua_pushinteger(L, (lua_Integer)w->packets);
    return 2;
}

/* ---- rules ---- */

struct asked {
    struct kt_lua_world *w;
    const struct kt_sim_packet *p;
    struct kt_sim_verdict *out;
};

static int ask(lua_State *L)
{
    const struct asked *a = lua_touserdata(L, 1);
    char src[KT_ADDR_TEXT], dst[KT_ADDR_TEXT];
    kt_lua_sim_push_slot(L, a->w, KT_SIM_SLOT_RULE);
    lua_pushstring(L, a->p->from);
    lua_pushstring(L, a->p->to);
    lua_pushstring(L, kt_addr_text(a->p->src, src));
    lua_pushstring(L, kt_addr_text(a->p->dst, dst));
    lua_pushlstring(L, (const char *)a->p->data, a->p->len);
    lua_pushinteger(L, (lua_Integer)a->p->id);
    lua_call(L, 6, 3);
    a->out->drop = lua_toboolean(L, -3);
    a->out->copies = (unsigned)lua_tointeger(L, -2);
    a->out->delay_us = (uint64_t)lua_tointeger(L, -1);
    return 0;
}

static void on_rule(void *ctx, const struct kt_sim_packet *p, struct kt_sim_verdict *out)
{
    struct kt_lua_world *w = ctx;
    lua_State *L = w->L;
    if (!L) return;
    struct asked a = {w, p, out};
    lua_pushcfunction(L, ask);
    lua_pushlightuserdata(L, &a);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) kt_lua_sim_keep_error(w, L);
}

/* world:set_rule(fn | nil): fn(from, to, src, dst, data, id) → drop, copies, delay_us; called for each UDP
 * packet */
static int set_rule(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    lua_settop(L, 2);
    const bool none = lua_isnil(L, 2);
    lua_setiuservalue(L, 1, KT_SIM_SLOT_RULE);
    kt_sim_rule_set(w->sim, none ? NULL : on_rule, w);
    return 0;
}

/* Reads the address at idx: "10.0.0.1:5" or "[fd00::1]:5". Returns false and sets err if it is invalid. */
static bool addr_at(lua_State *L, int idx, struct kt_addr *out, struct kt_err *err)
{
    const char *text = luaL_checkstring(L, idx);
    struct kt_endpoint at;
    if (kt_endpoint_parse(&at, text, KT_ENDPOINT_HOST, err)) return false;
    if (!at.is_unix && kt_addr_from_ip(out, at.host, at.port_min)) return true;
    kt_err_set(err, KT_EINVAL, "\"%s\" is not an IP address with a port", text);
    return false;
}

/* world:inject(host, from, to, data) → true | nil, code, sentence */
static int inject(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_host *h = kt_lua_sim_host_arg(L, w, 2);
    struct kt_addr from, to;
    struct kt_err err = {0};
    size_t len;
    const char *data = luaL_checklstring(L, 5, &len);
    if (!addr_at(L, 3, &from, &err) || !addr_at(L, 4, &to, &err) ||
        kt_sim_inject(h, &from, &to, data, len, &err))
        return kt_lua_sim_fail_return(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

void kt_lua_sim_packets(lua_State *L)
{
    static const luaL_Reg methods[] = {{"watch", watch}, {"fingerprint", fingerprint}, {"set_rule", set_rule},
        {"inject", inject}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
