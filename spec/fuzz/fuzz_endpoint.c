/* Fuzz target: endpoints, numeric addresses and networks. The first byte gives the flags, the rest is the text. What is
 * accepted must keep the header's promises; what is refused must come with a printable sentence; a numeric
 * address must survive being printed and parsed again. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/addr.h"
#include "base/prefix.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool printable(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) return false;
    return true;
}

static void accepted(const struct kt_endpoint *e, unsigned flags)
{
    CHECK(memchr(e->host, '\0', sizeof e->host));
    CHECK(printable(e->host));
    if (e->is_unix) {
        CHECK(flags & KT_ENDPOINT_UNIX);
        CHECK(strchr(e->host, '/') && strlen(e->host) <= 107);
        CHECK(e->port_min == 0 && e->port_max == 0);
        return;
    }
    CHECK(e->port_min <= e->port_max);
    CHECK(e->port_min > 0 || ((flags & KT_ENDPOINT_ZERO) && e->port_max == 0));
    CHECK(e->port_min == e->port_max || (flags & KT_ENDPOINT_RANGE));
    CHECK(e->host[0] || !(flags & KT_ENDPOINT_HOST));
}

static void refused(const struct kt_endpoint *e, const struct kt_err *err)
{
    static const struct kt_endpoint none;
    CHECK(memcmp(e, &none, sizeof none) == 0);
    CHECK(err->code == KT_ECONFIG);
    CHECK(err->text[0] == '"' && strstr(err->text, "\": "));
    CHECK(strlen(err->text) < sizeof err->text - 1 && printable(err->text));
}

static void round_trip(const char *ip)
{
    struct kt_addr a, b;
    char text[KT_ADDR_TEXT], again[KT_ADDR_TEXT];
    if (!kt_addr_from_ip(&a, ip, 4242)) return;
    kt_addr_text(&a, text);

    struct kt_endpoint e;
    CHECK(kt_endpoint_parse(&e, text, KT_ENDPOINT_HOST, NULL) == 0);
    CHECK(e.port_min == 4242);
    CHECK(kt_addr_from_ip(&b, e.host, e.port_min));
    CHECK(kt_addr_equal(&a, &b) && kt_addr_hash(&a, 1) == kt_addr_hash(&b, 1));
    CHECK(strcmp(text, kt_addr_text(&b, again)) == 0);
}

/* The text as lines, each a network: a set of them has what one of them has. Changes the text. */
static void networks(char *text)
{
    struct kt_prefix all[64], set[64];
    size_t n = 0;
    for (char *line = strtok(text, "\n"); line && n < 64; line = strtok(NULL, "\n")) {
        struct kt_err err = {0};
        if (kt_prefix_parse(&all[n], line, &err) == 0)
            n++;
        else
            CHECK(err.code == KT_ECONFIG && strlen(err.text) < sizeof err.text - 1 && printable(err.text));
    }
    memcpy(set, all, sizeof set);
    const size_t left = kt_prefixes_sort(set, n);
    CHECK(left <= n);
    for (size_t i = 0; i < n; i++) {
        struct kt_addr a = all[i].addr; /* the first address of each, the one before, and the one after */
        uint8_t *last =
            a.sa.sa_family == AF_INET6 ? a.in6.sin6_addr.s6_addr + 15 : (uint8_t *)&a.in4.sin_addr + 3;
        for (int step = -1; step <= 1; step++) {
            bool one = false;
            *last = (uint8_t)(*last + (step == -1 ? -1 : 1));
            for (size_t j = 0; j < n; j++) one = one || kt_prefixes_have(&all[j], 1, &a);
            CHECK(one == kt_prefixes_have(set, left, &a));
            struct kt_prefix same;
            kt_prefix_of(&same, &a, all[i].bits);
            CHECK(kt_prefixes_have(&same, 1, &a));
            if (step == 0) CHECK(memcmp(&same, &all[i], sizeof same) == 0);
            CHECK(one || step != 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    unsigned flags = data[0] & 15u;
    char *text =
        malloc(size); /* exactly as long as needed, so that the sanitizer catches accesses past the end */
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';

    struct kt_endpoint e;
    struct kt_err err = {0};
    if (kt_endpoint_parse(&e, text, flags, &err) == 0)
        accepted(&e, flags);
    else
        refused(&e, &err);
    round_trip(text);
    networks(text);
    free(text);
    return 0;
}
