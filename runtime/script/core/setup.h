/* What a runtime was made with: its io, log, counters and output, as struct kt_runtime_opts gave them or by
 * default. */
#ifndef KT_SCRIPT_CORE_SETUP_H
#define KT_SCRIPT_CORE_SETUP_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct kt_counters;
struct kt_guard;
struct kt_io;
struct kt_log;
struct kt_logger;
struct kt_known;
struct kt_runtime;
struct kt_runtime_opts;

/* Returns 0 or KT_ENOMEM. */
int kt_setup_new(struct kt_runtime *rt, const struct kt_runtime_opts *opts);
void kt_setup_free(struct kt_runtime *rt);

struct kt_io *kt_runtime_io(const struct kt_runtime *rt);
struct kt_logger *kt_runtime_logger(const struct kt_runtime *rt);
const struct kt_log *kt_runtime_log(const struct kt_runtime *rt);
struct kt_counters *kt_runtime_counters(const struct kt_runtime *rt);
struct kt_known *kt_runtime_known(const struct kt_runtime *rt);
bool kt_runtime_repeatable(const struct kt_runtime *rt);
void kt_runtime_print(const struct kt_runtime *rt, int fd, const char *text, size_t len);
const char *kt_runtime_getenv(const struct kt_runtime *rt, const char *name);
/* Adds the script API to kt.core, the table on top of the stack. */
void kt_setup_bind(const struct kt_runtime *rt, lua_State *L);
/* Its main thread; NULL when the state is closed. */
lua_State *kt_runtime_state(const struct kt_runtime *rt);
struct kt_guard *kt_runtime_guard(struct kt_runtime *rt);

/* Whether `kt check` runs the script, and so also checks log calls below the log level. */
bool kt_runtime_checking(const struct kt_runtime *rt);
void kt_runtime_check(struct kt_runtime *rt);

#endif
