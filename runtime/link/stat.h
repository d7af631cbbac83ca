/* A row of a table of statistics. The tables are .def files: the counters of a process (counters.h), the statistics
 * of links (link.h), of streams (stream.h), of conns and sockets (script/api/), and each wire's own. SIGUSR1,
 * --snmplog, :stats() and the simulator walk them, and scripts/generate makes the reference and the type definitions
 * from them.
 *
 *   KT_COUNTER(name, unit, value, "Help.")   a total that never decreases
 *   KT_GAUGE(name, unit, value, "Help.")     how it is now
 *
 * unit is a KT_STAT_ name; value is a C expression (in counters.def there is none: the name is the member). A value
 * that is not known is HUGE_VAL: scripts get nil. The help of such a row says when it is "absent". */
#ifndef KT_LINK_STAT_H
#define KT_LINK_STAT_H

enum kt_stat_kind { KT_STAT_COUNTER, KT_STAT_GAUGE };

enum kt_stat_unit {
    KT_STAT_COUNT, /* a number of things, which the help names */
    KT_STAT_BYTES,
    KT_STAT_RATE, /* bytes per second */
    KT_STAT_SECONDS,
    KT_STAT_SHARE, /* 0 to 1 */
    KT_STAT_FLAG   /* 0 or 1; a boolean in Lua */
};

struct kt_stat {
    const char *name;
    enum kt_stat_kind kind;
    enum kt_stat_unit unit;
    const char *help; /* in sentences */
};

#define KT_STAT_ROW(name, kind, unit, help)                                                                  \
    {                                                                                                        \
#name, KT_STAT_##kind, KT_STAT_##unit, help                                                          \
    }

/* Called for each row of a table, which lives as long as the call; its strings outlive it. */
typedef void (*kt_stat_each)(void *ctx, const struct kt_stat *row, double value);

#endif
