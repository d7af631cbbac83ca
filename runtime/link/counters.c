/* Access to the counters by index, generated from the table in counters.h. */
#include "link/counters.h"

static const struct {
    const char *name;
    size_t offset;
} table[] = {
#define KT_COUNTER_ROW(name) {#name, offsetof(struct kt_counters, name)},
    KT_COUNTERS(KT_COUNTER_ROW)
#undef KT_COUNTER_ROW
};

const char *kt_counter_name(size_t i)
{
    return i < sizeof table / sizeof table[0] ? table[i].name : NULL;
}

uint64_t kt_counter_value(const struct kt_counters *c, size_t i)
{
    return *(const uint64_t *)(const void *)((const char *)c + table[i].offset);
}
