/* Reads options tables of calls made once per connection, where Lua would be too slow. kt.api describes the
 * options and words the error messages.
 *
 * Values with units are cached, so that "5s" is parsed by kt.units only once. */
#include "script/core/options.h"
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "script/core/handle.h"
#include "script/core/parts.h"
#include "script/core/task.h"
#include "script/sandbox/origin.h"

#define SEEN_MAX 256u
#define SECONDS_MAX 3.2e9 /* a hundred years, as in kt.units: far from overflow */
#define BYTES_MAX 1e15    /* likewise, of sizes and of rates per second */

/* Units as scripts write them ("5s", "2MiB"). */
enum unit { UNIT_DURATION, UNIT_RATE, UNIT_SIZE, UNITS };

struct kt_opts {
    int ref_explain; /* registry reference: function(what, value) → error message, from kt.api */
    struct unit_cache {
        int ref_reader; /* registry reference: function(value) → number, from kt.units */
        int ref_seen;   /* registry reference: cache, string → number */
        size_t seen;    /* entries in the cache */
    } units[UNITS];
};

int kt_opts_new(struct kt_runtime *rt)
{
    struct kt_opts *o = rt->opts = calloc(1, sizeof *o);
    if (!o) return KT_ENOMEM;
    o->ref_explain = LUA_NOREF;
    for (int unit = 0; unit < UNITS; unit++) o->units[unit].ref_reader = o->units[unit].ref_seen = LUA_NOREF;
    return 0;
}

void kt_opts_free(struct kt_runtime *rt)
{
    free(rt->opts);
    rt->opts = NULL;
}

void kt_opts_init(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    for (int unit = 0; unit < UNITS; unit++) {
        lua_newtable(L);
        rt->opts->units[unit].ref_seen = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

static void set_ref(lua_State *L, int idx, int *ref)
{
    luaL_checktype(L, idx, LUA_TFUNCTION);
    lua_pushvalue(L, idx);
    luaL_unref(L, LUA_REGISTRYINDEX, *ref);
    *ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

int kt_opts_install(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    set_ref(L, 1, &rt->opts->ref_explain);
    for (int unit = 0; unit < UNITS; unit++) set_ref(L, 2 + unit, &rt->opts->units[unit].ref_reader);
    return 0;
}

int kt_opts_wrong(lua_State *L, int idx, const char *what)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    idx = lua_absindex(L, idx);
    if (lua_isnone(L, idx)) lua_settop(L, idx); /* make it nil: the next push must not land at idx */
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->opts->ref_explain);
    lua_pushstring(L, what);
    lua_pushvalue(L, idx);
    lua_call(L, 2, 1);
    const char *text = lua_tostring(L, -1);
    return kt_raise(L, "%s", text ? text : lua_pushfstring(L, "%s: bad argument", what));
}

/* The value at idx as a number of the unit's base (seconds, bytes per second); -1 if it is not valid. */
static double in_unit(lua_State *L, int idx, enum unit unit)
{
    const int type = lua_type(L, idx);
    if (type == LUA_TNUMBER) return lua_tonumber(L, idx);
    if (type != LUA_TSTRING) return -1;
    struct unit_cache *u = &kt_runtime_of(L)->opts->units[unit];
    double number = -1;
    lua_pushvalue(L, idx); /* before idx shifts its meaning */
    lua_rawgeti(L, LUA_REGISTRYINDEX, u->ref_seen);
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_rawgeti(L, LUA_REGISTRYINDEX, u->ref_reader);
        lua_pushvalue(L, -3);
        lua_call(L, 1, 1);
        if (lua_isnumber(L, -1)) {
            if (u->seen >= SEEN_MAX) { /* the script generates its strings: start over */
                lua_newtable(L);
                lua_replace(L, -3);
                lua_pushvalue(L, -2);
                lua_rawseti(L, LUA_REGISTRYINDEX, u->ref_seen);
                u->seen = 0;
            }
            lua_pushvalue(L, -3);
            lua_pushvalue(L, -2);
            lua_rawset(L, -4);
            u->seen++;
        }
    }
    if (lua_isnumber(L, -1)) number = lua_tonumber(L, -1);
    lua_pop(L, 3);
    return number;
}

/* False if the value is not a duration. A positive duration never rounds to 0: a loop that sleeps until a
 * deadline less than 1 µs away would spin without the clock advancing. */
static bool duration(lua_State *L, int idx, uint64_t *us)
{
    const double seconds = in_unit(L, idx, UNIT_DURATION);
    if (!(seconds >= 0 && seconds <= SECONDS_MAX)) return false; /* NaN too */
    *us = (uint64_t)(seconds * 1e6 + 0.5);
    if (*us == 0 && seconds > 0) *us = 1;
    return true;
}

/* False if the value is not a rate. Rounds down to whole bytes per second, but not to 0, which means no
 * limit. */
static bool rate(lua_State *L, int idx, uint64_t *bytes)
{
    const double n = in_unit(L, idx, UNIT_RATE);
    if (!(n >= 0 && n <= BYTES_MAX)) return false;
    *bytes = n > 0 && n < 1 ? 1 : (uint64_t)n;
    return true;
}

/* False if the value is not a size in whole bytes. */
static bool size(lua_State *L, int idx, uint64_t *bytes)
{
    const double n = in_unit(L, idx, UNIT_SIZE);
    if (!(n >= 0 && n <= BYTES_MAX && n == floor(n))) return false;
    *bytes = (uint64_t)n;
    return true;
}

static bool handle(lua_State *L, int idx, struct kt_opt_handle *out)
{
    const bool off = lua_type(L, idx) == LUA_TBOOLEAN && !lua_toboolean(L, idx);
    out->value = off ? NULL : kt_handle_test(L, idx, out->kind);
    return out->given = off || out->value;
}

static bool handles(lua_State *L, int idx, struct kt_opt_handles *out)
{
    if (lua_type(L, idx) != LUA_TTABLE) {
        out->a_to_b = out->b_to_a = kt_handle_test(L, idx, out->kind);
        return out->a_to_b || (lua_isboolean(L, idx) && !lua_toboolean(L, idx));
    }
    idx = lua_absindex(L, idx);
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        void **to = strcmp(key, "a_to_b") == 0   ? &out->a_to_b
                    : strcmp(key, "b_to_a") == 0 ? &out->b_to_a
                                                 : NULL;
        if (!to || !(*to = kt_handle_test(L, -1, out->kind))) return false;
        lua_pop(L, 1);
    }
    return true;
}

/* A rate for both directions, or a table with one for each. */
static bool rates(lua_State *L, int idx, struct kt_opt_rates *out)
{
    if (lua_type(L, idx) != LUA_TTABLE) {
        if (!rate(L, idx, &out->a_to_b)) return false;
        out->b_to_a = out->a_to_b;
        return true;
    }
    idx = lua_absindex(L, idx);
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        uint64_t *to = strcmp(key, "a_to_b") == 0   ? &out->a_to_b
                       : strcmp(key, "b_to_a") == 0 ? &out->b_to_a
                                                    : NULL;
        if (!to || !rate(L, -1, to)) return false;
        lua_pop(L, 1);
    }
    return true;
}

static bool integer(lua_State *L, int idx, struct kt_opt_integer *out)
{
    int whole = 0;
    const lua_Integer n = lua_type(L, idx) == LUA_TNUMBER ? lua_tointegerx(L, idx, &whole) : 0;
    if (!whole || n < out->min || n > out->max) return false;
    out->value = n;
    return true;
}

uint64_t kt_opts_duration(lua_State *L, int idx, const char *what)
{
    uint64_t us = 0;
    if (!duration(L, idx, &us)) kt_opts_wrong(L, idx, what);
    return us;
}

/* "5%", or a number from 0 to 1. Read as kt.units does. */
static bool share(lua_State *L, int idx, double *out)
{
    double v = -1;
    if (lua_type(L, idx) == LUA_TNUMBER) {
        v = lua_tonumber(L, idx);
    } else if (lua_type(L, idx) == LUA_TSTRING) {
        const char *text = lua_tostring(L, idx);
        char *end;
        v = strtod(text, &end) / 100;
        if (text[0] < '0' || text[0] > '9' || strcmp(end, "%") != 0) return false;
    }
    if (!(v >= 0 && v <= 1)) return false; /* NaN too */
    *out = v;
    return true;
}

static bool read_one(lua_State *L, const struct kt_opt *opt)
{
    switch (opt->type) {
    case KT_OPT_DURATION:
        return duration(L, -1, opt->out);
    case KT_OPT_STRING:
        if (lua_type(L, -1) != LUA_TSTRING) return false;
        *(const char **)opt->out = lua_tostring(L, -1);
        return true;
    case KT_OPT_RATE:
        return rate(L, -1, opt->out);
    case KT_OPT_RATES:
        return rates(L, -1, opt->out);
    case KT_OPT_INTEGER:
        return integer(L, -1, opt->out);
    case KT_OPT_SHARE:
        return share(L, -1, opt->out);
    case KT_OPT_SIZE:
        return size(L, -1, opt->out);
    case KT_OPT_HANDLE:
        return handle(L, -1, opt->out);
    case KT_OPT_HANDLES:
        return handles(L, -1, opt->out);
    case KT_OPT_BOOLEAN:
        *(struct kt_opt_boolean *)opt->out = (struct kt_opt_boolean){lua_toboolean(L, -1), true};
        return lua_isboolean(L, -1);
    case KT_OPT_FUNCTION:
        return *(bool *)opt->out = lua_isfunction(L, -1);
    case KT_OPT_ANY:
        return *(bool *)opt->out = true;
    case KT_OPT_TABLE:
        return *(bool *)opt->out = lua_istable(L, -1);
    }
    return false;
}

/* Most names differ in their first letter, and this runs for each connection. */
static bool same_name(const char *a, const char *b)
{
    return *a == *b && strcmp(a, b) == 0;
}

void kt_opts_read(lua_State *L, int idx, const char *what, const struct kt_opt *opts, size_t n)
{
    if (lua_isnoneornil(L, idx)) return;
    if (lua_type(L, idx) != LUA_TTABLE) kt_opts_wrong(L, idx, what);
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        size_t i = 0;
        while (i < n && !same_name(opts[i].key, key)) i++;
        if (i == n || !read_one(L, &opts[i])) kt_opts_wrong(L, idx, what);
        lua_pop(L, 1);
    }
}

uint64_t kt_opts_timeout(lua_State *L, int idx, const char *what, uint64_t otherwise)
{
    const struct kt_opt opts[] = {{"timeout", KT_OPT_DURATION, &otherwise}};
    kt_opts_read(L, idx, what, opts, 1);
    return otherwise;
}
