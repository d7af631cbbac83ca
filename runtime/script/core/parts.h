/* The parts of a runtime. Only files of core/ include this header; others call functions. */
#ifndef KT_SCRIPT_CORE_PARTS_H
#define KT_SCRIPT_CORE_PARTS_H

#include "script/core/script.h"

struct kt_failures;
struct kt_life;
struct kt_services;
struct kt_tasks;

/* Units as scripts write them ("5s", "2MiB"). */
enum kt_unit { KT_UNIT_DURATION, KT_UNIT_RATE, KT_UNITS };
struct kt_units {
    int ref_reader; /* registry reference: function(value) → number, from kt.units */
    int ref_seen;   /* registry reference: cache, string → number */
    size_t seen;    /* entries in the cache */
};

struct kt_runtime {
    lua_State *L;
    struct kt_io *io;
    struct kt_logger *logger;
    const struct kt_log *log; /* the logger's */
    struct kt_counters *counters;
    struct kt_counters own_counters; /* used if opts.counters is NULL */
    struct kt_starts *starts;
    struct kt_starts own_starts; /* likewise */
    bool checking;               /* run by `kt check`, which also checks log calls below the log level */
    bool repeatable;             /* see struct kt_runtime_opts */
    /* garbage (state.c) */
    unsigned slices;      /* since the last collection, if repeatable */
    size_t collect_bytes; /* bytes of the state at which the next cycle begins */
    size_t step_bytes;    /* the same after the last step */
    bool collecting;      /* within a cycle */
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    void *print_ctx;

    struct kt_sandbox *sandbox; /* has the state, and bounds its memory and time */
    uint64_t main_us;           /* time limit of the main chunk */
    char warning[256];          /* pieces of a Lua warning, usually an error in a __gc */

    struct kt_tasks *tasks;
    struct kt_failures *failures;
    struct kt_turn release; /* frees the runtime */

    struct kt_services *services;

    struct kt_life *life;
    char *message;

    /* registry references */
    int ref_loaded;     /* modules by name (state.c) */
    int ref_host_env;   /* environment of embedded modules */
    int ref_script_dir; /* string: the folder of the script's own modules */
    int ref_explain;    /* function(what, value) → error message, from kt.api */
    struct kt_units units[KT_UNITS];
};

#endif
