/* Counts of datagrams that kt's own wire dropped, by reason (docs/wire.md, sections 3 and 4). */
#ifndef KT_LINK_NATIVE_DROPS_H
#define KT_LINK_NATIVE_DROPS_H

#include <stdint.h>

#define KT_NATIVE_DROPS(X)                                                                                   \
    X(malformed)  /* the length, or a field of the header that is always 0 */                                \
    X(unknown)    /* no association or handshake here has this id */                                         \
    X(mac)        /* a handshake datagram whose mac1 does not fit */                                         \
    X(forged)     /* does not open with the key that it asks for */                                          \
    X(replayed)   /* a packet number, or the key of an initiation, that was taken before */                  \
    X(old)        /* a packet number below the replay window */                                              \
    X(parameters) /* opened, but its parameters break the rules */                                           \
    X(cookie)     /* an initiation under load, answered with a cookie */                                     \
    X(refused)    /* an initiation that was answered with an error */

struct kt_native_drops {
#define KT_NATIVE_DROP_FIELD(name) uint64_t name;
    KT_NATIVE_DROPS(KT_NATIVE_DROP_FIELD)
#undef KT_NATIVE_DROP_FIELD
};

#endif
