/* A runtime: one script on one io. A process may hold several; they share nothing, except the io if they were
 * given the same one. The supervisor (supervisor.h) handles signals and reloads.
 *
 * Life cycle: new; load (the main chunk declares services and opens nothing); open (opens the declared
 * services, in order), or replace (the same, taking over from a running runtime); run (tasks); drain;
 * free. */
#ifndef KT_SCRIPT_CORE_RUNTIME_H
#define KT_SCRIPT_CORE_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "script/core/life.h"  /* kt_runtime_drain, kt_runtime_exited */
#include "script/core/setup.h" /* struct kt_runtime_opts */

struct kt_runtime;
struct kt_tap;

/* Returns 0 or KT_ENOMEM. Call kt_crypto_init first. Free with kt_runtime_free. */
int kt_runtime_new(struct kt_runtime **out, const struct kt_runtime_opts *opts, struct kt_err *err);

/* Runs a file, or a module that ships in the binary ("kt.cli.client"), as the main chunk, with argv as its
 * `...`. Returns 0, or a code; kt_runtime_message then says why. */
int kt_runtime_load_file(struct kt_runtime *rt, const char *path, int argc, char **argv);
int kt_runtime_load_module(struct kt_runtime *rt, const char *module, int argc, char **argv);

/* Opens the declared services. Returns 0, or a code and sets kt_runtime_message. */
int kt_runtime_open(struct kt_runtime *rt);

/* The services that kt_runtime_replace took over, and what the replaced runtime keeps. */
struct kt_replaced {
    size_t kept, opened, closed; /* addresses */
    size_t offered;              /* likewise, left open for the new script's tasks for KT_OFFER_US */
    size_t pipes;                /* conns and streams that the replaced runtime keeps */
    uint64_t drain_us;           /* how long it may keep them; UINT64_MAX: no limit */
};
/* Opens the declared services in place of those of n other runtimes: old[0] is the running one, the others were
 * replaced earlier and still drain. A service at the same address is handed over with its clients. If rt has tasks,
 * other old services stay open for KT_OFFER_US, in case these tasks make a service at the same address. The rest of the
 * running runtime is drained as its kt.reload said. All or nothing: after an error the others are unchanged and rt can
 * only be freed. All of them must share their counters. Returns 0, or a code and sets kt_runtime_message. */
int kt_runtime_replace(
    struct kt_runtime *rt, struct kt_runtime *const *old, size_t n, struct kt_replaced *out);

struct kt_runtime_usage {
    size_t memory, peak; /* bytes held by the Lua state, and the most it has held */
    size_t tasks, pipes; /* pipes: conns, streams and flows */
};
void kt_runtime_usage(const struct kt_runtime *rt, struct kt_runtime_usage *out);

/* The tap of the open link or acceptor with this name (link/tap.h), without a reference; NULL: there is none. */
struct kt_tap *kt_runtime_tap(const struct kt_runtime *rt, const char *name);

/* Why load or open failed: one or more lines, without a trailing newline. Valid until the runtime is
 * freed. */
const char *kt_runtime_message(const struct kt_runtime *rt);

/* Ends all tasks and closes everything in order; as with all closing in the io, the rest happens at the end
 * of the turn or in kt_io_free. NULL is allowed. Must not be called from one of the runtime's own
 * callbacks. */
void kt_runtime_free(struct kt_runtime *rt);

/* The registry's key for the list of arguments that the main chunk got. */
#define KT_RUNTIME_ARGS "kt.args"

#endif
