/* Keeps what a runtime was made with, and fills in the defaults.
 *
 * Invariant: once the runtime is made, only `checking` changes, the counters, and the memory of links. */
#include "script/core/setup.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/io.h"
#include "link/common/link_memory.h"
#include "link/counters.h"
#include "script/core/events.h"
#include "script/core/parts.h"
#include "script/sandbox/sandbox.h"

struct kt_setup {
    struct kt_logger *logger;
    struct kt_counters *counters;
    struct kt_counters own_counters; /* used if opts.counters is NULL */
    struct kt_link_memory *link_memory;
    struct kt_link_memory own_link_memory; /* likewise */
    struct kt_events *events;
    struct kt_events own_events; /* likewise */
    void (*source)(void *ctx, const char *path, const void *data, size_t len);
    void *source_ctx;
    struct kt_process process;
    uint64_t *pipe_numbers, own_pipe_numbers; /* likewise */
    char control[108];                        /* "": not set */
    bool checking;
    bool repeatable;
    const struct kt_runtime *before;
    struct kt_runtime *(*replaced)(void *ctx, size_t i);
    void *replaced_ctx;
    const char *path;
    struct kt_allow allow;
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    void (*print)(void *ctx, int fd, const char *text, size_t len);
    void *print_ctx;
    void (*bind)(lua_State *L);
};

void kt_print_to_process(void *ctx, int fd, const char *text, size_t len)
{
    (void)ctx;
    FILE *f = fd == 2 ? stderr : stdout;
    fwrite(text, 1, len, f);
    fflush(f);
}

static const char *process_env(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

int kt_setup_new(struct kt_runtime *rt, const struct kt_runtime_opts *opts)
{
    uint64_t seed;
    struct kt_setup *s = rt->setup = calloc(1, sizeof *s);
    if (!s) return KT_ENOMEM;
    s->logger = opts->logger;
    s->repeatable = opts->repeatable;
    s->source = opts->source;
    s->source_ctx = opts->source_ctx;
    kt_events_init(&s->own_events);
    s->events = opts->events ? opts->events : &s->own_events;
    s->process = opts->process;
    s->pipe_numbers = opts->pipe_numbers ? opts->pipe_numbers : &s->own_pipe_numbers;
    s->before = opts->before;
    s->replaced = opts->replaced;
    s->replaced_ctx = opts->replaced_ctx;
    s->path = opts->path;
    s->allow = opts->allow;
    s->getenv = opts->getenv ? opts->getenv : process_env;
    s->getenv_ctx = opts->getenv_ctx;
    s->print = opts->print ? opts->print : kt_print_to_process;
    s->print_ctx = opts->print_ctx;
    s->bind = opts->bind;
    s->counters = opts->counters ? opts->counters : &s->own_counters;
    s->link_memory = opts->link_memory ? opts->link_memory : &s->own_link_memory;
    kt_io_random(rt->io, &seed, sizeof seed);
    kt_link_memory_init(&s->own_link_memory, seed, NULL);
    return 0;
}

void kt_setup_free(struct kt_runtime *rt)
{
    if (rt->setup) kt_link_memory_end(&rt->setup->own_link_memory);
    free(rt->setup);
    rt->setup = NULL;
}

struct kt_io *kt_runtime_io(const struct kt_runtime *rt)
{
    return rt->io;
}

struct kt_logger *kt_runtime_logger(const struct kt_runtime *rt)
{
    return rt->setup->logger;
}

const struct kt_log *kt_runtime_log(const struct kt_runtime *rt)
{
    return rt->log;
}

struct kt_counters *kt_runtime_counters(const struct kt_runtime *rt)
{
    return rt->setup->counters;
}

void kt_runtime_source(const struct kt_runtime *rt, const char *path, const void *data, size_t len)
{
    if (rt->setup->source) rt->setup->source(rt->setup->source_ctx, path, data, len);
}

uint64_t kt_runtime_number_pipe(const struct kt_runtime *rt)
{
    return ++*rt->setup->pipe_numbers;
}

struct kt_events *kt_runtime_events(const struct kt_runtime *rt)
{
    return rt->setup->events;
}

const struct kt_process *kt_runtime_process(const struct kt_runtime *rt)
{
    return &rt->setup->process;
}

struct kt_link_memory *kt_runtime_link_memory(const struct kt_runtime *rt)
{
    return rt->setup->link_memory;
}

void kt_setup_bind(const struct kt_runtime *rt, lua_State *L)
{
    rt->setup->bind(L);
}

bool kt_runtime_repeatable(const struct kt_runtime *rt)
{
    return rt->setup->repeatable;
}

const struct kt_runtime *kt_runtime_before(const struct kt_runtime *rt)
{
    return rt->setup->before;
}

struct kt_runtime *kt_runtime_old(const struct kt_runtime *rt, size_t i)
{
    return rt->setup->replaced ? rt->setup->replaced(rt->setup->replaced_ctx, i) : NULL;
}

const char *kt_runtime_path(const struct kt_runtime *rt)
{
    return rt->setup->path;
}

const struct kt_allow *kt_runtime_allow(const struct kt_runtime *rt)
{
    return &rt->setup->allow;
}

void kt_runtime_print(const struct kt_runtime *rt, int fd, const char *text, size_t len)
{
    rt->setup->print(rt->setup->print_ctx, fd, text, len);
}

const char *kt_runtime_getenv(const struct kt_runtime *rt, const char *name)
{
    return rt->setup->getenv(rt->setup->getenv_ctx, name);
}

lua_State *kt_runtime_state(const struct kt_runtime *rt)
{
    return rt->L;
}

struct kt_guard *kt_runtime_guard(struct kt_runtime *rt)
{
    return rt->guard;
}

const char *kt_runtime_control(const struct kt_runtime *rt)
{
    return rt->setup->control[0] ? rt->setup->control : NULL;
}

bool kt_runtime_set_control(struct kt_runtime *rt, const char *path)
{
    if (strlen(path) >= sizeof rt->setup->control) return false;
    strcpy(rt->setup->control, path);
    return true;
}

bool kt_runtime_checking(const struct kt_runtime *rt)
{
    return rt->setup->checking;
}

void kt_runtime_check(struct kt_runtime *rt)
{
    rt->setup->checking = true;
}
