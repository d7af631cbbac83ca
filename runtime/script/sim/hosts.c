/* Hosts of a simulated world, which specs refer to by name: creation, faults, files, DNS names and NATs. */
#include <string.h>
#include "script/sim/core.h"

#define ADDRS_MAX 16u

static struct kt_sim_host *host_2(lua_State *L)
{
    return kt_lua_sim_host_arg(L, kt_lua_sim_world_arg(L), 2);
}

/* Reads the list of addresses at idx. Returns their number, or -1 and sets err. */
static int addrs_at(lua_State *L, int idx, struct kt_addr out[ADDRS_MAX], struct kt_err *err)
{
    if (lua_isnoneornil(L, idx)) return 0;
    luaL_checktype(L, idx, LUA_TTABLE);
    size_t n = (size_t)lua_rawlen(L, idx);
    if (n > ADDRS_MAX) {
        kt_err_set(err, KT_EINVAL, "%d addresses; expected at most %d", (int)n, (int)ADDRS_MAX);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, idx, (lua_Integer)i + 1);
        const char *text = lua_tostring(L, -1);
        bool good = text && kt_addr_from_ip(&out[i], text, 0);
        if (!good)
            kt_err_set(err, KT_EINVAL, "\"%s\" is not an IP address", text ? text : luaL_typename(L, -1));
        lua_pop(L, 1);
        if (!good) return -1;
    }
    return (int)n;
}

/* world:new_host(name, { address, … } | nil, send rate in bits per second, 0: the default; descriptor limit)
 * → true | nil, code, sentence */
static int new_host(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_addr addrs[ADDRS_MAX];
    struct kt_err err = {0};
    struct kt_sim_host *h;
    int n = addrs_at(L, 3, addrs, &err);
    if (n < 0) return kt_lua_sim_fail_return(L, &err);
    const struct kt_sim_host_opts opts = {.name = luaL_checkstring(L, 2),
        .addrs = addrs,
        .n_addrs = (size_t)n,
        .send_bps = (uint64_t)luaL_optinteger(L, 4, 0),
        .descriptors = (size_t)luaL_optinteger(L, 5, 0),
        .real_files = true};
    if (kt_sim_host_new(w->sim, &opts, &h, &err)) return kt_lua_sim_fail_return(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* world:addrs(host) → { "10.0.1.1", … } */
static int addrs(lua_State *L)
{
    const struct kt_sim_host *h = host_2(L);
    struct kt_addr a;
    char text[KT_ADDR_TEXT];
    lua_newtable(L);
    for (size_t i = 0; kt_sim_host_addr(h, i, &a); i++) {
        kt_addr_text(&a, text);
        char *port = strrchr(text, ':');
        if (port) *port = '\0';
        size_t len = strlen(text);
        if (text[0] == '[' && len > 2) /* [fd00::1] */
            lua_pushlstring(L, text + 1, len - 2);
        else
            lua_pushlstring(L, text, len);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* world:move(host, { address, … }) → true | nil, code, sentence */
static int move(lua_State *L)
{
    struct kt_sim_host *h = host_2(L);
    struct kt_addr list[ADDRS_MAX];
    struct kt_err err = {0};
    int n = addrs_at(L, 3, list, &err);
    if (n < 0 || kt_sim_host_move(h, list, (size_t)n, &err)) return kt_lua_sim_fail_return(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* world:gateway(host, other | nil) → true | nil, code, sentence */
static int gateway(lua_State *L)
{
    struct kt_sim_host *h = host_2(L);
    struct kt_sim_host *other =
        lua_isnoneornil(L, 3) ? NULL : kt_lua_sim_host_arg(L, kt_lua_sim_world_arg(L), 3);
    kt_sim_host_gateway(h, other);
    lua_pushboolean(L, 1);
    return 1;
}

static int open_sockets(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_sim_host_open(host_2(L)));
    return 1;
}

static int up(lua_State *L)
{
    lua_pushboolean(L, kt_sim_host_up(host_2(L)));
    return 1;
}

static int crash(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_host *h = kt_lua_sim_host_arg(L, w, 2);
    kt_sim_host_crash(h);
    kt_lua_sim_scripts_crash(w, h);
    kt_lua_sim_drivers_crash(w, h);
    if (!w->L) kt_lua_sim_reap(w);
    return 0;
}

static int restart(lua_State *L)
{
    kt_sim_host_restart(host_2(L));
    return 0;
}

static int slow_reader(lua_State *L)
{
    kt_sim_slow_reader(host_2(L), (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

static int short_io(lua_State *L)
{
    kt_sim_short_io(host_2(L), (size_t)luaL_checkinteger(L, 3));
    return 0;
}

static int udp_full(lua_State *L)
{
    kt_sim_udp_full(host_2(L), (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

static int wall_jump(lua_State *L)
{
    kt_sim_wall_jump(host_2(L), (int64_t)luaL_checkinteger(L, 3));
    return 0;
}

/* world:put_file(host, path, data) */
static int put_file(lua_State *L)
{
    size_t len;
    const char *data = luaL_checklstring(L, 4, &len);
    if (kt_sim_file_put(host_2(L), luaL_checkstring(L, 3), data, len)) return luaL_error(L, "out of memory");
    return 0;
}

/* world:get_file(host, path) → data | nil */
static int get_file(lua_State *L)
{
    const void *data;
    size_t len;
    if (!kt_sim_file_get(host_2(L), luaL_checkstring(L, 3), &data, &len)) return 0;
    lua_pushlstring(L, data ? data : "", len);
    return 1;
}

static int remove_file(lua_State *L)
{
    lua_pushboolean(L, kt_sim_file_remove(host_2(L), luaL_checkstring(L, 3)));
    return 1;
}

/* world:nat(host, { public =, timeout_us =, open =, symmetric = }) → true | nil, code, sentence */
static int nat(lua_State *L)
{
    struct kt_sim_host *h = host_2(L);
    luaL_checktype(L, 3, LUA_TTABLE);
    struct kt_err err = {0};
    struct kt_sim_nat_opts opts = {.timeout_us = (uint64_t)kt_lua_sim_number(L, 3, "timeout_us")};
    lua_getfield(L, 3, "open");
    opts.open = lua_toboolean(L, -1);
    lua_getfield(L, 3, "symmetric");
    opts.symmetric = lua_toboolean(L, -1);
    lua_getfield(L, 3, "public");
    const char *text = luaL_checkstring(L, -1);
    if (!kt_addr_from_ip(&opts.public_addr, text, 0))
        kt_err_set(&err, KT_EINVAL, "\"%s\" is not an IP address", text);
    else
        kt_sim_nat(h, &opts, &err);
    if (err.code) return kt_lua_sim_fail_return(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int nat_rebind(lua_State *L)
{
    kt_sim_nat_rebind(host_2(L));
    return 0;
}

/* world:set_name(name, { address, … } | false, delay_us) → true | nil, code, sentence; false: lookups fail */
static int set_name(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    const char *name = luaL_checkstring(L, 2);
    uint64_t delay = (uint64_t)luaL_checkinteger(L, 4);
    struct kt_addr list[ADDRS_MAX];
    struct kt_err err = {0};
    int n = lua_isboolean(L, 3) ? 0 : addrs_at(L, 3, list, &err);
    if (n < 0) return kt_lua_sim_fail_return(L, &err);
    int rc = lua_isboolean(L, 3) ? kt_sim_name_fail(w->sim, name, delay)
                                 : kt_sim_name_set(w->sim, name, list, (size_t)n, delay);
    if (rc) {
        kt_err_set(&err, rc, "%s", kt_strerror(rc));
        return kt_lua_sim_fail_return(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

void kt_lua_sim_hosts(lua_State *L)
{
    static const luaL_Reg methods[] = {{"new_host", new_host}, {"addrs", addrs}, {"move", move},
        {"gateway", gateway}, {"open_sockets", open_sockets}, {"up", up}, {"crash", crash},
        {"restart", restart}, {"slow_reader", slow_reader}, {"short_io", short_io}, {"udp_full", udp_full},
        {"wall_jump", wall_jump}, {"put_file", put_file}, {"get_file", get_file},
        {"remove_file", remove_file}, {"nat", nat}, {"nat_rebind", nat_rebind}, {"set_name", set_name},
        {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
