/* bench-line: a line between two network namespaces, for kernels without netem. It treats packets by the simulator's
 * own model.
 *
 * Commands run on its two ends, a (10.77.0.1, fd77::1) and b (10.77.0.2, fd77::2); each end has only its own loopback
 * besides. "there" is the direction from a to b, "back" the other. */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "line.h"

#define COMMANDS_MAX 16u

static const char usage[] =
    "usage: bench-line [--there LINE] [--back LINE] [--a CMD]... [--b CMD]... [--seed N] [--stats FILE]\n"
    "                  [-- COMMAND...]\n"
    "\n"
    "Runs each CMD by sh on its end of a line, and COMMAND on end a. All ends when COMMAND does (without "
    "one:\n"
    "when every CMD has), with its exit status. Then tells what happened on the line, on stderr or in FILE.\n"
    "End a is 10.77.0.1 and fd77::1 ($LINE_A), end b 10.77.0.2 and fd77::2 ($LINE_B). Needs root.\n"
    "\n"
    "LINE (a to b; --back: b to a, the same if left out) is words of:\n"
    "  delay=40ms jitter=5ms          jitter: up to this much more or less, evenly spread, in order\n"
    "  loss=2%                        of each packet\n"
    "  burst_enter=0.5% burst_leave=20% burst_loss=100%   Gilbert-Elliott, a step a packet\n"
    "  rate=20Mbit queue=100ms        or queue=64KiB, or queue=100 (packets, the default is 1000)\n"
    "  police=64KiB                   rate polices: no queue, a token bucket of this size\n"
    "  duplicate=1% reorder=1% reorder_by=10ms corrupt=1%\n"
    "  mtu=1400                       larger packets are lost\n"
    "  cut=10s..13s                   an outage; once more for another\n";

struct args {
    const char *there, *back, *stats;
    struct line_command commands[COMMANDS_MAX];
    size_t n;
    uint64_t seed;
};

static bool add(struct args *a, struct line_command c)
{
    if (a->n == COMMANDS_MAX) return false;
    a->commands[a->n++] = c;
    return true;
}

static bool read_args(struct args *a, int argc, char **argv)
{
    static const struct option options[] = {{"there", 1, NULL, 't'}, {"back", 1, NULL, 'r'},
        {"a", 1, NULL, 'a'}, {"b", 1, NULL, 'b'}, {"seed", 1, NULL, 's'}, {"stats", 1, NULL, 'o'}, {0}};
    int c;
    bool ok = true;
    *a = (struct args){.there = "", .seed = 1};
    while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (c == 't') a->there = optarg;
        if (c == 'r') a->back = optarg;
        if (c == 'o') a->stats = optarg;
        if (c == 's') a->seed = strtoull(optarg, NULL, 10);
        if (c == 'a' || c == 'b') ok = ok && add(a, (struct line_command){.end = c - 'a', .shell = optarg});
        if (c == '?') return false;
    }
    if (optind < argc) ok = ok && add(a, (struct line_command){.end = LINE_A, .argv = argv + optind});
    return ok && a->n > 0;
}

/* A few µs matter here, so use the smallest timer slack and real-time priority. The commands do not inherit
 * these, and the kernel reserves some time for other processes. */
static int prepare(struct kt_err *err)
{
    const struct sched_param least = {.sched_priority = 1};
    sigset_t set;
    prctl(PR_SET_TIMERSLACK, 1);
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &least) != 0) setpriority(PRIO_PROCESS, 0, -10);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : kt_err_set(err, KT_EIO, "signalfd: %s", strerror(errno));
}

static bool report(const struct line_forward *f, const char *path)
{
    FILE *to = path ? fopen(path, "we") : stderr;
    if (!to) {
        fprintf(stderr, "bench-line: %s: %s\n", path, strerror(errno));
        return false;
    }
    line_forward_report(f, to);
    return !path || fclose(to) == 0;
}

/* The exit status, or a KT_E…. */
static int work(
    const struct args *a, struct line_end ends[2], const struct line_opts opts[2], struct kt_err *err)
{
    struct line_forward *f = NULL;
    struct line_commands commands;
    struct signalfd_siginfo signal = {0};
    unsigned mtu = KT_SIM_MTU_DEFAULT;
    for (int i = 0; i < 2; i++)
        if (opts[i].model.mtu > mtu) mtu = opts[i].model.mtu;
    int code = line_net_open(ends, mtu, err), signals = code ? code : prepare(err), status = 1;
    if (signals < 0) return signals;
    code = line_forward_new(&f, ends, opts, mtu, a->seed, err);
    if (!code) code = line_commands_start(&commands, ends, a->commands, a->n, err);
    if (!code) {
        code = line_forward_run(f, commands.status_fd, signals, err);
        status = line_commands_end(&commands);
        if (read(signals, &signal, sizeof signal) > 0) status = 128 + (int)signal.ssi_signo;
        if (!report(f, a->stats)) status = 1;
    }
    line_forward_free(f);
    close(signals);
    return code ? code : status;
}

int main(int argc, char **argv)
{
    struct args a;
    struct line_opts opts[2];
    struct line_end ends[2] = {{.netns = -1, .tun = -1}, {.netns = -1, .tun = -1}};
    struct kt_err err = {0};
    if (!read_args(&a, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    int code = line_parse(a.there, &opts[LINE_B], &err);
    if (!code) code = line_parse(a.back ? a.back : a.there, &opts[LINE_A], &err);
    if (!code) code = work(&a, ends, opts, &err);
    line_net_close(ends);
    if (code >= 0) return code;
    fprintf(stderr, "bench-line: %s\n", err.text);
    return code == KT_EINVAL ? 2 : 1;
}
