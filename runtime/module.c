/* kt.so: kt.sim for specs that run under plain busted, with Lua's own interpreter. */
#include "script/plain.h"

int luaopen_kt(lua_State *L);
int luaopen_kt_sim(lua_State *L);
int luaopen_kt_sim_report(lua_State *L);
int luaopen_kt_sim_core(lua_State *L);

int luaopen_kt(lua_State *L)
{
    return kt_plain_open(L);
}

int luaopen_kt_sim(lua_State *L)
{
    return kt_plain_module(L, "kt.sim");
}

/* busted --helper=kt.sim.report */
int luaopen_kt_sim_report(lua_State *L)
{
    return kt_plain_module(L, "kt.sim.report");
}

/* For those who work on kt.sim itself, and have its Lua part from their own files. */
int luaopen_kt_sim_core(lua_State *L)
{
    return kt_plain_core(L);
}
