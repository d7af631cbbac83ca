/* Bindings of link/proxy_header.h and base/prefix.h for the specs: addresses are strings. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "base/prefix.h"
#include "link/proxy_header.h"

int luaopen_spec_proxy(lua_State *L);

static const struct kt_addr *address(lua_State *L, int arg, struct kt_addr *out)
{
    if (lua_isnoneornil(L, arg)) return NULL;
    luaL_argcheck(L, kt_addr_parse(out, luaL_checkstring(L, arg)), arg, "not an address");
    return out;
}

/* read(bytes) → its length, from, to | length | the name of an error */
static int read_header(lua_State *L)
{
    size_t n;
    const char *bytes = luaL_checklstring(L, 1, &n);
    uint8_t *data = malloc(n ? n : 1); /* of that size, so that the sanitizer catches a read past its end */
    if (!data) return luaL_error(L, "out of memory");
    memcpy(data, bytes, n);
    struct kt_proxy_header h;
    const int len = kt_proxy_header_read(&h, data, n);
    char from[KT_ADDR_TEXT], to[KT_ADDR_TEXT];
    free(data);
    if (len < 0)
        lua_pushstring(L, kt_errname(len));
    else
        lua_pushinteger(L, len);
    if (!h.named) return 1;
    lua_pushstring(L, kt_addr_text(&h.from, from));
    lua_pushstring(L, kt_addr_text(&h.to, to));
    return 3;
}

/* write(version [, from [, to]]) → bytes */
static int write_header(lua_State *L)
{
    uint8_t out[KT_PROXY_HEADER_OUT];
    struct kt_addr from, to;
    const size_t n = kt_proxy_header_write(
        out, (unsigned)luaL_checkinteger(L, 1), address(L, 2, &from), address(L, 3, &to));
    lua_pushlstring(L, (const char *)out, n);
    return 1;
}

/* prefix(text, address) → whether it has the address | nil, sentence */
static int prefix(lua_State *L)
{
    struct kt_prefix p;
    struct kt_addr a;
    struct kt_err err = {0};
    if (kt_prefix_parse(&p, luaL_checkstring(L, 1), &err)) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    address(L, 2, &a);
    lua_pushboolean(L, kt_prefixes_have(&p, 1, &a));
    return 1;
}

int luaopen_spec_proxy(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read", read_header}, {"write", write_header}, {"prefix", prefix}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
