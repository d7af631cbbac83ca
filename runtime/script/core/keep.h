/* kt.keep: tables of a script that a reload hands to the new script. */
#ifndef KT_SCRIPT_CORE_KEEP_H
#define KT_SCRIPT_CORE_KEEP_H

#include <lua.h>
#include <stdbool.h>

/* Limit on the values that a script takes over, with the defaults that it gives: KT_KEEP_COST for each value, plus
 * the bytes of strings. */
#define KT_KEEP_MAX (4u << 20)
#define KT_KEEP_COST 16u
/* Tables inside tables. */
#define KT_KEEP_DEPTH 32

/* Adds its function to kt.core, the table on top of the stack. */
void kt_keep_bind(lua_State *L);
/* Whether this script refused the previous script's kept values. */
bool kt_keep_refused(lua_State *L);

#endif
