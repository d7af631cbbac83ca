/* When the garbage of a script is collected: between slices, and nowhere else. */
#ifndef KT_SCRIPT_CORE_GARBAGE_H
#define KT_SCRIPT_CORE_GARBAGE_H

#include <stdbool.h>

struct kt_runtime;

/* Returns 0 or KT_ENOMEM. repeatable: collect by count (runtime.h). */
int kt_garbage_new(struct kt_runtime *rt, bool repeatable);
void kt_garbage_free(struct kt_runtime *rt);
/* Call after each slice: collects if it is time to. */
void kt_garbage_slice(struct kt_runtime *rt);

#endif
