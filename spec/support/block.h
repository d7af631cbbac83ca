/* Strings between Lua and C for the modules of specs. Data is copied to blocks of exactly its size, so that
 * AddressSanitizer catches accesses past the end. */
#ifndef SPEC_BLOCK_H
#define SPEC_BLOCK_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The argument's bytes, of which there must be `want`. */
static inline const uint8_t *exactly(lua_State *L, int arg, size_t want)
{
    size_t n;
    const char *s = luaL_checklstring(L, arg, &n);
    luaL_argcheck(L, n == want, arg, "wrong length");
    return (const uint8_t *)s;
}

/* A block of n bytes, copied from `from` unless that is NULL; the caller frees it. */
static inline uint8_t *block(lua_State *L, const void *from, size_t n)
{
    uint8_t *p = malloc(n ? n : 1);
    if (!p) luaL_error(L, "out of memory");
    if (from) memcpy(p, from, n);
    return p;
}

/* Pushes the block as a string, and frees it. */
static inline int push_block(lua_State *L, uint8_t *p, size_t n)
{
    lua_pushlstring(L, (const char *)p, n);
    free(p);
    return 1;
}

#endif
