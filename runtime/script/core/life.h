/* The phases of a runtime, for core/. Others ask in script.h and runtime.h, whose functions on phases, draining
 * and exiting are in life.c, too. */
#ifndef KT_SCRIPT_CORE_LIFE_H
#define KT_SCRIPT_CORE_LIFE_H

#include <stdbool.h>
#include <stdint.h>
#include "script/core/script.h"

/* Returns 0 or KT_ENOMEM. ended: as in kt_runtime_opts. */
int kt_life_new(struct kt_runtime *rt, void (*ended)(void *ctx), void *ended_ctx);
void kt_life_free(struct kt_runtime *rt);

/* Begins a phase; KT_DECLARE is the first. */
void kt_life_enter(struct kt_runtime *rt, enum kt_phase phase);
/* Whether the exit code is known: no further task runs. */
bool kt_life_exiting(const struct kt_runtime *rt);
/* Another runtime has taken over: drains this one. Returns the time it has for that, in microseconds. */
uint64_t kt_life_hand_over(struct kt_runtime *rt);

#endif
