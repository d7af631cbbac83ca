/* Heads of messages, chunked bodies and URLs, by libhttp-parser.
 *
 * Debian builds the library lenient: it takes spaces in field names, bare line feeds, folded fields, and any bytes for
 * the CRLF after a chunk. So each line is checked before the library sees it, and the library's reading of the framing
 * is compared with the fields. */
#include "http/http.h"
#include <http_parser.h>
#include <string.h>
#include <strings.h>

_Static_assert(
    sizeof(http_parser) <= sizeof(((struct kt_http_chunks *)0)->parser), "room for the library's state");

#define CHUNK_DIGITS_MAX 15u

/* ---- characters ---- */

static bool is_tchar(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool kt_http_is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_tchar((unsigned char)text[i])) return false;
    return len > 0;
}

bool kt_http_is_value(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

static bool is_visible(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x21 || text[i] > 0x7e) return false;
    return len > 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool equals(struct kt_http_span s, const char *text)
{
    return s.len == strlen(text) && strncasecmp(s.at, text, s.len) == 0;
}

/* ---- lines ---- */

/* A line without its CRLF, from *at on, which moves behind it. False: it ends otherwise. */
static bool next_line(const char **at, const char *end, struct kt_http_span *line)
{
    const char *lf = memchr(*at, '\n', (size_t)(end - *at));
    if (!lf || lf == *at || lf[-1] != '\r') return false;
    *line = (struct kt_http_span){*at, (size_t)(lf - 1 - *at)};
    *at = lf + 1;
    return true;
}

static bool is_field_line(struct kt_http_span line)
{
    const char *colon = memchr(line.at, ':', line.len);
    return colon && kt_http_is_token(line.at, (size_t)(colon - line.at)) &&
           kt_http_is_value(colon + 1, (size_t)(line.at + line.len - colon - 1));
}

/* "HTTP/1.1" → 1, "HTTP/1.0" → 0; otherwise the status to answer with. */
static int read_version(struct kt_http_span v, unsigned *minor)
{
    if (v.len != 8 || memcmp(v.at, "HTTP/", 5) != 0 || !is_digit(v.at[5]) || v.at[6] != '.' ||
        !is_digit(v.at[7]))
        return 400;
    if (v.at[5] != '1') return 505;
    *minor = v.at[7] != '0';
    return 0;
}

/* METHOD SP target SP HTTP/1.x */
static int read_request_line(struct kt_http_span line, struct kt_http_head *out)
{
    const char *end = line.at + line.len, *first = memchr(line.at, ' ', line.len);
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!second) return 400;
    out->method = (struct kt_http_span){line.at, (size_t)(first - line.at)};
    out->target = (struct kt_http_span){first + 1, (size_t)(second - first - 1)};
    if (!kt_http_is_token(out->method.at, out->method.len) || !is_visible(out->target.at, out->target.len))
        return 400;
    return read_version((struct kt_http_span){second + 1, (size_t)(end - second - 1)}, &out->minor);
}

/* HTTP/1.x SP 3DIGIT SP reason; the last space may be missing */
static int read_status_line(struct kt_http_span line, struct kt_http_head *out)
{
    const char *s = line.at;
    if (line.len < 12 || s[8] != ' ' || !is_digit(s[9]) || !is_digit(s[10]) || !is_digit(s[11]) ||
        s[9] == '0')
        return 400;
    if (line.len > 12 && s[12] != ' ') return 400;
    out->status = (unsigned)((s[9] - '0') * 100 + (s[10] - '0') * 10 + (s[11] - '0'));
    if (line.len > 13) out->reason = (struct kt_http_span){s + 13, line.len - 13};
    if (out->reason.len && !kt_http_is_value(out->reason.at, out->reason.len)) return 400;
    return read_version((struct kt_http_span){s, 8}, &out->minor);
}

static int refuse(struct kt_err *err, int status, const char *why)
{
    kt_err_set(err, KT_EPROTO, "%s", why);
    return status;
}

/* Checks all lines of a head: the first, which is also read, and the fields. */
static int check_lines(
    const char *text, size_t len, bool request, struct kt_http_head *out, struct kt_err *err)
{
    const char *at = text, *end = text + len;
    struct kt_http_span line;
    if (!next_line(&at, end, &line)) return refuse(err, 400, "a line does not end in CRLF");
    const int status = request ? read_request_line(line, out) : read_status_line(line, out);
    if (status == 505) return refuse(err, status, "not HTTP/1.x");
    if (status) return refuse(err, status, request ? "malformed request line" : "malformed status line");
    for (size_t n = 0; next_line(&at, end, &line); n++) {
        if (line.len == 0) return at == end ? 0 : refuse(err, 400, "bytes after the head");
        if (n == KT_HTTP_FIELDS_MAX) return refuse(err, 431, "too many header fields");
        if (line.at[0] == ' ' || line.at[0] == '\t') return refuse(err, 400, "folded header field");
        if (!is_field_line(line)) return refuse(err, 400, "malformed header field");
    }
    return refuse(err, 400, at == end ? "the head is incomplete" : "a line does not end in CRLF");
}

/* ---- what the library reports ---- */

struct reading {
    struct kt_http_head *head;
    bool complete;
    bool no_body; /* a response without one */
};

static int on_field(http_parser *p, const char *at, size_t len)
{
    struct kt_http_head *h = ((struct reading *)p->data)->head;
    if (h->field_count == KT_HTTP_FIELDS_MAX) return 1;
    h->fields[h->field_count++].name = (struct kt_http_span){at, len};
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    struct kt_http_head *h = ((struct reading *)p->data)->head;
    while (len && (at[len - 1] == ' ' || at[len - 1] == '\t')) len--;
    h->fields[h->field_count - 1].value = (struct kt_http_span){at, len};
    return 0;
}

static int on_complete(http_parser *p)
{
    struct reading *r = p->data;
    r->complete = true;
    r->head->keep_alive = http_should_keep_alive(p);
    r->head->upgrade = p->upgrade;
    return r->no_body; /* 1: no body follows */
}

/* ---- framing ---- */

/* The value of a field that may come once; false: it came twice. */
static bool only(const struct kt_http_head *h, const char *name, struct kt_http_span *value)
{
    *value = (struct kt_http_span){0};
    for (size_t i = 0; i < h->field_count; i++) {
        if (!equals(h->fields[i].name, name)) continue;
        if (value->at) return false;
        *value = h->fields[i].value;
    }
    return true;
}

static bool read_length(struct kt_http_span s, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.at[i]) || n > (UINT64_MAX >> 8) / 10) return false;
        n = n * 10 + (unsigned)(s.at[i] - '0');
    }
    *out = n;
    return s.len > 0;
}

/* Finds out how the body ends, from the fields. */
static int read_framing(struct kt_http_head *h, bool request, struct kt_err *err)
{
    struct kt_http_span host, length, coding;
    if (!only(h, "host", &host)) return refuse(err, 400, "several Host fields");
    if (request && h->minor > 0 && !host.at) return refuse(err, 400, "no Host field");
    if (!only(h, "content-length", &length)) return refuse(err, 400, "several Content-Length fields");
    if (!only(h, "transfer-encoding", &coding)) return refuse(err, 400, "several Transfer-Encoding fields");
    if (length.at && coding.at) return refuse(err, 400, "both Content-Length and Transfer-Encoding");
    if (length.at && !read_length(length, &h->length)) return refuse(err, 400, "malformed Content-Length");
    if (coding.at && h->minor == 0) return refuse(err, 400, "Transfer-Encoding in HTTP/1.0");
    if (coding.at && !equals(coding, "chunked")) return refuse(err, 501, "unknown Transfer-Encoding");
    if (coding.at)
        h->body = KT_HTTP_CHUNKED;
    else if (length.at)
        h->body = h->length ? KT_HTTP_LENGTH : KT_HTTP_EMPTY;
    else
        h->body = request ? KT_HTTP_EMPTY : KT_HTTP_TO_END;
    return 0;
}

static bool is_bodiless(unsigned status)
{
    return status < 200 || status == 204 || status == 304;
}

/* The target of a request, by its form (RFC 9112, section 3.2). */
static int read_target(struct kt_http_head *h, struct kt_err *err)
{
    const bool connect = equals(h->method, "CONNECT");
    if (h->target.len == 1 && h->target.at[0] == '*')
        return equals(h->method, "OPTIONS") ? 0 : refuse(err, 400, "\"*\" is a target of OPTIONS only");
    if (kt_http_read_url(h->target.at, h->target.len, connect, &h->url, err)) return 400;
    if (connect && (h->body != KT_HTTP_EMPTY || h->length)) return refuse(err, 400, "CONNECT with a body");
    return 0;
}

int kt_http_read_head(
    const char *text, size_t len, enum kt_http_kind kind, struct kt_http_head *out, struct kt_err *err)
{
    static const http_parser_settings settings = {
        .on_header_field = on_field, .on_header_value = on_value, .on_headers_complete = on_complete};
    const bool request = kind == KT_HTTP_REQUEST;
    memset(out, 0, offsetof(struct kt_http_head, fields));
    if (request && len >= 2 && memcmp(text, "\r\n", 2) == 0) text += 2, len -= 2;
    if (len > KT_HTTP_HEAD_MAX) return refuse(err, 431, "the head is too long");
    int status = check_lines(text, len, request, out, err);
    if (status) return status;

    struct reading r = {.head = out};
    r.no_body = !request && (kind == KT_HTTP_RESPONSE_TO_HEAD || is_bodiless(out->status));
    http_parser p;
    http_parser_init(&p, request ? HTTP_REQUEST : HTTP_RESPONSE);
    p.data = &r;
    const size_t used = http_parser_execute(&p, &settings, text, len);
    const enum http_errno no = HTTP_PARSER_ERRNO(&p);
    if (no == HPE_INVALID_METHOD) return refuse(err, 501, "unknown method");
    if (no != HPE_OK || used != len || !r.complete)
        return refuse(err, 400, no == HPE_OK ? "malformed head" : http_errno_description(no));

    status = read_framing(out, request, err);
    if (status == 0 && request) status = read_target(out, err);
    if (status) return status;
    if (r.no_body) out->body = KT_HTTP_EMPTY;
    if (out->body == KT_HTTP_CHUNKED) memcpy(out->chunks.parser, &p, sizeof p);
    return 0;
}

/* ---- chunks ---- */

enum { SIZE, DATA, AFTER, TRAILER };

/* The library's findings in one call of kt_http_feed. */
struct found {
    bool header, done;
    uint64_t size;
};

static int on_chunk_header(http_parser *p)
{
    struct found *f = p->data;
    f->header = true;
    f->size = p->content_length;
    return 0;
}

static int on_message_complete(http_parser *p)
{
    ((struct found *)p->data)->done = true;
    return 0;
}

/* 1*HEXDIG, then nothing or ";" and an extension */
static bool is_size_line(struct kt_http_span line)
{
    size_t n = 0;
    while (n < line.len && line.at[n] && strchr("0123456789abcdefABCDEF", line.at[n])) n++;
    return n > 0 && n <= CHUNK_DIGITS_MAX && (n == line.len || line.at[n] == ';') &&
           kt_http_is_value(line.at, line.len);
}

static bool fits(const struct kt_http_chunks *c, const char *text, size_t len)
{
    const char *at = text;
    struct kt_http_span line;
    if (c->state == DATA) return len > 0 && len <= c->left;
    if (len == 0 || !next_line(&at, text + len, &line) || at != text + len) return false;
    if (c->state == AFTER) return line.len == 0;
    return c->state == SIZE ? is_size_line(line) : line.len == 0 || is_field_line(line);
}

int kt_http_feed(struct kt_http_chunks *c, const char *text, size_t len, struct kt_err *err)
{
    static const http_parser_settings settings = {
        .on_chunk_header = on_chunk_header, .on_message_complete = on_message_complete};
    static const char *const wrong[] = {
        "malformed chunk size", "wrong length of a chunk", "no CRLF after a chunk", "malformed trailer"};
    struct found f = {0};
    http_parser p;
    if (c->done || !fits(c, text, len)) return kt_err_set(err, KT_EPROTO, "%s", wrong[c->state]);
    memcpy(&p, c->parser, sizeof p);
    p.data = &f;
    if (http_parser_execute(&p, &settings, text, len) != len || HTTP_PARSER_ERRNO(&p) != HPE_OK)
        return kt_err_set(err, KT_EPROTO, "%s", wrong[c->state]);
    memcpy(c->parser, &p, sizeof p);
    switch (c->state) {
    case SIZE:
        c->left = f.size;
        c->state = f.size ? DATA : TRAILER;
        break;
    case DATA:
        c->left -= len;
        if (c->left == 0) c->state = AFTER;
        break;
    case AFTER:
        c->state = SIZE;
        break;
    default:
        break;
    }
    c->done = f.done;
    return 0;
}

/* ---- URLs ---- */

static struct kt_http_span part(
    const struct http_parser_url *u, const char *text, enum http_parser_url_fields which)
{
    if (!(u->field_set & (1u << which))) return (struct kt_http_span){0};
    return (struct kt_http_span){text + u->field_data[which].off, u->field_data[which].len};
}

int kt_http_read_url(const char *text, size_t len, bool connect, struct kt_http_url *out, struct kt_err *err)
{
    struct http_parser_url u;
    memset(out, 0, sizeof *out);
    http_parser_url_init(&u);
    if (len > KT_HTTP_HEAD_MAX || !is_visible(text, len) || http_parser_parse_url(text, len, connect, &u))
        return kt_err_set(err, KT_ECONFIG, "malformed %s", connect ? "host:port" : "URL");
    const struct kt_http_span scheme = part(&u, text, UF_SCHEMA);
    if (u.field_set & (1u << UF_FRAGMENT))
        return kt_err_set(err, KT_ECONFIG, "remove the #fragment from the URL");
    if (scheme.at && !equals(scheme, "http") && !equals(scheme, "https"))
        return kt_err_set(err, KT_ECONFIG, "expected an http:// URL");
    *out = (struct kt_http_url){
        .host = part(&u, text, UF_HOST),
        .port = u.port,
        .path = part(&u, text, UF_PATH),
        .query = part(&u, text, UF_QUERY),
        .https = scheme.at && equals(scheme, "https"),
        .userinfo = (u.field_set & (1u << UF_USERINFO)) != 0,
    };
    return 0;
}

const char *kt_http_phrase(unsigned status)
{
    const char *text = http_status_str((enum http_status)status);
    return text[0] == '<' ? "Unknown" : text;
}
