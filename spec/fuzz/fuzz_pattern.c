/* Fuzz target: the pattern matcher, compared with Lua's own. The input is a call of find, match or gsub: the
 * function and where to begin, the length of the pattern, the pattern and the subject. Unless it is stopped
 * for taking too long, it must give the same values as Lua's own, or an error where that gives one. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "script/sandbox/guard.h"
#include "script/sandbox/pattern.h"

#define SUBJECT_MAX 256u
#define WORK_US 20000u /* in the guard's virtual time: one million instructions */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kt_guard guard;
static lua_State *L;

static void check(int truth)
{
    if (!truth) abort();
}

static void *alloc(void *ctx, void *ptr, size_t old, size_t size)
{
    (void)ctx;
    (void)old;
    if (size) return realloc(ptr, size);
    free(ptr);
    return NULL;
}

static void set_up(void)
{
    check(kt_guard_init(&guard, &(struct kt_guard_opts){.alloc = alloc, .counts = true}) == 0);
    L = lua_newstate(kt_guard_alloc, &guard);
    check(L != NULL);
    luaL_requiref(L, "string", luaopen_string, 1); /* 1: Lua's */
    lua_newtable(L);                               /* 2: ours */
    kt_lua_pattern(L);
}

/* Calls the function of the table at `library`, with arguments in blocks of exactly their size; returns
 * whether it succeeded, with its values above `top`. */
static bool call(int library, const char *name, const uint8_t *pattern, size_t plen, const uint8_t *subject,
    size_t len, lua_Integer init)
{
    lua_getfield(L, library, name);
    lua_pushlstring(L, (const char *)subject, len);
    lua_pushlstring(L, (const char *)pattern, plen);
    if (strcmp(name, "gsub") == 0)
        lua_pushliteral(L, "<%0>");
    else
        lua_pushinteger(L, init);
    return lua_pcall(L, 3, LUA_MULTRET, 0) == LUA_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"find", "match", "gsub"};
    if (!L) set_up();
    if (size < 3) return 0;
    const char *name = names[data[0] % 3];
    const lua_Integer init = (int8_t)data[1];
    size_t plen = data[2];
    data += 3;
    size -= 3;
    if (plen > size) plen = size;
    const size_t len = size - plen < SUBJECT_MAX ? size - plen : SUBJECT_MAX;

    lua_settop(L, 2);
    kt_guard_begin(&guard, L, WORK_US);
    const bool good = call(2, name, data, plen, data + plen, len, init);
    const bool stopped = kt_guard_stopped(&guard);
    kt_guard_end(&guard, NULL);
    const int n = lua_gettop(L) - 2;
    /* Both bound their recursion, but not at the same depth. */
    if (stopped || (!good && strstr(lua_tostring(L, -1), "too complex"))) return 0;
    const bool theirs = call(1, name, data, plen, data + plen, len, init);
    if (!theirs && strstr(lua_tostring(L, -1), "too complex")) return 0;
    check(good == theirs);
    if (!good) return 0;
    check(lua_gettop(L) - 2 - n == n);
    for (int i = 3; i < 3 + n; i++) check(lua_compare(L, i, i + n, LUA_OPEQ));
    return 0;
}
