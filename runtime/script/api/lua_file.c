/* kt.file, kt.append and kt.env: what a script may read and write outside of itself, as `kt run` allows it.
 *
 * A path is allowed by where it really leads, so that neither ".." nor a symbolic link gets out of a folder; then only
 * that real path is opened, without following links, so that none can be slipped in meanwhile. Appending
 * never waits: each file has an appender (io.h), kept until the script ends. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/api/append_file.h"

#define FILE_MAX ((size_t)4 << 20)
#define FILES_MAX 16 /* appended to by one script: each has a thread */
#define APPENDED "appended"

/* ---- which paths ---- */

/* Whether path is the folder or in it; both are real. The folder "" is a simulated host's working folder. */
static bool is_below(const char *folder, const char *path)
{
    const size_t n = strlen(folder);
    if (n == 0) return path[0] != '/' && strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0;
    if (folder[n - 1] == '/') return strncmp(path, folder, n) == 0;
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool is_in(struct kt_io *io, const char *folder, const char *path)
{
    char real[PATH_MAX];
    return kt_file_real(io, folder, false, real, sizeof real, NULL) == 0 && is_below(real, path);
}

static bool is_in_any(struct kt_io *io, const char *const *folders, const char *path)
{
    for (; folders && *folders; folders++)
        if (is_in(io, *folders, path)) return true;
    return false;
}

/* The path given, or NULL if it is invalid. */
static const char *path_arg(lua_State *L, const char *what)
{
    size_t len;
    const char *path = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    if (!path) kt_raise(L, "%s: expected a path, got %s", what, kt_type_name(L, 1));
    return len > 0 && strlen(path) == len ? path : NULL;
}

static int invalid(lua_State *L, const char *what)
{
    return kt_lua_err_return(
        L, KT_EINVAL, lua_pushfstring(L, "%s: the path is empty or contains a zero byte", what));
}

static int denied(lua_State *L, const char *what, const char *path, const char *why)
{
    return kt_lua_err_return(L, KT_EACCES, lua_pushfstring(L, "%s: %s: %s", what, path, why));
}

/* Writes the real path of what can be resolved of a path that does not lead anywhere: of the last folder on its way.
 * Whether that is allowed decides if the script may know why, as this tells what exists. */
static void last_real(struct kt_io *io, const char *path, char *out)
{
    char way[PATH_MAX];
    snprintf(way, sizeof way, "%s", path);
    do {
        char *slash = strrchr(way, '/');
        if (slash == way && way[1])
            way[1] = '\0'; /* the root is left */
        else
            (slash ? slash : way)[0] = '\0';
    } while (kt_file_real(io, way, false, out, PATH_MAX, NULL) != 0 && way[0]);
}

/* ---- reading ---- */

static int push_data(lua_State *L)
{
    lua_pushlstring(L, lua_touserdata(L, 1), (size_t)lua_tointeger(L, 2));
    return 1;
}

/* kt.file(path) → string | nil, err */
static int file(lua_State *L)
{
    const char *path = path_arg(L, "kt.file");
    if (!path) return invalid(L, "kt.file");
    const struct kt_runtime *rt = kt_runtime_of(L);
    struct kt_io *io = kt_runtime_io(rt);
    struct kt_err err = {0};
    char real[PATH_MAX], *data;
    size_t len;
    const char *full = kt_state_path(L, path), *folder = kt_state_path(L, "");
    int rc = kt_file_real(io, full, false, real, sizeof real, &err);
    if (rc) last_real(io, full, real);
    if (!is_in(io, folder, real) && !is_in_any(io, kt_runtime_allow(rt)->read, real))
        return denied(L, "kt.file", path, "outside of the script's folder; allow it with --allow-read DIR");
    if (rc == 0) rc = kt_file_read_real(io, real, FILE_MAX, &data, &len, &err);
    if (rc) return kt_lua_err_return(L, rc, lua_pushfstring(L, "kt.file: %s", err.text));
    lua_pushcfunction(L, push_data);
    lua_pushlightuserdata(L, data);
    lua_pushinteger(L, (lua_Integer)len);
    const int status = lua_pcall(L, 2, 1, 0);
    free(data);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* ---- appending ---- */

static int appended_gc(lua_State *L)
{
    const bool wait = !kt_runtime_replaced(kt_runtime_of(L)); /* then the process probably ends */
    kt_append_file_close(lua_touserdata(L, 1), wait);
    return 0;
}

static int count(lua_State *L, int idx)
{
    int n = 0;
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pop(L, 1);
        n++;
    }
    return n;
}

/* Pushes the file from the table of those appended to, where it is added if it is new. NULL: err says why not. */
static struct kt_append_file *open_file(lua_State *L, const char *real, struct kt_err *err)
{
    const int files = lua_upvalueindex(1);
    if (lua_getfield(L, files, real) != LUA_TNIL) return lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (count(L, files) == FILES_MAX) {
        kt_err_set(err, KT_ELIMIT, "limit of %d files per script reached", FILES_MAX);
        return NULL;
    }
    struct kt_append_file *f = kt_handle_push(L, APPENDED, sizeof *f, 0);
    const struct kt_append_options options = {.path = real, .real = true};
    if (kt_append_file_open(f, kt_runtime_io(kt_runtime_of(L)), options, err)) return NULL;
    lua_pushvalue(L, -1);
    lua_setfield(L, files, real);
    return f;
}

/* kt.append(path, text) → true | nil, err: written later, so the error may be that of an earlier call. Upvalue: the
 * files by path. */
static int append(lua_State *L)
{
    const char *path = path_arg(L, "kt.append");
    if (!path) return invalid(L, "kt.append");
    const struct kt_runtime *rt = kt_runtime_of(L);
    struct kt_io *io = kt_runtime_io(rt);
    struct kt_err err = {0};
    char real[PATH_MAX];
    size_t len;
    if (lua_type(L, 2) != LUA_TSTRING)
        return kt_raise(L, "kt.append: argument 2: expected a string, got %s", kt_type_name(L, 2));
    const char *text = lua_tolstring(L, 2, &len);
    const char *full = kt_state_path(L, path);
    const int rc = kt_file_real(io, full, true, real, sizeof real, &err);
    if (rc) last_real(io, full, real);
    if (!is_in_any(io, kt_runtime_allow(rt)->write, real))
        return denied(L, "kt.append", path, "not allowed; start kt with --allow-write DIR");
    if (rc) return kt_lua_err_return(L, rc, lua_pushfstring(L, "kt.append: %s", err.text));
    if (kt_runtime_checking(rt)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    struct kt_append_file *f = open_file(L, real, &err);
    if (!f || kt_append_file_write(f, text, len, &err))
        return kt_lua_err_return(L, err.code, lua_pushfstring(L, "kt.append: %s", err.text));
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- the environment ---- */

/* core.env(name) → whether it may be read, its value or nil */
static int env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct kt_runtime *rt = kt_runtime_of(L);
    const struct kt_allow *allow = kt_runtime_allow(rt);
    bool may = allow->env_all;
    for (const char *const *e = allow->env; !may && e && *e; e++) may = strcmp(*e, name) == 0;
    lua_pushboolean(L, may);
    lua_pushstring(L, may ? kt_runtime_getenv(rt, name) : NULL);
    return 2;
}

void kt_lua_file(lua_State *L)
{
    static const luaL_Reg functions[] = {{"file", file}, {"env", env}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = APPENDED, .gc = appended_gc, .hidden = true});
    luaL_setfuncs(L, functions, 0);
    lua_newtable(L);
    lua_pushcclosure(L, append, 1);
    lua_setfield(L, -2, "append");
}
