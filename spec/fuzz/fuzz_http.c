/* Fuzz target: HTTP heads, chunked bodies and URLs. What is accepted has one reading: lines end in CRLF, names are
 * tokens, values hold no control character, and the framing is that of the only Content-Length or Transfer-Encoding. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "check.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_span(struct kt_http_span s, const char *text, size_t len)
{
    CHECK(!s.at ? s.len == 0 : s.at >= text && s.at + s.len <= text + len);
}

static size_t count(const struct kt_http_head *h, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < h->field_count; i++)
        n += h->fields[i].name.len == strlen(name) &&
             strncasecmp(h->fields[i].name.at, name, strlen(name)) == 0;
    return n;
}

/* The head ends at the first empty line: the caller has looked for it. */
static void check_head(const struct kt_http_head *h, const char *text, size_t len, enum kt_http_kind kind)
{
    size_t lines = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') CHECK(i > 0 && text[i - 1] == '\r');
        if (text[i] == '\r') CHECK(i + 1 < len && text[i + 1] == '\n');
        CHECK(text[i] != '\0');
        lines += text[i] == '\n';
    }
    CHECK(len >= 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0);
    const size_t skipped = kind == KT_HTTP_REQUEST && text[0] == '\r';
    CHECK(h->field_count + 2 + skipped == lines && h->field_count <= KT_HTTP_FIELDS_MAX);
    for (size_t i = 0; i < h->field_count; i++) {
        check_span(h->fields[i].name, text, len);
        check_span(h->fields[i].value, text, len);
        CHECK(kt_http_is_token(h->fields[i].name.at, h->fields[i].name.len));
        CHECK(kt_http_is_value(h->fields[i].value.at, h->fields[i].value.len));
    }
    const size_t lengths = count(h, "content-length"), codings = count(h, "transfer-encoding");
    CHECK(lengths + codings <= 1 && h->minor <= 1);
    if (h->body == KT_HTTP_CHUNKED) CHECK(codings == 1 && h->minor == 1);
    if (h->body == KT_HTTP_LENGTH) CHECK(lengths == 1 && h->length > 0);
    if (h->body == KT_HTTP_TO_END) CHECK(kind == KT_HTTP_RESPONSE && lengths + codings == 0);
    if (kind == KT_HTTP_REQUEST) {
        CHECK(count(h, "host") == 1 || h->minor == 0);
        CHECK(kt_http_is_token(h->method.at, h->method.len) && h->target.len > 0);
        check_span(h->target, text, len);
        check_span(h->url.host, text, len);
        check_span(h->url.path, text, len);
        check_span(h->url.query, text, len);
    } else {
        CHECK(h->status >= 100 && h->status <= 999);
        if (kind == KT_HTTP_RESPONSE_TO_HEAD) CHECK(h->body == KT_HTTP_EMPTY);
    }
}

/* Feeds a body as a reader does: data as announced, lines otherwise. */
static void feed(struct kt_http_chunks *c, const char *text, size_t len)
{
    struct kt_err err = {0};
    while (!c->done && len > 0) {
        size_t n = c->left < len ? (size_t)c->left : len;
        if (c->left == 0) {
            const char *lf = memchr(text, '\n', len);
            n = lf ? (size_t)(lf - text) + 1 : len;
        }
        const uint64_t left = c->left;
        if (kt_http_feed(c, text, n, &err)) {
            CHECK(err.code == KT_EPROTO && err.text[0]);
            return;
        }
        CHECK(left == 0 ? text[n - 1] == '\n' && (n == 2 || text[0] != ' ') : c->left == left - n);
        text += n;
        len -= n;
    }
    if (c->done) CHECK(kt_http_feed(c, "0\r\n", 3, &err) == KT_EPROTO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    const enum kt_http_kind kind = (enum kt_http_kind)(data[0] % 3);
    char *text = malloc(size); /* exactly, so that the sanitizer sees each byte read beyond it */
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    size--;
    const char *end = memmem(text, size, "\r\n\r\n", 4);
    const size_t len = end ? (size_t)(end - text) + 4 : size;
    static struct kt_http_head h;
    struct kt_err err = {0};
    const int status = kt_http_read_head(text, len, kind, &h, &err);
    if (status == 0) {
        check_head(&h, text, len, kind);
        if (h.body == KT_HTTP_CHUNKED) feed(&h.chunks, text + len, size - len);
    } else {
        CHECK((status == 400 || status == 431 || status == 501 || status == 505) && err.text[0]);
    }
    struct kt_http_url u;
    if (kt_http_read_url(text, size, data[0] & 4, &u, &err) == 0) {
        check_span(u.host, text, size);
        check_span(u.path, text, size);
        for (size_t i = 0; i < size; i++) CHECK(text[i] > 0x20 && text[i] < 0x7f);
    }
    free(text);
    return 0;
}
