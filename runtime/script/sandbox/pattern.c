/* A backtracking matcher for Lua's patterns. It recurses at items that can match in more than one way, and
 * loops over plain items. Invariant: every step is counted by the guard, so that it can be stopped. */
#include "script/sandbox/pattern.h"
#include <ctype.h>
#include <lauxlib.h>
#include <string.h>
#include "script/sandbox/guard.h"

#define UNCLOSED (-1)
#define POSITION (-2)
#define DEPTH_MAX 200 /* recursion depth on the C stack */

#define BYTES 16 /* scanned in the time of an instruction */

static void steps(struct kt_pattern *m, size_t n)
{
    if (kt_guard_steps(m->guard, n)) kt_guard_raise(m->L);
}

static void step(struct kt_pattern *m)
{
    steps(m, 1);
}

/* Counts the scanning of `bytes` bytes. */
static void look(struct kt_pattern *m, ptrdiff_t bytes)
{
    steps(m, 1 + (size_t)bytes / BYTES);
}

static unsigned char byte(const char *p)
{
    return (unsigned char)*p;
}

/* ---- items that match one byte ---- */

static bool in_class(int c, int class)
{
    bool in;
    switch (tolower(class)) {
    case 'a':
        in = isalpha(c);
        break;
    case 'c':
        in = iscntrl(c);
        break;
    case 'd':
        in = isdigit(c);
        break;
    case 'g':
        in = isgraph(c);
        break;
    case 'l':
        in = islower(c);
        break;
    case 'p':
        in = ispunct(c);
        break;
    case 's':
        in = isspace(c);
        break;
    case 'u':
        in = isupper(c);
        break;
    case 'w':
        in = isalnum(c);
        break;
    case 'x':
        in = isxdigit(c);
        break;
    default:
        return class == c; /* an escaped character */
    }
    return isupper(class) ? !in : in;
}

static const char *set_end(struct kt_pattern *m, const char *p)
{
    if (p < m->pattern_end && *p == '^') p++;
    const char *begin = p; /* a ']' right here is a member */
    for (; p < m->pattern_end; p++) {
        if (*p == ']' && p > begin) {
            look(m, p - begin);
            return p + 1;
        }
        if (*p == '%') p++;
    }
    luaL_error(m->L, "malformed pattern (missing ']')");
    return NULL;
}

/* The end of the item at p. */
static const char *item_end(struct kt_pattern *m, const char *p)
{
    const char first = *p++;
    if (first == '%') {
        if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    return first == '[' ? set_end(m, p) : p;
}

/* Whether a set, from its '[' to its ']', contains the byte. */
static bool in_set(int c, const char *p, const char *close)
{
    const bool negated = p[1] == '^';
    p += negated ? 2 : 1;
    while (p < close) {
        if (*p == '%') {
            if (in_class(c, byte(p + 1))) return !negated;
            p += 2;
        } else if (p + 2 < close && p[1] == '-') {
            if (byte(p) <= c && c <= byte(p + 2)) return !negated;
            p += 3;
        } else {
            if (byte(p) == c) return !negated;
            p++;
        }
    }
    return negated;
}

static bool item_matches(struct kt_pattern *m, const char *s, const char *p, const char *end)
{
    look(m, end - p);
    if (s >= m->subject_end) return false;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return in_class(byte(s), byte(p + 1));
    case '[':
        return in_set(byte(s), p, end - 1);
    default:
        return *p == *s;
    }
}

/* ---- items that match more ---- */

/* Matches %bxy at s; p is at x. */
static const char *balanced(struct kt_pattern *m, const char *s, const char *p)
{
    if (m->pattern_end - p < 2) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s == m->subject_end || *s != p[0]) return NULL;
    int open = 1;
    while (++s < m->subject_end) {
        step(m);
        if (*s == p[1]) {
            if (--open == 0) return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

static bool frontier(struct kt_pattern *m, const char *s, const char *set, const char *end)
{
    look(m, end - set);
    const int before = s == m->subject ? 0 : byte(s - 1), here = s == m->subject_end ? 0 : byte(s);
    return !in_set(before, set, end - 1) && in_set(here, set, end - 1);
}

static const char *back_reference(struct kt_pattern *m, const char *s, char digit)
{
    const int i = digit - '1';
    if (i < 0 || i >= m->captures || m->capture[i].len == UNCLOSED)
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    const ptrdiff_t len = m->capture[i].len;
    if (len == POSITION || m->subject_end - s < len) return NULL;
    look(m, len);
    return memcmp(m->capture[i].at, s, (size_t)len) == 0 ? s + len : NULL;
}

static const char *open_capture(struct kt_pattern *m, const char *s, const char *p, ptrdiff_t kind)
{
    if (m->captures == KT_PATTERN_CAPTURES) luaL_error(m->L, "too many captures");
    m->capture[m->captures].at = s;
    m->capture[m->captures].len = kind;
    m->captures++;
    const char *e = kt_pattern_match(m, s, p);
    if (!e) m->captures--;
    return e;
}

static const char *close_capture(struct kt_pattern *m, const char *s, const char *p)
{
    int i = m->captures - 1;
    while (i >= 0 && m->capture[i].len != UNCLOSED) i--;
    if (i < 0) luaL_error(m->L, "invalid pattern capture");
    m->capture[i].len = s - m->capture[i].at;
    const char *e = kt_pattern_match(m, s, p);
    if (!e) m->capture[i].len = UNCLOSED;
    return e;
}

/* Matches the item p..end as often as possible, at least `least` times, then the rest after the
 * quantifier. */
static const char *greedy(
    struct kt_pattern *m, const char *s, const char *p, const char *end, ptrdiff_t least)
{
    ptrdiff_t n = 0;
    while (item_matches(m, s + n, p, end)) n++;
    for (; n >= least; n--) {
        const char *e = kt_pattern_match(m, s + n, end + 1);
        if (e) return e;
    }
    return NULL;
}

static const char *lazy(struct kt_pattern *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        const char *e = kt_pattern_match(m, s, end + 1);
        if (e) return e;
        if (!item_matches(m, s, p, end)) return NULL;
    }
}

static const char *match(struct kt_pattern *m, const char *s, const char *p)
{
    while (s && p < m->pattern_end) {
        if (*p == '(') {
            if (p + 1 < m->pattern_end && p[1] == ')') return open_capture(m, s, p + 2, POSITION);
            return open_capture(m, s, p + 1, UNCLOSED);
        }
        if (*p == ')') return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end) return s == m->subject_end ? s : NULL;
        const char escaped = *p == '%' && p + 1 < m->pattern_end ? p[1] : '\0';
        if (escaped == 'b') {
            s = balanced(m, s, p + 2);
            p += 4;
            continue;
        }
        if (escaped == 'f') {
            p += 2;
            if (p == m->pattern_end || *p != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
            const char *end = item_end(m, p);
            if (!frontier(m, s, p, end)) return NULL;
            p = end;
            continue;
        }
        if (isdigit((unsigned char)escaped)) {
            s = back_reference(m, s, escaped);
            p += 2;
            continue;
        }
        const char *end = item_end(m, p);
        switch (end < m->pattern_end ? *end : '\0') {
        case '*':
            return greedy(m, s, p, end, 0);
        case '+':
            return greedy(m, s, p, end, 1);
        case '-':
            return lazy(m, s, p, end);
        case '?':
            if (item_matches(m, s, p, end)) {
                const char *e = kt_pattern_match(m, s + 1, end + 1);
                if (e) return e;
            }
            p = end + 1;
            break;
        default:
            if (!item_matches(m, s, p, end)) return NULL;
            s++;
            p = end;
        }
    }
    return s;
}

const char *kt_pattern_match(struct kt_pattern *m, const char *s, const char *p)
{
    step(m);
    if (m->depth == DEPTH_MAX) luaL_error(m->L, "pattern too complex");
    m->depth++;
    const char *e = match(m, s, p);
    m->depth--;
    return e;
}

void kt_pattern_init(
    struct kt_pattern *m, lua_State *L, const char *subject, size_t len, const char *pattern, size_t plen)
{
    m->L = L;
    m->subject = subject;
    m->subject_end = subject + len;
    m->pattern_end = pattern + plen;
    m->guard = kt_guard_of(L);
    m->depth = 0;
    m->captures = 0;
}

/* ---- captures ---- */

void kt_pattern_push(struct kt_pattern *m, int i, const char *s, const char *e)
{
    if (i >= m->captures) {
        if (i != 0) luaL_error(m->L, "invalid capture index %%%d", i + 1);
        lua_pushlstring(m->L, s, (size_t)(e - s));
    } else if (m->capture[i].len == POSITION) {
        lua_pushinteger(m->L, m->capture[i].at - m->subject + 1);
    } else if (m->capture[i].len == UNCLOSED) {
        luaL_error(m->L, "unfinished capture");
    } else {
        lua_pushlstring(m->L, m->capture[i].at, (size_t)m->capture[i].len);
    }
}

int kt_pattern_push_all(struct kt_pattern *m, const char *s, const char *e)
{
    const int n = m->captures == 0 && s ? 1 : m->captures;
    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++) kt_pattern_push(m, i, s, e);
    return n;
}
