/* Codes of CLOSE, RESET, STOP and FLOW_END (docs/wire.md, section 8), and the KT_E... codes that they stand for. */
#ifndef KT_LINK_NATIVE_CODE_H
#define KT_LINK_NATIVE_CODE_H

#include <stdint.h>

#define KT_NATIVE_CODES(X)                                                                                   \
    X(NONE, 0, 0)                                                                                            \
    X(PROTOCOL, 1, KT_EPROTO)                                                                                \
    X(REFUSED, 2, KT_EREFUSED)                                                                               \
    X(TIMEOUT, 3, KT_ETIMEOUT)                                                                               \
    X(UNREACHABLE, 4, KT_EUNREACH)                                                                           \
    X(RESET, 5, KT_ERESET)                                                                                   \
    X(CLOSED, 6, KT_ECLOSED)                                                                                 \
    X(LIMIT, 7, KT_ELIMIT)                                                                                   \
    X(IDLE, 8, KT_EIDLE)                                                                                     \
    X(REPLACED, 9, KT_ECLOSED)                                                                               \
    X(VERSION, 10, KT_ENOTSUP)                                                                               \
    X(CLOCK, 11, KT_EAUTH)                                                                                   \
    X(BUSY, 12, KT_EAGAIN)                                                                                   \
    X(RESTARTED, 13, KT_ERESTART)                                                                            \
    X(INTERNAL, 14, KT_EIO)                                                                                  \
    X(MISMATCH, 15, KT_EMISMATCH)                                                                            \
    X(NAME, 16, KT_ENAME)                                                                                    \
    X(DENIED, 17, KT_EACCES)                                                                                 \
    X(CANCELED, 18, KT_ECANCELED)                                                                            \
    X(DEAD, 19, KT_EDEAD)                                                                                    \
    X(TOTAL, 20, KT_ETOTAL)

enum kt_native_code {
#define KT_NATIVE_CODE_ENUM(name, num, error) KT_NATIVE_CODE_##name = num,
    KT_NATIVE_CODES(KT_NATIVE_CODE_ENUM)
#undef KT_NATIVE_CODE_ENUM
};

/* The wire's code for a KT_E... code; INTERNAL for those that have none, NONE for 0. */
uint64_t kt_native_code_of(int error);
/* The KT_E... code for a wire's code; KT_ECLOSED for an unknown one, 0 for NONE. */
int kt_native_code_error(uint64_t code);

#endif
