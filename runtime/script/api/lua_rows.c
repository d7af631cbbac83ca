/* core.append_row: appends rows to a file with a header, such as the snmplog, without blocking. The file is a
 * handle that only the function can reach. */
#include <stdlib.h>
#include <string.h>
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/api/append_file.h"

#define ROWS "rows"

struct rows {
    char *path; /* NULL: none is open */
    struct kt_append_file file;
};

static void close_rows(struct rows *rows)
{
    kt_append_file_close(&rows->file, false);
    free(rows->path);
    rows->path = NULL;
}

static int open_rows(
    struct rows *rows, struct kt_io *io, const char *path, const char *head, struct kt_err *err)
{
    close_rows(rows);
    rows->path = strdup(path);
    if (!rows->path) return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    const struct kt_append_options options = {.path = path, .head = head};
    const int rc = kt_append_file_open(&rows->file, io, options, err);
    if (rc) close_rows(rows);
    return rc;
}

/* core.append_row(path, head, row) → true | nil, err: the row is written later, so the error may be that of
 * an earlier row. A new or empty file gets the head first. Only one file is kept open.
 * Upvalue: the rows. */
static int append_row(lua_State *L)
{
    struct rows *rows = lua_touserdata(L, lua_upvalueindex(1));
    size_t len;
    const char *path = luaL_checkstring(L, 1), *head = luaL_checkstring(L, 2);
    const char *row = luaL_checklstring(L, 3, &len);
    struct kt_err err = {0};
    int rc = 0;
    if (!rows->path || strcmp(rows->path, path) != 0)
        rc = open_rows(rows, kt_runtime_io(kt_runtime_of(L)), path, head, &err);
    if (!rc) rc = kt_append_file_write(&rows->file, row, len, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

static int rows_gc(lua_State *L)
{
    close_rows(lua_touserdata(L, 1));
    return 0;
}

void kt_lua_rows(lua_State *L)
{
    kt_handle_type(L, &(struct kt_handle_type){.name = ROWS, .gc = rows_gc, .hidden = true});
    kt_handle_push(L, ROWS, sizeof(struct rows), 0);
    lua_pushcclosure(L, append_row, 1);
    lua_setfield(L, -2, "append_row");
}
