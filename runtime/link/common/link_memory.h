/* Memory of a process's links and acceptors that outlives a reload. It belongs to the owner of the runtimes. */
#ifndef KT_LINK_COMMON_LINK_MEMORY_H
#define KT_LINK_COMMON_LINK_MEMORY_H

#include "crypto/phrases.h"
#include "link/common/preferred_peers.h"
#include "link/common/session_starts.h"

struct kt_link_memory {
    struct kt_session_starts starts; /* sessions that began lately, so that a recorded start begins nothing */
    struct kt_preferred_peers preferred_peers; /* peers that have spoken the preferred wire */
    struct kt_phrases *phrases;                /* keys derived from passphrases: own_phrases, or shared */
    struct kt_phrases own_phrases;
};

/* phrases: NULL, or keys to share with others, which outlive it. */
static inline void kt_link_memory_init(struct kt_link_memory *m, uint64_t seed, struct kt_phrases *phrases)
{
    kt_session_starts_init(&m->starts, seed);
    kt_preferred_peers_init(&m->preferred_peers, seed);
    kt_phrases_init(&m->own_phrases);
    m->phrases = phrases ? phrases : &m->own_phrases;
}

static inline void kt_link_memory_end(struct kt_link_memory *m)
{
    kt_session_starts_free(&m->starts);
    kt_phrases_end(&m->own_phrases);
}

#endif
