/* Networks: parsing and membership. Invariants: all bits of a parsed prefix beyond its length are zero; the prefixes of
 * a set are disjoint and in order, so the one that may have an address is the last that does not begin after it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/prefix.h"
#include "base/text.h"

#define QUOTE_MAX_BYTES 60 /* how much of the text an error quotes */

/* The address's bytes; *bits: how many bits they have. */
static const uint8_t *bytes_of(const struct kt_addr *a, unsigned *bits)
{
    const bool v6 = a->sa.sa_family == AF_INET6;
    *bits = v6 ? 128 : 32;
    return v6 ? (const uint8_t *)&a->in6.sin6_addr : (const uint8_t *)&a->in4.sin_addr;
}

/* 1 to 3 digits, without a leading zero; -1 if not. */
static int length_of(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 3 || text[digits] || (text[0] == '0' && digits > 1)) return -1;
    int n = 0;
    for (size_t i = 0; i < digits; i++) n = n * 10 + (text[i] - '0');
    return n;
}

static bool zeros_after(const uint8_t *bytes, unsigned from, unsigned bits)
{
    for (unsigned i = from; i < bits; i++)
        if (bytes[i / 8] & 0x80u >> i % 8) return false;
    return true;
}

int kt_prefix_parse(struct kt_prefix *out, const char *text, struct kt_err *err)
{
    char ip[KT_ADDR_TEXT];
    const char *slash = strchr(text, '/');
    const size_t n = slash ? (size_t)(slash - text) : strlen(text);
    memset(out, 0, sizeof *out);
    if (n < sizeof ip) {
        memcpy(ip, text, n);
        ip[n] = '\0';
    }
    if (n >= sizeof ip || strchr(ip, '%') || !kt_addr_from_ip(&out->addr, ip, 0))
        return kt_err_set(err, KT_ECONFIG,
            "\"%.*s\": expected an IP address, or a network such as 10.0.0.0/8 or 2001:db8::/32",
            (int)(strlen(text) > QUOTE_MAX_BYTES ? kt_text_cut(text, QUOTE_MAX_BYTES) : strlen(text)), text);
    unsigned all;
    const uint8_t *bytes = bytes_of(&out->addr, &all);
    const int len = slash ? length_of(slash + 1) : (int)all;
    if (len < 0 || len > (int)all)
        return kt_err_set(err, KT_ECONFIG, "%s: expected a length of 0 to %u after the slash", ip, all);
    out->bits = (unsigned)len;
    if (!zeros_after(bytes, out->bits, all))
        return kt_err_set(err, KT_ECONFIG, "%s/%d: bits after the first %d must be zero", ip, len, len);
    return 0;
}

void kt_prefix_of(struct kt_prefix *out, const struct kt_addr *a, unsigned bits)
{
    const bool v6 = a->sa.sa_family == AF_INET6;
    *out = (struct kt_prefix){.addr = *a, .bits = bits};
    kt_addr_set_port(&out->addr, 0);
    if (v6) out->addr.in6.sin6_scope_id = 0;
    uint8_t *bytes = v6 ? out->addr.in6.sin6_addr.s6_addr : (uint8_t *)&out->addr.in4.sin_addr;
    for (unsigned i = bits; i < (v6 ? 128u : 32u); i++) bytes[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
}

static bool has(const struct kt_prefix *p, const struct kt_addr *a)
{
    if (p->addr.sa.sa_family != a->sa.sa_family) return false;
    unsigned all;
    const uint8_t *x = bytes_of(&p->addr, &all), *y = bytes_of(a, &all);
    const unsigned whole = p->bits / 8, rest = p->bits % 8;
    if (memcmp(x, y, whole) != 0) return false;
    return rest == 0 || ((x[whole] ^ y[whole]) & (0xff00u >> rest & 0xffu)) == 0;
}

/* By family and first address; of two that begin alike, the larger network first. */
static int compare(const struct kt_addr *a, unsigned a_bits, const struct kt_addr *b, unsigned b_bits)
{
    if (a->sa.sa_family != b->sa.sa_family) return a->sa.sa_family < b->sa.sa_family ? -1 : 1;
    unsigned all;
    const uint8_t *x = bytes_of(a, &all), *y = bytes_of(b, &all);
    const int order = memcmp(x, y, all / 8);
    return order ? order : (a_bits > b_bits) - (a_bits < b_bits);
}

static int compare_prefixes(const void *a, const void *b)
{
    const struct kt_prefix *x = a, *y = b;
    return compare(&x->addr, x->bits, &y->addr, y->bits);
}

size_t kt_prefixes_sort(struct kt_prefix *set, size_t n)
{
    size_t kept = 0;
    if (n) qsort(set, n, sizeof *set, compare_prefixes);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || !has(&set[kept - 1], &set[i].addr)) set[kept++] = set[i];
    return kept;
}

bool kt_prefixes_have(const struct kt_prefix *set, size_t n, const struct kt_addr *a)
{
    size_t from = 0, to = n; /* those before `from` do not begin after it, those from `to` on do */
    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        if (compare(&set[middle].addr, 0, a, 0) > 0)
            to = middle;
        else
            from = middle + 1;
    }
    return from > 0 && has(&set[from - 1], a);
}
