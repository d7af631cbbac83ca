/* The Lua state of a runtime, and its modules. */
#ifndef KT_SCRIPT_CORE_STATE_H
#define KT_SCRIPT_CORE_STATE_H

#include <lua.h>

struct kt_runtime;
struct kt_sandbox_opts;

/* Largest Lua source file, in bytes. */
#define KT_SCRIPT_MAX (8u << 20)

/* Returns 0, KT_ENOMEM, or why the guard could not start. */
int kt_state_new(struct kt_runtime *rt, const struct kt_sandbox_opts *opts);
/* Closes the state. The rest, which finalizers use, is freed by kt_state_free. */
void kt_state_close(struct kt_runtime *rt);
void kt_state_free(struct kt_runtime *rt);
/* Pushes the main chunk as a function. LUA_OK, or a Lua status with the message pushed. */
int kt_state_load_file(struct kt_runtime *rt, const char *path);
int kt_state_load_module(struct kt_runtime *rt, const char *module);
/* Pushes a module of the binary that the state has loaded, or nil. */
void kt_state_push_module(lua_State *L, const char *module);
/* Pushes a module of the binary, which it loads if need be, and returns 1. Raises. */
int kt_state_require(lua_State *L, const char *module);
/* Resolves a path given by the script, relative to the script's folder. Pushes the string and returns it. */
const char *kt_state_path(lua_State *L, const char *path);

#endif
