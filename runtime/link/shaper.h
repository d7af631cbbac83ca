/* A shaper: a pipe around a pipe that holds what passes to what its user allows: a rate each way and two
 * limits of time. Whatever moves the bytes (a splice, a script's read and write) moves them through it, and
 * so need not know of it. It is put around a pipe when the first limit is set: most pipes never have one.
 *
 * Rates are kept by back-pressure: peek shows and write takes no more than the bucket holds, and the events
 * come when it holds enough again. What arrived before the inner pipe broke is shown at once: nobody waits
 * for it.
 *
 * A limit of time that has passed resets the inner pipe and breaks this one, with KT_EIDLE or KT_ETOTAL.
 *
 * A shaper belongs to its user, as any pipe does, and ends with close, reset or cut. */
#ifndef KT_LINK_SHAPER_H
#define KT_LINK_SHAPER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/pipe.h"

struct kt_io;
struct kt_shaper;

/* Rates in bytes a second, of what comes out of the pipe and what goes into it; 0: no limit. idle: without a
 * byte either way; total: since it was born; 0: no limit. */
struct kt_shaper_limits {
    uint64_t rate_in, rate_out;
    uint64_t idle_us, total_us;
};

/* Takes `inner` over, with its figures; whoever listens to it listens to the shaper from now on. born_us:
 * when the inner pipe was made; code: why it broke, if its listener has heard of that. 0 or KT_ENOMEM (then
 * nothing has changed). */
int kt_shaper_new(
    struct kt_io *io, struct kt_pipe *inner, uint64_t born_us, int code, struct kt_shaper **out);
struct kt_pipe *kt_shaper_pipe(struct kt_shaper *s);

/* False once a limit of time has ended it: what is inside is gone. */
bool kt_shaper_alive(const struct kt_shaper *s);
void kt_shaper_limits(const struct kt_shaper *s, struct kt_shaper_limits *out);
/* In force from now on: a total that has passed ends the pipe in the next turn. */
void kt_shaper_set(struct kt_shaper *s, const struct kt_shaper_limits *limits);

#endif
