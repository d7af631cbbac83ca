/* For the files of crypto/ and the specs, which compare the pads with the wire specification's vectors. */
#ifndef KT_CRYPTO_KCPTUN_QPP_INTERNAL_H
#define KT_CRYPTO_KCPTUN_QPP_INTERNAL_H

#include "crypto/kcptun/qpp.h"

/* Pad i (below the number of pads): a permutation of 256 bytes, owned by q. */
const uint8_t *kt_qpp_pad(const struct kt_qpp *q, unsigned i);

#endif
