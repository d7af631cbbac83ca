/* Creates the Lua state of a runtime, and implements `require`.
 *
 * The state has two environments. Modules in the binary (lua/kt) see each other, kt.core, and private copies
 * of the library. The script sees its own globals, `require "kt"`, and the modules in its own folder.
 * Invariant: nothing a script does to its globals changes what the modules in the binary see. */
#include "script/core/state.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/log.h"
#include "io/io.h"
#include "script/core/embedded.h"
#include "script/core/errors.h"
#include "script/core/keep.h"
#include "script/core/options.h"
#include "script/core/parts.h"
#include "script/core/service.h"
#include "script/core/setup.h"
#include "script/core/task.h"
#include "script/sandbox/guard.h"
#include "script/sandbox/origin.h"
#include "script/sandbox/sandbox.h"

#define LINE_PIECE 1024u /* largest piece of source passed to the compiler, in bytes */

struct kt_state {
    int ref_loaded;     /* registry reference: modules by name */
    int ref_host_env;   /* registry reference: environment of embedded modules */
    int ref_script_dir; /* registry reference: string: the folder of the script's own modules */
    char warning[256];  /* pieces of a Lua warning, usually an error in a __gc */
};

static const char loading; /* its address marks a module being loaded */

static void on_warning(void *ud, const char *msg, int tocont)
{
    struct kt_runtime *rt = ud;
    size_t used = strlen(rt->state->warning);
    snprintf(rt->state->warning + used, sizeof rt->state->warning - used, "%s", msg);
    if (tocont) return;
    if (rt->state->warning[0] != '@')
        kt_log(rt->log, KT_LOG_WARN, "%s", rt->state->warning); /* "@on" and "@off" are control messages */
    rt->state->warning[0] = '\0';
}

/* ---- modules in the binary ---- */

static const struct kt_embedded *find_embedded(const char *name)
{
    for (const struct kt_embedded *e = kt_embedded; e->module; e++)
        if (strcmp(e->module, name) == 0) return e;
    return NULL;
}

/* Pushes the chunk, or an error message; returns a Lua status. */
static int load_embedded(lua_State *L, const struct kt_embedded *e)
{
    lua_pushfstring(L, "=[%s]", e->module);
    int status = luaL_loadbufferx(L, e->source, e->len, lua_tostring(L, -1), "t");
    lua_remove(L, -2);
    if (status != LUA_OK) return status;
    lua_rawgeti(L, LUA_REGISTRYINDEX, kt_runtime_of(L)->state->ref_host_env);
    lua_setupvalue(L, -2, 1); /* its _ENV */
    return LUA_OK;
}

/* Pushes the module loaded under `key` and returns true, or pushes nothing and returns false. Raises if the
 * module is being loaded. */
static bool push_loaded(lua_State *L, const char *key, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, kt_runtime_of(L)->state->ref_loaded);
    lua_getfield(L, -1, key);
    lua_remove(L, -2);
    if (lua_touserdata(L, -1) == (void *)&loading) kt_raise(L, "require \"%s\": circular require", name);
    if (!lua_isnil(L, -1)) return true;
    lua_pop(L, 1);
    return false;
}

void kt_state_push_module(lua_State *L, const char *module)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, kt_runtime_of(L)->state->ref_loaded);
    lua_getfield(L, -1, module);
    lua_remove(L, -2);
}

/* Calls the chunk on top of the stack with the module's name, stores its value (true if it has none) under
 * `key`, and pushes it. */
static int run_module(lua_State *L, const char *key, const char *name)
{
    int ref = kt_runtime_of(L)->state->ref_loaded;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_pushlightuserdata(L, (void *)&loading);
    lua_setfield(L, -2, key);
    lua_insert(L, -2);
    lua_pushstring(L, name);
    kt_globals_begin_module(L);
    const int status = lua_pcall(L, 1, 1, 0);
    kt_globals_end_module(L);
    if (status != LUA_OK) {
        lua_pushnil(L); /* so that a later require tries again */
        lua_setfield(L, -3, key);
        return lua_error(L);
    }
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, key);
    return 1;
}

static int require_embedded(lua_State *L, const char *name)
{
    if (push_loaded(L, name, name)) return 1;
    const struct kt_embedded *e = find_embedded(name);
    if (!e) return luaL_error(L, "require \"%s\": not in this binary", name);
    if (load_embedded(L, e) != LUA_OK) return lua_error(L);
    return run_module(L, name, name);
}

int kt_state_require(lua_State *L, const char *module)
{
    return require_embedded(L, module);
}

static int host_require(lua_State *L)
{
    return require_embedded(L, luaL_checkstring(L, 1));
}

/* ---- the script's own files ---- */

const char *kt_state_path(lua_State *L, const char *path)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, kt_runtime_of(L)->state->ref_script_dir);
    if (path[0] == '/')
        lua_pushstring(L, path);
    else
        lua_pushfstring(L, "%s%s", lua_tostring(L, -1), path);
    lua_remove(L, -2);
    return lua_tostring(L, -1);
}

struct source {
    const char *data;
    size_t len;
    const char *path;
    size_t line; /* bytes of the line being compiled */
    int lines;   /* number of the line being compiled */
};

/* Reader for lua_load. Passes one line at a time, so that the compiler's position is known and it can be
 * stopped. */
static const char *next_line(lua_State *L, void *ud, size_t *size)
{
    struct source *s = ud;
    if (kt_guard_stopped(kt_guard_of(L))) kt_guard_raise(L);
    s->data += s->line;
    s->len -= s->line;
    const bool begins = s->line == 0 || s->data[-1] == '\n';
    const size_t most = s->len < LINE_PIECE ? s->len : LINE_PIECE;
    const char *nl = most ? memchr(s->data, '\n', most) : NULL;
    *size = s->line = nl ? (size_t)(nl - s->data) + 1 : most;
    s->lines += begins && most > 0;
    return s->data;
}

static void skip(struct source *s, size_t n)
{
    s->data += n;
    s->len -= n;
}

/* Protected: source (light userdata) → chunk, or raises. */
static int compile(lua_State *L)
{
    struct source *s = lua_touserdata(L, 1);
    static const char bom[] = "\xEF\xBB\xBF"; /* written by some editors */
    if (s->len >= sizeof bom - 1 && memcmp(s->data, bom, sizeof bom - 1) == 0) skip(s, sizeof bom - 1);
    if (s->len > 0 && s->data[0] == '#') { /* skip "#!/usr/bin/env -S kt run", but count its newline */
        const char *nl = memchr(s->data, '\n', s->len);
        skip(s, nl ? (size_t)(nl - s->data) : s->len);
    }
    if (s->len > 0 && s->data[0] == LUA_SIGNATURE[0])
        return luaL_error(L, "%s: bytecode is not allowed; scripts must be Lua source", s->path);
    lua_pushfstring(L, "@%s", s->path);
    if (lua_load(L, next_line, s, lua_tostring(L, -1), "t") == LUA_OK) return 1;
    const char *text = lua_tostring(L, -1);
    if (text && strcmp(text, "C stack overflow") == 0)
        return luaL_error(L,
            "%s:%d: tables, functions or brackets are nested too deeply; Lua allows fewer than 200 levels",
            s->path, s->lines);
    return lua_error(L);
}

/* Pushes the file's chunk, or an error message; returns a Lua status. */
static int load_file(lua_State *L, const char *path, struct kt_err *err)
{
    struct source s = {.path = path};
    char *data;
    *err = (struct kt_err){0};
    if (kt_file_read(kt_runtime_of(L)->io, path, KT_SCRIPT_MAX, &data, &s.len, err)) {
        kt_runtime_source(kt_runtime_of(L), path, NULL, 0);
        lua_pushstring(L, err->text);
        return LUA_ERRFILE;
    }
    kt_runtime_source(kt_runtime_of(L), path, data, s.len);
    s.data = data;
    lua_pushcfunction(L, compile);
    lua_pushlightuserdata(L, &s);
    int status = lua_pcall(L, 1, 1, 0);
    free(data);
    return status;
}

/* Looks for name.lua and name/init.lua in a folder, "" or ending with "/". Pushes the chunk and returns true, or
 * pushes nothing and returns false. Raises if the file is unreadable, or not Lua. */
static bool find_module(lua_State *L, const char *folder, const char *file)
{
    static const char *const shapes[] = {"%s%s.lua", "%s%s/init.lua"};
    for (int i = 0; i < 2; i++) {
        const char *path = lua_pushfstring(L, shapes[i], folder, file);
        struct kt_err err;
        const int status = load_file(L, path, &err);
        lua_remove(L, -2);
        if (status == LUA_OK) return true;
        if (err.code != KT_ENOENT) lua_error(L);
        lua_pop(L, 1);
    }
    return false;
}

static int script_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (strcmp(name, "kt") == 0) return require_embedded(L, name);
    if (strncmp(name, "kt.", 3) == 0) return kt_raise(L, "require \"%s\": use require \"kt\"", name);
    size_t len = strlen(name);
    if (len == 0 || len > 200 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != len ||
        name[0] == '.' || name[len - 1] == '.' || strstr(name, ".."))
        return kt_raise(L, "require \"%s\": expected a name such as \"routes\" or \"lib.routes\"", name);

    const char *key = lua_pushfstring(L, "script:%s", name);
    if (push_loaded(L, key, name)) return 1;
    const char *file = luaL_gsub(L, name, ".", "/");
    if (find_module(L, kt_state_path(L, ""), file)) return run_module(L, key, name);
    const char *path = kt_runtime_path(kt_runtime_of(L));
    if (!path)
        return kt_raise(L,
            "require \"%s\": no such module; looked for %s.lua and %s/init.lua beside the script", name, file,
            file);
    const char *slash = path[0] && path[strlen(path) - 1] == '/' ? "" : "/";
    if (find_module(L, lua_pushfstring(L, "%s%s", path, slash), file)) return run_module(L, key, name);
    return kt_raise(L,
        "require \"%s\": no such module; looked for %s.lua and %s/init.lua beside the script and in %s", name,
        file, file, path);
}

/* ---- the two environments ---- */

/* The environment of modules in the binary: copies, two levels deep, of the tables that a script could
 * change. */
static void make_host_env(lua_State *L)
{
    lua_pushglobaltable(L);
    kt_table_copy(L, -1);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_istable(L, -1)) {
            kt_table_copy(L, -1);
            lua_pushvalue(L, -3);
            lua_insert(L, -2);
            lua_rawset(L, -5); /* assigning an existing key is allowed during lua_next */
        }
        lua_pop(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "_G");
    lua_pushcfunction(L, host_require);
    lua_setfield(L, -2, "require");
    kt_runtime_of(L)->state->ref_host_env = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
}

static void make_core(lua_State *L)
{
    lua_newtable(L);
    kt_services_bind(L);
    kt_lua_err_bind(L);
    kt_keep_bind(L);
    kt_setup_bind(kt_runtime_of(L), L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, kt_runtime_of(L)->state->ref_loaded);
    lua_insert(L, -2);
    lua_setfield(L, -2, "kt.core");
    lua_pop(L, 1);
}

/* Lua creates these strings where no error can be caught, so running out of memory there would abort the
 * process. Keeping them alive means that they are found, not allocated. */
static void pin_messages(lua_State *L)
{
    static const char *const messages[] = {"cannot resume dead coroutine",
        "cannot resume non-suspended coroutine", "C stack overflow", "error in error handling"};
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        lua_pushstring(L, messages[i]);
        luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

static int set_up(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    pin_messages(L);
    kt_globals_open(L);
    lua_newtable(L);
    rt->state->ref_loaded = luaL_ref(L, LUA_REGISTRYINDEX);
    kt_opts_init(L);
    lua_pushliteral(L, "");
    rt->state->ref_script_dir = luaL_ref(L, LUA_REGISTRYINDEX);
    make_host_env(L);
    make_core(L);

    /* From here on, changes affect the script's environment only. */
    lua_register(L, "require", script_require);
    kt_globals_guard(L);
    return 0;
}

int kt_state_new(struct kt_runtime *rt, const struct kt_sandbox_opts *opts)
{
    rt->state = calloc(1, sizeof *rt->state);
    if (!rt->state) return KT_ENOMEM;
    int rc = kt_sandbox_new(&rt->sandbox, opts);
    if (rc) return rc;
    rt->guard = kt_sandbox_guard(rt->sandbox);
    lua_State *L = rt->L = kt_sandbox_state(rt->sandbox);
    kt_tasks_begin(rt);
    lua_setwarnf(L, on_warning, rt);
    lua_pushcfunction(L, set_up);
    int status = lua_pcall(L, 0, 0, 0);
    if (status == LUA_OK) return 0;
    if (status != LUA_ERRMEM) kt_log(rt->log, KT_LOG_ERROR, "%s", lua_tostring(L, -1));
    return KT_ENOMEM;
}

void kt_state_close(struct kt_runtime *rt)
{
    kt_sandbox_free(rt->sandbox);
    rt->sandbox = NULL;
    rt->guard = NULL;
    rt->L = NULL;
}

void kt_state_free(struct kt_runtime *rt)
{
    free(rt->state);
    rt->state = NULL;
}

int kt_state_load_file(struct kt_runtime *rt, const char *path)
{
    lua_State *L = rt->L;
    const char *slash = strrchr(path, '/');
    lua_pushlstring(L, path, slash ? (size_t)(slash - path) + 1 : 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, rt->state->ref_script_dir);
    struct kt_err err;
    return load_file(L, path, &err);
}

int kt_state_load_module(struct kt_runtime *rt, const char *module)
{
    const struct kt_embedded *e = find_embedded(module);
    if (e) return load_embedded(rt->L, e);
    lua_pushfstring(rt->L, "%s is not in this binary", module);
    return LUA_ERRFILE;
}
