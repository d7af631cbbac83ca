/* Test data for transfers in specs. The n-th group of 8 bytes is a hash of a seed and n, so that lost,
 * duplicated or reordered bytes are detected and located. */
#include <string.h>
#include "base/hmap.h"
#include "script/sim/core.h"

#define MOST (1 << 20)

static void fill(uint8_t *out, uint64_t seed, uint64_t from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t at = from + i;
        if (i > 0 && at % 8 == 0 && n - i >= 8) { /* a whole word */
            for (; n - i >= 8; i += 8) {
                uint64_t x = kt_hash_u64((from + i) / 8, seed);
                for (unsigned b = 0; b < 8; b++) out[i + b] = (uint8_t)(x >> (8 * b));
            }
            if (i == n) return;
            at = from + i;
        }
        out[i] = (uint8_t)(kt_hash_u64(at / 8, seed) >> (8 * (at % 8)));
    }
}

/* core.bytes(seed, from, n) → n bytes, starting at position `from` */
static int bytes(lua_State *L)
{
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 1), from = (uint64_t)luaL_checkinteger(L, 2);
    lua_Integer n = luaL_checkinteger(L, 3);
    luaL_argcheck(L, n >= 0 && n <= MOST, 3, "0 to 1048576");
    luaL_Buffer b;
    fill((uint8_t *)luaL_buffinitsize(L, &b, (size_t)n), seed, from, (size_t)n);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

/* core.differ(seed, from, data) → the position of the first wrong byte, or nil */
static int differ(lua_State *L)
{
    uint8_t want[4096];
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 1), from = (uint64_t)luaL_checkinteger(L, 2);
    size_t len;
    const char *data = luaL_checklstring(L, 3, &len);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < sizeof want ? len - at : sizeof want;
        fill(want, seed, from + at, n);
        if (memcmp(want, data + at, n) != 0) {
            while (want[0] == (uint8_t)data[at]) fill(want, seed, from + ++at, 1);
            lua_pushinteger(L, (lua_Integer)(from + at));
            return 1;
        }
        at += n;
    }
    return 0;
}

void kt_lua_sim_bytes(lua_State *L)
{
    static const luaL_Reg functions[] = {{"bytes", bytes}, {"differ", differ}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
