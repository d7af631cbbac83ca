/* Internal to crypto/, and for the specs that check the pads against the spec's vectors. */
#ifndef KT_CRYPTO_KCPTUN_QPP_INTERNAL_H
#define KT_CRYPTO_KCPTUN_QPP_INTERNAL_H

#include "crypto/kcptun/qpp.h"

/* Pad i (below the number of pads): 256 bytes, a permutation. The pads own it. */
const uint8_t *kt_qpp_pad(const struct kt_qpp *q, unsigned i);

#endif
