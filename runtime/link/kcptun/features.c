/* Compares the features that the two ends announce (features.h). */
#include "link/kcptun/features.h"
#include "link/kcptun/smux.h"

#define QPP_SHIFT 8

uint16_t kt_kcptun_features(const struct kt_kcptun_config *cfg)
{
    unsigned qpp = cfg->qpp ? 1 + cfg->qpp_count % 255 : 0;
    return (uint16_t)(KT_SMUX_F_HALF_CLOSE | KT_SMUX_F_ABORT | (cfg->tuncrypt ? KT_SMUX_F_TUNCRYPT : 0) |
                      qpp << QPP_SHIFT);
}

static const char *onoff(bool value)
{
    return value ? "on" : "off";
}

bool kt_kcptun_features_agree(uint16_t ours, bool hello, uint16_t theirs, const char *who, struct kt_err *why)
{
    bool crypt = ours & KT_SMUX_F_TUNCRYPT, their_crypt = hello && (theirs & KT_SMUX_F_TUNCRYPT);
    unsigned qpp = ours >> QPP_SHIFT, their_qpp = theirs >> QPP_SHIFT;
    if (crypt != their_crypt) {
        kt_err_set(why, KT_EMISMATCH, "tuncrypt is %s here but %s at %s%s; set it the same on both ends",
            onoff(crypt), onoff(their_crypt), who, hello ? "" : ", which is not a kt");
        return false;
    }
    if (!hello || qpp == their_qpp) return true;
    if ((qpp == 0) != (their_qpp == 0))
        kt_err_set(why, KT_EMISMATCH, "QPP is %s here but %s at %s; set it the same on both ends", onoff(qpp),
            onoff(their_qpp), who);
    else
        kt_err_set(why, KT_EMISMATCH, "QPPCount differs at %s; set it the same on both ends", who);
    return false;
}
