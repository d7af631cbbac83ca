/* Settings that must be the same at both ends, as two kts announce them in their hello (smux.h). So a
 * mismatch becomes an error message instead of noise that is passed on to a target. */
#ifndef KT_LINK_KCPTUN_FEATURES_H
#define KT_LINK_KCPTUN_FEATURES_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "link/kcptun/kcptun.h"

/* The features to announce: half-close, abort, tuncrypt, and in the upper byte a fingerprint of QPP (0: off,
 * else 1 + pads mod 255). */
uint16_t kt_kcptun_features(const struct kt_kcptun_config *cfg);

/* True if the peer's features match `ours`; otherwise *why (KT_EMISMATCH) says what differs. hello: the peer
 * sent one, with the features `theirs`. Without a hello it is taken for a kcptun, which has no tuncrypt;
 * nothing else is known of it. who: the peer's name in the sentence ("the server"). */
bool kt_kcptun_features_agree(
    uint16_t ours, bool hello, uint16_t theirs, const char *who, struct kt_err *why);

#endif
