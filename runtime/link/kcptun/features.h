/* What two kts must have set alike and tell each other in their hello (smux.h), so that a mismatch is said in
 * words instead of being passed on to a target as noise. */
#ifndef KT_LINK_KCPTUN_FEATURES_H
#define KT_LINK_KCPTUN_FEATURES_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "link/kcptun/kcptun.h"

/* The features to announce: half-close, abort, tuncrypt, and in the upper byte a fingerprint of QPP (0: off,
 * else 1
 * + pads mod 255). */
uint16_t kt_kcptun_features(const struct kt_kcptun_config *cfg);

/* True if the peer goes with `ours`. hello: it said one, with the features `theirs`; a peer that said none is
 * taken for a kcptun, of which only tuncrypt is known: it has none. Else *why (KT_EMISMATCH) says what
 * differs. who: what the sentence calls the peer ("the server"). */
bool kt_kcptun_features_agree(
    uint16_t ours, bool hello, uint16_t theirs, const char *who, struct kt_err *why);

#endif
