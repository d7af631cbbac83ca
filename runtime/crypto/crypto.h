/* Starting the libraries that crypto/ is built on. */
#ifndef KT_CRYPTO_CRYPTO_H
#define KT_CRYPTO_CRYPTO_H

#include "base/err.h"

/* Must be called once, before the first use of anything in crypto/, from the process' start (initialises
 * libgcrypt and libsodium). Calling it again is harmless. */
int kt_crypto_init(struct kt_err *err);

#endif
