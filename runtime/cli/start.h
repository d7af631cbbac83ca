/* Runs a script as a process: what kt run, client and server share. */
#ifndef KT_CLI_START_H
#define KT_CLI_START_H

#include <stdbool.h>
#include <stddef.h>
#include "base/log_format.h"
#include "cli/flags.h"

struct kt_start {
    const char *name;   /* the script's name in the log */
    const char *file;   /* a script, or */
    const char *module; /* ... a module in the binary */
    int argc;           /* its arguments */
    char **argv;
    bool serves; /* it runs until it is ended, and a stalled reader of its output must not block it */
    bool unsafe;
    const char *path; /* a folder of modules, besides the script's own; NULL: none */
    struct kt_flag_list allow_read, allow_write, env; /* what the script may reach; see struct kt_allow */
    size_t memory;                                    /* bytes for the script, 0: no limit */
    enum kt_log_level level;
    enum kt_log_format log_format;
    const char *log_file;   /* NULL: standard error */
    const char *pid_file;   /* NULL: none */
    const char *control;    /* path of the control socket; "none"; NULL: as the script says, or the default */
    const char *http;       /* where to serve status by HTTP; NULL: nowhere */
    const char *http_token; /* a file with the token for that; NULL: none */
    bool watch;             /* reload when the script's files change */
    bool allow_eval;        /* the control socket runs code in the script */
};

#define KT_START_MEMORY (256u << 20) /* of scripts that people write */

/* Parses the value of --memory: a size as scripts write it, or "none", which is 0. False for anything else. */
bool kt_start_parse_memory(const char *text, size_t *out);

/* Loads, opens and runs the script until it ends. Reports a failure on standard error. Returns the process's
 * exit code. */
int kt_start(const struct kt_start *start);

#endif
