/* The pid file of `kt run --pid-file F`, and next to it F.reload, the outcome of the last reload:
 *
 *     12 ok
 *     reloaded client.lua: 2 addresses kept, …
 *
 * the number of the reload, "ok" or "failed", and the details. It is a separate file because people write
 * kill $(cat F). */
#ifndef KT_CLI_PIDFILE_H
#define KT_CLI_PIDFILE_H

#include <stdbool.h>
#include <sys/types.h>
#include "base/err.h"

/* 0; KT_EINUSE if a running kt uses the file; or another code. */
int kt_pidfile_write(const char *path, struct kt_err *err);
void kt_pidfile_remove(const char *path);
/* The process in the file. 0 or a code. */
int kt_pidfile_read(const char *path, pid_t *pid, struct kt_err *err);

/* Writes the outcome of a reload. */
void kt_pidfile_result(const char *path, int code, const char *text);

struct kt_pidfile_result {
    unsigned long number; /* 0: none so far */
    bool ok;
    char text[1024];
};
void kt_pidfile_last(const char *path, struct kt_pidfile_result *out);

/* Whether this process is a kt: SIGHUP would end most others. */
bool kt_pid_is_kt(pid_t pid);

#endif
