/* Errors: negative codes, stable names for scripts, and a buffer in which the caller receives a sentence.
 *
 * A function that can fail returns 0 (or a count) or one of these codes. Where the code alone would not be
 * enough for a person, the function also takes a `struct kt_err *` (may be NULL) and writes a sentence to it. */
#ifndef KT_BASE_ERR_H
#define KT_BASE_ERR_H

/* code, stable name (what a script sees as err.code), sentence */
#define KT_ERRORS(X)                                                                                         \
    X(KT_EINVAL, -1, "invalid", "invalid argument")                                                          \
    X(KT_ENOMEM, -2, "memory", "out of memory")                                                              \
    X(KT_EAGAIN, -3, "again", "try again later")                                                             \
    X(KT_ETIMEOUT, -4, "timeout", "timed out")                                                               \
    X(KT_ECLOSED, -5, "closed", "already closed")                                                            \
    X(KT_EEOF, -6, "eof", "the other end has finished sending")                                              \
    X(KT_ERESET, -7, "reset", "connection reset by the other end")                                           \
    X(KT_EREFUSED, -8, "refused", "connection refused")                                                      \
    X(KT_EUNREACH, -9, "unreachable", "network or host unreachable")                                         \
    X(KT_ENAME, -10, "name", "name not found")                                                               \
    X(KT_EINUSE, -11, "in_use", "address already in use")                                                    \
    X(KT_EACCES, -12, "denied", "permission denied")                                                         \
    X(KT_ECONFIG, -13, "config", "bad configuration")                                                        \
    X(KT_EPROTO, -14, "protocol", "the peer violated the protocol")                                          \
    X(KT_EAUTH, -15, "auth", "packet does not authenticate")                                                 \
    X(KT_ELIMIT, -16, "limit", "limit reached")                                                              \
    X(KT_ENOTSUP, -17, "unsupported", "not supported")                                                       \
    X(KT_ECANCELED, -18, "canceled", "canceled")                                                             \
    X(KT_EIO, -19, "io", "input/output error")                                                               \
    X(KT_EDEAD, -20, "dead", "the peer has gone silent")                                                     \
    X(KT_ERESTART, -21, "restarted", "the peer has restarted")                                               \
    X(KT_ENOENT, -22, "not_found", "no such file")                                                           \
    X(KT_EMISMATCH, -23, "mismatch", "the two ends have different settings")                                 \
    X(KT_EIDLE, -24, "idle", "idle for too long")                                                            \
    X(KT_ETOTAL, -25, "total", "reached its total time limit")                                               \
    X(KT_EFAILED, -26, "failed", "the task failed")

enum kt_error {
#define KT_ERROR_ENUM(code, num, name, text) code = num,
    KT_ERRORS(KT_ERROR_ENUM)
#undef KT_ERROR_ENUM
};

struct kt_err {
    int code;       /* 0 or KT_E… */
    char text[320]; /* a sentence without a final full stop; never holds a secret */
};

/* The sentence for a code; never NULL. Static storage. */
const char *kt_strerror(int code);

/* The stable name of a code ("timeout"); "unknown" for anything else. Static storage. */
const char *kt_errname(int code);

/* Writes the code and sentence to err (if not NULL) and returns the code, for `return kt_err_set(...)`.
 * Control characters are replaced by '?'. err->text may be among the arguments. */
int kt_err_set(struct kt_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The KT_E… code for a positive errno value. */
int kt_err_from_errno(int errnum);

#endif
