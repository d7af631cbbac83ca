/* A file that a script appends to without waiting. A write that failed is reported by the next one. */
#ifndef KT_SCRIPT_API_APPEND_FILE_H
#define KT_SCRIPT_API_APPEND_FILE_H

#include <stdatomic.h>
#include "io/io.h"

struct kt_append_file {
    struct kt_appender *to; /* NULL: not open */
    atomic_bool failed;     /* text was lost; err says why */
    struct kt_err err;
};

/* f is zeroed or closed, and outlives the appender. Of the options, events and ctx are set here. Returns a code. */
int kt_append_file_open(
    struct kt_append_file *f, struct kt_io *io, struct kt_append_options options, struct kt_err *err);
/* Appends text. Returns 0, or the code of an earlier write that failed, once, with its reason in err. */
int kt_append_file_write(struct kt_append_file *f, const char *text, size_t len, struct kt_err *err);
/* wait: as for kt_append_close. Harmless if it is not open. */
void kt_append_file_close(struct kt_append_file *f, bool wait);

#endif
