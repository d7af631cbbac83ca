/* string.find, match, gmatch and gsub, as in the reference manual, using kt's own matcher (pattern.h). */
#include <lauxlib.h>
#include <string.h>
#include "script/sandbox/guard.h"
#include "script/sandbox/pattern.h"

/* The start position, from 0; len + 1 if it is past the end. */
static size_t init_arg(lua_State *L, int idx, size_t len)
{
    lua_Integer i = luaL_optinteger(L, idx, 1);
    if (i > 0) return (lua_Unsigned)i - 1 < len ? (size_t)i - 1 : (lua_Unsigned)i - 1 == len ? len : len + 1;
    if (i == 0 || i < -(lua_Integer)len) return 0;
    return len - (size_t)(-i);
}

static bool is_plain(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != '\0' && strchr("^$*+?.([%-", p[i])) return false;
    return true;
}

/* Finds the first match at or after *s, and sets *s to its start. */
static const char *search(struct kt_pattern *m, const char **s, const char *p)
{
    const bool anchored = p < m->pattern_end && *p == '^';
    if (anchored) p++;
    do {
        m->captures = 0;
        const char *e = kt_pattern_match(m, *s, p);
        if (e) return e;
    } while (!anchored && (*s)++ < m->subject_end);
    return NULL;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t len, plen;
    const char *subject = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &plen);
    size_t from = init_arg(L, 3, len);
    lua_settop(L, 4);
    if (from > len) {
        lua_pushnil(L);
        return 1;
    }
    const char *s = subject + from, *e;
    struct kt_pattern m;
    kt_pattern_init(&m, L, subject, len, p, plen);
    if (find && (lua_toboolean(L, 4) || is_plain(p, plen))) {
        struct kt_guard *g = kt_guard_of(L);
        if (kt_guard_worked(g, (len - from) / KT_GUARD_BYTES)) kt_guard_raise(L);
        s = memmem(s, len - from, p, plen);
        e = s ? s + plen : NULL;
    } else {
        e = search(&m, &s, p);
    }
    if (!e) {
        lua_pushnil(L);
        return 1;
    }
    if (!find) return kt_pattern_push_all(&m, s, e);
    lua_pushinteger(L, s - subject + 1);
    lua_pushinteger(L, e - subject);
    return 2 + kt_pattern_push_all(&m, NULL, NULL);
}

static int find(lua_State *L)
{
    return find_or_match(L, true);
}

static int match(lua_State *L)
{
    return find_or_match(L, false);
}

/* Upvalues: subject, pattern, next position, end of the last match (-1: none yet), both from 0. Skips an
 * empty match at the end of the last one. */
static int next_match(lua_State *L)
{
    size_t len, plen;
    const char *subject = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *p = lua_tolstring(L, lua_upvalueindex(2), &plen);
    const lua_Integer from = lua_tointeger(L, lua_upvalueindex(3)),
                      last = lua_tointeger(L, lua_upvalueindex(4));
    struct kt_pattern m;
    kt_pattern_init(&m, L, subject, len, p, plen);
    for (size_t i = (size_t)from; i <= len; i++) {
        m.captures = 0;
        const char *e = kt_pattern_match(&m, subject + i, p);
        if (!e || e - subject == last) continue;
        lua_pushinteger(L, e - subject);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return kt_pattern_push_all(&m, subject + i, e);
    }
    lua_pushinteger(L, (lua_Integer)len + 1); /* further calls return nothing */
    lua_replace(L, lua_upvalueindex(3));
    return 0;
}

static int gmatch(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, 1, &len);
    luaL_checkstring(L, 2);
    const size_t from = init_arg(L, 3, len);
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)from);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, next_match, 4);
    return 1;
}

/* ---- gsub ---- */

/* Adds the replacement string at index 3, with %0 to %9 expanded. */
static void add_string(struct kt_pattern *m, luaL_Buffer *b, const char *s, const char *e)
{
    size_t len;
    lua_State *L = m->L;
    const char *r = lua_tolstring(L, 3, &len), *end = r + len;
    for (const char *at; (at = memchr(r, '%', (size_t)(end - r))); r = at + 2) {
        if (kt_guard_step(m->guard)) kt_guard_raise(L);
        luaL_addlstring(b, r, (size_t)(at - r));
        const char what = at + 1 < end ? at[1] : '\0';
        if (what == '%') {
            luaL_addchar(b, '%');
        } else if (what == '0') {
            luaL_addlstring(b, s, (size_t)(e - s));
        } else if (what >= '1' && what <= '9') {
            kt_pattern_push(m, what - '1', s, e);
            luaL_tolstring(L, -1, NULL); /* a position capture is a number */
            lua_remove(L, -2);
            luaL_addvalue(b);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
    luaL_addlstring(b, r, (size_t)(end - r));
}

static void add_value(struct kt_pattern *m, luaL_Buffer *b, const char *s, const char *e)
{
    lua_State *L = m->L;
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION: {
        lua_pushvalue(L, 3);
        lua_call(L, kt_pattern_push_all(m, s, e), 1);
        break;
    }
    case LUA_TTABLE:
        kt_pattern_push(m, 0, s, e);
        lua_gettable(L, 3);
        break;
    default:
        add_string(m, b, s, e);
        return;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, s, (size_t)(e - s));
    } else if (lua_isstring(L, -1)) {
        luaL_addvalue(b);
    } else {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
}

static int gsub(lua_State *L)
{
    size_t len, plen;
    const char *s = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &plen);
    const int type = lua_type(L, 3);
    luaL_argexpected(L,
        type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
        "string/function/table");
    const lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)len + 1);
    struct kt_pattern m;
    kt_pattern_init(&m, L, s, len, p, plen);
    const bool anchored = plen > 0 && *p == '^';
    if (anchored) p++;
    const char *last = NULL;
    lua_Integer n = 0;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (n < most) {
        m.captures = 0;
        const char *e = kt_pattern_match(&m, s, p);
        if (e && e != last) {
            n++;
            add_value(&m, &b, s, e);
            s = last = e;
        } else if (s < m.subject_end) {
            luaL_addchar(&b, *s++);
        } else {
            break;
        }
        if (anchored) break;
    }
    luaL_addlstring(&b, s, (size_t)(m.subject_end - s));
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}

void kt_lua_pattern(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", find}, {"match", match}, {"gmatch", gmatch}, {"gsub", gsub}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
