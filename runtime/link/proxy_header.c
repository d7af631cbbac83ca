/* Reads and writes headers of the PROXY protocol. Section numbers are those of haproxy's doc/proxy-protocol.txt.
 *
 * Invariant: bytes that cannot become a valid header are refused as soon as they show it, so that a client that
 * sends something else is not waited for; and reading looks at no more than KT_PROXY_HEADER_MAX bytes. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "base/bytes.h"
#include "link/proxy_header.h"

#define V2_FIXED 16u
#define V2_LOCAL 0x20u /* version 2, and the command */
#define V2_PROXY 0x21u
#define V2_TCP4 0x11u /* family and transport */
#define V2_TCP6 0x21u
#define V2_TCP4_LEN 12u
#define V2_TCP6_LEN 36u

static const uint8_t v2_signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};
static const char v1_signature[] = "PROXY ";

/* ---- reading ---- */

static void set4(struct kt_addr *a, const uint8_t ip[4], unsigned port)
{
    memset(a, 0, sizeof *a);
    a->in4.sin_family = AF_INET;
    memcpy(&a->in4.sin_addr, ip, 4);
    a->in4.sin_port = htons((uint16_t)port);
}

/* A mapped IPv4 address becomes one of IPv4, as everywhere in kt. */
static void set6(struct kt_addr *a, const uint8_t ip[16], unsigned port)
{
    struct in6_addr in6;
    memcpy(&in6, ip, sizeof in6);
    if (IN6_IS_ADDR_V4MAPPED(&in6)) {
        set4(a, ip + 12, port);
        return;
    }
    memset(a, 0, sizeof *a);
    a->in6.sin6_family = AF_INET6;
    a->in6.sin6_addr = in6;
    a->in6.sin6_port = htons((uint16_t)port);
}

/* A field of a line: the bytes up to the next space, or to the end of the line. Moves *at past that space. */
static bool field(const char **at, const char *end, char out[INET6_ADDRSTRLEN])
{
    const char *stop = memchr(*at, ' ', (size_t)(end - *at));
    const size_t n = (size_t)((stop ? stop : end) - *at);
    if (n == 0 || n >= INET6_ADDRSTRLEN || memchr(*at, '\0', n)) return false;
    memcpy(out, *at, n);
    out[n] = '\0';
    *at = stop ? stop + 1 : end;
    return true;
}

static bool address_field(const char **at, const char *end, int family, uint8_t ip[16])
{
    char text[INET6_ADDRSTRLEN];
    return field(at, end, text) && inet_pton(family, text, ip) == 1;
}

/* Digits without a leading zero, at most 65535. */
static bool port_field(const char **at, const char *end, unsigned *port)
{
    char text[INET6_ADDRSTRLEN];
    if (!field(at, end, text)) return false;
    const size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] || (text[0] == '0' && digits > 1)) return false;
    unsigned value = 0;
    for (size_t i = 0; i < digits; i++) value = value * 10 + (unsigned)(text[i] - '0');
    *port = value;
    return value <= 65535;
}

/* Section 2.1. The line is `at`..`end`, without its signature and its CRLF. */
static bool read_line(struct kt_proxy_header *out, const char *at, const char *end)
{
    const size_t n = (size_t)(end - at);
    /* The rest of a line after UNKNOWN has no meaning. */
    if (n >= 7 && memcmp(at, "UNKNOWN", 7) == 0) return n == 7 || at[7] == ' ';
    if (n < 5 || (memcmp(at, "TCP4 ", 5) != 0 && memcmp(at, "TCP6 ", 5) != 0)) return false;
    const bool v6 = at[3] == '6';
    const int family = v6 ? AF_INET6 : AF_INET;
    uint8_t from[16], to[16];
    unsigned from_port, to_port;
    at += 5;
    if (end[-1] == ' ' || !address_field(&at, end, family, from) || !address_field(&at, end, family, to) ||
        !port_field(&at, end, &from_port) || !port_field(&at, end, &to_port) || at != end)
        return false;
    out->named = true;
    (v6 ? set6 : set4)(&out->from, from, from_port);
    (v6 ? set6 : set4)(&out->to, to, to_port);
    return true;
}

static int read_v1(struct kt_proxy_header *out, const uint8_t *data, size_t n)
{
    const char *text = (const char *)data;
    const size_t seen = n < KT_PROXY_HEADER_OUT ? n : KT_PROXY_HEADER_OUT, sign = sizeof v1_signature - 1;
    if (memcmp(text, v1_signature, seen < sign ? seen : sign) != 0) return KT_EPROTO;
    const char *lf = memchr(text, '\n', seen);
    if (!lf) return seen < KT_PROXY_HEADER_OUT ? 0 : KT_EPROTO;
    if (lf[-1] != '\r' || !read_line(out, text + sign, lf - 1)) return KT_EPROTO;
    return (int)(lf + 1 - text);
}

/* Section 2.2: the valid pairs of family and transport; a receiver refuses all others. */
static bool v2_family_valid(uint8_t family)
{
    const unsigned high = family >> 4, low = family & 15u;
    return family == 0 || (high >= 1 && high <= 3 && low >= 1 && low <= 2);
}

static int read_v2(struct kt_proxy_header *out, const uint8_t *data, size_t n)
{
    const size_t sign = sizeof v2_signature;
    if (memcmp(data, v2_signature, n < sign ? n : sign) != 0) return KT_EPROTO;
    if (n > 12 && data[12] != V2_LOCAL && data[12] != V2_PROXY) return KT_EPROTO;
    if (n < V2_FIXED) return 0;
    const size_t len = kt_get16_be(data + 14);
    if (V2_FIXED + len > KT_PROXY_HEADER_MAX) return KT_EPROTO;
    const uint8_t *a = data + V2_FIXED, family = data[13];
    const bool named = data[12] == V2_PROXY && (family == V2_TCP4 || family == V2_TCP6);
    if (data[12] == V2_PROXY && !v2_family_valid(family)) return KT_EPROTO;
    if (named && len < (family == V2_TCP4 ? V2_TCP4_LEN : V2_TCP6_LEN)) return KT_EPROTO;
    if (n < V2_FIXED + len) return 0;
    out->named = named;
    if (named && family == V2_TCP4) {
        set4(&out->from, a, kt_get16_be(a + 8));
        set4(&out->to, a + 4, kt_get16_be(a + 10));
    } else if (named) {
        set6(&out->from, a, kt_get16_be(a + 32));
        set6(&out->to, a + 16, kt_get16_be(a + 34));
    }
    return (int)(V2_FIXED + len);
}

int kt_proxy_header_read(struct kt_proxy_header *out, const uint8_t *data, size_t n)
{
    memset(out, 0, sizeof *out);
    if (n == 0) return 0;
    return data[0] == v2_signature[0] ? read_v2(out, data, n) : read_v1(out, data, n);
}

/* ---- writing ---- */

static void get6(const struct kt_addr *a, uint8_t ip[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (a->sa.sa_family == AF_INET6) {
        memcpy(ip, &a->in6.sin6_addr, 16);
    } else {
        memcpy(ip, mapped, sizeof mapped);
        memcpy(ip + 12, &a->in4.sin_addr, 4);
    }
}

static size_t write_v1(uint8_t *out, const struct kt_addr *from, const struct kt_addr *to, bool v6)
{
    uint8_t ip[16];
    char a[INET6_ADDRSTRLEN], b[INET6_ADDRSTRLEN];
    if (v6) {
        get6(from, ip);
        inet_ntop(AF_INET6, ip, a, sizeof a);
        get6(to, ip);
        inet_ntop(AF_INET6, ip, b, sizeof b);
    } else {
        inet_ntop(AF_INET, &from->in4.sin_addr, a, sizeof a);
        inet_ntop(AF_INET, &to->in4.sin_addr, b, sizeof b);
    }
    char line[2 * INET6_ADDRSTRLEN + 32]; /* the longest is within KT_PROXY_HEADER_OUT */
    const int n = snprintf(line, sizeof line, "PROXY TCP%c %s %s %u %u\r\n", v6 ? '6' : '4', a, b,
        (unsigned)kt_addr_port(from), (unsigned)kt_addr_port(to));
    memcpy(out, line, (size_t)n);
    return (size_t)n;
}

static size_t write_v2(uint8_t *out, const struct kt_addr *from, const struct kt_addr *to, bool v6)
{
    const size_t size = v6 ? 16 : 4, len = v6 ? V2_TCP6_LEN : V2_TCP4_LEN;
    uint8_t *at = out + V2_FIXED;
    out[12] = V2_PROXY;
    out[13] = v6 ? V2_TCP6 : V2_TCP4;
    kt_put16_be(out + 14, (uint32_t)len);
    if (v6) {
        get6(from, at);
        get6(to, at + size);
    } else {
        memcpy(at, &from->in4.sin_addr, size);
        memcpy(at + size, &to->in4.sin_addr, size);
    }
    kt_put16_be(at + 2 * size, kt_addr_port(from));
    kt_put16_be(at + 2 * size + 2, kt_addr_port(to));
    return V2_FIXED + len;
}

size_t kt_proxy_header_write(
    uint8_t out[KT_PROXY_HEADER_OUT], unsigned version, const struct kt_addr *from, const struct kt_addr *to)
{
    static const char unknown[] = "PROXY UNKNOWN\r\n";
    struct kt_addr none = {0};
    if (from && !to) {
        none.sa.sa_family = from->sa.sa_family;
        to = &none;
    }
    const bool v6 = from && (from->sa.sa_family == AF_INET6 || to->sa.sa_family == AF_INET6);
    if (version == 1) {
        if (from) return write_v1(out, from, to, v6);
        memcpy(out, unknown, sizeof unknown - 1);
        return sizeof unknown - 1;
    }
    memcpy(out, v2_signature, sizeof v2_signature);
    if (from) return write_v2(out, from, to, v6);
    out[12] = V2_LOCAL;
    out[13] = 0; /* AF_UNSPEC */
    kt_put16_be(out + 14, 0);
    return V2_FIXED;
}
