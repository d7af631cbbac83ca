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
/* Whether the address is in it, whatever its port. A family is never in a prefix of the other. */
bool kt_prefix_has(const struct kt_prefix *p, const struct kt_addr *a);

#endif
