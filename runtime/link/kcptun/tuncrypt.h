/* The end-to-end layer (--tuncrypt) as a pipe around a pipe: what is written comes out of the inner pipe
 * sealed (crypto/secret.h). */
#ifndef KT_LINK_KCPTUN_TUNCRYPT_H
#define KT_LINK_KCPTUN_TUNCRYPT_H

#include <stdbool.h>
#include "base/pipe.h"

struct kt_io;

/* Takes `inner` over and gives the clear side. client: this end opened the stream. A direction that ends
 * without its final message, or does not authenticate, breaks the pipe (KT_EAUTH). 0 or KT_ENOMEM (then inner
 * is still the caller's). */
int kt_tuncrypt(
    struct kt_io *io, struct kt_pipe *inner, const uint8_t pass[32], bool client, struct kt_pipe **out);

#endif
