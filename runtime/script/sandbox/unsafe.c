/* Changes to Lua's io and os under `kt run --unsafe`:
 *  - io.stdout, io.stderr and io.write use the same path as print and never block;
 *  - io.popen and os.execute run programs with the descriptor limit that this process was started with;
 *  - os.exit ends the script in order, so that nothing written before it is lost. */
#include <stdio.h>
#include <string.h>
#include <lauxlib.h>
#include <lualib.h>
#include "script/sandbox/box.h"

/* ---- standard streams ---- */

static ssize_t write_out(void *cookie, const char *text, size_t len)
{
    const struct kt_sandbox_host *host = cookie;
    host->print(host->ctx, 1, text, len);
    return (ssize_t)len;
}

static ssize_t write_err(void *cookie, const char *text, size_t len)
{
    const struct kt_sandbox_host *host = cookie;
    host->print(host->ctx, 2, text, len);
    return (ssize_t)len;
}

static int refuse_close(lua_State *L)
{
    luaL_Stream *s = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    s->closef = refuse_close; /* it stays open */
    lua_pushnil(L);
    lua_pushliteral(L, "cannot close standard file");
    return 2;
}

/* Adds a stream to io, the table on top of the stack. As in C, standard error is unbuffered. Standard output
 * is line-buffered, so that only whole lines are dropped. */
static void set_stream(
    lua_State *L, const char *name, FILE **file, cookie_write_function_t *write, int buffering)
{
    luaL_Stream *s = lua_newuserdatauv(L, sizeof *s, 0);
    s->closef = NULL;
    luaL_setmetatable(L, LUA_FILEHANDLE);
    *file = fopencookie(&kt_sandbox_of(L)->opts.host, "w", (cookie_io_functions_t){.write = write});
    if (!*file) luaL_error(L, "io.%s: out of memory", name);
    setvbuf(*file, NULL, buffering, BUFSIZ);
    s->f = *file;
    s->closef = refuse_close;
    lua_setfield(L, -2, name);
}

void kt_unsafe_close(struct kt_sandbox *s)
{
    for (size_t i = 0; i < sizeof s->streams / sizeof s->streams[0]; i++) {
        if (s->streams[i]) fclose(s->streams[i]);
        s->streams[i] = NULL;
    }
}

static void set_streams(lua_State *L)
{
    struct kt_sandbox *s = kt_sandbox_of(L);
    set_stream(L, "stdout", &s->streams[0], write_out, _IOLBF);
    set_stream(L, "stderr", &s->streams[1], write_err, _IONBF);
    lua_getfield(L, -1, "output");
    lua_getfield(L, -2, "stdout");
    lua_call(L, 1, 0);
}

/* ---- programs ---- */

/* Upvalue 1: Lua's own function. The shell lowers its own limit, which programs inherit. */
static int run_program(lua_State *L)
{
    const unsigned long limit = kt_sandbox_of(L)->opts.child_fds;
    if (limit > 0 && !lua_isnoneornil(L, 1)) {
        const char *command = luaL_checkstring(L, 1);
        char line[48];
        snprintf(line, sizeof line, "ulimit -S -n %lu\n", limit);
        lua_pushstring(L, line);
        lua_pushstring(L, command);
        lua_concat(L, 2);
        lua_replace(L, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void wrap(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, run_program, 1);
    lua_setfield(L, -2, name);
}

void kt_lua_unsafe(lua_State *L)
{
    if (lua_getglobal(L, "io") == LUA_TTABLE) {
        set_streams(L);
        if (!kt_sandbox_of(L)->opts.repeatable) wrap(L, "popen");
    }
    lua_pop(L, 1);
    if (lua_getglobal(L, "os") == LUA_TTABLE && !kt_sandbox_of(L)->opts.repeatable) {
        wrap(L, "execute");
        lua_pushcfunction(L, kt_lua_os_exit);
        lua_setfield(L, -2, "exit");
    }
    lua_pop(L, 1);
}
