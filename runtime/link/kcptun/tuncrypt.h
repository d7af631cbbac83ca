/* End-to-end encryption of a stream (--tuncrypt): a pipe that wraps another and encrypts what passes through
 * (crypto/secretstream.h). */
#ifndef KT_LINK_KCPTUN_TUNCRYPT_H
#define KT_LINK_KCPTUN_TUNCRYPT_H

#include <stdbool.h>
#include "base/pipe.h"

struct kt_io;

/* Takes over `inner` and sets *out to the clear side. client: this end opened the stream. A direction that
 * ends without its final message, or does not authenticate, breaks the pipe with KT_EAUTH. 0, or KT_ENOMEM,
 * and inner is still the caller's. */
int kt_kcptun_tuncrypt(
    struct kt_io *io, struct kt_pipe *inner, const uint8_t pass[32], bool client, struct kt_pipe **out);

#endif
