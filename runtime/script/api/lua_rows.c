/* core.append_row: appends rows to a file with a header, such as the snmplog, without blocking.
 *
 * Invariant: `failed` guards `err`. The appender's thread writes err only while it is false, then sets it;
 * the loop reads err only while it is true, then clears it. */
#include <stdlib.h>
#include <string.h>
#include "script/core/script.h"

static void on_failed(void *ctx, const struct kt_err *err, const char *text, size_t len)
{
    (void)text, (void)len;
    struct kt_rows *rows = ctx;
    if (atomic_load(&rows->failed)) return;
    rows->err = *err;
    atomic_store(&rows->failed, true);
}

void kt_rows_close(struct kt_rows *rows)
{
    kt_append_close(rows->to, false);
    free(rows->path);
    rows->to = NULL;
    rows->path = NULL;
}

static int open_rows(struct kt_runtime *rt, const char *path, const char *head, struct kt_err *err)
{
    static const struct kt_append_events events = {.failed = on_failed};
    struct kt_rows *rows = &rt->rows;
    kt_rows_close(rows);
    rows->path = strdup(path);
    if (!rows->path) return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    int rc = kt_append_open(rt->io, path, head, &events, rows, &rows->to, err);
    if (rc) kt_rows_close(rows);
    return rc;
}

/* core.append_row(path, head, row) → true | nil, err: the row is written later, so the error may be that of
 * an earlier row. A new or empty file gets the head first. Only one file is kept open. */
int kt_lua_append_row(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    struct kt_rows *rows = &rt->rows;
    size_t len;
    const char *path = luaL_checkstring(L, 1), *head = luaL_checkstring(L, 2);
    const char *row = luaL_checklstring(L, 3, &len);
    struct kt_err err = {0};
    int rc = 0;
    if (!rows->path || strcmp(rows->path, path) != 0) rc = open_rows(rt, path, head, &err);
    if (rc) return kt_err_return(L, rc, err.text);
    if (atomic_load(&rows->failed)) {
        err = rows->err;
        atomic_store(&rows->failed, false);
    }
    kt_append(rows->to, row, len);
    if (err.code) return kt_err_return(L, err.code, err.text);
    lua_pushboolean(L, 1);
    return 1;
}
