/* Lua's string patterns (reference manual, 6.4.1), matched so that the guard can stop it: a pattern such as
 * ".-.-.-x" tries, on a subject without an x, all ways to part it, which may take years. Lua's own matcher
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
        ptrdiff_t len; /* or one of the two below */
    } capture[KT_PATTERN_CAPTURES];
};

void kt_pattern_init(
    struct kt_pattern *m, lua_State *L, const char *subject, size_t len, const char *pattern, size_t plen);
/* The end of the match of the pattern from p on that begins right at s, or NULL; captures are set. Raises for
 * a malformed pattern, and when the slice is stopped. */
const char *kt_pattern_match(struct kt_pattern *m, const char *s, const char *p);
/* Pushes capture i; the whole match s..e for i = 0 without any captures. */
void kt_pattern_push(struct kt_pattern *m, int i, const char *s, const char *e);
/* Pushes all captures, or else the whole match if there is one (s not NULL); returns how many. */
int kt_pattern_push_all(struct kt_pattern *m, const char *s, const char *e);

/* In the table on top: string.find, match, gmatch, gsub. */
void kt_lua_pattern(lua_State *L);

#endif
