/* What one direction of a link does to packets: which are lost and why, when the others leave and arrive.
 * Only arithmetic on times, sizes and draws; it holds no packet, reads no clock and knows no world. The
 * simulator and the line emulator of bench/ both ask it, so that a parameter means the same to both.
 *
 * A packet goes through kt_sim_model_enter, then (if it was not lost) kt_sim_model_duplicates, an arrival for
 * itself and for each copy, and damage; when its time has come, kt_sim_model_was_cut says whether it was lost
 * on the way. Times are µs of the caller's clock, which must not go back. */
#ifndef KT_IO_SIM_LINE_MODEL_H
#define KT_IO_SIM_LINE_MODEL_H

#include "io/sim/sim.h"

#define KT_SIM_MTU_DEFAULT 1500u

struct kt_sim_model {
    struct kt_sim_line_opts opts; /* may change at any time; what has entered keeps its times */
    /* The model counts queue peaks, corrupted and reordered; the rest is counted by whoever moves packets. */
    struct kt_sim_line_stats stats;
    /* The rest is the model's own. */
    struct kt_rng loss, burst, jitter, duplicate, reorder, corrupt;
    bool bad; /* the state of the bursts */
    bool is_cut;
    uint64_t cuts; /* how often it was cut: what was on it then is lost */
    uint64_t last_arrival;
    uint64_t busy_until; /* ns: when the last packet will have left the queue */
    struct kt_sim_departure *queue;
    size_t queue_head, queue_n, queue_cap; /* a ring; cap is a power of two */
    uint64_t queue_bytes;
};

/* `opts` must have passed kt_sim_line_check. Its streams of chance are those of the seed and the name. */
void kt_sim_model_init(
    struct kt_sim_model *m, const struct kt_sim_line_opts *opts, uint64_t seed, const char *name);
void kt_sim_model_free(struct kt_sim_model *m);

/* A packet of so many bytes (of IP) comes to the line: why it is lost, or KT_SIM_NOT_LOST and when it will
 * have left the queue. Out of memory, it is lost to the queue. */
enum kt_sim_cause kt_sim_model_enter(struct kt_sim_model *m, uint64_t now, uint32_t bytes, uint64_t *leaves);
/* The same for what cannot be lost, whatever the queue holds. False: out of memory. */
bool kt_sim_model_enter_always(struct kt_sim_model *m, uint64_t now, uint32_t bytes, uint64_t *leaves);

/* Whether a copy of it goes along. */
bool kt_sim_model_duplicates(struct kt_sim_model *m);

/* When a packet (or copy) that leaves then arrives. `extra` is added, and lets others overtake it; so does
 * reordering, which befalls only what `may_reorder`. Always later than `leaves`. */
uint64_t kt_sim_model_arrival(struct kt_sim_model *m, uint64_t leaves, uint64_t extra, bool may_reorder);

/* Perhaps turns over some bits; whether it did. */
bool kt_sim_model_damage(struct kt_sim_model *m, uint8_t *data, size_t len);

/* The cable is cut, and mended. Harmless if it is already. */
void kt_sim_model_cut(struct kt_sim_model *m);
void kt_sim_model_mend(struct kt_sim_model *m);
/* For a packet that arrives: `cuts` is what m->cuts was when it entered. */
static inline bool kt_sim_model_was_cut(const struct kt_sim_model *m, uint64_t cuts)
{
    return m->is_cut || cuts != m->cuts;
}

#endif
