/* Modules in the binary for Lua states that are no runtime's: those that specs run in, under `kt test` and,
 * through kt.so, under plain busted. They get kt.sim; what a script gets as kt, only scripts get. */
#ifndef KT_SCRIPT_SIM_MODULE_H
#define KT_SCRIPT_SIM_MODULE_H

#include <lua.h>

/* Lets `require` find them: last of all, so that files of the user's own go first. And pairs and next are
 * those that scripts have in worlds: hosts that are made in a loop over a table shall be made in the same
 * order in each run. */
void kt_plain_install(lua_State *L);

/* Pushes what `require "kt"` gives there. */
int kt_plain_open(lua_State *L);
/* Runs a module and pushes what it returned, for who is asked for it by name. */
int kt_plain_module(lua_State *L, const char *name);
/* Pushes kt.sim.core. */
int kt_plain_core(lua_State *L);

#endif
