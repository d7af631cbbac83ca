/* The counters of a process: see counters.def. Plain integers, because a runtime is one thread. */
#ifndef KT_LINK_COUNTERS_H
#define KT_LINK_COUNTERS_H

#include <stddef.h>
#include <stdint.h>
#include "link/stat.h"

struct kt_counters {
#define KT_COUNTER(name, unit, help) uint64_t name;
#define KT_GAUGE(name, unit, help) uint64_t name;
#include "link/counters.def"
#undef KT_COUNTER
#undef KT_GAUGE
};

/* Row i and its value, in the order of the table. The row is NULL past the end. */
const struct kt_stat *kt_counter_row(size_t i);
uint64_t kt_counter_value(const struct kt_counters *c, size_t i);

#endif
