/* Replay window: which packet numbers of a path have been received, of the last KT_REPLAY_WINDOW (docs/wire.md
 * section 3.3). Checking and adding cost O(1).
 *
 * A ring of bits, as in RFC 6479: the bit of number p is p modulo the ring. The ring has one word more than the
 * window, so a word can be wiped as the window moves without losing a bit that is in it. */
#ifndef KT_CRYPTO_REPLAY_H
#define KT_CRYPTO_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define KT_REPLAY_WINDOW 4096u
#define KT_REPLAY_WORDS (KT_REPLAY_WINDOW / 64u + 1u)

/* All zero: nothing was received. */
struct kt_replay {
    uint64_t next; /* one above the highest number received; 0: none was */
    uint64_t bits[KT_REPLAY_WORDS];
};

/* KT_REPLAY_NEW: this number may be taken. Ask before a packet is opened, and add its number after. */
enum kt_replay_verdict { KT_REPLAY_NEW, KT_REPLAY_SEEN, KT_REPLAY_OLD };

enum kt_replay_verdict kt_replay_check(const struct kt_replay *r, uint64_t number);
/* number is one that is KT_REPLAY_NEW, and less than UINT64_MAX. */
void kt_replay_add(struct kt_replay *r, uint64_t number);

#endif
