/* Parsing of endpoints as people write them.
 *
 * Strict on purpose: kt binds or dials exactly what is accepted here, so anything that could be read in two
 * ways is an error, with a sentence that says what to write instead. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/text.h"

#define UNIX_PATH_MAX_BYTES 107 /* sun_path less its NUL */
#define HOST_MAX_BYTES 255
#define QUOTE_MAX_BYTES 80 /* how much of the text an error quotes */
#define PORT_TOO_BIG 65536u
#define PORT_RULE "a port is a number from 1 to 65535"

struct parse {
    struct kt_endpoint *out;
    const char *text;
    unsigned flags;
    struct kt_err *err;
};

static int fail(const struct parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Returns KT_ECONFIG, with `"text": ` in front of the sentence. */
static int fail(const struct parse *p, const char *fmt, ...)
{
    char sentence[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, ap);
    va_end(ap);

    size_t len = strlen(p->text);
    const char *more = "";
    if (len > QUOTE_MAX_BYTES) {
        len = kt_text_cut(p->text, QUOTE_MAX_BYTES);
        more = "...";
    }
    return kt_err_set(p->err, KT_ECONFIG, "\"%.*s%s\": %s", (int)len, p->text, more, sentence);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
}

static bool is_ipv6(const char *ip)
{
    struct in6_addr a;
    return inet_pton(AF_INET6, ip, &a) == 1;
}

static int parse_unix(const struct parse *p, const char *path)
{
    size_t len = strlen(path);
    if (!(p->flags & KT_ENDPOINT_UNIX)) return fail(p, "unix sockets are not allowed here; write host:port");
    if (len > UNIX_PATH_MAX_BYTES)
        return fail(
            p, "the path is %zu bytes long; the limit for a unix socket is %d", len, UNIX_PATH_MAX_BYTES);
    if (path[len - 1] == '/') return fail(p, "the path names a directory; write unix:/path/of/the.sock");
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return fail(p, "the path contains a control character");
    p->out->is_unix = true;
    memcpy(p->out->host, path, len + 1);
    return 0;
}

/* Reads a number without leading zeros; *port is PORT_TOO_BIG above 65535. Returns what follows, or NULL. */
static const char *scan_port(const char *s, unsigned *port)
{
    const char *from = s;
    unsigned n = 0;
    for (; is_digit(*s); s++) {
        n = n * 10 + (unsigned)(*s - '0');
        if (n > 65535) n = PORT_TOO_BIG;
    }
    if (s == from || (*from == '0' && s > from + 1)) return NULL;
    *port = n;
    return s;
}

/* `s` is the text after the colon. */
static int parse_ports(const struct parse *p, const char *s)
{
    unsigned min, max;
    if (*s == '\0') return fail(p, "expected a port after ':'; " PORT_RULE);
    const char *end = scan_port(s, &min);
    if (!end || (*end != '\0' && *end != '-')) return fail(p, "expected a port after ':'; " PORT_RULE);
    if (*end == '\0') {
        if (min == PORT_TOO_BIG)
            return fail(p, "the port is too big; a port is a number from %d to 65535",
                p->flags & KT_ENDPOINT_ZERO ? 0 : 1);
        if (min == 0 && !(p->flags & KT_ENDPOINT_ZERO))
            return fail(p, "port 0 is not allowed here; " PORT_RULE);
        p->out->port_min = p->out->port_max = (uint16_t)min;
        return 0;
    }

    if (!(p->flags & KT_ENDPOINT_RANGE)) return fail(p, "port ranges are not allowed here; write one port");
    end = scan_port(end + 1, &max);
    if (!end || *end != '\0') return fail(p, "invalid port range; write host:min-max");
    if (min == PORT_TOO_BIG || max == PORT_TOO_BIG) return fail(p, "a port is too big; " PORT_RULE);
    if (min == 0 || max == 0) return fail(p, "a port range cannot include port 0; " PORT_RULE);
    if (min > max) return fail(p, "the port range runs backwards; write %u-%u", max, min);
    p->out->port_min = (uint16_t)min;
    p->out->port_max = (uint16_t)max;
    return 0;
}

/* Parses "[v6]:port" and "[v6%scope]:port". Stores the host without its brackets. */
static int parse_bracketed(const struct parse *p)
{
    const char *ip = p->text + 1;
    size_t len = strcspn(ip, "]");
    if (ip[len] != ']') return fail(p, "missing ']' after the IPv6 address; write [address]:port");

    char *host = p->out->host;
    size_t bare = strcspn(ip, "%]");
    if (len > HOST_MAX_BYTES || bare >= INET6_ADDRSTRLEN)
        return fail(p, "expected an IPv6 address between the brackets; write [::1]:port");
    memcpy(host, ip, bare);
    host[bare] = '\0';
    if (!is_ipv6(host)) return fail(p, "expected an IPv6 address between the brackets; write [::1]:port");
    if (bare < len) {
        if (bare + 1 == len) return fail(p, "missing interface after '%%'; write [address%%eth0]:port");
        for (size_t i = bare + 1; i < len; i++)
            if (!is_name_char(ip[i]))
                return fail(p, "invalid interface after '%%'; write [address%%eth0]:port");
        memcpy(host, ip, len);
        host[len] = '\0';
    }
    if (ip[len + 1] != ':') return fail(p, "missing port; write [address]:port");
    return parse_ports(p, ip + len + 2);
}

/* Only numbers and dots: meant as an IPv4 address, so it must not reach a resolver, which reads 1.2, 010.0.0.1 and
 * 0x7f.1 as one (inet_aton). */
static bool looks_like_ipv4(const char *host)
{
    for (const char *s = host; *s;) {
        const bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
        s += hex ? 2 + strspn(s + 2, "0123456789abcdefABCDEF") : strspn(s, "0123456789");
        if (*s == '.')
            s++;
        else if (*s)
            return false;
    }
    return host[0] != '\0';
}

static int parse_host_port(const struct parse *p)
{
    const char *colon = strchr(p->text, ':');
    if (!colon) return fail(p, "missing port; write host:port");
    if (strchr(colon + 1, ':')) {
        if (is_ipv6(p->text)) return fail(p, "an IPv6 address needs brackets; write [%s]:port", p->text);
        return fail(p, "more than one ':'; write host:port, or [address]:port for IPv6");
    }

    char *host = p->out->host;
    size_t len = (size_t)(colon - p->text);
    if (len > HOST_MAX_BYTES)
        return fail(p, "the host name is %zu bytes long; the limit is %d", len, HOST_MAX_BYTES);
    if (len == 0 && (p->flags & KT_ENDPOINT_HOST)) return fail(p, "missing host; write host:port");
    for (size_t i = 0; i < len; i++) {
        if (is_name_char(p->text[i])) continue;
        if (p->text[0] == '*' && len == 1) return fail(p, "'*' is not a host; write :port for all addresses");
        return fail(p, "a host name may contain only letters, digits, '.', '-' and '_'; write host:port");
    }
    memcpy(host, p->text, len);
    host[len] = '\0';
    struct in_addr v4;
    if (looks_like_ipv4(host) && inet_pton(AF_INET, host, &v4) != 1)
        return fail(
            p, "invalid IPv4 address; write four numbers from 0 to 255 separated by dots, then :port");
    return parse_ports(p, colon + 1);
}

int kt_endpoint_parse(struct kt_endpoint *out, const char *text, unsigned flags, struct kt_err *err)
{
    const struct parse p = {.out = out, .text = text, .flags = flags, .err = err};
    int rc;
    memset(out, 0, sizeof *out);
    if (text[0] == '\0')
        rc = fail(&p, "empty; write host:port");
    else if (text[0] == '/')
        rc = parse_unix(&p, text);
    else if (strncmp(text, "unix:/", 6) == 0)
        rc = parse_unix(&p, text + 5);
    else if (strncmp(text, "unix:", 5) == 0 && !is_digit(text[5]) && (flags & KT_ENDPOINT_UNIX))
        rc = fail(&p, "a unix socket path must start with '/'; write unix:/path");
    else if (strchr(text, '/') && !strchr(text, ':'))
        rc = parse_unix(&p, text); /* "run/the.sock": a host name cannot contain '/' */
    else if (text[0] == '[')
        rc = parse_bracketed(&p);
    else
        rc = parse_host_port(&p);
    if (rc < 0) memset(out, 0, sizeof *out); /* never leave half an endpoint behind */
    return rc;
}

bool kt_addr_parse(struct kt_addr *out, const char *text)
{
    struct kt_endpoint e;
    return kt_endpoint_parse(&e, text, KT_ENDPOINT_HOST | KT_ENDPOINT_ZERO, NULL) == 0 && !e.is_unix &&
           kt_addr_from_ip(out, e.host, e.port_min);
}
