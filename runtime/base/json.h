/* Reads JSON (RFC 8259) from others into cJSON's tree, with bounds, and what cJSON lets pass refused: control
 * characters and text that is not UTF-8, numbers as only C has them, and \u0000, which a C string cannot hold. */
#ifndef KT_BASE_JSON_H
#define KT_BASE_JSON_H

#include <stddef.h>
#include "base/err.h"

#define KT_JSON_TEXT_MAX (4u << 20) /* bytes */
#define KT_JSON_VALUES_MAX 131072u
#define KT_JSON_DEPTH_MAX 100u

struct cJSON;

/* text has a NUL after its len bytes. *out is freed with cJSON_Delete. All its strings are UTF-8, and its numbers are
 * finite. 0; KT_EINVAL and what is wrong where; KT_ELIMIT: beyond a bound above, or a number is too large or has more
 * than 60 characters; KT_ENOMEM. */
int kt_json_parse(const char *text, size_t len, struct cJSON **out, struct kt_err *err);

/* The length of the UTF-8 sequence at p, of which n > 0 bytes are there: 1..4; 0: it is none. */
size_t kt_utf8_length(const char *p, size_t n);

#endif
