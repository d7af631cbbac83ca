/* Makes text from elsewhere safe to show on one line of a terminal. */
#ifndef KT_BASE_TEXT_H
#define KT_BASE_TEXT_H

#include <stddef.h>

/* Replaces control characters by '?'; leaves UTF-8 alone. */
static inline void kt_text_clean(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f) *p = '?';
}

/* Where to cut text longer than max bytes without splitting a UTF-8 character; at most max. */
static inline size_t kt_text_cut(const char *text, size_t max)
{
    for (size_t n = max; n > 0 && max - n < 4; n--)
        if (((unsigned char)text[n] & 0xc0) != 0x80) return n;
    return max; /* not UTF-8: any place will do */
}

#endif
