/* Error codes and their sentences. The table in err.h is the only place that lists them. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"

const char *kt_strerror(int code)
{
    switch (code) {
    case 0:
        return "no error";
#define KT_ERROR_TEXT(sym, num, name, text)                                                                  \
    case sym:                                                                                                \
        return text;
        KT_ERRORS(KT_ERROR_TEXT)
#undef KT_ERROR_TEXT
    default:
        return "unknown error";
    }
}

const char *kt_errname(int code)
{
    switch (code) {
#define KT_ERROR_NAME(sym, num, name, text)                                                                  \
    case sym:                                                                                                \
        return name;
        KT_ERRORS(KT_ERROR_NAME)
#undef KT_ERROR_NAME
    default:
        return "unknown";
    }
}

/* Writes the sentence. One that is too long loses its middle: that is mostly a path, and the reason follows
 * it. */
static void shorten(char *out, size_t size, const char *sentence, size_t len)
{
    static const char mark[] = "…";
    const size_t head = kt_text_cut(sentence, (size - sizeof mark) / 2);
    const char *tail = sentence + len - (size - sizeof mark - head);
    while ((*tail & 0xc0) == 0x80) tail++; /* to the start of a UTF-8 character */
    snprintf(out, size, "%.*s%s%s", (int)head, sentence, mark, tail);
}

int kt_err_set(struct kt_err *err, int code, const char *fmt, ...)
{
    if (!err) return code;

    /* Formatted into a copy, so that a caller may wrap a sentence: kt_err_set(e, ..., "x: %s", e->text). */
    char text[sizeof err->text];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    if (n < 0) snprintf(text, sizeof text, "%s", kt_strerror(code));
    char *whole = n >= (int)sizeof text ? malloc((size_t)n + 1) : NULL;
    if (whole) {
        vsnprintf(whole, (size_t)n + 1, fmt, again);
        shorten(text, sizeof text, whole, (size_t)n);
        free(whole);
    }
    va_end(again);
    va_end(ap);
    kt_text_clean(text); /* it is shown on terminals, and often quotes a peer or a file */

    err->code = code;
    memcpy(err->text, text, sizeof text);
    return code;
}

int kt_err_from_errno(int errnum)
{
#if EWOULDBLOCK != EAGAIN
    if (errnum == EWOULDBLOCK) return KT_EAGAIN;
#endif
    switch (errnum) {
    case 0:
        return 0;
    case EINVAL:
    case EDOM:
    case EFAULT:
    case EBADF:
    case ENOTSOCK:
    case EDESTADDRREQ:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
        return KT_EINVAL;
    case ENOMEM:
        return KT_ENOMEM;
    case EAGAIN:
    case EINTR:
    case EINPROGRESS:
    case EALREADY:
    case EBUSY:
        return KT_EAGAIN;
    case ETIMEDOUT:
        return KT_ETIMEOUT;
    case ENOTCONN:
    case ESHUTDOWN:
        return KT_ECLOSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENETRESET:
        return KT_ERESET;
    case ECONNREFUSED:
        return KT_EREFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
    case ENODEV:
    case ENXIO:
        return KT_EUNREACH;
    case EADDRINUSE:
    case EISCONN:
    case EEXIST:
        return KT_EINUSE;
    case EACCES:
    case EPERM:
    case EROFS:
        return KT_EACCES;
    case EPROTO:
        return KT_EPROTO;
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case EDQUOT:
    case ENOBUFS:
    case EMSGSIZE:
    case EFBIG:
    case E2BIG:
        return KT_ELIMIT;
    case ENOSYS:
    case EOPNOTSUPP:
#if ENOTSUP != EOPNOTSUPP
    case ENOTSUP:
#endif
    case EAFNOSUPPORT:
    case EPFNOSUPPORT:
    case EPROTONOSUPPORT:
    case EPROTOTYPE:
    case ESOCKTNOSUPPORT:
    case ENOPROTOOPT:
        return KT_ENOTSUP;
    case ECANCELED:
        return KT_ECANCELED;
    case ENOENT:
        return KT_ENOENT;
    default:
        return KT_EIO;
    }
}
