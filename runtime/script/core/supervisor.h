/* The supervisor: what of a kt outlives its script. It watches the signals, and on SIGHUP brings the script
 * anew: a second runtime is made of the same file and arguments, takes over the sockets of the first, and the
 * first goes on with its conns until they end. A script that cannot be loaded or opened changes nothing.
 *
 *   SIGHUP            reload; many at once are one, and one follows another after RELOAD_GAP at the earliest
 *   SIGUSR1           write the counters to the log (a module in the binary does that itself)
 *   SIGTERM, SIGINT   end once all conns have ended, or in 5 s; again: end now
 *
 * Life: new; start; run; free. */
#ifndef KT_SCRIPT_CORE_SUPERVISOR_H
#define KT_SCRIPT_CORE_SUPERVISOR_H

#include "script/core/runtime.h"

struct kt_supervisor;

/* Replaced scripts that may still have conns. With so many of them a reload is refused: each holds a state of
 * its own, and ending one to make room would break what it was kept for. */
#define KT_REPLACED_MAX 16u

struct kt_supervisor_opts {
    /* For each runtime; counters, ended and ended_ctx are the supervisor's own. */
    struct kt_runtime_opts runtime;
    const char *file;   /* a script, or */
    const char *module; /* ... a module in the binary */
    int argc;           /* its arguments; they and the strings outlive the supervisor */
    char **argv;
    /* A reload is through: 0 and a line that says what came of it, or a code and why all is as before. May be
     * NULL. */
    void (*reloaded)(void *ctx, int code, const char *text);
    /* Asked on SIGHUP: true if it came because the terminal is gone; then it is a SIGTERM. May be NULL. */
    bool (*hung_up)(void *ctx);
    void *ctx;
};

/* 0, KT_ENOMEM. */
int kt_supervisor_new(struct kt_supervisor **out, const struct kt_supervisor_opts *opts, struct kt_err *err);
/* Loads the script and opens what it declares. 0, or a code and kt_supervisor_message. */
int kt_supervisor_start(struct kt_supervisor *sv);
/* Why it did not start, as kt_runtime_message. */
const char *kt_supervisor_message(const struct kt_supervisor *sv);
/* True when the script has ended, maybe in its main chunk; *code is the process' exit code. */
bool kt_supervisor_exited(const struct kt_supervisor *sv, int *code);
/* Runs the loop until the end. Returns the process' exit code. */
int kt_supervisor_run(struct kt_supervisor *sv);
/* The script that runs: the newest that was opened; for looking at. Good until the next reload. */
struct kt_runtime *kt_supervisor_runtime(const struct kt_supervisor *sv);
/* Those that it replaced and that still have conns, by number from 0; NULL past the end. Good until the next
 * turn. */
const struct kt_runtime *kt_supervisor_replaced(const struct kt_supervisor *sv, size_t i);
/* What SIGHUP does, at once. 0 or a code; the log and opts->reloaded say more. From the loop, not from a
 * task.
 */
int kt_supervisor_reload(struct kt_supervisor *sv);
/* As kt_runtime_free, for all of them. NULL is harmless. */
void kt_supervisor_free(struct kt_supervisor *sv);

#endif
