/* The parts of a runtime. Each belongs to one file, which has the struct's definition; the others call that
 * file's functions. Only files of core/ include this header. */
#ifndef KT_SCRIPT_CORE_PARTS_H
#define KT_SCRIPT_CORE_PARTS_H

#include <lua.h>

struct kt_runtime {
    /* Set by runtime.c and state.c, read by all of core/. The last three are NULL once the state is closed. */
    struct kt_io *io;
    const struct kt_log *log; /* the logger's */
    struct kt_sandbox *sandbox;
    struct kt_guard *guard; /* the sandbox's */
    lua_State *L;           /* the main thread */

    struct kt_begun *begun;       /* runtime.c: how it began */
    struct kt_setup *setup;       /* setup.c: what it was made with */
    struct kt_life *life;         /* life.c */
    struct kt_state *state;       /* state.c: modules and warnings */
    struct kt_garbage *garbage;   /* garbage.c */
    struct kt_opts *opts;         /* options.c: readers of units */
    struct kt_tasks *tasks;       /* task.c */
    struct kt_failures *failures; /* failure.c */
    struct kt_services *services; /* service.c */
};

#endif
