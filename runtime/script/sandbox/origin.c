/* Finds and interns lines of a script.
 *
 * Invariant: an origin stays where it is until all are freed, and no line has two. */
#include "script/sandbox/origin.h"
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGINS_MAX 1024u /* beyond it a line is unknown */

const struct kt_origin kt_origin_unknown = {.source = "?"};

bool kt_origin_embedded(const char *short_src)
{
    return strncmp(short_src, "[kt", 3) == 0;
}

/* Finds the script's own line or, failing that, the innermost one of a module in the binary. */
static bool find(lua_State *L, lua_Debug *found)
{
    lua_Debug ar;
    bool any = false;
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0) continue;
        const bool own = !kt_origin_embedded(ar.short_src);
        if (any && !own) continue;
        *found = ar;
        any = true;
        if (own) break;
    }
    return any;
}

const struct kt_origin *kt_origin_find(struct kt_origins *origins, lua_State *L)
{
    lua_Debug ar;
    if (!find(L, &ar)) return &kt_origin_unknown;
    for (struct kt_origin *o = origins->first; o; o = o->next)
        if (o->line == ar.currentline && strcmp(o->source, ar.short_src) == 0) return o;
    if (origins->count == ORIGINS_MAX) return &kt_origin_unknown;
    struct kt_origin *o = calloc(1, sizeof *o);
    if (!o) return &kt_origin_unknown;
    o->line = ar.currentline;
    snprintf(o->source, sizeof o->source, "%s", ar.short_src);
    o->next = origins->first;
    origins->first = o;
    origins->count++;
    return o;
}

void kt_origins_free(struct kt_origins *origins)
{
    for (struct kt_origin *o; (o = origins->first);) {
        origins->first = o->next;
        free(o);
    }
    origins->count = 0;
}

bool kt_origin_line(lua_State *L, lua_Debug *ar)
{
    for (int level = 0; lua_getstack(L, level, ar); level++)
        if (lua_getinfo(L, "Sl", ar) && ar->currentline > 0 && !kt_origin_embedded(ar->short_src))
            return true;
    return false;
}

int kt_raise(lua_State *L, const char *fmt, ...)
{
    lua_Debug ar;
    if (find(L, &ar) && !kt_origin_embedded(ar.short_src))
        lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
    else
        lua_pushliteral(L, "");
    va_list args;
    va_start(args, fmt);
    lua_pushvfstring(L, fmt, args);
    va_end(args);
    lua_concat(L, 2);
    lua_error(L);
    abort(); /* lua_error does not return */
}

const char *kt_type_name(lua_State *L, int idx)
{
    const char *kind = NULL;
    if (lua_type(L, idx) == LUA_TUSERDATA && luaL_getmetafield(L, idx, "__name") != LUA_TNIL) {
        kind = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    return kind ? kind : luaL_typename(L, idx);
}
