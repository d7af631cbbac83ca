/* Reads the answers that query.c receives. Separate from it, so that a fuzz target can reach it. */
#ifndef KT_IO_UV_QUERY_H
#define KT_IO_UV_QUERY_H

#include "io/io.h"

/* Reads a name server's message, which may be any bytes: 0 and *n > 0 records (room for KT_QUERY_RECORDS), ordered
 * and bounded as kt_query promises; or a code and a sentence about `name`. */
int kt_uv_answer_read(const char *name, enum kt_record_type type, const uint8_t *msg, size_t len,
    struct kt_record *records, size_t *n, struct kt_err *err);

#endif
