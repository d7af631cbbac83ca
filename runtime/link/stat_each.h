/* Include this right before a table of statistics (stat.h), after a #define of KT_STAT_EACH(row, value): each row then
 * calls that with its struct kt_stat, which lives until the end of the statement, and its value as a double. No
 * include guard: counters.h gives these names another meaning. */
#undef KT_COUNTER
#undef KT_GAUGE
#define KT_COUNTER(name, unit, value, help)                                                                  \
    KT_STAT_EACH((&(const struct kt_stat)KT_STAT_ROW(name, COUNTER, unit, help)), (double)(value));
#define KT_GAUGE(name, unit, value, help)                                                                    \
    KT_STAT_EACH((&(const struct kt_stat)KT_STAT_ROW(name, GAUGE, unit, help)), (double)(value));
