/* Parts of spec_link that need no io: health, the send budget, and kcptun's settings. */
#include <string.h>
#include "../class.h"
#include "internal.h"
#include "link/kcptun/health.h"
#include "link/kcptun/send_budget.h"

#define HEALTH "spec_link.health"

/* ---- health ---- */

int health_new(lua_State *L)
{
    const lua_Integer suspect_us = luaL_checkinteger(L, 1), dead_us = luaL_optinteger(L, 2, suspect_us);
    struct kt_kcptun_health *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (struct kt_kcptun_health){
        .patience = {.suspect_us = (uint64_t)suspect_us, .dead_us = (uint64_t)dead_us}};
    luaL_setmetatable(L, HEALTH);
    return 1;
}

static int health_heard(lua_State *L)
{
    struct kt_kcptun_health *h = luaL_checkudata(L, 1, HEALTH);
    kt_patience_heard(&h->patience, (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

/* check(now, facts): "ok", "probe", or nil, code, sentence. */
static int health_check(lua_State *L)
{
    struct kt_kcptun_health *h = luaL_checkudata(L, 1, HEALTH);
    uint64_t now = (uint64_t)luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    const struct kt_kcp_stats st = {
        .una = (uint32_t)field(L, 3, "una", 0),
        .rmt_wnd = (uint32_t)field(L, 3, "wnd", 128),
        .srtt_us = (uint32_t)field(L, 3, "srtt", 0),
        .rto_us = (uint32_t)field(L, 3, "rto", 0),
    };
    const struct kt_kcptun_restart restart = {
        .behind = (uint32_t)field(L, 3, "behind", 0),
        .behind_since = (uint64_t)field(L, 3, "since", 0),
    };
    struct kt_err why;
    bool probe;
    lua_getfield(L, 3, "owes");
    int code = kt_kcptun_health_check(h, &st, &restart, lua_toboolean(L, -1), now, &probe, &why);
    if (code) return fail(L, code, why.text);
    lua_pushstring(L, probe ? "probe" : "ok");
    return 1;
}

static int health_suspect(lua_State *L)
{
    const struct kt_kcptun_health *h = luaL_checkudata(L, 1, HEALTH);
    lua_pushboolean(L, h->patience.suspect);
    return 1;
}

/* When to check next; nil: never. */
static int health_due(lua_State *L)
{
    uint64_t due = kt_kcptun_health_due(luaL_checkudata(L, 1, HEALTH));
    if (due == UINT64_MAX) return 0;
    lua_pushinteger(L, (lua_Integer)due);
    return 1;
}

/* ---- the send budget ---- */

/* room(state, want), see link/kcptun/send_budget.h */
int send_budget_room(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct kt_kcptun_send_budget h = {
        .kcp = {.open = (uint32_t)field(L, 1, "open", 0),
            .queued = (uint32_t)field(L, 1, "queued", 0),
            .window = (uint32_t)field(L, 1, "window", 128),
            .srtt_us = (uint32_t)field(L, 1, "srtt", 0),
            .rate = (uint64_t)field(L, 1, "paced_rate", 0),
            .paced = (uint64_t)field(L, 1, "paced", -1)},
        .mss = (size_t)field(L, 1, "mss", 1000),
        .space = (size_t)field(L, 1, "space", 1 << 20),
        .path = (size_t)field(L, 1, "path", -1),
        .rate = (uint64_t)field(L, 1, "rate", 0),
        .window = (size_t)field(L, 1, "sndwnd", 1024),
        .overhead = (size_t)field(L, 1, "overhead", 8),
    };
    lua_getfield(L, 1, "unacked");
    h.unacked = lua_isnil(L, -1) || lua_toboolean(L, -1);
    lua_pushinteger(L, (lua_Integer)kt_kcptun_send_budget_room(&h, (size_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* ---- settings ---- */

struct kt_kcptun_config config_at(lua_State *L, int index, bool client)
{
    struct kt_kcptun_config c;
    struct kt_settings *s = &c.common;
    kt_kcptun_defaults(s, client);
    if (lua_getfield(L, index, "mode") == LUA_TSTRING) kt_kcptun_mode(s, lua_tostring(L, -1));
    if (lua_getfield(L, index, "key") == LUA_TSTRING) s->key = lua_tolstring(L, -1, &s->key_len);
    if (lua_getfield(L, index, "at") == LUA_TSTRING) {
        struct kt_err err;
        if (kt_endpoint_parse(&s->at, lua_tostring(L, -1), KT_ENDPOINT_RANGE, &err))
            luaL_error(L, "%s", err.text);
    }
    lua_pop(L, 3);
    for (size_t i = 0; i < kt_kcptun_settings.count; i++) {
        const struct kt_setting *row = &kt_kcptun_settings.rows[i];
        switch (lua_getfield(L, index, row->member)) {
        case LUA_TSTRING:
            kt_setting_set_name(row, s, lua_tostring(L, -1));
            break;
        case LUA_TBOOLEAN:
            kt_setting_set(row, s, (uint64_t)lua_toboolean(L, -1));
            break;
        case LUA_TNUMBER:
            kt_setting_set(row, s, (uint64_t)lua_tointeger(L, -1));
            break;
        }
        lua_pop(L, 1);
    }
    return c;
}

/* check(settings): true, or nil, code, sentence */
int config_check(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct kt_kcptun_config c = config_at(L, 1, true);
    struct kt_err err;
    int code = kt_kcptun_check(&c.common, &err);
    if (code) return fail(L, code, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

static int push_mode(lua_State *L, const struct kt_kcptun_config *c)
{
    lua_createtable(L, 4, 0);
    const lua_Integer values[] = {c->nodelay, c->interval_ms, c->resend, c->nc};
    for (int i = 0; i < 4; i++) {
        lua_pushinteger(L, values[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* mode(name, before): nodelay, interval, resend, nc as a list, starting from those of the mode `before`; nil
 * for an unknown name. */
int config_mode(lua_State *L)
{
    struct kt_kcptun_config c;
    kt_kcptun_defaults(&c.common, true);
    if (!lua_isnoneornil(L, 2)) kt_kcptun_mode(&c.common, luaL_checkstring(L, 2));
    if (!kt_kcptun_mode(&c.common, luaL_checkstring(L, 1))) return 0;
    return push_mode(L, &c);
}

/* defaults(client): by the members' names; what the mode sets is in the list part */
int config_defaults(lua_State *L)
{
    struct kt_kcptun_config c;
    kt_kcptun_defaults(&c.common, lua_toboolean(L, 1));
    push_mode(L, &c);
    for (size_t i = 0; i < kt_kcptun_settings.count; i++) {
        const struct kt_setting *row = &kt_kcptun_settings.rows[i];
        if (row->type == KT_SETTING_NAME) continue;
        union {
            bool flag;
            uint32_t u32;
            uint64_t u64;
        } at;
        memcpy(&at, (const char *)&c + row->offset, row->size);
        const uint64_t value = row->size == sizeof at.flag  ? at.flag
                               : row->size == sizeof at.u32 ? at.u32
                                                            : at.u64;
        lua_pushinteger(L, (lua_Integer)value);
        lua_setfield(L, -2, row->member);
    }
    lua_pushstring(L, c.crypt);
    lua_setfield(L, -2, "crypt");
    lua_pushlstring(L, c.common.key, c.common.key_len);
    lua_setfield(L, -2, "key");
    return 1;
}

void link_spec_facts(lua_State *L)
{
    static const luaL_Reg health[] = {{"heard", health_heard}, {"check", health_check}, {"due", health_due},
        {"suspect", health_suspect}, {NULL, NULL}};
    class(L, HEALTH, health);
}
