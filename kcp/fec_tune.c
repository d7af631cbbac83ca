/* Finding out a peer's FEC parameters.
 *
 * Sorted by seqid, the samples of a peer that sends d data and p parity packets per group read D…DP…PD…D. A
 * run of one type is whole if its neighbours on both sides are of the other type and no seqid is missing:
 * then its length is d or p. One whole run of each is enough, and they need not be neighbours, so loss only
 * delays the result.
 *
 * The two runs may not belong together, if the peer changed its parameters in between. As a group starts at
 * a multiple of d + p, both runs and the newest sample must be where d and p put them. */
#include "kcp/fec_tune.h"

#include <string.h>
#include "kcp/fec.h"
#include "kcp/fec_wire.h"

void kt_fec_tune_sample(struct kt_fec_tune *t, uint32_t seqid, bool data)
{
    t->ring[t->next] = (struct kt_fec_sample){seqid, data};
    t->next = t->next + 1 < KT_FEC_TUNE_SAMPLES ? t->next + 1 : 0;
    if (t->count < KT_FEC_TUNE_SAMPLES) t->count++;
}

bool kt_fec_tune_fits(unsigned data, unsigned parity, uint32_t seqid, bool is_data)
{
    unsigned shards = data + parity;
    return seqid / shards < fec_groups(shards) && (seqid % shards < data) == is_data;
}

/* Copies the latest sample of each seqid into out, in order of seqid, and returns how many. Insertion sort:
 * packets come nearly in order, so this is nearly one pass. */
static unsigned sorted(const struct kt_fec_tune *t, struct kt_fec_sample *out)
{
    unsigned n = 0;
    unsigned from = t->count < KT_FEC_TUNE_SAMPLES ? 0 : t->next;
    for (unsigned i = 0; i < t->count; i++) {
        struct kt_fec_sample s = t->ring[(from + i) % KT_FEC_TUNE_SAMPLES];
        unsigned at = n;
        while (at > 0 && out[at - 1].seqid > s.seqid) at--;
        if (at > 0 && out[at - 1].seqid == s.seqid) {
            out[at - 1] = s;
            continue;
        }
        memmove(out + at + 1, out + at, (n - at) * sizeof *out);
        out[at] = s;
        n++;
    }
    return n;
}

bool kt_fec_tune_find(const struct kt_fec_tune *t, unsigned *data, unsigned *parity)
{
    if (!t->count) return false;
    struct kt_fec_sample s[KT_FEC_TUNE_SAMPLES];
    unsigned n = sorted(t, s);
    const struct kt_fec_sample *newest = &t->ring[(t->next + KT_FEC_TUNE_SAMPLES - 1) % KT_FEC_TUNE_SAMPLES];

    struct {
        uint32_t seqid;
        unsigned len;
    } run[2] = {{0, 0}, {0, 0}}; /* the last whole run of parity, of data; len 0: none yet */
    bool found = false;
    unsigned start = 0;           /* index of the first sample of the current run */
    bool whole = s[0].seqid == 0; /* it begins at a change of type, or at seqid 0, which begins a group */
    for (unsigned i = 1; i < n; i++) {
        bool next = s[i].seqid == s[i - 1].seqid + 1;
        if (next && s[i].data == s[i - 1].data) continue;
        if (next && whole) {
            run[s[start].data].seqid = s[start].seqid;
            run[s[start].data].len = i - start;
            unsigned d = run[true].len, p = run[false].len;
            if (d && p && d + p <= KT_FEC_MAX_SHARDS && run[true].seqid % (d + p) == 0 &&
                run[false].seqid % (d + p) == d && kt_fec_tune_fits(d, p, newest->seqid, newest->data)) {
                *data = d; /* later runs win, as they are more recent */
                *parity = p;
                found = true;
            }
        }
        start = i;
        whole = next;
    }
    return found;
}
