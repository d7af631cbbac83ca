/* Secrets: byte strings that are never printed. They live in locked memory and are wiped when the handle is
 * collected. Each takes pages of its own, which Lua does not count: hence SECRETS_MAX, at which garbage is collected.
 *
 * Invariant: the registry holds the number of secrets that have memory. */
#include <stdlib.h>
#include <string.h>
#include <pwd.h>
#include <sys/stat.h>
#include "crypto/keyfile.h"
#include "crypto/locked.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define SECRET_MAX 65536u
#define SECRETS_MAX 4096

static const char count_key; /* its address names the count in the registry */

struct kt_lua_secret {
    size_t len;
    char *bytes; /* locked memory; NULL after the handle was collected */
};

struct bytes {
    const char *data;
    size_t len;
};

/* Adds n to the number of secrets and returns it. Allocates nothing. */
static lua_Integer count(lua_State *L, lua_Integer n)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &count_key);
    n += lua_tointeger(L, -1);
    lua_pushinteger(L, n);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &count_key);
    lua_pop(L, 1);
    return n;
}

char *kt_lua_secret_new(lua_State *L, size_t len)
{
    if (count(L, 0) >= SECRETS_MAX) lua_gc(L, LUA_GCCOLLECT);
    if (count(L, 0) >= SECRETS_MAX)
        kt_raise(L, "the script holds %d secrets, which is the limit", SECRETS_MAX);
    struct kt_lua_secret *s = kt_handle_push(L, KT_HANDLE_SECRET, sizeof *s, 0);
    s->bytes = kt_locked_alloc(len + 1);
    if (!s->bytes) luaL_error(L, "not enough memory");
    s->len = len;
    count(L, 1);
    return s->bytes;
}

/* Protected: bytes (light userdata) → secret. */
static int make(lua_State *L)
{
    const struct bytes *b = lua_touserdata(L, 1);
    memcpy(kt_lua_secret_new(L, b->len), b->data, b->len);
    return 1;
}

const char *kt_lua_secret_bytes(lua_State *L, int idx, size_t *len)
{
    if (lua_type(L, idx) == LUA_TSTRING) return lua_tolstring(L, idx, len);
    const struct kt_lua_secret *s = kt_handle_test(L, idx, KT_HANDLE_SECRET);
    if (!s) return NULL;
    *len = s->len;
    return s->bytes;
}

static int secret_gc(lua_State *L)
{
    struct kt_lua_secret *s = luaL_checkudata(L, 1, KT_HANDLE_SECRET);
    if (s->bytes) count(L, -1);
    kt_locked_free(s->bytes);
    s->bytes = NULL;
    s->len = 0;
    return 0;
}

static int secret_tostring(lua_State *L)
{
    lua_pushliteral(L, "<secret>");
    return 1;
}

/* secret:export() → string */
static int secret_export(lua_State *L)
{
    const struct kt_lua_secret *s = kt_handle_self(L, KT_HANDLE_SECRET, "export");
    lua_pushlstring(L, s->bytes, s->len);
    return 1;
}

/* kt.secret(string) */
static int secret(lua_State *L)
{
    struct bytes b;
    if (lua_type(L, 1) != LUA_TSTRING)
        return kt_raise(L, "kt.secret: expected a string, got %s", kt_type_name(L, 1));
    b.data = lua_tolstring(L, 1, &b.len);
    lua_pushcfunction(L, make);
    lua_pushlightuserdata(L, &b);
    lua_call(L, 1, 1);
    return 1;
}

/* core.wipe(): from here to the end of the main chunk of a module in the binary, freed memory is wiped; what
 * the chunk leaves behind is collected at its end. For one that reads a key in clear. */
static int wipe(lua_State *L)
{
    kt_guard_wipe(kt_guard_of(L), true);
    return 0;
}

/* core.exposed(path) → whether every user of this machine can read or change the file */
static int is_exposed(lua_State *L)
{
    struct stat st;
    lua_pushboolean(L, stat(luaL_checkstring(L, 1), &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)));
    return 1;
}

/* core.owner(path) → the name of the user whose file it is, or nil */
static int owner(lua_State *L)
{
    struct stat st;
    struct passwd pw, *found = NULL;
    char text[1024];
    if (stat(luaL_checkstring(L, 1), &st) != 0) return 0;
    if (getpwuid_r(st.st_uid, &pw, text, sizeof text, &found) == 0 && found)
        lua_pushstring(L, found->pw_name);
    else
        lua_pushfstring(L, "%I", (lua_Integer)st.st_uid);
    return 1;
}

/* kt.secret_file(path): the file's content without one trailing newline. */
static int secret_file(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    if (lua_type(L, 1) != LUA_TSTRING)
        return kt_raise(L, "kt.secret_file: expected a path, got %s", kt_type_name(L, 1));
    const char *path = kt_state_path(L, lua_tostring(L, 1));
    struct kt_err err = {0};
    char *data;
    size_t len;
    if (kt_file_read(kt_runtime_io(rt), path, SECRET_MAX, &data, &len, &err))
        return kt_raise(L, "kt.secret_file: %s", err.text);
    size_t n = len;
    if (n > 0 && data[n - 1] == '\n') n--;
    if (n == 0) {
        free(data);
        return kt_raise(L,
            "kt.secret_file: %s is empty; put a key into it (head -c 32 /dev/urandom | base64 > %s)", path,
            path);
    }
    struct stat st; /* of the real file system: the io's files have no mode */
    /* Root's own files may be readable by a service's group, and are then not the service's to change. */
    if (stat(path, &st) == 0 && (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO))) &&
        kt_key_mode_check(path, st.st_mode, &err))
        kt_log(kt_runtime_log(rt), KT_LOG_WARN, "%s", err.text);
    struct bytes b = {data, n};
    lua_pushcfunction(L, make);
    lua_pushlightuserdata(L, &b);
    int status = lua_pcall(L, 1, 1, 0);
    explicit_bzero(data, len);
    free(data);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* core.is_secret(value) */
static int is_secret(lua_State *L)
{
    lua_pushboolean(L, kt_handle_test(L, 1, KT_HANDLE_SECRET) != NULL);
    return 1;
}

void kt_lua_secret(lua_State *L)
{
    static const luaL_Reg methods[] = {{"export", secret_export}, {NULL, NULL}};
    kt_handle_type(
        L, &(struct kt_handle_type){
               .name = KT_HANDLE_SECRET, .methods = methods, .gc = secret_gc, .tostring = secret_tostring});
    lua_pushinteger(L, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &count_key);
    static const luaL_Reg functions[] = {{"secret", secret}, {"secret_file", secret_file},
        {"is_secret", is_secret}, {"exposed", is_exposed}, {"owner", owner}, {"wipe", wipe}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
