/* A shaper: a pipe that wraps another and enforces limits on it: a rate in each direction, an idle time and a
 * total time. Its users (a splice, reads and writes of a script) do not know about it. A pipe is wrapped when
 * its first limit is set; most never are.
 *
 * Rates work by back-pressure: peek shows and write accepts no more than the bucket holds, and events follow
 * when it has refilled. After the inner pipe broke, what had arrived is shown at once.
 *
 * When a time is up, the inner pipe is reset and the shaper breaks with KT_EIDLE or KT_ETOTAL.
 *
 * A shaper belongs to its user like any pipe, and ends with close, reset or cut. */
#ifndef KT_LINK_SHAPER_H
#define KT_LINK_SHAPER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/pipe.h"

struct kt_io;
struct kt_shaper;

/* Rates are in bytes per second: in for bytes read from the pipe, out for bytes written to it. idle: time
 * without a byte in either direction; total: time since born_us. 0: no limit. */
struct kt_shaper_limits {
    uint64_t rate_in, rate_out;
    uint64_t idle_us, total_us;
};

/* Takes over `inner`, its byte counts and its listener. born_us: when the inner pipe was created; code: why
 * it broke, if its listener has been told. 0, or KT_ENOMEM, and nothing has changed. */
int kt_shaper_new(
    struct kt_io *io, struct kt_pipe *inner, uint64_t born_us, int code, struct kt_shaper **out);
struct kt_pipe *kt_shaper_pipe(struct kt_shaper *s);

/* False once a time limit has ended it; the inner pipe is gone. */
bool kt_shaper_alive(const struct kt_shaper *s);
void kt_shaper_limits(const struct kt_shaper *s, struct kt_shaper_limits *out);
/* Takes effect now. A total that has already passed ends the pipe in the next turn. */
void kt_shaper_set(struct kt_shaper *s, const struct kt_shaper_limits *limits);

#endif
