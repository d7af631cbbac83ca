/* err objects, returned after nil when an operation fails in an expected way, or made by the script. err.code is
 * stable and may be compared; err.text, which is also tostring(err), is a sentence for people. */
#include "script/core/errors.h"
#include <lauxlib.h>
#include <string.h>
#include "base/err.h"
#include "base/text.h"
#include "script/core/handle.h"
#include "script/sandbox/origin.h"

struct kt_lua_err {
    int code;    /* KT_ECANCELED if `own` */
    bool own;    /* the code is the script's own; its name follows the text */
    char text[]; /* ends with a zero byte, as does the name */
};

static const char *name_of(const struct kt_lua_err *e)
{
    return e->own ? e->text + strlen(e->text) + 1 : kt_errname(e->code);
}

/* own: a code of the script's own, or NULL. */
static void push(lua_State *L, int code, const char *own, const char *text)
{
    const size_t len = strlen(text) + 1, more = own ? strlen(own) + 1 : 0;
    struct kt_lua_err *e = kt_handle_push(L, KT_HANDLE_ERR, sizeof *e + len + more, 0);
    e->code = code;
    e->own = own;
    memcpy(e->text, text, len);
    kt_text_clean(e->text);
    if (own) memcpy(e->text + len, own, more);
}

void kt_lua_err_push(lua_State *L, int code, const char *text)
{
    push(L, code, NULL, text && text[0] ? text : kt_strerror(code));
}

/* core.err(code, text) → err. The code is one of kt's, or any other name. */
static int err(lua_State *L)
{
    static const struct {
        const char *name;
        int code;
    } known[] = {
#define KT_ERROR_ROW(sym, num, name, text) {name, sym},
        KT_ERRORS(KT_ERROR_ROW)
#undef KT_ERROR_ROW
    };
    const char *name = luaL_checkstring(L, 1), *text = luaL_checkstring(L, 2);
    size_t i = 0;
    while (i < sizeof known / sizeof known[0] && strcmp(known[i].name, name) != 0) i++;
    if (i < sizeof known / sizeof known[0])
        kt_lua_err_push(L, known[i].code, text);
    else
        push(L, KT_ECANCELED, name, text);
    return 1;
}

int kt_lua_err_return(lua_State *L, int code, const char *text)
{
    lua_pushnil(L);
    kt_lua_err_push(L, code, text);
    return 2;
}

int kt_lua_err_return_before(lua_State *L, int extra, int code, const char *text)
{
    luaL_checkstack(L, 4, NULL);
    kt_lua_err_return(L, code, text);
    lua_rotate(L, -(extra + 2), 2);
    return extra + 2;
}

int kt_lua_err_arg(lua_State *L, int idx, const char *what, const char **text)
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
    lua_pushstring(L, name_of(e));
    return 1;
}

static int field_text(lua_State *L)
{
    const struct kt_lua_err *e = lua_touserdata(L, 1);
    lua_pushstring(L, e->text);
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

const char *kt_lua_err_raised(lua_State *L, int idx)
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
    kt_lua_err_raised(L, 1);
    return 1;
}

void kt_lua_err_bind(lua_State *L)
{
    lua_pushcfunction(L, raised);
    lua_setfield(L, -2, "raised");
    lua_pushcfunction(L, err);
    lua_setfield(L, -2, "err");
    static const luaL_Reg fields[] = {{"code", field_code}, {"text", field_text}, {NULL, NULL}};
    kt_handle_type(
        L, &(struct kt_handle_type){
               .name = KT_HANDLE_ERR, .fields = fields, .tostring = err_tostring, .concat = err_concat});
}
