/* Finding out a peer's FEC parameters from the packets it sends (docs/wire-kcptun.md, section 5.6). */
#ifndef KT_KCP_FEC_TUNE_H
#define KT_KCP_FEC_TUNE_H

#include <stdbool.h>
#include <stdint.h>

#define KT_FEC_TUNE_SAMPLES 258u

/* The latest samples, in order of arrival. All zero: none. */
struct kt_fec_tune {
    struct kt_fec_sample {
        uint32_t seqid;
        bool data; /* or parity */
    } ring[KT_FEC_TUNE_SAMPLES];
    unsigned next, count;
};

void kt_fec_tune_sample(struct kt_fec_tune *t, uint32_t seqid, bool data);

/* Finds the parameters that the samples show and the newest one agrees with, or returns false. Takes a pass
 * over the samples, so it is for when parameters are in doubt, not for every packet. */
bool kt_fec_tune_find(const struct kt_fec_tune *t, unsigned *data, unsigned *parity);

/* Whether a packet of this type may have this seqid under these parameters. */
bool kt_fec_tune_fits(unsigned data, unsigned parity, uint32_t seqid, bool is_data);

#endif
