/* The pads. For qpp.c, and for the specs, which compare them with the wire specification's vectors. */
#ifndef KT_CRYPTO_KCPTUN_QPP_INTERNAL_H
#define KT_CRYPTO_KCPTUN_QPP_INTERNAL_H

#include "crypto/kcptun/qpp.h"

struct kt_qpp {
    unsigned pads;
    struct kt_qpp_state start; /* the initial state of every direction of every stream */
    uint8_t (*forward)[256];   /* the pads, then their inverses, in one allocation */
    uint8_t (*inverse)[256];
};

#endif
