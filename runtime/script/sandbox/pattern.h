/* A matcher for Lua's string patterns (reference manual, 6.4.1) that the guard can stop. On a subject without
 * an x, a pattern such as ".-.-.-x" tries all ways to divide it, which may take years, and Lua's own matcher
 * cannot be interrupted. */
#ifndef KT_SCRIPT_SANDBOX_PATTERN_H
#define KT_SCRIPT_SANDBOX_PATTERN_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define KT_PATTERN_CAPTURES 32

struct kt_guard;

struct kt_pattern {
    lua_State *L; /* where errors are raised */
    const char *subject, *subject_end;
    const char *pattern_end;
    struct kt_guard *guard;
    int depth;
    int captures;
    struct {
        const char *at;
        ptrdiff_t len; /* or a special value, see pattern.c */
    } capture[KT_PATTERN_CAPTURES];
};

void kt_pattern_init(
    struct kt_pattern *m, lua_State *L, const char *subject, size_t len, const char *pattern, size_t plen);
/* Matches the pattern from p on at exactly s. Returns the end of the match and sets the captures, or returns
 * NULL. Raises for a malformed pattern, and when the slice is stopped. */
const char *kt_pattern_match(struct kt_pattern *m, const char *s, const char *p);
/* Pushes capture i, or, if i is 0 and the pattern has no captures, the whole match s..e. */
void kt_pattern_push(struct kt_pattern *m, int i, const char *s, const char *e);
/* Pushes all captures, or the whole match if there are none and s is not NULL; returns the number of
 * values. */
int kt_pattern_push_all(struct kt_pattern *m, const char *s, const char *e);

/* In the table on top: string.find, match, gmatch, gsub. */
void kt_lua_pattern(lua_State *L);

#endif
