/* HTTP/1.1 messages (RFC 9110, RFC 9112): the head of a request or a response, the framing of a chunked body, and URLs.
 * Bytes in, facts out: no I/O, no allocation. libhttp-parser parses.
 *
 * A message that is accepted has one reading only. These are refused, as they have been used to smuggle a request past
 * a proxy: a line that does not end in CRLF, a folded field, a field name with a space, a control character, two fields
 * of Host, Content-Length or Transfer-Encoding, both of the latter two, any coding but "chunked", and a chunk size that
 * is not plain hexadecimal. */
#ifndef KT_HTTP_HTTP_H
#define KT_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_HTTP_FIELDS_MAX 100u
#define KT_HTTP_HEAD_MAX 65535u /* bytes of a head, and of a URL */

/* A part of the bytes that were passed. */
struct kt_http_span {
    const char *at; /* NULL: absent */
    size_t len;
};

struct kt_http_field {
    struct kt_http_span name, value; /* the value without spaces around it */
};

/* How the body ends (RFC 9112, section 6.3). */
enum kt_http_body { KT_HTTP_EMPTY, KT_HTTP_LENGTH, KT_HTTP_CHUNKED, KT_HTTP_TO_END };

/* The state of a chunked body. */
struct kt_http_chunks {
    _Alignas(8) unsigned char parser[64]; /* the library's */
    uint64_t left;                        /* bytes of data to come; 0: a line follows */
    unsigned char state;
    bool done;
};

struct kt_http_url {
    struct kt_http_span host;  /* of [::1]: ::1; NULL in origin-form ("/path") */
    uint16_t port;             /* 0: none was given */
    struct kt_http_span path;  /* NULL: none was given */
    struct kt_http_span query; /* what follows "?" */
    bool https, userinfo;
};

struct kt_http_head {
    struct kt_http_span method, target; /* of a request */
    struct kt_http_url url;             /* the parts of target; of "*": nothing */
    unsigned status;                    /* of a response */
    struct kt_http_span reason;         /* likewise; may be empty */
    unsigned minor;                     /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;                    /* whether the peer allows another message on the connection */
    bool upgrade;                       /* Connection: upgrade, with an Upgrade field; or CONNECT */
    enum kt_http_body body;
    uint64_t length;              /* KT_HTTP_LENGTH: at least 1 */
    struct kt_http_chunks chunks; /* KT_HTTP_CHUNKED */
    size_t field_count;
    struct kt_http_field fields[KT_HTTP_FIELDS_MAX];
};

enum kt_http_kind {
    KT_HTTP_REQUEST,
    KT_HTTP_RESPONSE,
    KT_HTTP_RESPONSE_TO_HEAD, /* without a body, whatever its fields say */
};

/* Reads a head: all bytes up to and including the empty line. An empty line before it is skipped. Returns 0, or the
 * status to answer with (400, 431, 501, 505), with a sentence in err. */
int kt_http_read_head(
    const char *text, size_t len, enum kt_http_kind kind, struct kt_http_head *out, struct kt_err *err);

/* Feeds the next bytes of a chunked body: at most `left` bytes of data, or, while that is 0, one line with its CRLF.
 * Once `done` is set, the body has ended and nothing more may be fed. Returns 0 or KT_EPROTO. */
int kt_http_feed(struct kt_http_chunks *c, const char *text, size_t len, struct kt_err *err);

/* Splits a URL (http://host:port/path?query, or /path?query), or a CONNECT target (host:port). Returns 0 or KT_ECONFIG.
 * A fragment, which no request has, is refused. */
int kt_http_read_url(const char *text, size_t len, bool connect, struct kt_http_url *out, struct kt_err *err);

/* The reason phrase of a status, such as "Not Found", or "Unknown". */
const char *kt_http_phrase(unsigned status);
/* Whether this is a token (RFC 9110, section 5.6.2): the name of a method or a field. */
bool kt_http_is_token(const char *text, size_t len);
/* Whether the value of a field may hold this: no control character but the tab. */
bool kt_http_is_value(const char *text, size_t len);

#endif
