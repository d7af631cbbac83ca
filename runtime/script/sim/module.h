/* Embedded modules for the Lua states of specs, which do not belong to a runtime: under `kt test` and,
 * through kt.so, under plain busted. Specs get kt.sim; the script API of kt is only for scripts. */
#ifndef KT_SCRIPT_SIM_MODULE_H
#define KT_SCRIPT_SIM_MODULE_H

#include <lua.h>

/* Adds a searcher that lets `require` find the modules, after the user's own files. Also replaces pairs and
 * next by the ordered ones of simulated scripts, so that a loop over a table that creates hosts creates them
 * in the same order in each run. */
void kt_lua_sim_module_install(lua_State *L);

/* Pushes the result of `require "kt"` in a spec. */
int kt_lua_sim_module_open(lua_State *L);
/* Runs a module by name and pushes its result. */
int kt_lua_sim_module_load(lua_State *L, const char *name);
/* Pushes kt.sim.core. */
int kt_lua_sim_module_core(lua_State *L);

#endif
