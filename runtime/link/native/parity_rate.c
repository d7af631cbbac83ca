/* Counts losses, and computes how many of a group's packets may be lost. */
#include "link/native/parity_rate.h"

#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "link/native/frame.h"

#define WINDOW 2048u /* packets: then each counts half */
#define EVERY 64u    /* packets between two looks */
#define EVIDENCE 3u  /* losses that it takes to begin */
#define ON 4.0e-3
#define OFF 1.5e-3
#define LOSS_MOST 0.5
#define WORTH 3 /* parity that is not enough must leave less than one part in this many of the failures */

/* Without packets that were only late, which counted as lost at first. */
static uint64_t truly_lost(const struct kt_native_recovery_stats *s)
{
    return s->lost > s->spurious ? s->lost - s->spurious : 0;
}

bool kt_native_parity_loss_note(struct kt_native_parity_loss *l, const struct kt_native_recovery_stats *stats)
{
    const uint64_t lost = truly_lost(stats), all = stats->acked + stats->lost;
    if (all - l->seen_all < EVERY) return false;
    if (lost >= l->seen_lost)
        l->lost += (uint32_t)(lost - l->seen_lost);
    else
        l->lost -= kt_min32(l->lost, (uint32_t)(l->seen_lost - lost));
    l->bursts = kt_min32(l->bursts + (uint32_t)(stats->bursts - l->seen_bursts), l->lost);
    l->all += (uint32_t)(all - l->seen_all);
    l->seen_lost = lost;
    l->seen_all = all;
    l->seen_bursts = stats->bursts;
    while (l->all >= WINDOW) {
        l->all /= 2;
        l->lost /= 2;
        l->bursts = (l->bursts + 1) / 2;
    }
    const double share = kt_native_parity_share(l);
    l->on = l->on ? share >= OFF : l->lost >= EVIDENCE && share >= ON;
    return true;
}

/* good[j], bad[j]: the chance that j packets were lost so far, and that the last one arrived, or did not. Chances of
 * more than `most` losses are left out, as they cannot become less. */
struct kt_native_parity_need kt_native_parity_need(unsigned packets, double loss, double burst, unsigned most)
{
    double good[KT_NATIVE_PARITY_SHARDS + 1] = {0}, bad[KT_NATIVE_PARITY_SHARDS + 1] = {0};
    assert(packets >= 1 && most >= 1 && most <= KT_NATIVE_PARITY_SHARDS);
    if (loss <= 0) return (struct kt_native_parity_need){0, true};
    if (loss > LOSS_MOST) return (struct kt_native_parity_need){0, false};
    const double chance = 1 / (1 - loss);
    const double leave = 1 / (burst > chance ? burst : chance), enter = loss * leave / (1 - loss);
    double unprotected = 1;
    good[0] = 1 - loss;
    bad[1] = loss;
    for (unsigned n = 1;; n++) {
        if (n >= packets) {
            double failing = 1;
            for (unsigned j = 0; j <= n - packets; j++) failing -= good[j] + bad[j];
            if (n == packets) unprotected = failing;
            if (failing <= KT_NATIVE_PARITY_FAILING / 1e6)
                return (struct kt_native_parity_need){n - packets, true};
            if (n - packets == most)
                return (struct kt_native_parity_need){failing * WORTH < unprotected ? most : 0, false};
        }
        for (unsigned j = (n < most ? n + 1 : most) + 1; j-- > 0;) {
            const double lost = j > 0 ? good[j - 1] * enter + bad[j - 1] * (1 - leave) : 0;
            good[j] = good[j] * (1 - enter) + bad[j] * leave;
            bad[j] = lost;
        }
    }
}
