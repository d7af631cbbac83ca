/* Limits for functions of Lua's library that scan strings. They cannot be stopped, so their input is limited
 * to what they process in acceptable time. Invariant: every other function available to scripts ends after a
 * few steps, steps the guard (table.c, sort.c, pattern.c), or calls a function that does.
 *
 *   strings   all string arguments of a call together: at most KT_STRING_MAX bytes. (The allocator limits
 *             single strings.)
 *   formats   take longer per byte: at most FORMAT_MAX. So do quoted strings: at most QUOTED_MAX.
 *   source    load passes it on in pieces, and steps the guard for each. */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>
#include "script/sandbox/origin.h"
#include "script/sandbox/box.h"

#define FORMAT_MAX (64 << 10)
#define QUOTED_MAX (4 << 20) /* with %q */
#define PIECE 1024           /* bytes of source; the compiler may scan all its output for each line */

/* Upvalues: Lua's own function, its full name, whether its first argument is a format. Lua's function is
 * entered directly rather than by lua_call, so that errors name the right function; it has no upvalues. */
static int bounded(lua_State *L)
{
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    size_t bytes = 0;
    for (int i = lua_gettop(L); i > 0; i--)
        if (lua_type(L, i) == LUA_TSTRING) bytes += lua_rawlen(L, i);
    if (bytes > KT_STRING_MAX)
        return kt_raise(L, "%s: strings of %d MiB; at most %d MiB at once", name, (int)(bytes >> 20),
            (int)(KT_STRING_MAX >> 20));
    if (lua_toboolean(L, lua_upvalueindex(3)) && lua_type(L, 1) == LUA_TSTRING) {
        size_t len;
        const char *format = lua_tolstring(L, 1, &len);
        if (len > FORMAT_MAX)
            return kt_raise(
                L, "%s: a format of %d KiB; at most %d KiB", name, (int)(len >> 10), FORMAT_MAX >> 10);
        if (bytes - len > QUOTED_MAX && memmem(format, len, "%q", 2))
            return kt_raise(L, "%s: %%q with strings of %d MiB; at most %d MiB at once", name,
                (int)((bytes - len) >> 20), QUOTED_MAX >> 20);
    }
    if (kt_guard_steps(kt_guard_of(L), bytes / KT_GUARD_BYTES)) kt_guard_raise(L);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static const struct {
    const char *library, *name;
    bool format;
} functions[] = {
    /* The first four take numbers, but also strings that are converted. */
    {"string", "char", false},
    {"math", "max", false},
    {"math", "min", false},
    {"utf8", "char", false},
    {"string", "format", true},
    {"string", "pack", true},
    {"string", "packsize", true},
    {"string", "unpack", true},
    {"string", "lower", false},
    {"string", "reverse", false},
    {"string", "upper", false},
    {"utf8", "codepoint", false},
    {"utf8", "len", false},
    {"utf8", "offset", false},
    {LUA_GNAME, "tonumber", false},
    {LUA_GNAME, "warn", false},
    {"os", "date", true}, /* this and the next only with --unsafe */
    {"io", "write", false},
};

/* Returns the next piece of source, or nil. Upvalues: the source, a string or a function; bytes read so
 * far. */
static int read_piece(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    if (lua_type(L, lua_upvalueindex(1)) != LUA_TSTRING) {
        if (kt_guard_step(g)) kt_guard_raise(L);
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_call(L, 0, 1);
        return 1;
    }
    size_t len;
    const char *source = lua_tolstring(L, lua_upvalueindex(1), &len);
    const size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(2));
    const size_t n = len - at < PIECE ? len - at : PIECE;
    if (kt_guard_steps(g, n)) kt_guard_raise(L);
    lua_pushinteger(L, (lua_Integer)(at + n));
    lua_replace(L, lua_upvalueindex(2));
    lua_pushlstring(L, source + at, n); /* "" means the end */
    return 1;
}

/* load(source [, name [, mode [, env]]]), restricted to text: bytecode can crash the interpreter. Upvalue 1:
 * Lua's own. */
static int load(lua_State *L)
{
    const int top = lua_gettop(L);
    lua_settop(L, top < 3 ? 3 : top);
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_pushvalue(L, 1);
        if (lua_isnil(L, 2)) lua_copy(L, 1, 2); /* as Lua's default for a string */
    } else {
        luaL_checktype(L, 1, LUA_TFUNCTION);
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, read_piece, 2);
    lua_replace(L, 1);
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

void kt_lua_bounded(lua_State *L)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (lua_getglobal(L, functions[i].library) == LUA_TTABLE) {
            lua_getfield(L, -1, functions[i].name);
            if (strcmp(functions[i].library, LUA_GNAME) == 0)
                lua_pushstring(L, functions[i].name);
            else
                lua_pushfstring(L, "%s.%s", functions[i].library, functions[i].name);
            lua_pushboolean(L, functions[i].format);
            lua_pushcclosure(L, bounded, 3);
            lua_setfield(L, -2, functions[i].name);
        }
        lua_pop(L, 1);
    }
    lua_getglobal(L, "load");
    lua_pushcclosure(L, load, 1);
    lua_setglobal(L, "load");
}
