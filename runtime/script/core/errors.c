/* err objects, returned after nil when an operation fails in an expected way. err.code is stable and may be
 * compared; tostring(err) is a sentence for people. */
#include "script/core/errors.h"
#include <lauxlib.h>
#include <string.h>
#include "base/err.h"
#include "script/core/handle.h"
#include "script/sandbox/origin.h"

struct kt_lua_err {
    int code;
    char text[];
};

void kt_err_push(lua_State *L, int code, const char *text)
{
    if (!text || !text[0]) text = kt_strerror(code);
    size_t len = strlen(text) + 1;
    struct kt_lua_err *e = kt_handle_push(L, KT_HANDLE_ERR, sizeof *e + len, 0);
    e->code = code;
    memcpy(e->text, text, len);
}

int kt_err_return(lua_State *L, int code, const char *text)
{
    lua_pushnil(L);
    kt_err_push(L, code, text);
    return 2;
}

int kt_err_return_before(lua_State *L, int extra, int code, const char *text)
{
    luaL_checkstack(L, 4, NULL);
    kt_err_return(L, code, text);
    lua_rotate(L, -(extra + 2), 2);
    return extra + 2;
}

int kt_err_arg(lua_State *L, int idx, const char *what, const char **text)
{
    *text = NULL;
    if (lua_isnoneornil(L, idx)) return KT_ECANCELED;
    const struct kt_lua_err *e = kt_handle_test(L, idx, KT_HANDLE_ERR);
    if (e) {
        *text = e->text;
        return e->code;
    }
    if (lua_type(L, idx) != LUA_TSTRING)
        kt_raise(L, "%s: argument %d: expected an err, a string or nothing, got %s", what, idx - 1,
            kt_type_name(L, idx));
    *text = lua_tostring(L, idx);
    return KT_ECANCELED;
}

static int field_code(lua_State *L)
{
    struct kt_lua_err *e = lua_touserdata(L, 1);
    lua_pushstring(L, kt_errname(e->code));
    return 1;
}

static int err_tostring(lua_State *L)
{
    struct kt_lua_err *e = luaL_checkudata(L, 1, KT_HANDLE_ERR);
    lua_pushstring(L, e->text);
    return 1;
}

static int err_concat(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

/* ---- values raised by a script, of any type ---- */

/* Appends the fields that usually hold a message to the string on top of the stack. */
static void add_fields(lua_State *L, int table)
{
    static const char *const names[] = {"code", "err", "error", "message", "msg", "name"};
    const char *joint = ": ";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lua_pushstring(L, names[i]);
        lua_rawget(L, table);
        const int type = lua_type(L, -1);
        if (type != LUA_TSTRING && type != LUA_TNUMBER && !kt_handle_test(L, -1, KT_HANDLE_ERR)) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushfstring(L, "%s%s = %s", joint, names[i], luaL_tolstring(L, -1, NULL));
        lua_replace(L, -3);
        lua_pop(L, 1);
        lua_concat(L, 2);
        joint = ", ";
    }
}

const char *kt_err_raised(lua_State *L, int idx)
{
    idx = lua_absindex(L, idx);
    luaL_checkstack(L, 8, NULL);
    const int type = lua_type(L, idx);
    const bool table = type == LUA_TTABLE;
    if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN || type == LUA_TUSERDATA)
        return luaL_tolstring(L, idx, NULL);
    if (table && luaL_getmetafield(L, idx, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        return luaL_tolstring(L, idx, NULL);
    }
    lua_pushfstring(L, "an error that is %s%s%s", type == LUA_TNIL ? "" : "a ", luaL_typename(L, idx),
        table ? " without __tostring" : "");
    if (table) add_fields(L, idx);
    return lua_tostring(L, -1);
}

/* core.raised(value) → a sentence that describes it */
static int raised(lua_State *L)
{
    luaL_checkany(L, 1);
    kt_err_raised(L, 1);
    return 1;
}

void kt_err_bind(lua_State *L)
{
    lua_pushcfunction(L, raised);
    lua_setfield(L, -2, "raised");
    static const luaL_Reg fields[] = {{"code", field_code}, {NULL, NULL}};
    kt_handle_type(
        L, &(struct kt_handle_type){
               .name = KT_HANDLE_ERR, .fields = fields, .tostring = err_tostring, .concat = err_concat});
}
