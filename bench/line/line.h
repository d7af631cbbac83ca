/* Shared by the files of the line emulator: two network namespaces, a TUN device in each, and between them lines that
 * treat packets by the simulator's own model (io/sim/line_model.h).
 *
 * Invariant: nothing outlives the program, however it ends. Devices and namespaces have no name outside it and go with
 * its descriptors; commands live in a PID namespace whose first process dies with it. */
#ifndef BENCH_LINE_H
#define BENCH_LINE_H

#include <net/if.h>
#include <stdio.h>
#include "base/err.h"
#include "io/sim/line_model.h"

/* ---- parameters (args.c) ---- */

#define LINE_OUTAGES 16u

struct line_outage {
    uint64_t from, to; /* µs after the commands start; in order, without overlap */
};

struct line_opts {
    struct kt_sim_line_opts model;
    struct line_outage outages[LINE_OUTAGES];
    size_t n_outages;
};

/* Reads "delay=40ms loss=2% rate=20Mbit queue=100ms"; "" is a perfect line. 0 or KT_EINVAL. */
int line_parse(const char *text, struct line_opts *out, struct kt_err *err);

/* ---- namespaces and devices (net.c) ---- */

#define LINE_A 0
#define LINE_B 1

struct line_end {
    int netns, tun; /* descriptors, -1: none */
    char device[IFNAMSIZ];
    struct in_addr v4;  /* 10.77.0.1, 10.77.0.2 */
    struct in6_addr v6; /* fd77::1, fd77::2 */
};

/* Makes both namespaces and devices; the caller stays in its own namespace. 0 or a KT_E…. Call line_net_close
 * in either case. */
int line_net_open(struct line_end ends[2], unsigned mtu, struct kt_err *err);
void line_net_close(struct line_end ends[2]);
/* Packets that the device could not queue for us: unintended losses. */
uint64_t line_net_dropped(const struct line_end *end);

/* ---- commands (commands.c) ---- */

struct line_command {
    int end;
    const char *shell; /* for sh -c; or NULL: … */
    char **argv;       /* … this, in the foreground; when it ends, everything ends */
};

struct line_commands {
    int pid, status_fd; /* the first process; readable when everything has ended */
};

/* Starts the commands in a new PID namespace. 0 or a KT_E…. */
int line_commands_start(struct line_commands *c, const struct line_end ends[2],
    const struct line_command *list, size_t n, struct kt_err *err);
/* Ends what still runs, with SIGKILL if needed; returns the exit status for the caller. */
int line_commands_end(struct line_commands *c);

/* ---- packets (forward.c) ---- */

struct line_forward;

int line_forward_new(struct line_forward **out, struct line_end ends[2], const struct line_opts opts[2],
    unsigned mtu, uint64_t seed, struct kt_err *err);
/* Moves packets until `status_fd` or `signal_fd` is readable. 0 or a KT_E…. */
int line_forward_run(struct line_forward *f, int status_fd, int signal_fd, struct kt_err *err);
void line_forward_report(const struct line_forward *f, FILE *to);
void line_forward_free(struct line_forward *f);

#endif
