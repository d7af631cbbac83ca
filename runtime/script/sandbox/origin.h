/* Lines of a script: where a task was spawned, a service declared, or a mistake made. */
#ifndef KT_SCRIPT_SANDBOX_ORIGIN_H
#define KT_SCRIPT_SANDBOX_ORIGIN_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Interned, so that a task needs only a pointer. */
struct kt_origin {
    struct kt_origin *next;
    int line; /* 0: unknown */
    char source[64];
};

/* The origins of one state. Zeroed: none. */
struct kt_origins {
    struct kt_origin *first;
    size_t count;
};

/* Stands for a line that is not known. */
extern const struct kt_origin kt_origin_unknown;

/* The current line of the script on L; for a script in the binary, the innermost one. Lives until
 * kt_origins_free. Never NULL. */
const struct kt_origin *kt_origin_find(struct kt_origins *origins, lua_State *L);
void kt_origins_free(struct kt_origins *origins);

/* Whether a chunk name belongs to a module in the binary. */
bool kt_origin_embedded(const char *short_src);
/* Finds the innermost line of the script itself; returns false if only modules in the binary run. Allocates
 * nothing. */
bool kt_origin_line(lua_State *L, lua_Debug *ar);

/* Raises a message with the script's line, skipping functions of ours in between (luaL_error would name
 * those). Declared int for `return kt_raise(...)`. Formats as lua_pushfstring does. */
int kt_raise(lua_State *L, const char *fmt, ...) __attribute__((noreturn));
/* The type of the value at idx, for messages: a handle's kind ("link") or the Lua type. Anchored by the
 * value. */
const char *kt_type_name(lua_State *L, int idx);

#endif
