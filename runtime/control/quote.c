/* Quotes text for JSON. Invariant: whatever the bytes, the result is one valid JSON string on one line. */
#include "control/quote.h"
#include <stdio.h>
#include <string.h>
#include "base/json.h"

#define ESCAPE 6u /* bytes of the longest: \u001f */

char *kt_control_quote(char *out, size_t size, const char *text)
{
    size_t len = 0;
    out[len++] = '"';
    for (size_t left = strlen(text); left > 0 && len + ESCAPE + 2 <= size;) {
        const size_t n = kt_utf8_length(text, left);
        const unsigned char byte = (unsigned char)*text;
        if (n == 0) {
            out[len++] = '?';
        } else if (byte < 0x20 || byte == 0x7f) {
            len += (size_t)snprintf(out + len, ESCAPE + 1, "\\u%04x", byte);
        } else {
            if (byte == '"' || byte == '\\') out[len++] = '\\';
            memcpy(out + len, text, n);
            len += n;
        }
        text += n ? n : 1;
        left -= n ? n : 1;
    }
    out[len++] = '"';
    out[len] = '\0';
    return out;
}

char *kt_control_member(char *out, size_t size, const char *key, const char *text)
{
    out[0] = '\0';
    const int at = text ? snprintf(out, size, ",\"%s\":", key) : 0;
    if (text) kt_control_quote(out + at, size - (size_t)at, text);
    return out;
}
