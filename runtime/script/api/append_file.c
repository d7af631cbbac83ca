/* Passes the failure of one write on to the next (append_file.h).
 *
 * Invariant: `failed` guards `err`. The appender's thread writes err only while it is false, then sets it;
 * the loop reads err only while it is true, then clears it. */
#include "script/api/append_file.h"

static void on_failed(void *ctx, const struct kt_err *err, const char *text, size_t len)
{
    (void)text, (void)len;
    struct kt_append_file *f = ctx;
    if (atomic_load(&f->failed)) return;
    f->err = *err;
    atomic_store(&f->failed, true);
}

int kt_append_file_open(
    struct kt_append_file *f, struct kt_io *io, struct kt_append_options options, struct kt_err *err)
{
    static const struct kt_append_events events = {.failed = on_failed};
    options.events = &events;
    options.ctx = f;
    return kt_append_open(io, &options, &f->to, err);
}

int kt_append_file_write(struct kt_append_file *f, const char *text, size_t len, struct kt_err *err)
{
    int rc = 0;
    if (atomic_load(&f->failed)) {
        *err = f->err;
        rc = err->code;
        atomic_store(&f->failed, false);
    }
    kt_append(f->to, text, len);
    return rc;
}

void kt_append_file_close(struct kt_append_file *f, bool wait)
{
    kt_append_close(f->to, wait);
    f->to = NULL;
}
