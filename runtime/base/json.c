/* A pass over the text checks its tokens, before cJSON builds the tree and checks how they fit together. So cJSON never
 * sees more values than the bound, and nesting is bounded long before its own limit. */
#include "base/json.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 60u /* characters: cJSON copies 63 */

struct scan {
    const char *text;
    size_t len, at;
    size_t values, depth;
    struct kt_err *err;
};

size_t kt_utf8_length(const char *p, size_t n)
{
    const uint8_t *u = (const uint8_t *)p;
    const uint8_t lead = u[0];
    if (lead < 0x80) return 1;
    const size_t len = lead >= 0xc2 && lead < 0xe0   ? 2
                       : (lead & 0xf0) == 0xe0       ? 3
                       : lead >= 0xf0 && lead < 0xf5 ? 4
                                                     : 0;
    if (len == 0 || n < len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((u[i] & 0xc0) != 0x80) return 0;
    if (lead == 0xe0 && u[1] < 0xa0) return 0; /* overlong */
    if (lead == 0xed && u[1] > 0x9f) return 0; /* a surrogate */
    if (lead == 0xf0 && u[1] < 0x90) return 0;
    if (lead == 0xf4 && u[1] > 0x8f) return 0; /* beyond U+10FFFF */
    return len;
}

/* An error at s->at, with its line and column in bytes. */
static int fail(const struct scan *s, int code, const char *what)
{
    size_t line = 1, start = 0;
    for (size_t i = 0; i < s->at; i++) {
        if (s->text[i] != '\n') continue;
        line++;
        start = i + 1;
    }
    return kt_err_set(s->err, code, "line %zu, column %zu: %s", line, s->at - start + 1, what);
}

static int escape(struct scan *s)
{
    if (s->len - s->at >= 6 && memcmp(s->text + s->at, "\\u0000", 6) == 0)
        return fail(s, KT_EINVAL, "\\u0000 is not supported");
    s->at += s->len - s->at >= 2 ? 2 : 1; /* cJSON reads the rest */
    return 0;
}

static int string(struct scan *s)
{
    const size_t begin = s->at++;
    while (s->at < s->len) {
        const char c = s->text[s->at];
        int rc = 0;
        if (c == '"') {
            s->at++;
            return 0;
        } else if (c == '\\') {
            rc = escape(s);
        } else if ((uint8_t)c < 0x20) {
            rc = fail(s, KT_EINVAL, "a control character in a string; write \\n, \\t or the like");
        } else {
            const size_t n = kt_utf8_length(s->text + s->at, s->len - s->at);
            if (n == 0) rc = fail(s, KT_EINVAL, "the text is not UTF-8");
            s->at += n;
        }
        if (rc) return rc;
    }
    s->at = begin;
    return fail(s, KT_EINVAL, "missing the closing quote of a string");
}

static size_t digits(const char *p)
{
    return strspn(p, "0123456789");
}

/* The length of the number at p, which has a NUL somewhere behind it; 0: it is none. */
static size_t number_length(const char *p)
{
    const char *q = p + (*p == '-');
    const size_t whole = digits(q);
    if (whole == 0 || (whole > 1 && *q == '0')) return 0;
    q += whole;
    if (*q == '.') {
        const size_t n = digits(q + 1);
        if (n == 0) return 0;
        q += 1 + n;
    }
    if (*q == 'e' || *q == 'E') {
        const size_t sign = q[1] == '+' || q[1] == '-', n = digits(q + 1 + sign);
        if (n == 0) return 0;
        q += 1 + sign + n;
    }
    return (size_t)(q - p);
}

static int number(struct scan *s)
{
    const char *p = s->text + s->at;
    const size_t n = number_length(p);
    if (n == 0) return fail(s, KT_EINVAL, "not a number");
    if (n > NUMBER_MAX) return fail(s, KT_ELIMIT, "a number of more than 60 characters");
    if (!isfinite(strtod(p, NULL))) return fail(s, KT_ELIMIT, "the number is too large");
    s->at += n;
    return 0;
}

static int token(struct scan *s)
{
    const char c = s->text[s->at];
    if (c == '"') return string(s);
    if (c == '-' || (c >= '0' && c <= '9')) return number(s);
    if (c == '{' || c == '[') {
        s->values++;
        if (++s->depth > KT_JSON_DEPTH_MAX) return fail(s, KT_ELIMIT, "nested more than 100 deep");
    } else if ((c == '}' || c == ']') && s->depth > 0) {
        s->depth--;
    } else if (c == ',') {
        if (++s->values > KT_JSON_VALUES_MAX) return fail(s, KT_ELIMIT, "more than 131072 values");
    } else if ((uint8_t)c < 0x20 && !strchr("\t\n\r", c)) {
        return fail(s, KT_EINVAL, "a control character");
    } else if (c == '\0') {
        return fail(s, KT_EINVAL, "a zero byte");
    }
    s->at++;
    return 0;
}

int kt_json_parse(const char *text, size_t len, struct cJSON **out, struct kt_err *err)
{
    struct scan s = {.text = text, .len = len, .err = err};
    const char *end = NULL;
    *out = NULL;
    if (len > KT_JSON_TEXT_MAX) return kt_err_set(err, KT_ELIMIT, "more than 4 MiB of JSON");
    while (s.at < len) {
        const int rc = token(&s);
        if (rc) return rc;
    }
    *out = cJSON_ParseWithLengthOpts(text, len + 1, &end, true);
    if (*out) return 0;
    s.at = end && (size_t)(end - text) < len ? (size_t)(end - text) : len;
    return fail(&s, KT_EINVAL, s.at == len ? "the text ends too early" : "not JSON from here on");
}
