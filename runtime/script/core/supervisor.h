/* The supervisor: the part of a kt process that outlives its script. It handles signals and reloads. A reload
 * creates a second runtime from the same file and arguments, which takes over the sockets of the first; the
 * first keeps its conns until they end. If the new script cannot be loaded or opened, nothing changes.
 *
 *   SIGHUP            reload; signals that arrive together count as one, and reloads are RELOAD_GAP apart
 *   SIGUSR1           write the counters to the log (modules in the binary do that themselves)
 *   SIGUSR2           write a line to the log file, which is opened for each write: after a rename, make a new one
 *   SIGTERM, SIGINT   exit once all conns have ended, or after 5 s; a second one: exit now
 *
 * Life: new; start; run; free. */
#ifndef KT_SCRIPT_CORE_SUPERVISOR_H
#define KT_SCRIPT_CORE_SUPERVISOR_H

#include "base/log.h"
#include "script/core/runtime.h"

struct kt_logger;
struct kt_phrases;
struct kt_supervisor;

/* Replaced scripts that may still have conns. At this number reloads are refused: each script holds a Lua
 * state of its own, and ending one to make room would break the conns it was kept for. */
#define KT_REPLACED_MAX 16u

struct kt_supervisor_opts {
    /* For each runtime; the supervisor sets counters, events, pipe_numbers, link_memory, before, and the functions
     * source, replaced and ended with their ctx itself. */
    struct kt_runtime_opts runtime;
    const char *file;   /* a script, or NULL */
    const char *module; /* if file is NULL: a module in the binary */
    int argc;           /* the script's arguments; they and the strings above outlive the supervisor */
    char **argv;
    bool watch;                 /* reload when a source file of the script changes */
    struct kt_phrases *phrases; /* derived keys, shared with other processes; NULL: its own */
    /* Called at the start, once the script is loaded and before it opens anything; a code ends the start. May be
     * NULL. */
    int (*loaded)(void *ctx, struct kt_supervisor *sv, struct kt_err *err);
    /* Called before a reload, and when the process begins to end (SIGTERM, SIGINT). May be NULL. */
    void (*reloading)(void *ctx);
    void (*ending)(void *ctx);
    /* Called after a reload, with 0 and a summary, or with a code and the reason it failed. May be NULL. */
    void (*reloaded)(void *ctx, int code, const char *text);
    /* Called on SIGHUP; returns true if the terminal has gone, in which case kt exits as on SIGTERM. May be
     * NULL. */
    bool (*hung_up)(void *ctx);
    void *ctx;
};

/* Returns 0 or KT_ENOMEM. */
int kt_supervisor_new(struct kt_supervisor **out, const struct kt_supervisor_opts *opts, struct kt_err *err);
/* Loads the script and opens its services. Returns 0, or a code and sets kt_supervisor_message. */
int kt_supervisor_start(struct kt_supervisor *sv);
/* Why it did not start, as kt_runtime_message. */
const char *kt_supervisor_message(const struct kt_supervisor *sv);
/* Whether the script has ended, possibly already in its main chunk; *code is the process's exit code. */
bool kt_supervisor_exited(const struct kt_supervisor *sv, int *code);
/* Runs the loop until the script has ended. Returns the process's exit code. */
int kt_supervisor_run(struct kt_supervisor *sv);
/* The running script's runtime, for inspection. Valid until the next reload. */
struct kt_runtime *kt_supervisor_runtime(const struct kt_supervisor *sv);
/* The i-th replaced runtime that still has conns, from 0; NULL past the end. Valid until the next turn. */
struct kt_runtime *kt_supervisor_replaced(const struct kt_supervisor *sv, size_t i);
/* Reloads now, as SIGHUP does. Returns 0 or a code; the log and opts->reloaded say more. Call it from the
 * loop, not from a task. */
int kt_supervisor_reload(struct kt_supervisor *sv);
/* The same as on SIGHUP, soon. */
void kt_supervisor_ask_reload(struct kt_supervisor *sv);
/* Ends as on SIGTERM; a second call changes nothing. by: what asked for it, for the log. */
void kt_supervisor_end(struct kt_supervisor *sv, const char *by);
/* Whether it ends. */
bool kt_supervisor_ending(const struct kt_supervisor *sv);
/* Conns and streams of all its scripts. */
size_t kt_supervisor_pipes(const struct kt_supervisor *sv);
/* Sets the log level, also for the scripts that later reloads start. */
void kt_supervisor_set_log_level(struct kt_supervisor *sv, enum kt_log_level level);
struct kt_logger *kt_supervisor_logger(const struct kt_supervisor *sv);
/* The events of its scripts, and reloads. */
struct kt_events *kt_supervisor_events(struct kt_supervisor *sv);
/* Frees the supervisor and its runtimes, as kt_runtime_free does. NULL is allowed. */
void kt_supervisor_free(struct kt_supervisor *sv);

#endif
