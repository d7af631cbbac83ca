/* Initialises the crypto libraries, libsodium and libgcrypt, for the whole process. */
#ifndef KT_CRYPTO_CRYPTO_H
#define KT_CRYPTO_CRYPTO_H

#include "base/err.h"

/* Call once at process start, before anything else in crypto/. Calling it again is harmless. 0 or KT_ENOTSUP. */
int kt_crypto_init(struct kt_err *err);

/* For the files of crypto/ only: the KT_E... code for a libgcrypt error; 0 for 0. */
int kt_err_from_gcrypt(unsigned gcrypt_error);

#endif
