/* err objects: what an expected failure returns beside nil. err.code is stable, tostring(err) is a sentence.
 */
#include <string.h>
#include "script/handle.h"
#include "script/script.h"

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

int kt_err_arg(lua_State *L, int idx, const char **text)
{
    *text = NULL;
    if (lua_isnoneornil(L, idx)) return KT_ECANCELED;
    const struct kt_lua_err *e = kt_handle_test(L, idx, KT_HANDLE_ERR);
    if (e) {
        *text = e->text;
        return e->code;
    }
    if (lua_type(L, idx) != LUA_TSTRING) luaL_argerror(L, idx, "wanted an err object, a string, or nothing");
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

void kt_lua_err(lua_State *L)
{
    static const luaL_Reg fields[] = {{"code", field_code}, {NULL, NULL}};
    kt_handle_type(
        L, &(struct kt_handle_type){
               .name = KT_HANDLE_ERR, .fields = fields, .tostring = err_tostring, .concat = err_concat});
}
