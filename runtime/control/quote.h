/* Text as a JSON string. */
#ifndef KT_CONTROL_QUOTE_H
#define KT_CONTROL_QUOTE_H

#include <stddef.h>

/* Writes text as a JSON string in quotes to out, of `size` > 2 bytes, and returns out. A text that does not fit is cut
 * between two characters; bytes that are not UTF-8 become '?'. */
char *kt_control_quote(char *out, size_t size, const char *text);
/* Writes `,"key":"text"` for the middle of an object, quoted likewise, or nothing if text is NULL; returns out, of
 * `size` bytes, which are at least 7 more than the key has. */
char *kt_control_member(char *out, size_t size, const char *key, const char *text);

#endif
