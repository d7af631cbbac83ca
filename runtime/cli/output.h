/* Standard output and standard error of a kt that serves: they never block it. Text that nobody reads is
 * dropped; lines of the log are counted in place, those of standard output in the log. */
#ifndef KT_CLI_OUTPUT_H
#define KT_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct kt_logger;
struct kt_writer;

struct kt_output {
    struct kt_logger *logger;
    struct kt_writer *err, *out; /* the same if both lead to one place, which keeps their order */
    bool losing;                 /* the last text for `out` was dropped */
    uint64_t told;               /* lines that the log knows are lost */
};

/* Becomes the logger's `out`. 0 or a code. */
int kt_output_open(struct kt_output *o, struct kt_logger *logger, struct kt_err *err);
/* Prints to fd 1 or 2: what kt_runtime_opts wants as print, with the kt_output as its ctx. */
void kt_output_print(void *ctx, int fd, const char *text, size_t len);
/* Waits until everything is written, but not for a reader who takes nothing. The logger writes to standard
 * error itself afterwards. */
void kt_output_close(struct kt_output *o);

#endif
