/* The phases of a runtime: how a script runs, stops, drains its conns, and ends. */
#ifndef KT_SCRIPT_CORE_LIFE_H
#define KT_SCRIPT_CORE_LIFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_list;
struct kt_runtime;

enum kt_phase { KT_DECLARE, KT_RUN, KT_DRAIN, KT_END };

/* Conns and streams that a script may hold before opening another is refused. Nothing else bounds them: a
 * stream uses no descriptor, and most of its memory is not Lua's. Accepted ones are not refused. */
#define KT_PIPES_MAX 262144u

enum kt_phase kt_runtime_phase(const struct kt_runtime *rt);
/* Whether another runtime has taken over. */
bool kt_runtime_replaced(const struct kt_runtime *rt);
/* Whether events of links and conns reach the script: it runs, or was replaced and still has conns. */
bool kt_runtime_attends(const struct kt_runtime *rt);
/* Stops accepting. The runtime ends when its conns and streams have ended, or after `us` microseconds, when
 * those left are reset. Calling it again can only shorten the time. */
void kt_runtime_drain(struct kt_runtime *rt, uint64_t us);
/* The drain time at process exit: as set by kt.core.drain_timeout, or 5 s. */
uint64_t kt_runtime_drain_us(const struct kt_runtime *rt);
/* The number of open conns and streams. */
size_t kt_runtime_pipes(const struct kt_runtime *rt);

/* Sets the drain time at process exit, and after a reload (KT_TIME_NEVER: no limit), in microseconds. */
void kt_runtime_set_drain(struct kt_runtime *rt, uint64_t us);
void kt_runtime_set_replaced_drain(struct kt_runtime *rt, uint64_t us);
/* Leaves the first SIGINT to the script: the process does not begin to end. */
void kt_runtime_take_interrupt(struct kt_runtime *rt);
bool kt_runtime_takes_interrupt(const struct kt_runtime *rt);

/* Counts conns and streams that the script or its splices hold: `change` more, or fewer. */
void kt_runtime_hold_pipes(struct kt_runtime *rt, int change);
/* The list of those that have a handle. The binding adds and removes their nodes. */
struct kt_list *kt_runtime_open_pipes(struct kt_runtime *rt);
/* Counts armed timers, which keep the script alive. */
void kt_runtime_hold_timers(struct kt_runtime *rt, int change);
/* Flows that a script may hold, so that a flood of new ones costs bounded memory. A flow that has ended counts until its
 * task has had its turn. */
#define KT_FLOWS_MAX 65536u

/* Counts flows likewise. A replaced script keeps them as well, but the end of the process does not wait for them. */
void kt_runtime_hold_flows(struct kt_runtime *rt, int change);
/* Whether it holds KT_FLOWS_MAX flows. */
bool kt_runtime_flows_full(const struct kt_runtime *rt);
/* Conns, streams and flows that it holds; whether it holds KT_PIPES_MAX conns and streams. */
size_t kt_runtime_holds(const struct kt_runtime *rt);
bool kt_runtime_pipes_full(const struct kt_runtime *rt);

/* Whether it has ended, possibly already in its main chunk (kt.core.exit); *code is the exit code. */
bool kt_runtime_exited(const struct kt_runtime *rt, int *code);

/* Ends the runtime: no further task runs, and `ended` is called. Only the first code counts. */
void kt_runtime_stop(struct kt_runtime *rt, int code);
/* Ends the runtime if it has nothing left to do; called when a task or service has ended. */
void kt_runtime_settle(struct kt_runtime *rt);

/* Whether it has tasks or timers, which may open services. */
bool kt_runtime_has_tasks(const struct kt_runtime *rt);
/* Whether the script has something to do: a service with a handler, or a task. */
bool kt_runtime_has_work(const struct kt_runtime *rt);
#define KT_NO_WORK "the script has nothing to do; call kt.listen, kt.accept or kt.spawn at its top level"

/* ---- for core/ ---- */

/* Returns 0 or KT_ENOMEM. ended: as in kt_runtime_opts. */
int kt_life_new(struct kt_runtime *rt, void (*ended)(void *ctx), void *ended_ctx);
void kt_life_free(struct kt_runtime *rt);

/* Begins a phase; KT_DECLARE is the first. */
void kt_life_enter(struct kt_runtime *rt, enum kt_phase phase);
/* Whether the exit code is known: no further task runs. */
bool kt_life_exiting(const struct kt_runtime *rt);
/* How long a replaced script keeps services open for the tasks of the new one. */
#define KT_OFFER_US 1000000u
/* Another runtime has taken over: drains this one. Services that the other one's tasks may take over continue for
 * offer_us microseconds, or until they are taken over. Returns the time for the drain, in microseconds. */
uint64_t kt_life_hand_over(struct kt_runtime *rt, uint64_t offer_us);

#endif
