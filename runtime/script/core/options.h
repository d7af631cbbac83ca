/* Options tables of calls made once per connection. */
#ifndef KT_SCRIPT_CORE_OPTIONS_H
#define KT_SCRIPT_CORE_OPTIONS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_runtime;

enum kt_opt_type {
    KT_OPT_DURATION,
    KT_OPT_STRING,
    KT_OPT_RATE,
    KT_OPT_RATES,
    KT_OPT_INTEGER,
    KT_OPT_BOOLEAN,
    KT_OPT_SHARE,
    KT_OPT_SIZE,
    KT_OPT_HANDLE,
    KT_OPT_HANDLES,
    KT_OPT_FUNCTION,
    KT_OPT_TABLE,
    KT_OPT_ANY
};
struct kt_opt {
    const char *key;
    enum kt_opt_type type;
    /* uint64_t * (µs, bytes per second, or bytes), const char ** (anchored by the table), double * (0..1), bool *
     * (present: a function, a table, any value, which the caller reads), or one of the structs below */
    void *out;
};
struct kt_opt_rates { /* a rate, or a table with one for each direction */
    uint64_t a_to_b, b_to_a;
};
struct kt_opt_integer {
    lua_Integer value, min, max;
};
struct kt_opt_boolean {
    bool value, given;
};
struct kt_opt_handle { /* a handle of this kind, anchored by the table; or false, which makes value NULL */
    const char *kind;
    void *value;
    bool given;
};
struct kt_opt_handles { /* one such handle, or a table with one for each direction */
    const char *kind;
    void *a_to_b, *b_to_a;
};

/* Returns 0 or KT_ENOMEM. */
int kt_opts_new(struct kt_runtime *rt);
void kt_opts_free(struct kt_runtime *rt);
/* Call once for a new state, protected. */
void kt_opts_init(lua_State *L);
/* core.install(explain, duration, rate, size): sets the functions of kt.api and kt.units that these call:
 * explain(what, value) → the error message; the others (value) → a number, or nil. */
int kt_opts_install(lua_State *L);
/* Reads the options table of a call made once per connection. Missing keys leave *out unchanged; nil at idx
 * means no options. Raises kt.api's message for an invalid table. */
void kt_opts_read(lua_State *L, int idx, const char *what, const struct kt_opt *opts, size_t n);
/* Reads options of which `timeout` is the only one. Returns it in microseconds, or `otherwise` if it is not given. */
uint64_t kt_opts_timeout(lua_State *L, int idx, const char *what, uint64_t otherwise);
/* Raises kt.api's message for the value at idx as an invalid argument of `what`. */
int kt_opts_wrong(lua_State *L, int idx, const char *what);
/* A duration ("5s", seconds) in µs; raises. */
uint64_t kt_opts_duration(lua_State *L, int idx, const char *what);

#endif
