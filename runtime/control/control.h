/* The control socket of a running kt: its commands (docs/control.md), on top of the supervisor. */
#ifndef KT_CONTROL_CONTROL_H
#define KT_CONTROL_CONTROL_H

#include <stdbool.h>
#include "base/err.h"

struct kt_control;
struct kt_io;
struct kt_supervisor;

struct kt_control_opts {
    struct kt_io *io;         /* outlives it */
    struct kt_supervisor *sv; /* outlives it */
    const char *path;         /* of the socket; NULL: NAME.sock in the default folder (folder.h) */
    const char *name;         /* of this kt, as `kt list` shows it; copied */
    long pid;                 /* likewise */
    bool allow_eval;          /* `eval` runs code in the script */
};

/* Opens the socket. Without a path, a name that is in use gets a number, and a folder that cannot be used is no error:
 * *out is NULL then, and the log says why at debug. Free with kt_control_close. */
int kt_control_open(const struct kt_control_opts *opts, struct kt_control **out, struct kt_err *err);
/* Removes the socket. Call it before the supervisor is freed. NULL is allowed. */
void kt_control_close(struct kt_control *k);
/* Answers those who asked for a reload: the supervisor's `reloaded`. NULL is allowed. */
void kt_control_reloaded(struct kt_control *k, int code, const char *text);

#endif
