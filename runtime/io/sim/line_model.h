/* The model of one direction of a link: which packets are lost and why, and when the others leave and arrive.
 * Pure arithmetic on times, sizes and random draws; it holds no packets and reads no clock. The simulator and
 * the line emulator of bench/ share it, so that a parameter means the same in both.
 *
 * A packet goes through kt_sim_model_enter; then, if it was not lost, through kt_sim_model_duplicates, an arrival
 * for itself and each copy, and damage. At its arrival, kt_sim_model_was_cut says whether it was lost on the way.
 * Times are µs of the caller's clock, which must not go back. */
#ifndef KT_IO_SIM_LINE_MODEL_H
#define KT_IO_SIM_LINE_MODEL_H

#include "io/sim/sim.h"

#define KT_SIM_MTU_DEFAULT 1500u

struct kt_sim_model {
    struct kt_sim_line_opts opts; /* may change at any time; packets inside keep their times */
    /* The model counts queue peaks, corrupted and reordered packets; its caller counts the rest. */
    struct kt_sim_line_stats stats;
    /* The rest is private to the model. */
    struct kt_sim_random loss, burst, jitter, duplicate, reorder, corrupt;
    bool bad; /* the burst state */
    bool is_cut;
    uint64_t cuts; /* number of cuts; each loses what is on the line */
    uint64_t last_arrival;
    uint64_t busy_until; /* ns: when the last packet will have left the queue */
    struct kt_sim_departure *queue;
    size_t queue_head, queue_n, queue_cap; /* a ring; cap is a power of two */
    uint64_t queue_bytes;
};

/* `opts` must have passed kt_sim_line_check. The random streams derive from the seed and the name. */
void kt_sim_model_init(
    struct kt_sim_model *m, const struct kt_sim_line_opts *opts, uint64_t seed, const char *name);
void kt_sim_model_free(struct kt_sim_model *m);

/* A packet of this many bytes (of IP) enters the line: why it is lost, or KT_SIM_NOT_LOST and the time when it
 * leaves the queue. Without memory, it counts as lost to the queue. */
enum kt_sim_cause kt_sim_model_enter(struct kt_sim_model *m, uint64_t now, uint32_t bytes, uint64_t *leaves);
/* The same for a packet that cannot be lost, however full the queue is. False: out of memory. */
bool kt_sim_model_enter_always(struct kt_sim_model *m, uint64_t now, uint32_t bytes, uint64_t *leaves);

/* Whether a copy is sent along. */
bool kt_sim_model_duplicates(struct kt_sim_model *m);

/* When a packet (or copy) that leaves at `leaves` arrives; always later. `extra` is added and lets others overtake
 * it, as does reordering, which applies only if `may_reorder`. */
uint64_t kt_sim_model_arrival(struct kt_sim_model *m, uint64_t leaves, uint64_t extra, bool may_reorder);

/* Flips a few bits by chance; returns whether it did. */
bool kt_sim_model_damage(struct kt_sim_model *m, uint8_t *data, size_t len);

/* Cuts the line, which loses what is on it. Harmless if it is already cut. */
void kt_sim_model_cut(struct kt_sim_model *m);
void kt_sim_model_mend(struct kt_sim_model *m);
/* Whether an arriving packet was lost to a cut; cuts: the value of m->cuts when it entered. */
static inline bool kt_sim_model_was_cut(const struct kt_sim_model *m, uint64_t cuts)
{
    return m->is_cut || cuts != m->cuts;
}

#endif
