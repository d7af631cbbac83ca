/* Memory of a process's links and acceptors that outlives a reload. It belongs to the owner of the runtimes. */
#ifndef KT_LINK_COMMON_KNOWN_H
#define KT_LINK_COMMON_KNOWN_H

#include "crypto/phrases.h"
#include "link/common/spoken.h"
#include "link/common/starts.h"

struct kt_known {
    struct kt_starts starts;    /* sessions that began lately, so that a recorded start begins nothing */
    struct kt_spoken spoken;    /* peers that have spoken the preferred wire */
    struct kt_phrases *phrases; /* keys derived from passphrases: own_phrases, or shared */
    struct kt_phrases own_phrases;
};

/* phrases: NULL, or keys to share with others, which outlive it. */
static inline void kt_known_init(struct kt_known *m, uint64_t seed, struct kt_phrases *phrases)
{
    kt_starts_init(&m->starts, seed);
    kt_spoken_init(&m->spoken, seed);
    kt_phrases_init(&m->own_phrases);
    m->phrases = phrases ? phrases : &m->own_phrases;
}

static inline void kt_known_end(struct kt_known *m)
{
    kt_starts_free(&m->starts);
    kt_phrases_end(&m->own_phrases);
}

#endif
