/* Network addresses as values. Equality and hash cover the same fields: family, address, port and scope. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include "base/hmap.h"

socklen_t kt_addr_len(const struct kt_addr *a)
{
    switch (a->sa.sa_family) {
    case AF_INET:
        return sizeof a->in4;
    case AF_INET6:
        return sizeof a->in6;
    default:
        return 0;
    }
}

uint16_t kt_addr_port(const struct kt_addr *a)
{
    switch (a->sa.sa_family) {
    case AF_INET:
        return ntohs(a->in4.sin_port);
    case AF_INET6:
        return ntohs(a->in6.sin6_port);
    default:
        return 0;
    }
}

void kt_addr_set_port(struct kt_addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET)
        a->in4.sin_port = htons(port);
    else if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
}

bool kt_addr_equal(const struct kt_addr *a, const struct kt_addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family) return false;
    switch (a->sa.sa_family) {
    case AF_INET:
        return a->in4.sin_port == b->in4.sin_port && a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
    case AF_INET6:
        return a->in6.sin6_port == b->in6.sin6_port && a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) == 0;
    default:
        return true;
    }
}

bool kt_addr_same_host(const struct kt_addr *a, const struct kt_addr *b)
{
    struct kt_addr x = *a, y = *b;
    kt_addr_set_port(&x, 0);
    kt_addr_set_port(&y, 0);
    return kt_addr_equal(&x, &y);
}

bool kt_addr_is_any(const struct kt_addr *a)
{
    if (a->sa.sa_family == AF_INET6) return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
    return a->in4.sin_addr.s_addr == 0;
}

uint64_t kt_addr_hash(const struct kt_addr *a, uint64_t seed)
{
    uint64_t h = kt_hash_u64((uint64_t)a->sa.sa_family << 16 | kt_addr_port(a), seed);
    if (a->sa.sa_family == AF_INET) return kt_hash_u64(a->in4.sin_addr.s_addr, h);
    if (a->sa.sa_family != AF_INET6) return h;

    uint64_t half[2];
    memcpy(half, &a->in6.sin6_addr, sizeof half);
    h = kt_hash_u64(half[0], h);
    h = kt_hash_u64(half[1], h);
    return kt_hash_u64(a->in6.sin6_scope_id, h);
}

/* Appends n to a text; returns its new end. */
static char *put_decimal(char *end, unsigned n)
{
    if (n >= 10) end = put_decimal(end, n / 10);
    *end = (char)('0' + n % 10);
    return end + 1;
}

/* Without printf, which would take some 2,500 instructions for each conn. */
static void put_ip4(const struct kt_addr *a, char *out)
{
    uint8_t ip[4];
    memcpy(ip, &a->in4.sin_addr, sizeof ip);
    for (size_t i = 0; i < sizeof ip; i++) {
        out = put_decimal(out, ip[i]);
        *out++ = i + 1 < sizeof ip ? '.' : ':';
    }
    *put_decimal(out, kt_addr_port(a)) = '\0';
}

const char *kt_addr_text(const struct kt_addr *a, char out[KT_ADDR_TEXT])
{
    char ip[INET6_ADDRSTRLEN];
    unsigned port = kt_addr_port(a);
    int n = -1;
    if (a->sa.sa_family == AF_INET) {
        put_ip4(a, out);
        return out;
    }
    if (a->sa.sa_family == AF_INET6 && inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip)) {
        /* Print the scope as a number: it is the same on every system and costs no system call. */
        if (a->in6.sin6_scope_id)
            n = snprintf(out, KT_ADDR_TEXT, "[%s%%%u]:%u", ip, (unsigned)a->in6.sin6_scope_id, port);
        else
            n = snprintf(out, KT_ADDR_TEXT, "[%s]:%u", ip, port);
    }
    if (n < 0 || n >= KT_ADDR_TEXT) snprintf(out, KT_ADDR_TEXT, "(no address)");
    return out;
}

const char *kt_addr_ip_text(const struct kt_addr *a, char out[KT_ADDR_TEXT])
{
    const void *ip = a->sa.sa_family == AF_INET6 ? (const void *)&a->in6.sin6_addr : &a->in4.sin_addr;
    if (kt_addr_len(a) == 0 || !inet_ntop(a->sa.sa_family, ip, out, KT_ADDR_TEXT))
        snprintf(out, KT_ADDR_TEXT, "(no address)");
    return out;
}

bool kt_addr_from_sockaddr(struct kt_addr *out, const struct sockaddr *sa)
{
    memset(out, 0, sizeof *out);
    switch (sa->sa_family) {
    case AF_INET:
        memcpy(&out->in4, sa, sizeof out->in4);
        return true;
    case AF_INET6:
        memcpy(&out->in6, sa, sizeof out->in6);
        return true;
    default:
        return false;
    }
}

/* The interface number for "2" or "eth0"; 0 if it does not exist. */
static uint32_t scope_number(const char *text)
{
    uint64_t n = 0;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9') return if_nametoindex(text);
        n = n * 10 + (uint64_t)(*p - '0');
        if (n > UINT32_MAX) return 0;
    }
    return (uint32_t)n;
}

bool kt_addr_from_ip(struct kt_addr *out, const char *ip, uint16_t port)
{
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, ip, &out->in4.sin_addr) == 1) {
        out->in4.sin_family = AF_INET;
        out->in4.sin_port = htons(port);
        return true;
    }

    char bare[INET6_ADDRSTRLEN];
    size_t len = strcspn(ip, "%");
    if (len >= sizeof bare) return false;
    memcpy(bare, ip, len);
    bare[len] = '\0';
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET6, bare, &out->in6.sin6_addr) != 1) return false;
    if (ip[len] == '%') {
        out->in6.sin6_scope_id = scope_number(ip + len + 1);
        if (out->in6.sin6_scope_id == 0) return false;
    }
    out->in6.sin6_family = AF_INET6;
    out->in6.sin6_port = htons(port);
    return true;
}

void kt_addr_unmap(struct kt_addr *a)
{
    if (a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) return;
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = a->in6.sin6_port};
    memcpy(&in4.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
    memset(a, 0, sizeof *a);
    a->in4 = in4;
}

bool kt_endpoint_equal(const struct kt_endpoint *a, const struct kt_endpoint *b)
{
    return a->is_unix == b->is_unix && a->port_min == b->port_min && a->port_max == b->port_max &&
           strcmp(a->host, b->host) == 0;
}

int kt_addr_check_scope(const struct kt_addr *a, struct kt_err *err)
{
    char text[KT_ADDR_TEXT], ip[KT_ADDR_TEXT];
    if (a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr) || a->in6.sin6_scope_id)
        return 0;
    kt_addr_text(a, text);
    kt_addr_ip_text(a, ip);
    return kt_err_set(err, KT_EUNREACH,
        "%s: a link-local address needs a scope; append the interface, such as %s%%eth0", text, ip);
}
