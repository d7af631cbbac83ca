/* The header of the PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): the first bytes of a TCP
 * connection, in which a proxy says whose connection it passes on. Pure functions of bytes. */
#ifndef KT_LINK_PROXY_HEADER_H
#define KT_LINK_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"

/* Longest header that is read: the addresses, and TLVs up to this length in all. */
#define KT_PROXY_HEADER_MAX 4096u
/* Longest header that is written: a line of version 1 (section 2.1). */
#define KT_PROXY_HEADER_OUT 107u

struct kt_proxy_header {
    bool
        named; /* has the two addresses; false: UNKNOWN, LOCAL or UNSPEC, or of a family other than TCP over IP */
    struct kt_addr from, to; /* the client, and the address that it connected to */
};

/* Reads the header at the start of n bytes. Returns its length, TLVs included; 0: the bytes so far fit, more are
 * needed; KT_EPROTO: not a header, or a longer one than KT_PROXY_HEADER_MAX. */
int kt_proxy_header_read(struct kt_proxy_header *out, const uint8_t *data, size_t n);

/* Writes a header of version 1 or 2 without TLVs; returns its length. `from` NULL: the sender's own connection, LOCAL
 * in version 2 and UNKNOWN in version 1. `to` NULL: unknown, written as zeros. Of two families, both are written as
 * IPv6, the IPv4 address mapped (RFC 4291, 2.5.5.2). */
size_t kt_proxy_header_write(
    uint8_t out[KT_PROXY_HEADER_OUT], unsigned version, const struct kt_addr *from, const struct kt_addr *to);

#endif
