/* Decides which streams of a path get copies of what they send (docs/wire.md, 6.3), and when. copies.h decides
 * how many; this file remembers what to copy. A stream is sparse while what it has in flight fits into one
 * small packet. A sent packet is remembered as contents, so a copy is built from what the peer still lacks, and
 * costs nothing if that is nothing.
 *
 * Only a few streams at a time are remembered: if more are sparse at once, the one whose copies began first
 * goes without. */
#ifndef KT_LINK_NATIVE_SPARSE_H
#define KT_LINK_NATIVE_SPARSE_H

#include "link/native/content.h"
#include "link/native/copies.h"
#include "link/native/streams.h"

#define KT_NATIVE_SPARSE_STREAMS 16u
#define KT_NATIVE_SPARSE_CONTENTS 4u /* of a stream */

/* All zero: no stream is sparse. */
struct kt_native_sparse {
    struct kt_native_sparse_stream {
        uint64_t id; /* 0: not in use */
        struct kt_native_copies copies;
        uint8_t count;
        struct kt_native_content contents[KT_NATIVE_SPARSE_CONTENTS];
    } streams[KT_NATIVE_SPARSE_STREAMS];
    unsigned next; /* to be replaced if all are in use */
    struct kt_bucket allowance;
    uint64_t due_us; /* the first copy; 0: to be found */
};

struct kt_native_sparse_facts {
    uint32_t loss, min_rtt_us; /* as in struct kt_native_copies_facts */
    uint64_t rate;             /* what the path carries, bytes per second; 0: unknown */
};

/* A packet with these contents has left. Costs nothing on a clean path. */
void kt_native_sparse_sent(struct kt_native_sparse *p, struct kt_native_streams *streams,
    const struct kt_native_content *contents, size_t count, const struct kt_native_sparse_facts *facts,
    uint64_t now_us);
/* When the next copy is due; UINT64_MAX: none is. */
uint64_t kt_native_sparse_due(struct kt_native_sparse *p);
/* Writes the copies that are due into a packet, as kt_native_streams_write does. 0: none was needed. */
size_t kt_native_sparse_write(struct kt_native_sparse *p, struct kt_native_streams *streams, uint8_t *out,
    size_t room, struct kt_native_content *contents, size_t *count, uint64_t now_us);

#endif
