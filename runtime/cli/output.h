/* Standard output and standard error of a kt that runs as a service: they never block it. Text that is not
 * read is dropped. A line in the log reports how many log lines were dropped, and that standard output was. */
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
    struct kt_writer *err, *out; /* the same writer if both lead to one place, which keeps their order */
    bool losing;                 /* the last text for `out` was dropped */
    uint64_t lost_logged;        /* lost lines that the log has reported */
};

/* Sets itself as the logger's `out`. 0 or a code. */
int kt_output_open(struct kt_output *o, struct kt_logger *logger, struct kt_err *err);
/* Prints to fd 1 or 2. For kt_runtime_opts.print, with the kt_output as ctx. */
void kt_output_print(void *ctx, int fd, const char *text, size_t len);
/* Waits until everything is written, but not for a stalled reader. After that the logger writes to standard
 * error itself. */
void kt_output_close(struct kt_output *o);

#endif
