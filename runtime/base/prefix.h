/* Networks as people write them: "10.0.0.0/8", "2001:db8::/32", or one address (RFC 4632, RFC 4291 section 2.3). */
#ifndef KT_BASE_PREFIX_H
#define KT_BASE_PREFIX_H

#include <stdbool.h>
#include "base/addr.h"
#include "base/err.h"

struct kt_prefix {
    struct kt_addr addr; /* port 0 */
    unsigned bits;       /* that count: 0..32, or 0..128 */
};

/* 0, or KT_ECONFIG with a sentence that says what to write instead. Bits of the address beyond the prefix must be
 * zero, as they are a slip most of the time. */
int kt_prefix_parse(struct kt_prefix *out, const char *text, struct kt_err *err);
/* The prefix of that length, at most that of the address, which has the address. */
void kt_prefix_of(struct kt_prefix *out, const struct kt_addr *a, unsigned bits);

/* Makes a set of n prefixes, in place: sorts them and drops those within others. Returns how many are left. One prefix
 * is a set as it is. */
size_t kt_prefixes_sort(struct kt_prefix *set, size_t n);
/* Whether one of a set has the address, whatever its port; O(log n). A family is never in a prefix of the other; for
 * addresses that may be mapped, see kt_addr_unmap. */
bool kt_prefixes_have(const struct kt_prefix *set, size_t n, const struct kt_addr *a);

#endif
