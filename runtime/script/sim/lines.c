/* Network lines of a simulated world. Each has one direction and is identified by the hosts at its ends. */
#include "script/sim/core.h"

/* Reads the options at idx: the fields of struct kt_sim_line_opts, in µs, bits per second and
 * probabilities. */
static struct kt_sim_line_opts line_opts(lua_State *L, int idx)
{
    luaL_checktype(L, idx, LUA_TTABLE);
    return (struct kt_sim_line_opts){
        .delay_us = (uint64_t)kt_lua_sim_number(L, idx, "delay_us"),
        .jitter_us = (uint64_t)kt_lua_sim_number(L, idx, "jitter_us"),
        .loss = kt_lua_sim_number(L, idx, "loss"),
        .burst_enter = kt_lua_sim_number(L, idx, "burst_enter"),
        .burst_leave = kt_lua_sim_number(L, idx, "burst_leave"),
        .burst_loss = kt_lua_sim_number(L, idx, "burst_loss"),
        .duplicate = kt_lua_sim_number(L, idx, "duplicate"),
        .reorder = kt_lua_sim_number(L, idx, "reorder"),
        .reorder_us = (uint64_t)kt_lua_sim_number(L, idx, "reorder_us"),
        .corrupt = kt_lua_sim_number(L, idx, "corrupt"),
        .rate_bps = (uint64_t)kt_lua_sim_number(L, idx, "rate_bps"),
        .queue_packets = (uint64_t)kt_lua_sim_number(L, idx, "queue_packets"),
        .queue_bytes = (uint64_t)kt_lua_sim_number(L, idx, "queue_bytes"),
        .queue_us = (uint64_t)kt_lua_sim_number(L, idx, "queue_us"),
        .police_bytes = (uint64_t)kt_lua_sim_number(L, idx, "police_bytes"),
        .mtu = (uint32_t)kt_lua_sim_number(L, idx, "mtu"),
    };
}

static int result(lua_State *L, const struct kt_err *err)
{
    if (err->code) return kt_lua_sim_fail_return(L, err);
    lua_pushboolean(L, 1);
    return 1;
}

/* world:join(a, b, there, back) → true | nil, code, sentence */
static int join(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_host *a = kt_lua_sim_host_arg(L, w, 2), *b = kt_lua_sim_host_arg(L, w, 3);
    const struct kt_sim_line_opts there = line_opts(L, 4), back = line_opts(L, 5);
    struct kt_err err = {0};
    kt_sim_link(a, b, &there, &back, &err);
    return result(L, &err);
}

/* The line from the host at 2 to the one at 3. */
static struct kt_sim_line *line_arg(lua_State *L)
{
    struct kt_lua_world *w = kt_lua_sim_world_arg(L);
    struct kt_sim_line *l = kt_sim_line(kt_lua_sim_host_arg(L, w, 2), kt_lua_sim_host_arg(L, w, 3));
    if (!l) luaL_error(L, "%s and %s are not linked", lua_tostring(L, 2), lua_tostring(L, 3));
    return l;
}

static int set_line(lua_State *L)
{
    struct kt_sim_line *l = line_arg(L);
    const struct kt_sim_line_opts opts = line_opts(L, 4);
    struct kt_err err = {0};
    kt_sim_line_set(l, &opts, &err);
    return result(L, &err);
}

static int cut(lua_State *L)
{
    kt_sim_line_cut(line_arg(L));
    return 0;
}

static int hold(lua_State *L)
{
    kt_sim_line_hold(line_arg(L));
    return 0;
}

static int heal(lua_State *L)
{
    kt_sim_line_heal(line_arg(L));
    return 0;
}

static int stats(lua_State *L)
{
    const struct kt_sim_line_stats *s = kt_sim_line_stats(line_arg(L));
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {{"sent_packets", s->sent_pkts}, {"sent_bytes", s->sent_bytes},
        {"delivered_packets", s->delivered_pkts}, {"delivered_bytes", s->delivered_bytes},
        {"lost_packets", s->lost_pkts}, {"duplicated", s->duplicated}, {"corrupted", s->corrupted},
        {"reordered", s->reordered}, {"queue_peak_packets", s->queue_peak_pkts},
        {"queue_peak_bytes", s->queue_peak_bytes}};
    lua_createtable(L, 0, 12);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, (lua_Integer)fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushnumber(L, (double)s->queue_peak_us / 1e6);
    lua_setfield(L, -2, "queue_peak");
    lua_newtable(L);
    for (int cause = 1; cause < KT_SIM_CAUSES; cause++) {
        lua_pushinteger(L, (lua_Integer)s->lost[cause]);
        lua_setfield(L, -2, kt_sim_cause_name((enum kt_sim_cause)cause));
    }
    lua_setfield(L, -2, "lost");
    return 1;
}

void kt_lua_sim_lines(lua_State *L)
{
    static const luaL_Reg methods[] = {{"join", join}, {"set_line", set_line}, {"cut", cut}, {"hold", hold},
        {"heal", heal}, {"line_stats", stats}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
