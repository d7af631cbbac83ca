/* The script API, for struct kt_runtime_opts. */
#ifndef KT_SCRIPT_API_BINDINGS_H
#define KT_SCRIPT_API_BINDINGS_H

struct lua_State;

/* Adds the functions of all bindings to kt.core, the table on top of the stack. */
void kt_api_bind(struct lua_State *L);

#endif
