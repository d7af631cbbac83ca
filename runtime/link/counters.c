/* Access to the counters by index, generated from the table in counters.def. */
#include "link/counters.h"

static const struct kt_stat rows[] = {
#define KT_COUNTER(name, unit, help) KT_STAT_ROW(name, COUNTER, unit, help),
#define KT_GAUGE(name, unit, help) KT_STAT_ROW(name, GAUGE, unit, help),
#include "link/counters.def"
#undef KT_COUNTER
#undef KT_GAUGE
};

static const size_t offsets[] = {
#define KT_COUNTER(name, unit, help) offsetof(struct kt_counters, name),
#define KT_GAUGE(name, unit, help) offsetof(struct kt_counters, name),
#include "link/counters.def"
#undef KT_COUNTER
#undef KT_GAUGE
};

const struct kt_stat *kt_counter_row(size_t i)
{
    return i < sizeof rows / sizeof rows[0] ? &rows[i] : NULL;
}

uint64_t kt_counter_value(const struct kt_counters *c, size_t i)
{
    return *(const uint64_t *)(const void *)((const char *)c + offsets[i]);
}
