/* Replay window as a ring of bits. Invariant: of the words that a number up to `next` - 1 falls into, those of the
 * last KT_REPLAY_WORDS are current, and bits above the highest number are 0. */
#include "crypto/replay.h"

static uint64_t *word(struct kt_replay *r, uint64_t number)
{
    return &r->bits[number / 64 % KT_REPLAY_WORDS];
}

enum kt_replay_verdict kt_replay_check(const struct kt_replay *r, uint64_t number)
{
    if (number >= r->next) return KT_REPLAY_NEW;
    if (r->next - number > KT_REPLAY_WINDOW) return KT_REPLAY_OLD;
    return r->bits[number / 64 % KT_REPLAY_WORDS] >> number % 64 & 1 ? KT_REPLAY_SEEN : KT_REPLAY_NEW;
}

void kt_replay_add(struct kt_replay *r, uint64_t number)
{
    if (number >= r->next) {
        const uint64_t from = r->next ? (r->next - 1) / 64 : 0, to = number / 64;
        for (uint64_t i = 1; i <= to - from && i <= KT_REPLAY_WORDS; i++) *word(r, (from + i) * 64) = 0;
        r->next = number + 1;
    }
    *word(r, number) |= UINT64_C(1) << number % 64;
}
