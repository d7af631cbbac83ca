/* The setup of a runtime: its io, log, counters and output, as struct kt_runtime_opts gave them or by default.
 * Pointers that these functions return belong to the runtime or outlive it; the caller frees none of them. */
#ifndef KT_SCRIPT_CORE_SETUP_H
#define KT_SCRIPT_CORE_SETUP_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kt_counters;
struct kt_events;
struct kt_guard;
struct kt_io;
struct kt_log;
struct kt_logger;
struct kt_link_memory;
struct kt_runtime;

/* Files and environment variables that a script may reach. Lists end with NULL; a list that is NULL is empty. They
 * outlive the runtime. */
struct kt_allow {
    const char *const *read;  /* folders for kt.file, besides the script's own */
    const char *const *write; /* folders for kt.append */
    const char *const *env;   /* names for kt.env */
    bool env_all;
};

/* Process figures shown in a script's status. */
struct kt_process {
    long pid;         /* 0: a simulated host's */
    uint64_t born_us; /* when it started, by the io's clock */
    /* For kt run --http: kt.http.status is called after the main chunk, with this address, and the file of its token.
     * They outlive the runtime. NULL: not given. */
    const char *http, *http_token;
};

struct kt_runtime_opts {
    struct kt_io *io;         /* outlives the runtime */
    struct kt_logger *logger; /* outlives the runtime */
    /* Adds the script API to kt.core, the table on top of the stack: kt_api_bind (script/api/bindings.h). */
    void (*bind)(struct lua_State *L);
    bool unsafe;             /* the script gets os and io */
    unsigned long child_fds; /* soft descriptor limit for programs that the script starts; 0: inherited */
    const char *path;        /* a folder of modules that are not beside the script; NULL: none */
    struct kt_allow allow;
    size_t memory;    /* memory limit of the Lua state, in bytes; 0: no limit */
    uint64_t main_us; /* time limit of the main chunk; 0: a generous default, as only startup waits */
    /* For simulated hosts: the script's behaviour depends on the io alone. Tables are walked in key order,
     * garbage is collected by count, os reads the io's clock, and a slice is limited by instructions instead
     * of time. */
    bool repeatable;
    /* Reads the environment. NULL: the process's own. */
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    /* Allocates the state's memory, like realloc; size 0 frees. NULL: the runtime's own blocks. Tests use it
     * to inject failures. */
    void *(*alloc)(void *ctx, void *ptr, size_t old, size_t size);
    void *alloc_ctx;
    /* Receives the script's output, for fd 1 or 2. NULL: the process's own. */
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    void *print_ctx;
    /* Called when very many slices ran without the clock advancing, with a text that names a task. A
     * simulated clock does not advance while code runs, so tasks that wake each other would never end. NULL: no
     * check. */
    void (*livelock)(void *ctx, const char *text);
    void *livelock_ctx;
    /* Counters of its links; outlive the runtime and its successors. NULL: its own. */
    struct kt_counters *counters;
    /* Called for each source file that the script was to be loaded from; data NULL: it could not be read. NULL: no
     * call. */
    void (*source)(void *ctx, const char *path, const void *data, size_t len);
    void *source_ctx;
    /* The last number given to a conn or a stream; outlives the runtime and its successors. NULL: its own. */
    uint64_t *pipe_numbers;
    /* For events of links, pools and failed tasks; outlives the runtime. NULL: its own. */
    struct kt_events *events;
    struct kt_process process;
    /* The running script's, which this one is to replace: its source of kept tables (kt.keep). Used while the
     * main chunk runs. NULL: none. */
    const struct kt_runtime *before;
    /* The i-th of the runtimes that it has replaced and that are not freed yet; NULL: there are no more. Its tasks may
     * take over what these have open. NULL: it never replaces one. */
    struct kt_runtime *(*replaced)(void *ctx, size_t i);
    void *replaced_ctx;
    /* Memory of its links and acceptors (link/common/link_memory.h); likewise. */
    struct kt_link_memory *link_memory;
    /* Called when the script has ended: it exited, has nothing left to do, or has been drained. The callee
     * frees the runtime later, not in this call. NULL: the io's loop is stopped. */
    void (*ended)(void *ctx);
    void *ended_ctx;
};

/* The default for `print`: writes to the process's standard output or error and flushes. */
void kt_print_to_process(void *ctx, int fd, const char *text, size_t len);

/* Returns 0 or KT_ENOMEM. */
int kt_setup_new(struct kt_runtime *rt, const struct kt_runtime_opts *opts);
void kt_setup_free(struct kt_runtime *rt);

/* Never NULL. */
struct kt_io *kt_runtime_io(const struct kt_runtime *rt);
struct kt_logger *kt_runtime_logger(const struct kt_runtime *rt);
const struct kt_log *kt_runtime_log(const struct kt_runtime *rt);
/* As in kt_runtime_opts. */
void kt_runtime_source(const struct kt_runtime *rt, const char *path, const void *data, size_t len);
/* A number that no other conn or stream has, of this runtime or those that it shares pipe_numbers with. */
uint64_t kt_runtime_number_pipe(const struct kt_runtime *rt);
/* As in kt_runtime_opts. */
struct kt_events *kt_runtime_events(const struct kt_runtime *rt);
struct kt_counters *kt_runtime_counters(const struct kt_runtime *rt);
struct kt_link_memory *kt_runtime_link_memory(const struct kt_runtime *rt);
const struct kt_process *kt_runtime_process(const struct kt_runtime *rt);
/* As in kt_runtime_opts. */
bool kt_runtime_repeatable(const struct kt_runtime *rt);
/* As in kt_runtime_opts. */
const struct kt_runtime *kt_runtime_before(const struct kt_runtime *rt);
struct kt_runtime *kt_runtime_old(const struct kt_runtime *rt, size_t i);
const char *kt_runtime_path(const struct kt_runtime *rt);
const struct kt_allow *kt_runtime_allow(const struct kt_runtime *rt);
/* Writes output of the script; fd: 1 or 2. */
void kt_runtime_print(const struct kt_runtime *rt, int fd, const char *text, size_t len);
/* NULL: not set. Valid until the environment changes. */
const char *kt_runtime_getenv(const struct kt_runtime *rt, const char *name);
/* Adds the script API to kt.core, the table on top of the stack. */
void kt_setup_bind(const struct kt_runtime *rt, lua_State *L);
/* Its main thread; NULL when the state is closed. */
lua_State *kt_runtime_state(const struct kt_runtime *rt);
struct kt_guard *kt_runtime_guard(struct kt_runtime *rt);

/* The path of the control socket that the script asks for, for its process; "none": it wants none. NULL: not set. */
const char *kt_runtime_control(const struct kt_runtime *rt);
/* Returns false if the path is too long for a socket. */
bool kt_runtime_set_control(struct kt_runtime *rt, const char *path);

/* Whether `kt check` runs the script, and so also checks log calls below the log level. */
bool kt_runtime_checking(const struct kt_runtime *rt);
void kt_runtime_check(struct kt_runtime *rt);

#endif
